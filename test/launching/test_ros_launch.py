"""The launch files under ROS 2's own `launch`, where it is installed; elsewhere skipped.

test_launching.py holds the same against a stand-in, on every machine.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys

import pytest
from test_launching import NODES, PROLOGUE, SHIPPED

from h2o_ros.launching.without_ros.command import load_graph

# Not imported here: `launch` makes every logger one of its own, which tests cannot read.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('launch_ros') is None, reason='there is no launch_ros here'
)

LAUNCH_FILE = """
from h2o_ros.launching.description import Argument, Graph, NodeProcess
from h2o_ros.launching.ros import make_launch_description
GRAPH = Graph((Argument('seed', 0, 'Random seed'),), lambda arguments: [{nodes}])
generate_launch_description = lambda: make_launch_description(GRAPH)
"""
# What `ros2 launch FILE` does, and an include with a namespace as users write it.
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace
file, namespace, *words = sys.argv[1:]
included = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file),
    launch_arguments=[tuple(word.split(':=')) for word in words],
)
actions = [PushRosNamespace(namespace), included] if namespace else [included]
service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([GroupAction(actions)]))
sys.exit(service.run())
"""


class RosLaunch:
    """An ament prefix with tiny nodes, and ROS 2's launch on it."""

    def __init__(self, folder, processes):
        self.folder, self._processes = folder, processes
        index = folder / 'share' / 'ament_index' / 'resource_index' / 'packages'
        index.mkdir(parents=True)
        (index / 'h2o_ros').touch()
        (folder / 'lib' / 'h2o_ros').mkdir(parents=True)
        for name, body in NODES.items():
            executable = folder / 'lib' / 'h2o_ros' / name
            executable.write_text(f'#!{sys.executable}\n{PROLOGUE}{body}')
            executable.chmod(0o755)

    def start(self, nodes, *words, namespace='', **environment):
        """Run a launch file with these nodes."""
        file = self.folder / 'test.launch.py'
        file.write_text(LAUNCH_FILE.format(nodes=nodes))
        return self.start_file(file, *words, namespace=namespace, **environment)

    def start_file(self, file, *words, namespace='', **environment):
        """Run a launch file of the package."""
        prefixes = f'{self.folder}{os.pathsep}{os.environ.get("AMENT_PREFIX_PATH", "")}'
        given = os.environ | {
            'AMENT_PREFIX_PATH': prefixes,
            'TEST_FOLDER': str(self.folder),
            'ROS_LOG_DIR': str(self.folder / 'log'),
        }
        command = [sys.executable, '-c', RUN, str(file), namespace, *words]
        return self._processes.start(command, env=given | environment)

    def noted(self, name, what='pid'):
        """Return what a node has noted, or nothing."""
        path = self.folder / f'{name}.{what}'
        return path.read_text() if path.exists() else None


@pytest.fixture
def launch(tmp_path, processes):
    return RosLaunch(tmp_path, processes)


UNDERSTAND = """
import sys
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
description = source.try_get_launch_description_without_context()
print(*[argument.name for argument in description.get_launch_arguments()])
"""


@pytest.mark.parametrize('path', sorted(SHIPPED.glob('*.launch.py')), ids=lambda path: path.name)
def test_a_shipped_file_is_understood(path, tmp_path):
    command = [sys.executable, '-c', UNDERSTAND, str(path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [argument.name for argument in load_graph(path).arguments]


@pytest.mark.parametrize(
    ('nodes', 'code', 'expected'),
    [
        ("NodeProcess('short', required=True), NodeProcess('worker')", '0', 0),
        ("NodeProcess('short', required=True), NodeProcess('worker')", '3', 1),
        ("NodeProcess('worker', required=True), NodeProcess('short')", '5', 1),
        ("NodeProcess('worker', required=True), NodeProcess('short', apart=True)", '2', 1),
    ],
)
def test_exit_code(launch, running, nodes, code, expected):
    run = launch.start(nodes, TEST_CODE=code)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == expected, output
    told = f'short ended with exit code {code}'
    assert (told in output) == (expected != 0), output
    assert 'Traceback' not in output
    assert not running(int(launch.noted('worker')))


@pytest.mark.parametrize(('code', 'expected'), [('0', 0), ('7', 1)])
def test_ctrl_c_lets_nodes_save_and_tells_of_those_that_failed(launch, wait_until, code, expected):
    run = launch.start("NodeProcess('worker', required=True)", TEST_CODE=code)
    wait_until(lambda: launch.noted('worker'))
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    output, _ = run.communicate(timeout=30)
    assert run.returncode == expected, output
    assert launch.noted('worker', 'saved') == ''


def test_a_node_that_is_killed_is_started_again(launch, wait_until):
    nodes = "NodeProcess('worker', required=True), NodeProcess('fragile', respawn=True)"
    run = launch.start(nodes, TEST_DEATHS='2')
    wait_until(lambda: launch.noted('fragile') and launch.noted('worker'))
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 0, output
    assert (launch.folder / 'starts').read_text() == 3 * 'x'


def test_one_that_dies_again_and_again_ends_all(launch):
    nodes = "NodeProcess('worker', required=True), NodeProcess('fragile', respawn=True)"
    run = launch.start(nodes, TEST_DEATHS='99', TEST_CODE='5')
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 1, output
    assert (launch.folder / 'starts').read_text() == 6 * 'x'


def test_a_wrong_argument_is_one_line_and_starts_nothing(launch):
    run = launch.start("NodeProcess('worker', required=True)", 'seed:=one')
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "argument seed: expected int, got 'one'" in output and 'Traceback' not in output
    assert launch.noted('worker') is None


def test_names_and_parameters_reach_the_node_in_a_namespace(launch):
    node = (
        "NodeProcess('echo', name='talker', namespace='inner', required=True, "
        "parameters={'text': '5', 'fast': True}, remappings=(('policy', '/other'),))"
    )
    run = launch.start(node, namespace='robot1')
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 0, output
    for word in ('__node:=talker', '__ns:=/robot1/inner', 'policy:=/robot1/other'):
        assert word in output, output
    assert "text: '5'" in output and 'fast: true' in output
