"""A node for tests: it listens and calls in a domain while the test goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import rclpy
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from h2o_ros.nodes.call import is_acquainted
from h2o_ros.nodes.core.base_node import EVERY


@contextlib.contextmanager
def listening(domain: int, name: str = 'listener') -> Iterator[Node]:
    """Give a node in the domain whose callbacks run in a thread of their own."""
    context = rclpy.Context()
    context.init(domain_id=domain)
    node = rclpy.create_node(name, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            while context.ok():
                executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        context.try_shutdown()
        thread.join()
        executor.shutdown()
        node.destroy_node()


def collect(node: Node, kind: type, topic: str, qos=EVERY) -> list:
    """Return a list that fills with the messages of a topic."""
    messages: list = []
    node.create_subscription(kind, topic, messages.append, qos)
    return messages


def call(node: Node, service: str, wait_until: Callable[..., None]) -> Trigger.Response:
    """Call a Trigger and return its answer."""
    client = node.create_client(Trigger, service)
    answer = ask(node, client, Trigger.Request(), wait_until)
    node.destroy_client(client)
    return answer


def ask(
    node: Node,
    client: Client,
    request: Any,
    wait_until: Callable[..., None],
    patience: float = 20.0,
) -> Any:
    """Send a request once and return its answer."""
    await_acquaintance(node, client, wait_until)
    future = client.call_async(request)
    wait_until(future.done, patience, client.srv_name)
    return future.result()


def await_acquaintance(node: Node, client: Client, wait_until: Callable[..., None]) -> None:
    """Return once the node that offers a client's service knows of the client, too."""

    def wait(condition: Callable[[], bool], patience: float) -> bool:
        with contextlib.suppress(AssertionError):
            wait_until(condition, patience)
        return condition()

    assert is_acquainted(node, client, wait), f'{client.srv_name}: who offers it does not answer'
