"""The layers: left never imports right, neighbours do not import each other."""

import ast
import graphlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from repository import ROOT

PACKAGE = ROOT / 'h2o_ros'
RANKS = {
    'base': 0,
    'algorithms': 1,
    'data': 1,
    'sim': 1,
    'robot': 1,
    'report': 1,
    'nodes': 2,
    'experiments': 2,
    'commands': 3,
    'launching': 3,
    'cli': 4,
}
ALLOWED_NEIGHBOURS = {('sim', 'robot')}
FILES_LIMIT = 12  # beside each other in a folder; nodes/ has one file per node
ROS = ('rclpy', 'h2o_ros.msg')
WITH_ROS = ('nodes', 'data/bags/rosbag2_py_backend.py')
FILES = sorted(PACKAGE.rglob('*.py'))


def imported(source: str) -> set[str]:
    """Return the full names of everything that a source imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'relative imports hide the layer'
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def layer(relative: str) -> str:
    """Return the layer of a file or module by its path within the package."""
    first = relative.split('/')[0].removesuffix('.py')
    return first if first in RANKS else 'base'


def violations(relative: str, source: str) -> list[str]:
    """Return what a file imports but must not."""
    own, found = layer(relative), []
    for name in sorted(imported(source)):
        if any(name == ros or name.startswith(ros + '.') for ros in ROS):
            if not relative.startswith(WITH_ROS):
                found.append(f'{relative} imports {name}')
        elif name.startswith('h2o_ros.'):
            other = layer(name.removeprefix('h2o_ros.').replace('.', '/'))
            neighbour = other != own and RANKS[other] == RANKS[own]
            if RANKS[other] > RANKS[own] or (neighbour and (own, other) not in ALLOWED_NEIGHBOURS):
                found.append(f'{relative} imports {name}')
        elif name.split('.')[0] in ('pickle', 'cloudpickle', 'dill', 'joblib'):
            found.append(f'{relative} imports {name}')
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_nothing_from_its_right(path):
    assert violations(str(path.relative_to(PACKAGE)), path.read_text()) == []


@pytest.mark.parametrize(
    ('relative', 'source'),
    [
        ('task.py', 'from h2o_ros.sim.gaps import GAPS'),
        ('task.py', 'def f():\n    import h2o_ros.nodes.learner'),
        ('algorithms/methods/sac.py', 'from h2o_ros.data.bag_transitions.load import load_bags'),
        ('robot/pilot/balance_controller.py', 'from h2o_ros.sim import gaps'),
        ('sim/wheel_legged/plants.py', 'import rclpy'),
        ('report/run.py', 'from h2o_ros.msg import Policy'),
        ('nodes/learner.py', 'from h2o_ros.experiments import train'),
        ('commands/train.py', 'from rclpy.node import Node'),
        ('nodes/core/base_node.py', 'from h2o_ros import cli'),
        ('data/bags/bag.py', 'import pickle'),
    ],
)
def test_a_wrong_import_is_found(relative, source):
    assert len(violations(relative, source)) == 1


@pytest.mark.parametrize(
    ('relative', 'source'),
    [
        ('sim/wheel_legged/plants.py', 'from h2o_ros.robot.description import wheel_legged'),
        ('nodes/learner.py', 'import rclpy\nfrom h2o_ros.msg import Policy'),
        (
            'data/bag_transitions/load.py',
            'from h2o_ros.data.bags.bag import open_bag\nimport numpy',
        ),
    ],
)
def test_a_right_import_is_left_alone(relative, source):
    assert violations(relative, source) == []


def test_the_package_file_is_empty():
    # rosidl installs an __init__.py of its own in the same place.
    assert (PACKAGE / '__init__.py').read_text() == ''


def test_every_ros_package_that_is_imported_is_declared():
    names = {name for path in FILES for name in imported(path.read_text())}
    used = {name.split('.')[0] for name in names if name.split('.')[1:2] in (['msg'], ['srv'])}
    used |= {'rclpy', 'rosbag2_py', 'launch', 'launch_ros'} & {n.split('.')[0] for n in names}
    package = ElementTree.parse(PACKAGE.parent / 'package.xml')
    declared = {entry.text for entry in package.iter() if entry.tag.endswith('depend')}
    assert {'rclpy', 'launch', 'std_srvs'} <= used
    assert used - {'h2o_ros'} <= declared


def test_a_folder_reads_as_a_table_of_contents():
    folders = {path.parent for path in FILES} - {PACKAGE / 'nodes'}
    crowded = {
        str(folder.relative_to(PACKAGE)): len(names)
        for folder in sorted(folders)
        if len(names := [p for p in FILES if p.parent == folder and p.name != '__init__.py'])
        > FILES_LIMIT
    }
    assert crowded == {}


def test_nodes_holds_the_nodes_alone():
    for path in (PACKAGE / 'nodes').glob('*.py'):
        assert path.name == '__init__.py' or '\ndef main(' in path.read_text(), path


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    return '.'.join(('h2o_ros', *path.relative_to(PACKAGE).with_suffix('').parts))


def test_no_imports_go_in_a_circle():
    modules = {module_name(path): path for path in FILES}
    graph = {}
    for name, path in modules.items():
        wanted = imported(path.read_text())
        wanted |= {one.rpartition('.')[0] for one in wanted}
        graph[name] = (wanted & set(modules)) - {name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as err:
        pytest.fail(' -> '.join(err.args[1]))
