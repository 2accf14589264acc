"""A node's process: its command line, its signals, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from h2o_ros.errors import ConfigurationError, H2OError
from h2o_ros.nodes.core.base_node import describe
from h2o_ros.nodes.core.dds_transport import join
from h2o_ros.nodes.core.launcher import LAUNCHER, has_ended

HOW_TO_WRITE = 'parameters are written --ros-args -p name:=value'


def run(
    make_node: Callable[[], Any], *parameters: type, args: list[str] | None = None
) -> NoReturn:
    """Run one node until it is finished or interrupted, and exit the process.

    make_node: the node's class. parameters: the dataclasses that it declares its parameters from,
    for --help. args: the command line, else that of the process. Exit code 2 with one line on
    stderr for a user's mistake, else the node's own.
    """
    words = sys.argv[1:] if args is None else args
    if {'-h', '--help'} & set(words):
        _print(node_help(make_node, parameters))
        sys.exit(0)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: stopping.append(signum))
    code = 0
    node = None
    try:
        _join_ros(words)
        node = make_node()
        _spin(node, stopping)
        code = node.exit_code
    except H2OError as err:
        print(f'error: {err}', file=sys.stderr, flush=True)
        code = 2
    except ExternalShutdownException:
        code = 0
    finally:
        if node is not None:
            node.destroy_node()  # what must be written at the end may fail
            code = code or node.exit_code
        rclpy.try_shutdown()
    if node is not None and node.has_unjoinable_thread:
        # An orderly exit would pull the interpreter away under the thread: abort and exit code -6.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _spin(node: Any, stopping: list[int]) -> None:
    """Run a node's callbacks until it is finished.

    stopping: filled by signals; the node is then asked to end, as when its launch has ended.
    """
    launcher = os.environ.get(LAUNCHER, '')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not node.finished:
        executor.spin_once(timeout_sec=0.1)
        if has_ended(launcher):
            launcher = ''
            node.get_logger().error('the launch has ended without ending this node: it ends')
            stopping.append(signal.SIGTERM)
        if stopping:
            stopping.clear()
            node.stop()


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader has read enough, as head
        os._exit(0)


def node_help(make_node: Callable[[], Any], parameters: Sequence[type]) -> str:
    """Return what a node does and its parameters, as its --help shows them."""
    name = make_node.__module__.rpartition('.')[2]
    what = (sys.modules[make_node.__module__].__doc__ or '').strip()
    fields = {field.name: field for cls in parameters for field in dataclasses.fields(cls)}
    lines = [what, '', f'usage: ros2 run h2o_ros {name} --ros-args -p name:=value ...']
    lines += ['', 'parameters:'] if fields else []
    for field in fields.values():
        default = json.dumps(field.default, ensure_ascii=False)
        lines.append(f'  {field.name} ({default}): {describe(field)}')
    return '\n'.join(lines)


def _join_ros(words: list[str]) -> None:
    others = other_words(words)
    if others:
        raise ConfigurationError(f'unexpected argument {others[0]}; {HOW_TO_WRITE}')
    try:
        join(args=words, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as err:
        reason = str(err).removeprefix('failed to initialize rcl: ').partition('. Error: ')[0]
        reason = f'unknown ROS arguments {reason}' if reason.startswith('[') else reason
        raise ConfigurationError(f'{reason}; {HOW_TO_WRITE}') from err


def other_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line that are not between --ros-args and --.

    ROS takes name:=value among them for a remapping rule of old, and others for nothing at all.
    """
    others, of_ros = [], False
    for word in words:
        if word == '--ros-args':
            of_ros = True
        elif of_ros:
            of_ros = word != '--'
        else:
            others.append(word)
    return others
