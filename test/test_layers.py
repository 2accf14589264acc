"""The layers: left never imports right, neighbours do not import each other."""

import ast
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / 'h2o_ros'
RANKS = {
    'base': 0,
    'algorithms': 1,
    'data': 1,
    'sim': 1,
    'robot': 1,
    'report': 1,
    'nodes': 2,
    'experiments': 2,
    'launching': 3,
    'cli': 3,
}
ALLOWED_NEIGHBOURS = {('sim', 'robot'), ('cli', 'launching')}
ROS = ('rclpy', 'h2o_ros.msg')
WITH_ROS = ('nodes', 'data/rosbag2_py_backend.py')
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
        ('algorithms/sac.py', 'from h2o_ros.data.dataset import load_bags'),
        ('robot/balance.py', 'from h2o_ros.sim import gaps'),
        ('sim/plants.py', 'import rclpy'),
        ('report/run.py', 'from h2o_ros.msg import Policy'),
        ('nodes/learner.py', 'from h2o_ros.experiments import train'),
        ('experiments/train.py', 'from rclpy.node import Node'),
        ('nodes/common.py', 'from h2o_ros import cli'),
        ('data/bags.py', 'import pickle'),
    ],
)
def test_a_wrong_import_is_found(relative, source):
    assert len(violations(relative, source)) == 1


@pytest.mark.parametrize(
    ('relative', 'source'),
    [
        ('sim/plants.py', 'from h2o_ros.robot.description import wheel_legged'),
        ('nodes/learner.py', 'import rclpy\nfrom h2o_ros.msg import Policy'),
        ('data/dataset.py', 'from h2o_ros.data.bags import open_bag\nimport numpy'),
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
