"""Set-up fails with one line that says what is missing, and skips what is done."""

import fcntl
import importlib.util
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from repository import ROOT

SCRIPT = ROOT / '.ci' / 'set_up.py'
TOOLS = ('cc', 'c++', 'cmake', 'make', 'apt-get', 'apt-cache', 'dpkg')


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    """Give the script as a module whose root is an empty folder, on a machine with every tool."""
    specification = importlib.util.spec_from_file_location('set_up', SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    root = tmp_path / 'root'
    root.mkdir()
    (root / 'requirements.txt').write_text('pip==1\nnumpy==2\nros-rclpy==9\ncolcon-core==0\n')
    monkeypatch.setattr(module, 'ROOT', root)
    monkeypatch.setattr(module, 'VENV', root / '.venv')
    monkeypatch.setattr(module, 'PYTHON', root / '.venv' / 'bin' / 'python')
    monkeypatch.setattr(module, 'AMENT', root / '.venv' / 'ament')
    monkeypatch.setattr(module, 'STAMPS', root / '.venv' / 'stamps')
    monkeypatch.setattr(module, 'LOG', root / 'log' / 'set_up.log')
    monkeypatch.setattr(module, '_imports', lambda *names: True)
    for name in ('CC', 'CXX', 'ROS_DISTRO'):
        monkeypatch.delenv(name, raising=False)
    give_tools(tmp_path, monkeypatch, TOOLS)
    return module


def give_tools(tmp_path, monkeypatch, names, script='exit 0'):
    """Put programs of these names, and nothing else, on the PATH."""
    folder = tmp_path / f'tools{len(list(tmp_path.iterdir()))}'
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f'#!/bin/sh\n{script}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv('PATH', str(folder))


def failure(module, capsys):
    """Run set-up, which must fail, and return its one line of complaint."""
    assert module.main() == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith('set-up failed: ')
    return lines[0]


@pytest.mark.parametrize(
    ('absent', 'named'),
    [('cc', 'C compiler'), ('c++', 'C++ compiler'), ('cmake', 'CMake'), ('make', 'make')],
)
def test_a_missing_tool_is_named_with_the_way_to_get_it(
    set_up, tmp_path, monkeypatch, capsys, absent, named
):
    give_tools(tmp_path, monkeypatch, [tool for tool in TOOLS if tool != absent])
    line = failure(set_up, capsys)
    assert f'missing: {named};' in line
    assert 'apt-get install g++ cmake make python3-dev python3-venv' in line


def test_everything_missing_is_named_at_once(set_up, tmp_path, monkeypatch, capsys):
    give_tools(tmp_path, monkeypatch, ['apt-get', 'dpkg'])
    monkeypatch.setattr(set_up, '_imports', lambda *names: False)
    line = failure(set_up, capsys)
    for named in ('C compiler', 'C++ compiler', 'CMake', 'make', 'module venv'):
        assert named in line


@pytest.mark.parametrize('version', [(3, 9, 2), (3, 13, 0)])
def test_another_python_is_refused(set_up, monkeypatch, capsys, version):
    monkeypatch.setattr(sys, 'version_info', version)
    line = failure(set_up, capsys)
    assert f'Python {version[0]}.{version[1]} at' in line
    assert '3.10 to 3.12' in line


def test_a_machine_without_apt_is_told_to_install_ros(set_up, tmp_path, monkeypatch, capsys):
    give_tools(tmp_path, monkeypatch, [tool for tool in TOOLS if tool != 'apt-get'])
    assert 'install and source ROS 2' in failure(set_up, capsys)


def test_a_folder_without_rights_is_named(set_up, monkeypatch, capsys):
    monkeypatch.setattr(set_up.os, 'access', lambda path, mode: path != set_up.ROOT)
    assert f'{set_up.ROOT} cannot be written' in failure(set_up, capsys)


def test_a_path_with_a_space_is_refused(set_up, tmp_path, monkeypatch, capsys):
    root = tmp_path / 'my robot'
    root.mkdir()
    monkeypatch.setattr(set_up, 'ROOT', root)
    assert f"'{root}' contains a space" in failure(set_up, capsys)


def test_it_says_that_it_waits_for_another_set_up(set_up, tmp_path, monkeypatch, capsys):
    taken, flock = [], fcntl.flock

    def note(lock, how):
        taken.append(how)
        if how == fcntl.LOCK_EX:
            held.close()  # the other one has ended
        flock(lock, how)

    with (tmp_path / 'lock').open('w') as held, (tmp_path / 'lock').open('w') as lock:
        flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(set_up.fcntl, 'flock', note)
        set_up.take_turn(lock)
    assert taken == [fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_EX]
    said = 'set-up: another set-up is running in this folder; waiting for it\n'
    assert capsys.readouterr().out == said


def test_a_full_disk_is_told(set_up, monkeypatch, capsys):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(set_up.shutil, 'disk_usage', lambda path: usage(9, 8, 1e9))
    assert '1.0 GB free' in failure(set_up, capsys)


def make_stub_environment(set_up, monkeypatch, script):
    """Let pip be a shell script."""
    set_up.PYTHON.parent.mkdir(parents=True)
    set_up.PYTHON.write_text(f'#!/bin/sh\n{script}\n')
    set_up.PYTHON.chmod(0o755)
    monkeypatch.setattr(set_up, '_runs_pip', lambda version: True)


def test_no_network_is_guessed_from_a_failing_pip(set_up, monkeypatch, capsys):
    make_stub_environment(set_up, monkeypatch, 'echo "ERROR: no route"; exit 1')
    line = failure(set_up, capsys)
    assert 'pip could not install requirements.txt; is there a network? (ERROR: no route' in line
    assert set_up._done('packages') is None
    assert 'ERROR: no route' in set_up.LOG.read_text()


def test_no_package_lists_is_told(set_up, tmp_path, monkeypatch, capsys):
    make_stub_environment(set_up, monkeypatch, 'exit 0')
    give_tools(tmp_path, monkeypatch, TOOLS, 'echo "E: no sources" >&2; exit 100')
    assert 'apt-get could not read package lists' in failure(set_up, capsys)


def test_an_unknown_package_names_the_way_out(set_up, tmp_path, monkeypatch, capsys):
    make_stub_environment(set_up, monkeypatch, 'exit 0')
    script = 'case "$0 $*" in *apt-cache*) echo "E: No packages found"; exit 100;; esac'
    give_tools(tmp_path, monkeypatch, TOOLS, script)
    assert 'apt knows no package ament-cmake' in failure(set_up, capsys)


def test_done_steps_are_skipped(set_up, monkeypatch, capsys):
    make_stub_environment(set_up, monkeypatch, 'echo "$*" >> calls; exit 0')
    set_up.LOG.parent.mkdir()
    monkeypatch.chdir(set_up.ROOT)
    first = set_up.install_requirements(with_ros=False)
    calls = Path('calls').read_text()
    assert 'pip==1' in calls
    assert set_up.install_requirements(with_ros=False) == first
    assert Path('calls').read_text() == calls
    (set_up.ROOT / 'requirements.txt').write_text('pip==1\nnumpy==3\n')
    assert set_up.install_requirements(with_ros=False) != first
    assert len(Path('calls').read_text()) > len(calls)


def test_with_ros_installed_its_own_parts_are_used(set_up, tmp_path, monkeypatch, capsys):
    make_stub_environment(
        set_up, monkeypatch, 'for last; do :; done; [ -f "$last" ] && cat "$last" > chosen; exit 0'
    )
    give_tools(tmp_path, monkeypatch, ['ros2', 'colcon', 'cc', 'c++', 'cmake', 'make'])
    monkeypatch.setenv('PATH', f'{set_up.os.environ["PATH"]}:/bin:/usr/bin')
    monkeypatch.setenv('ROS_DISTRO', 'kilted')
    monkeypatch.chdir(set_up.ROOT)
    assert set_up.installed_ros()
    assert 'ROS 2 kilted is installed and sourced' in capsys.readouterr().out
    set_up.LOG.parent.mkdir()
    set_up.install_requirements(with_ros=True)
    assert Path('chosen').read_text().split() == ['pip==1', 'numpy==2']


def test_ros_without_colcon_is_told(set_up, tmp_path, monkeypatch, capsys):
    give_tools(tmp_path, monkeypatch, [*TOOLS, 'ros2'])
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    assert 'colcon is missing' in failure(set_up, capsys)


def test_the_builders_paths_are_replaced(set_up):
    share = set_up.VENV / 'share' / 'std_msgs' / 'cmake'
    share.mkdir(parents=True)
    (share / 'export.cmake').write_text(
        'A "/opt/python/cp312-cp312/include/python3.12;'
        '/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy"'
    )
    set_up._relocate()
    headers = set_up.sysconfig.get_paths()['include']
    expected = f'A "{headers};{set_up.VENV}/lib/python3.12/site-packages/numpy"'
    assert (share / 'export.cmake').read_text() == expected


def test_an_edit_of_python_needs_no_build_but_a_new_node_does(set_up):
    nodes = set_up.ROOT / 'h2o_ros' / 'nodes'
    nodes.mkdir(parents=True)
    for name in ('package.xml', 'CMakeLists.txt', 'h2o_ros/task.py', 'h2o_ros/nodes/learner.py'):
        (set_up.ROOT / name).write_text('')
    before = set_up._digest(set_up._build_inputs())
    (set_up.ROOT / 'h2o_ros' / 'task.py').write_text('changed')
    assert set_up._digest(set_up._build_inputs()) == before
    (nodes / 'learner.py').write_text('\ndef main():\n')
    assert set_up._digest(set_up._build_inputs()) != before


def test_a_new_service_and_a_changed_one_need_a_build(set_up):
    for name in ('package.xml', 'CMakeLists.txt'):
        (set_up.ROOT / name).write_text('')
    (set_up.ROOT / 'srv').mkdir()
    seen = {set_up._digest(set_up._build_inputs())}
    for text in ('---', 'bool yes\n---'):
        (set_up.ROOT / 'srv' / 'Ask.srv').write_text(text)
        seen.add(set_up._digest(set_up._build_inputs()))
    assert len(seen) == 3


def test_make_lists_what_one_can_do():
    shown = subprocess.run(
        ['make', '-C', SCRIPT.parent.parent], capture_output=True, text=True, check=True
    ).stdout
    for target in ('setup', 'build', 'train', 'test', 'lint', 'bench', 'clean'):
        assert f'\n{target} ' in f'\n{shown}'
