"""A launch file's graph, stated once: arguments, and the nodes that follow from their values.

`ros2 launch` runs it through launching.ros, `h2o launch` through launching.processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from h2o_ros.errors import ConfigurationError
from h2o_ros.nodes.core.network import NETWORK

Value = str | int | float | bool
STOP_TIMEOUT = 10.0  # s that a node has after SIGINT, enough to save a checkpoint
RESPAWN_DELAY = 1.0  # s from a node's death to its next start
RESPAWN_MOST = 5  # starts again in a row
RESPAWN_LIFETIME = 50  # starts again of a node that is apart, under `ros2 launch`
BEGINNING = 20.0  # s after the start of a launch in which a mistake of a node ends it in any case
RESPAWN_WINDOW = 10.0  # s between two deaths from which on they are not in a row
MISTAKE = 2  # exit code of a node that was given something wrong: the same again would fail again


@dataclass(frozen=True)
class Argument:
    """One `name:=value`; the default's type is the argument's.

    choices: the only values allowed; empty allows any. least: of a number.
    """

    name: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    least: float = -math.inf

    def read(self, text: str) -> Value:
        """Return the value of a text; ConfigurationError where it is none of this argument's."""
        if self.choices and text not in self.choices:
            raise ConfigurationError(
                f'argument {self.name}: expected one of {", ".join(self.choices)}, got {text!r}'
            )
        kind = type(self.default)
        try:
            value: Value = _truth(text) if kind is bool else kind(text)
        except ValueError as err:
            raise ConfigurationError(
                f'argument {self.name}: expected {kind.__name__}, got {text!r}'
            ) from err
        if not isinstance(value, str) and value < self.least:
            raise ConfigurationError(
                f'argument {self.name}: expected {self.least:g} or more, got {text}'
            )
        return value

    @property
    def default_text(self) -> str:
        """The default as it is written on the command line."""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


@dataclass(frozen=True)
class NodeProcess:
    """One process: a node of this package.

    executable: name under lib/h2o_ros. name: of the node, the executable's where empty. namespace:
    relative to the root, as virtual_robot. remappings: pairs of a topic's name in the node and
    outside; outside, a name that begins with / counts from the root. The root is where all nodes
    are put: a namespace under `ros2 launch`, if it pushes one. required: its end ends the launch,
    and its exit code is the launch's. A node that is not required ends the launch only where it
    fails. respawn: such a node is started again instead, within limits. apart: not even its
    failure ends the launch, as a robot that is driven must not fall with it, but for a mistake
    that shows at the beginning. nice: 0 to 19, how far it gives way to others on the processor.
    """

    executable: str
    name: str = ''
    namespace: str = ''
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    required: bool = False
    respawn: bool = False
    apart: bool = False
    nice: int = 0

    @property
    def label(self) -> str:
        """The name that its output is shown under, unique within a graph."""
        return '/'.join(part for part in (self.namespace, self.name or self.executable) if part)


def is_mistake_at_the_beginning(code: int, seconds: float) -> bool:
    """Say whether a node that ended so long after the launch's start was given something wrong."""
    return code == MISTAKE and seconds < BEGINNING


class RespawnLimit:
    """Says whether a node that died may be started again.

    deaths: how many there were in a row.
    """

    def __init__(self) -> None:
        self.deaths = 0
        self._last = -math.inf

    def allows(self, code: int, now: float) -> bool:
        """Take a death with this exit code at `now` (monotonic s)."""
        in_a_row = now - self._last < RESPAWN_WINDOW
        self.deaths = self.deaths + 1 if in_a_row else 1
        self._last = now
        return code != MISTAKE and not self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether it died too often in a row."""
        return self.deaths > RESPAWN_MOST


@dataclass(frozen=True)
class Graph:
    """What a launch file states.

    nodes: from the arguments' values by name, the processes to start. check: called before it with
    the namespace that all nodes are put into, empty for the root. ConfigurationError from either
    ends the launch before anything is started.
    """

    arguments: tuple[Argument, ...]
    nodes: Callable[[dict[str, Any]], Sequence[NodeProcess]]
    check: Callable[[str], None] = lambda namespace: None

    def read(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """Return every argument's value; ConfigurationError names an unknown or wrong one."""
        known = {argument.name for argument in self.arguments}
        for name in texts:
            if name not in known:
                raise ConfigurationError(
                    f'unknown argument {name!r}; known arguments: {", ".join(sorted(known))}'
                )
        return {
            argument.name: argument.read(texts.get(argument.name, argument.default_text))
            for argument in self.arguments
        }

    def show_arguments(self) -> str:
        """Return the description of all arguments, in the form of `ros2 launch --show-args`."""
        lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
        for argument in self.arguments:
            choices = f'. Valid choices are: {list(argument.choices)}' if argument.choices else ''
            lines += [
                '',
                f"    '{argument.name}':",
                f'        {argument.description}{choices}',
                f"        (default: '{argument.default_text}')",
            ]
        return '\n'.join(lines)


def split_arguments(words: Sequence[str]) -> dict[str, str]:
    """Read `name:=value` words, the last of a name wins; ConfigurationError for any other word."""
    texts = {}
    for word in words:
        name, separator, text = word.partition(':=')
        if not (name and separator and text):
            raise ConfigurationError(f'malformed argument {word!r}, expected name:=value')
        texts[name] = text
    return texts


def node_environment(environment: Mapping[str, str], network: str = '') -> dict[str, str]:
    """Return the variables that a node gets beside those of the shell, which win.

    network: who may reach it, as the argument of the launch says; empty: as the shell says.
    """
    wanted = {
        # One thread a node: several nodes share the machine, and the batches are small.
        'OMP_NUM_THREADS': '1',
        'PYTHONUNBUFFERED': '1',
        # No node draws. Else MuJoCo's import starts processes that look for a display's library,
        # and Ctrl-C ends these with a traceback.
        'MUJOCO_GL': 'off',
    }
    missing = {name: value for name, value in wanted.items() if name not in environment}
    return missing | ({NETWORK: network} if network else {})


def _truth(text: str) -> bool:
    known = {'true': True, '1': True, 'false': False, '0': False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]
