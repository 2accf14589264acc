"""Another machine reaches no node unless `network:=subnet` opens it; it is a network namespace."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOST, CABLE, FAR_END = 'h2o_peer', 'h2o_near', 'h2o_far'
HERE, THERE = '10.74.164.1', '10.74.164.2'
# Prints how many nodes, and messages of `observation`, another machine knows of within 6 s.
PEER = """
import sys, time
import rclpy
from rclpy.executors import SingleThreadedExecutor
from h2o_ros.msg import Action, Observation
from h2o_ros.nodes.core.base_node import LATEST, STREAM
rclpy.init()
node = rclpy.create_node('peer')
heard = []
node.create_subscription(Observation, 'observation', heard.append, STREAM)
publisher = node.create_publisher(Action, 'action', LATEST)
executor = SingleThreadedExecutor()
executor.add_node(node)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end and not heard:
    executor.spin_once(timeout_sec=0.1)
others = [name for name in node.get_node_names() if name != 'peer']
print(len(others), len(heard), publisher.get_subscription_count())
"""
# Each a way to find machines: by multicast, by name, and with a profile of the peer's own.
WAYS = {
    'multicast': {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'},
    'static peer': {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_STATIC_PEERS': HERE},
    'static peer alone': {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF', 'ROS_STATIC_PEERS': HERE},
    'peer of the loopback': {
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_STATIC_PEERS': f'{HERE};127.0.0.1',
    },
    'UDP by name': {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4', 'ROS_STATIC_PEERS': HERE},
}  # fmt: skip


def ip(words, check=True):
    return subprocess.run(['ip', *words.split()], check=check, capture_output=True, text=True)


@pytest.fixture
def other_machine():
    """Give the command that runs another one on a machine at the other end of a cable."""
    try:
        remove_machine()
        ip(f'netns add {HOST}')
        ip(f'link add {CABLE} type veth peer name {FAR_END} netns {HOST}')
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f'no network namespace can be made here ({err})')
    for words in (
        f'addr add {HERE}/24 dev {CABLE}',
        f'link set {CABLE} up',
        f'-n {HOST} addr add {THERE}/24 dev {FAR_END}',
        f'-n {HOST} link set {FAR_END} up',
        f'-n {HOST} link set lo up',
    ):
        ip(words)
    yield ['ip', 'netns', 'exec', HOST]
    remove_machine()


def remove_machine():
    ip(f'link del {CABLE}', check=False)
    ip(f'netns del {HOST}', check=False)


def ask_peer(other_machine, environment, way, seconds):
    """Return how many nodes a peer found, messages it heard, and listeners it could command."""
    command = [*other_machine, sys.executable, '-c', PEER, str(seconds)]
    given = {k: v for k, v in environment.items() if not k.startswith(('ROS_AUTO', 'ROS_STATIC'))}
    run = subprocess.run(
        command, env=given | WAYS[way], cwd='/', capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return [int(number) for number in run.stdout.split()[-3:]]


# What the shell of whoever starts the robot may say beside it.
@pytest.mark.parametrize(
    'shell',
    [
        {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'},
        {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_STATIC_PEERS': THERE},
    ],
    ids=['sourced ROS', 'static peers'],
)
def test_nobody_else_finds_hears_or_commands_a_node(
    other_machine, processes, node_environment, ros_domain, shell
):
    robot = processes.start_node('lockstep_robot', node_environment | shell)
    local = ask_peer([], node_environment, 'multicast', 20.0)
    assert local[0] >= 1 and local[1:] == [1, 1], 'who is on this machine does'
    found = {way: ask_peer(other_machine, node_environment, way, 5.0) for way in WAYS}
    assert found == {way: [0, 0, 0] for way in WAYS}
    assert robot.poll() is None
    robot.terminate()
    assert robot.wait(timeout=20) == 0


def test_a_network_that_is_opened_is_open(other_machine, processes, node_environment):
    robot = processes.start_node(
        'lockstep_robot', node_environment | {'H2O_ROS_NETWORK': 'subnet'}
    )
    found = ask_peer(other_machine, node_environment, 'multicast', 30.0)
    assert found[0] >= 1 and found[1:] == [1, 1]
    robot.terminate()
    assert robot.wait(timeout=20) == 0
