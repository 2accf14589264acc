"""A node does not outlive the launch that started it, however that ends."""

import os
import signal
import subprocess
import sys

import pytest

from h2o_ros.launching.without_ros.installation import built_prefix
from h2o_ros.nodes.core.launcher import LAUNCHER, has_ended

# Stands for `ros2 launch`: it starts one node, and is killed.
START = """
import os, subprocess, sys, time
environment = os.environ | {sys.argv[1]: str(os.getpid())}
print(subprocess.Popen(sys.argv[2:], env=environment).pid, flush=True)
time.sleep(60)
"""


def test_a_process_that_no_launch_started_has_none():
    assert not has_ended('')


def test_a_launch_that_runs_has_not_ended():
    assert not has_ended(str(os.getpid()))


def test_a_launch_that_was_killed_has_ended_also_before_anybody_noticed(wait_until):
    killed = subprocess.Popen(['sleep', '60'])
    killed.kill()
    wait_until(lambda: has_ended(str(killed.pid)), 5, 'a zombie')
    killed.wait()
    assert has_ended(str(killed.pid))


@pytest.mark.parametrize('moment', ['while it loads', 'while it runs'])
def test_a_node_ends_with_its_launch(processes, node_environment, wait_until, running, moment):
    node = str(built_prefix(os.environ) / 'lib' / 'h2o_ros' / 'robot_bridge')
    command = [sys.executable, '-c', START, LAUNCHER, node, '--ros-args', '--log-level', 'debug']
    launch = processes.start(command, env=node_environment)
    number = int(launch.stdout.readline())
    if moment == 'while it runs':
        line = ''
        while 'rcl' not in line:  # what ROS says of a node that it makes
            line = launch.stdout.readline()
            assert line, 'the node has ended'
    launch.send_signal(signal.SIGKILL)
    wait_until(lambda: not running(number), 20, 'the node ends')
    assert 'the launch has ended without ending this node: it ends' in launch.stdout.read()
