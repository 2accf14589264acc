"""`h2o call`: services by name from a command line of its own, over DDS."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def call(processes, node_environment):
    """Give a function that runs `h2o call` and returns its exit code and what it said."""

    def run(*words):
        command = [str(Path(sys.executable).with_name('h2o')), 'call', *words]
        process = processes.start(command, env=node_environment)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    return run


def test_services_are_listed_and_called_by_name(processes, node_environment, call):
    robot = processes.start_node('virtual_robot', node_environment)
    fault = 'fault:=encoder_dropout motor=0 seconds=0.2'
    assert call('lift') == (0, '/lift: the robot is held upright\n')
    assert call() == (0, '/inject_fault  h2o_ros/srv/InjectFault\n/lift  std_srvs/srv/Trigger\n')
    assert call('/inject_fault', fault) == (
        0,
        '/inject_fault: left motor: no encoder frames, for 0.2 s\n',
    )
    code, said = call('inject_fault', 'fault:=hiccup')
    assert code == 1 and 'hiccup' in said
    for words, expected in (
        (['dance'], ['no service /dance', '/lift']),
        (['lift', 'now'], ["'now'", 'takes no field']),
        (['inject_fault', 'folt:=x'], ["'folt:=x'", 'fault:=(string)']),
    ):
        code, said = call(*words)
        assert code == 2 and said.startswith('error: ') and said.count('\n') == 1
        assert all(word in said for word in expected), said
    robot.send_signal(signal.SIGINT)
    text, _ = robot.communicate(timeout=20)
    assert 'encoder_dropout on request' in text and robot.returncode == 0


@pytest.mark.parametrize('words', [(), ('lift',)])
def test_where_nothing_runs_that_is_said(call, words):
    code, said = call(*words)
    assert code == 2 and 'is anything running in this ROS_DOMAIN_ID?' in said


@pytest.mark.parametrize('after', [0.3, 1.0, 3.0])  # while it loads, joins, and looks around
def test_ctrl_c_is_quiet(processes, node_environment, after):
    command = [str(Path(sys.executable).with_name('h2o')), 'call', 'lift']
    process = processes.start(command, env=node_environment)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert said == ''
    assert process.returncode in (130, -signal.SIGINT)
