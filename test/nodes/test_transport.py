"""What a process of ours speaks by: UDP alone under Fast DDS, whoever else is on the machine."""

import os
import sys
from pathlib import Path

import pytest
from ros_client import collect, listening

from h2o_ros.msg import Observation
from h2o_ros.nodes.core.base_node import LATEST
from h2o_ros.nodes.core.dds_transport import choose_transport

FAST_DDS = 'rmw_fastrtps_cpp'
# What a shell may say of who is found; a sourced ROS says SUBNET for everything.
SHELLS = [
    {},
    {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'},
    {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'},
    {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'},
    {'ROS_LOCALHOST_ONLY': '1'},
    {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_STATIC_PEERS': 'robot;10.0.0.7'},
]


def chosen(environment, middleware=FAST_DDS):
    """Return the environment after it."""
    after = dict(environment)
    choose_transport(after, middleware)
    return after


@pytest.mark.parametrize(
    ('distribution', 'variable'),
    [
        ('', 'FASTDDS_DEFAULT_PROFILES_FILE'),
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
@pytest.mark.parametrize('network', ['', 'host', 'subnet', 'nonsense'])
@pytest.mark.parametrize('shell', SHELLS)
def test_only_who_asks_for_it_is_reached_by_others(distribution, variable, network, shell):
    after = chosen({'ROS_DISTRO': distribution, 'H2O_ROS_NETWORK': network} | shell)
    subnet = network == 'subnet'
    expected = 'SUBNET' if subnet else 'SYSTEM_DEFAULT'
    assert after['ROS_AUTOMATIC_DISCOVERY_RANGE'] == expected
    assert ('ROS_STATIC_PEERS' in after) == (subnet and 'ROS_STATIC_PEERS' in shell)
    assert 'ROS_LOCALHOST_ONLY' not in after  # it would bring shared memory back
    profile = Path(after[variable])
    assert profile.is_file()
    text = profile.read_text(encoding='utf-8')
    assert ('<address>127.0.0.1</address>\n        </interfaceWhiteList>' in text) != subnet


@pytest.mark.parametrize(
    'environment',
    [
        {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
        {'FASTDDS_DEFAULT_PROFILES_FILE': 'mine.xml'},
        {'FASTRTPS_DEFAULT_PROFILES_FILE': 'mine.xml', 'ROS_DISTRO': 'jazzy'},
    ],
)
@pytest.mark.parametrize('shell', SHELLS)
def test_who_says_how_to_speak_is_obeyed(environment, shell):
    assert chosen(environment | shell) == environment | shell


@pytest.mark.parametrize(('network', 'expected'), [('host', 'LOCALHOST'), ('subnet', 'SUBNET')])
def test_another_middleware_is_told_who_may_be_found(network, expected):
    given = {'H2O_ROS_NETWORK': network, 'ROS_STATIC_PEERS': 'robot'}
    after = chosen(given, 'rmw_cyclonedds_cpp')
    assert after.pop('ROS_AUTOMATIC_DISCOVERY_RANGE') == expected
    assert after == (given if network == 'subnet' else {'H2O_ROS_NETWORK': 'host'})


@pytest.mark.parametrize('network', ['host', 'subnet'])
def test_a_node_has_no_shared_memory_and_is_heard_by_who_has(
    network, processes, node_environment, ros_domain, wait_until
):
    environment = node_environment | {'H2O_ROS_NETWORK': network}
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
    return [line for line in maps.splitlines() if any(name in line for name in SHARED_MEMORY)]


# Fast DDS 3, which Kilted has, and Fast DDS 2 of Jazzy.
SHARED_MEMORY = ('/dev/shm/fastdds_', '/dev/shm/fastrtps_')
CALLED = f"""
import os
from h2o_ros.nodes import call
call.DISCOVERY = 0.1
maps = open('/proc/self/maps').read()
print(call.main([]), any(name in maps for name in {SHARED_MEMORY}))
"""


def test_a_person_who_calls_a_service_has_none_either(processes, node_environment, tmp_path):
    command = [sys.executable, '-c', CALLED]
    caller = processes.start(command, env=node_environment, cwd=tmp_path)
    text, _ = caller.communicate(timeout=30)
    assert text.endswith('2 False\n')
