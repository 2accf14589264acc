"""What `ros2 launch` and `ros2 run` need of an installed package, in both ways of installing."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from repository import ROOT

from h2o_ros.launching.without_ros.installation import built_prefix, environment_of_nodes

SOURCE = ROOT
NODES = sorted(
    path.stem
    for path in (SOURCE / 'h2o_ros' / 'nodes').glob('*.py')
    if re.search(r'^def main\(', path.read_text(), re.MULTILINE)
)


@pytest.fixture(scope='module', params=['here', 'plain'])
def prefix(request, tmp_path_factory):
    """Give the prefix of the sourced package, and of one that copies instead of linking."""
    if request.param == 'here':
        return built_prefix(os.environ)
    specification = importlib.util.spec_from_file_location('set_up', SOURCE / '.ci/set_up.py')
    set_up = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(set_up)
    folder = tmp_path_factory.mktemp('plain')
    bases = ['--build-base', str(folder / 'build'), '--install-base', str(folder / 'install')]
    set_up.colcon_build(set_up.installed_ros(), *bases)
    return folder / 'install' / 'h2o_ros'


def environment(prefix, tmp_path):
    """Return what a shell has that has sourced setup.bash of ROS and of `prefix` alone."""
    other = str(built_prefix(os.environ))
    kept = {
        name: os.pathsep.join(part for part in value.split(os.pathsep) if other not in part)
        for name, value in os.environ.items()
    }
    kept['PATH'] = '/usr/local/bin:/usr/bin:/bin'
    kept.pop('VIRTUAL_ENV', None)
    return environment_of_nodes(prefix, kept) | {'ROS_LOG_DIR': str(tmp_path)}


def test_all_that_ros_looks_for_is_there(prefix):
    assert (prefix / 'share/ament_index/resource_index/packages/h2o_ros').is_file()
    executables = sorted((prefix / 'lib' / 'h2o_ros').iterdir())
    assert [path.name for path in executables] == NODES and len(NODES) > 10
    for path in executables:
        assert path.stat().st_mode & 0o777 == 0o755, path
    share = prefix / 'share' / 'h2o_ros'
    assert (share / 'package.xml').is_file()
    for folder, ending in (
        ('launch', '.launch.py'),
        ('config', '.yaml'),
        ('bags', '.zstd'),
        ('msg', '.msg'),
        ('srv', '.srv'),
    ):
        written = {
            path.relative_to(SOURCE)
            for path in (SOURCE / folder).rglob(f'*{ending}')
            if '__pycache__' not in path.parts
        }
        assert written, folder
        for path in written:
            assert (share / path).is_file(), path
            assert (share / path).read_bytes() == (SOURCE / path).read_bytes(), path
    assert not [path for path in share.rglob('__pycache__') if path.parent.name != 'launch']


@pytest.mark.parametrize('name', NODES)
def test_a_node_starts_by_its_own_first_line(prefix, name, tmp_path):
    run = subprocess.run(
        [str(prefix / 'lib' / 'h2o_ros' / name), '--help'],
        cwd=tmp_path,
        env=environment(prefix, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith('usage: h2o call' if name == 'call' else f'Node {name}: ')
    assert run.stderr == ''


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ('nothing', "package h2o_ros is missing .*: source ROS's setup.bash and then"),
        (
            'itself',
            'package [a-z]+ is missing .*: run `make setup` in .*, or `source .venv/bin/activate`',
        ),
    ],
)
def test_a_python_that_lacks_something_is_one_line(prefix, tmp_path, given, expected):
    words = [sys.executable, '-S', str(prefix / 'lib' / 'h2o_ros' / 'learner')]
    version = f'python{sys.version_info.major}.{sys.version_info.minor}'
    package = prefix / 'lib' / version / 'site-packages'
    kept = {'PATH': os.environ['PATH'], 'PYTHONPATH': str(package) if given == 'itself' else ''}
    run = subprocess.run(words, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr.count('\n')) == (2, '', 1), run.stderr
    assert re.match('error: learner: the Python ' + expected, run.stderr.strip()), run.stderr


@pytest.mark.parametrize('words', [['task:=standing_still'], ['-x'], ['here', 'there']])
def test_words_that_are_no_ros_arguments_are_refused(prefix, tmp_path, words):
    run = subprocess.run(
        [str(prefix / 'lib' / 'h2o_ros' / 'robot_bridge'), *words],
        cwd=tmp_path,
        env=environment(prefix, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (2, '')
    assert run.stderr == (
        f'error: unexpected argument {words[0]}; parameters are written --ros-args -p '
        'name:=value\n'
    )
