"""What a process of ours speaks by: UDP alone under Fast DDS, whoever else is on the machine."""

import os
import sys
from pathlib import Path

import pytest
from ros_client import collect, listening

from h2o_ros.msg import Observation
from h2o_ros.nodes.common import LATEST
from h2o_ros.nodes.transport import leave_shared_memory

FAST_DDS = 'rmw_fastrtps_cpp'
HERE = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
SEEN = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_STATIC_PEERS': 'robot'}


def changed(environment, middleware=FAST_DDS):
    """Return what is set anew."""
    after = dict(environment)
    leave_shared_memory(after, middleware)
    return {name: value for name, value in after.items() if environment.get(name) != value}


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [
        ('', 'FASTDDS_DEFAULT_PROFILES_FILE'),
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
@pytest.mark.parametrize('here', [HERE, {'ROS_LOCALHOST_ONLY': '1'}, {}, SEEN])
def test_each_gets_the_profile_of_who_may_see_it(distribution, variable, here):
    after = changed({'ROS_DISTRO': distribution} | here)
    only_here = here not in ({}, SEEN)
    discovery = after.pop('ROS_AUTOMATIC_DISCOVERY_RANGE', '')
    assert discovery == ('SYSTEM_DEFAULT' if only_here else '')
    assert list(after) == [variable]
    profile = Path(after[variable])
    assert profile.is_file()
    assert ('127.0.0.1' in profile.read_text(encoding='utf-8')) == only_here


def test_the_older_variable_does_not_bring_shared_memory_back():
    environment = {'ROS_LOCALHOST_ONLY': '1'}
    leave_shared_memory(environment, FAST_DDS)
    assert 'ROS_LOCALHOST_ONLY' not in environment


@pytest.mark.parametrize(
    'environment',
    [
        {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
        {'FASTDDS_DEFAULT_PROFILES_FILE': 'mine.xml'} | HERE,
        {'FASTRTPS_DEFAULT_PROFILES_FILE': 'mine.xml', 'ROS_DISTRO': 'jazzy'},
        {'ROS_STATIC_PEERS': 'robot'} | HERE,
    ],
)
def test_who_says_how_to_speak_is_obeyed(environment):
    assert changed(environment) == {}


def test_another_middleware_is_let_alone():
    assert changed(HERE, 'rmw_cyclonedds_cpp') == {}


@pytest.mark.parametrize('seen_by', ['LOCALHOST', 'SUBNET'])
def test_a_node_has_no_shared_memory_and_is_heard_by_who_has(
    seen_by, processes, node_environment, ros_domain, wait_until
):
    environment = node_environment | {'ROS_AUTOMATIC_DISCOVERY_RANGE': seen_by}
    robot = processes.start_node('lockstep_robot', environment)
    with listening(ros_domain) as node:
        observations = collect(node, Observation, 'observation', LATEST)
        wait_until(lambda: observations, 20, 'an observation')
        assert shared_memory_of(os.getpid())  # the listener's
    assert shared_memory_of(robot.pid) == []
    robot.terminate()
    assert robot.wait(timeout=20) == 0


def shared_memory_of(process_id):
    """Return the files of Fast DDS that a process has in its memory."""
    maps = Path(f'/proc/{process_id}/maps').read_text(encoding='utf-8')
    return [line for line in maps.splitlines() if '/dev/shm/fastdds' in line]


CALLED = """
import os
from h2o_ros.nodes import call
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
call.DISCOVERY = 0.1
print(call.main([]), '/dev/shm/fastdds' in open('/proc/self/maps').read())
"""


def test_a_person_who_calls_a_service_has_none_either(processes, node_environment, tmp_path):
    command = [sys.executable, '-c', CALLED]
    caller = processes.start(command, env=node_environment, cwd=tmp_path)
    text, _ = caller.communicate(timeout=30)
    assert text.endswith('2 False\n')
