"""Subscriptions that a thread of one's own waits for and takes, past the executor.

An executor brings a message to another thread by way of its own, which costs about as much again
as the message; a control loop waits for the message itself.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile


class OwnThread(CallbackGroup):
    """Keeps what is in it out of what an executor waits for."""

    def can_execute(self, entity: Any) -> bool:
        """Never, for the executor."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never, for the executor."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing was begun."""


class OwnSubscription:
    """A topic whose messages are taken by hand."""

    def __init__(self, node: Node, kind: type, topic: str, qos: QoSProfile) -> None:
        self.kind, self._node = kind, node
        self._subscription = node.create_subscription(
            kind, topic, lambda _: None, qos, callback_group=OwnThread()
        )

    @property
    def handle(self) -> Any:
        """What a wait set takes."""
        return self._subscription.handle

    def take(self) -> tuple[Any, dict] | None:
        """Return the next message and what is known of its way, None where none waits."""
        return self.handle.take_message(self.kind, False)

    def take_newest(self) -> tuple[Any, dict] | None:
        """Return the last of all messages that wait."""
        newest = None
        while (taken := self.take()) is not None:
            newest = taken
        return newest


class Waiter:
    """Waits for any of some subscriptions, or for `wake`."""

    def __init__(self, node: Node, subscriptions: list[OwnSubscription]) -> None:
        self._subscriptions = subscriptions
        self._guard = node.create_guard_condition(lambda: None, callback_group=OwnThread())
        context = node.context.handle
        if context is None:
            raise ValueError('expected a node whose context is initialised')
        self._set = rclpy_implementation.WaitSet(len(subscriptions), 1, 0, 0, 0, 0, context)

    def wait(self, seconds: float) -> None:
        """Return when a message waits, at once at `wake`, after so many seconds at the latest."""
        self._set.clear_entities()
        for subscription in self._subscriptions:
            self._set.add_subscription(subscription.handle)
        self._set.add_guard_condition(self._guard.handle)
        self._set.wait(max(0, int(1e9 * seconds)))

    def wake(self) -> None:
        """End the present wait, or the next one; from any thread."""
        self._guard.trigger()
