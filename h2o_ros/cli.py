"""The command `h2o`: one subcommand a line below, loaded when it is called."""

from __future__ import annotations

import importlib
import sys

from h2o_ros.errors import exit_code_of

# name: (what it does, module:function that takes the remaining arguments)
COMMANDS = {
    'launch': (
        'run a launch file, as `ros2 launch h2o_ros`',
        'h2o_ros.launching.without_ros.command:main',
    ),
    'run': ('run one node, as `ros2 run h2o_ros`', 'h2o_ros.launching.without_ros.run_node:main'),
    'call': (
        "call a node's service, or list them, as `ros2 service`",
        'h2o_ros.launching.without_ros.run_node:call',
    ),
    'train': ('train in one process, without ROS', 'h2o_ros.commands.train:main'),
    'import-recording': (
        'make a bag from text or HDF5 columns',
        'h2o_ros.data.import_columns.columns:main',
    ),
    'dataset': (
        "make datasets as D4RL's, show what is in them, import those of Minari",
        'h2o_ros.commands.dataset:main',
    ),
    'bags': ('show what is in bags, as text and picture', 'h2o_ros.commands.bags:main'),
    'pack-bag': ('compress a finished bag for handing on', 'h2o_ros.data.bags.pack:main'),
    'identify': ("fit the virtual robot to a robot's bag", 'h2o_ros.commands.identify:main'),
    'gap': ('say where the simulator is off, by recordings', 'h2o_ros.commands.gap:main'),
    'values': (
        'hold what a learner believes against what its policy earns',
        'h2o_ros.commands.values:main',
    ),
    'export-onnx': ('write a policy file as ONNX', 'h2o_ros.algorithms.files.onnx_export:main'),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code; 2 with one line for a user's mistake."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ('-h', '--help'):
        print(usage())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        known = ', '.join(COMMANDS)
        print(f'error: unknown command {words[0]!r}; choose one of {known}', file=sys.stderr)
        return 2
    module, function = COMMANDS[words[0]][1].split(':')
    try:
        return exit_code_of(lambda: getattr(importlib.import_module(module), function)(words[1:]))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output is gone, as in `h2o launch -s FILE | head`.
        sys.stderr.close()
        return 141


def usage() -> str:
    """Return the list of subcommands."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {text}' for name, (text, _) in COMMANDS.items()]
    return '\n'.join(['usage: h2o COMMAND ...', '', *lines, '', '`h2o COMMAND --help` says more.'])
