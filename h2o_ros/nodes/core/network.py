"""Who may reach the nodes over the network: this machine alone, unless a person opens it."""

from __future__ import annotations

from collections.abc import Mapping

NETWORK = 'H2O_ROS_NETWORK'  # environment variable of a node; a launch has the argument `network`
HOST, SUBNET = 'host', 'subnet'


def is_open(environment: Mapping[str, str]) -> bool:
    """Say whether other machines may reach a node with this environment."""
    return environment.get(NETWORK, HOST) == SUBNET


def warning(domain: str) -> str:
    """Return what a person must know who opens the nodes to other machines.

    domain: the ROS domain, empty for 0.
    """
    return (
        f'network:={SUBNET}: every machine of the network that uses ROS domain {domain or 0} can '
        'see these nodes, record, stop and drive the robot (cmd_vel, arm, policy); without it, '
        'this machine alone can'
    )
