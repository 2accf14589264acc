"""Subscriptions that are emptied now and then, instead of waking the node for each message.

To wake for a message costs far more than to take it: a recorder that looks twenty times a second
leaves the processor to those who control the robot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from h2o_ros.nodes.core.manual_subscription import OwnThread


class PolledSubscriptions:
    """Subscriptions to serialised messages, by topic; what comes waits until it is taken."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._group = OwnThread()
        self._subscriptions: dict[str, Any] = {}

    def add(self, topic: str, kind: type, qos: QoSProfile) -> None:
        """Subscribe to a topic; qos should keep all that comes between two looks."""
        self._subscriptions[topic] = self._node.create_subscription(
            kind, topic, lambda _: None, qos, callback_group=self._group, raw=True
        )

    def take(self) -> Iterator[tuple[str, bytes, int]]:
        """Yield topic, serialised message and time of receipt (ns) of everything that waits."""
        for topic, subscription in self._subscriptions.items():
            handle, kind = subscription.handle, subscription.msg_type
            with handle:
                while (taken := handle.take_message(kind, True)) is not None:
                    message, information = taken
                    yield topic, message, information['received_timestamp']
