"""`h2o run`: what `ros2 run h2o_ros` does, where there is no `ros2`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.without_ros.installation import PACKAGE, built_prefix, environment_of_nodes

USAGE = 'usage: h2o run NODE [--ros-args -p name:=value ...]'


def main(words: list[str]) -> int:
    """Become the node: its terminal, its signals and its exit code are this command's."""
    prefix = built_prefix(os.environ)
    folder = prefix / 'lib' / PACKAGE
    if not words or words[0] in ('-h', '--help'):
        print(USAGE, '', 'nodes:', *(f'  {name}' for name in node_names(folder)), sep='\n')
        return 0 if words else 2
    if words[0] not in node_names(folder):
        raise ConfigurationError(
            f'unknown node {words[0]!r}; choose one of {", ".join(node_names(folder))}'
        )
    command = [sys.executable, str(folder / words[0]), *words[1:]]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment_of_nodes(prefix, os.environ))


def call(words: list[str]) -> int:
    """Become the node that calls a service."""
    return main(['call', *words])


def node_names(folder: Path) -> list[str]:
    """List the nodes that are built."""
    return sorted(path.name for path in folder.iterdir())
