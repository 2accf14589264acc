"""`h2o call`: what `ros2 service call` does, where there is no `ros2`; services by their names."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rcl_interfaces.srv import GetParameterTypes
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.signals import SignalHandlerOptions

from h2o_ros.errors import ConfigurationError, RobotError, exit_code_of
from h2o_ros.nodes.core.dds_transport import join

OFFERED = ('std_srvs', 'h2o_ros')  # packages whose services a person calls
DISCOVERY = 10.0  # s in which a node of the domain becomes known at the latest
SETTLED = 1.0  # s after the first in which the others do
PATIENCE = 10.0  # s for an answer; arming takes up to five
NOTHING = 'there are no services; is anything running in this ROS_DOMAIN_ID?'
Wait = Callable[[Callable[[], bool], float], bool]


def main(words: list[str] | None = None) -> int:
    """Call a service, or list those there are; return the exit code, 1 if it was refused."""
    options = parse(words)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return exit_code_of(lambda: run(options.service, options.fields))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def parse(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'h2o call', description='Call a service of the running nodes, as `ros2 service call`.'
    )
    parser.add_argument('service', nargs='?', default='', help='its name; without one, a list')
    parser.add_argument('fields', nargs='*', metavar='field:=value', help='of the request')
    return parser.parse_args(words)


def run(service: str, fields: list[str]) -> int:
    """Join ROS, do what was asked and leave."""
    # Without arguments: field:=value is no remapping rule. rclpy's handler would shut down under
    # the executor.
    join(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('h2o_call')
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def wait(condition: Callable[[], bool], patience: float) -> bool:
        end = time.monotonic() + patience
        while not condition() and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
        return condition()

    try:
        if service:
            return call(node, node.resolve_service_name(service), fields, wait)
        list_services(node, wait)
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def list_services(node: Node, wait: Wait) -> None:
    """Print the services of the domain; ConfigurationError where there are none."""
    if not wait(lambda: bool(services(node)), DISCOVERY):
        raise ConfigurationError(NOTHING)
    wait(lambda: False, SETTLED)
    print('\n'.join(f'{name}  {kind}' for name, kind in services(node).items()))


def services(node: Node) -> dict[str, str]:
    """Return the services of the domain that a person calls, with their types.

    What ROS calls hidden, by an underscore before the name, is for nodes among themselves.
    """
    known = dict(node.get_service_names_and_types())
    return {
        name: kinds[0]
        for name, kinds in sorted(known.items())
        if kinds[0].partition('/')[0] in OFFERED and '/_' not in name
    }


def call(node: Node, service: str, fields: list[str], wait: Wait) -> int:
    """Call a service once and print its answer; return 1 where it was refused."""
    if not wait(lambda: service in services(node), DISCOVERY):
        there = ', '.join(services(node))
        raise ConfigurationError(f'no service {service}; there are: {there}' if there else NOTHING)
    package, _, kind = services(node)[service].partition('/srv/')
    service_type = getattr(importlib.import_module(f'{package}.srv'), kind)
    request = fill(service_type.Request(), fields, service)
    client: Client = node.create_client(service_type, service)
    if not is_acquainted(node, client, wait):
        raise RobotError(f'{service}: the node that offers it does not answer')
    future = client.call_async(request)
    if not wait(future.done, PATIENCE):
        raise RobotError(f'{service}: no answer within {PATIENCE:.0f} s')
    answer: Any = future.result()
    print(f'{service}: {answer.message or ("done" if answer.success else "refused")}')
    return 0 if answer.success else 1


def fill(request: Any, fields: list[str], service: str) -> Any:
    """Set the fields of a request from words as field:=value; ConfigurationError."""
    known = request.get_fields_and_field_types()
    for word in fields:
        name, assigned, text = word.partition(':=')
        if not assigned or name not in known:
            takes = ', '.join(f'{field}:=({kind})' for field, kind in known.items()) or 'no field'
            raise ConfigurationError(f'{word!r}: {service} takes {takes}')
        if known[name] == 'boolean' and text not in ('true', 'false'):
            raise ConfigurationError(f'{word!r}: expected true or false')
        setattr(request, name, text == 'true' if known[name] == 'boolean' else text)
    return request


def is_acquainted(node: Node, client: Client, wait: Wait) -> bool:
    """Say, within some seconds, whether who offers a client's service knows of the client, too.

    An answer is lost before. What a node has is announced in the order in which it was made: who
    answers a newer client knows of this one.
    """
    service = node.resolve_service_name(client.srv_name)
    if not wait(lambda: client.service_is_ready() and owner_of(node, service) != '', 20.0):
        return False
    newer: Client = node.create_client(
        GetParameterTypes, f'{owner_of(node, service)}/get_parameter_types'
    )
    try:
        if not wait(newer.service_is_ready, 20.0):
            return False
        patiences = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
        return any(wait(newer.call_async(GetParameterTypes.Request()).done, p) for p in patiences)
    finally:
        node.destroy_client(newer)


def owner_of(node: Node, service: str) -> str:
    """Return the full name of a node that offers a service, empty where none is known."""
    for name, namespace in node.get_node_names_and_namespaces():
        with contextlib.suppress(NodeNameNonExistentError):  # it has just ended
            offered = dict(node.get_service_names_and_types_by_node(name, namespace))
            if service in offered:
                return f'{namespace.rstrip("/")}/{name}'
    return ''


if __name__ == '__main__':
    raise SystemExit(main())
