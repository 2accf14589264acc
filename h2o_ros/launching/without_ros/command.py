"""`h2o launch`: what `ros2 launch h2o_ros` does, where there is no `ros2`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import Graph, split_arguments
from h2o_ros.launching.without_ros.installation import (
    built_prefix,
    environment_of_nodes,
    find_launch_file,
)
from h2o_ros.launching.without_ros.processes import run_processes
from h2o_ros.nodes.core.network import SUBNET, warning


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser('h2o launch', description=__doc__)
    parser.add_argument('file', help='name of a shipped launch file, or a path')
    parser.add_argument('arguments', nargs='*', default=[], metavar='name:=value')
    parser.add_argument(
        '-s', '--show-args', '--show-arguments', dest='show', action='store_true',
        help='show the arguments of the launch file and end',
    )  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run a launch file and return its exit code."""
    options = parse(arguments)
    try:
        prefix: Path | None = built_prefix(os.environ)
    except ConfigurationError:
        if not options.show:
            raise
        prefix = None  # the arguments of a checkout that is not built can be shown all the same
    graph = load_graph(find_launch_file(options.file, prefix))
    if options.show or prefix is None:
        print(graph.show_arguments())
        return 0
    graph.check('')
    values = graph.read(split_arguments(options.arguments))
    processes = graph.nodes(values)
    network = str(values.get('network', ''))
    if network == SUBNET:
        print(f'warning: {warning(os.environ.get("ROS_DOMAIN_ID", ""))}', file=sys.stderr)
    return run_processes(processes, prefix, environment_of_nodes(prefix, os.environ, network))


def load_graph(path: Path) -> Graph:
    """Return the graph that a launch file states under the name GRAPH."""
    specification = importlib.util.spec_from_file_location('h2o_launch_file', path)
    if specification is None or specification.loader is None:
        raise ConfigurationError(f'{path}: not a Python launch file')
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    graph = getattr(module, 'GRAPH', None)
    if not isinstance(graph, Graph):
        raise ConfigurationError(f'{path}: states no GRAPH; `ros2 launch` may still run it')
    return graph
