"""A graph as the LaunchDescription that `ros2 launch` runs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from h2o_ros.launching.description import (
    RESPAWN_DELAY,
    RESPAWN_LIFETIME,
    STOP_TIMEOUT,
    Graph,
    NodeProcess,
    RespawnLimit,
    is_mistake_at_the_beginning,
    node_environment,
)
from h2o_ros.nodes.core.launcher import LAUNCHER
from h2o_ros.nodes.core.network import SUBNET, warning

if TYPE_CHECKING:
    from launch import LaunchContext, LaunchDescription

PACKAGE = 'h2o_ros'


def make_launch_description(graph: Graph) -> LaunchDescription:
    """Return the LaunchDescription of a graph; needs ROS 2's launch and launch_ros."""
    # Imported here: a launch file must load where there is no `launch`, too.
    from launch import LaunchDescription
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.logging import get_logger

    declared = []
    for argument in graph.arguments:
        choices = {'choices': list(argument.choices)} if argument.choices else {}
        declared.append(
            DeclareLaunchArgument(
                argument.name,
                default_value=argument.default_text,
                description=argument.description,
                **choices,
            )
        )

    def make_nodes(context: LaunchContext) -> list[Any]:
        namespace = context.launch_configurations.get('ros_namespace', '')
        graph.check(namespace)
        names = [argument.name for argument in graph.arguments]
        values = graph.read({name: context.launch_configurations[name] for name in names})
        network = str(values.get('network', ''))
        processes = graph.nodes(values)
        if network == SUBNET:
            get_logger('launch').warning(warning(os.environ.get('ROS_DOMAIN_ID', '')))
        return [_make_node(process, namespace, network) for process in processes]

    return LaunchDescription([*declared, OpaqueFunction(function=make_nodes)])


def _make_node(process: NodeProcess, namespace: str, network: str) -> Any:
    """Return the action that starts a node.

    namespace: where the graph has its root. network: who may reach the node.
    """
    from launch.actions import Shutdown
    from launch_ros.actions import Node
    from launch_ros.parameter_descriptions import ParameterValue

    # Without a stated type, launch_ros reads texts as YAML: a folder named 5 would be a number.
    parameters = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in process.parameters.items()
    }

    limit, began = RespawnLimit(), time.monotonic()

    def end(event: Any, context: LaunchContext) -> Any:
        code = event.returncode
        reason = f'{process.label} ended with exit code {code}'
        if context.is_shutdown:
            if code and process.required:
                _fail(context, reason)
            return None
        if code and process.respawn and limit.allows(code, time.monotonic()):
            return None
        mistake = is_mistake_at_the_beginning(code, time.monotonic() - began)
        if process.required or mistake or (code and not process.apart):
            if code:
                _fail(context, reason)
            return Shutdown(reason=reason)
        return None

    return Node(
        package=PACKAGE,
        executable=process.executable,
        name=process.name or process.executable,
        namespace=process.namespace,
        parameters=[parameters],
        remappings=[(inside, _put_into(namespace, out)) for inside, out in process.remappings],
        output='screen',
        prefix=f'nice -n {process.nice}' if process.nice else None,
        additional_env=node_environment(os.environ, network) | {LAUNCHER: str(os.getpid())},
        respawn=process.respawn,
        respawn_delay=RESPAWN_DELAY,
        respawn_max_retries=RESPAWN_LIFETIME if process.apart else -1,
        sigterm_timeout=str(STOP_TIMEOUT),
        on_exit=end,
    )


def _fail(context: LaunchContext, reason: str) -> None:
    """Have `ros2 launch` end with exit code 1, which it does after an exception in its loop.

    Shutdown alone leaves it at 0. An exception raised here would keep other handlers of the same
    event from running.
    """
    context.asyncio_loop.call_exception_handler({'message': reason})


def _put_into(namespace: str, name: str) -> str:
    """Return a name of the graph's root as launch_ros has it, which moves relative names alone."""
    root = namespace.strip('/')
    return f'/{root}{name}' if root and name.startswith('/') else name
