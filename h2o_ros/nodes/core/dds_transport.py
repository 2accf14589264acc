"""How nodes reach each other, and who may reach them: by default this machine alone.

A sourced ROS sets ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET for everything, so that variable says
nothing of what a person wants; H2O_ROS_NETWORK=subnet does.

Under Fast DDS they speak by UDP alone, not by its shared memory. Who speaks through shared memory
to a process for the first time looks whether it still reads, and where it has had nothing to read,
waits up to 333 ms for a sign (issue 6535 of Fast DDS; seen with 3.2.3). All that the speaker sends
waits, too: a robot's motors were switched off whenever somebody began to listen to a topic. UDP,
on one machine as between two, waits for nobody.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

import rclpy
from rclpy.utilities import get_rmw_implementation_identifier

from h2o_ros.nodes.core.network import is_open
from h2o_ros.task import share_folder

PROFILE, PROFILE_HERE = 'udp.xml', 'udp_on_this_host.xml'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
# The path of a profile, as Fast DDS 2 reads it, which Jazzy has, and Fast DDS 3.
PATH_2, PATH_3 = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
# Others that say who is found: an older way to say what RANGE says, and machines by name.
ONLY_HERE, PEERS = 'ROS_LOCALHOST_ONLY', 'ROS_STATIC_PEERS'


def join(**options: Any) -> None:
    """Have this process join ROS, as `rclpy.init` does with these options."""
    choose_transport(os.environ, get_rmw_implementation_identifier())
    rclpy.init(**options)


def choose_transport(environment: MutableMapping[str, str], middleware: str) -> None:
    """Set, before a process joins ROS, who may reach it, and by what.

    Nothing is set if the environment says itself how Fast DDS is to speak. Another middleware is
    told who may be found, and no more.
    """
    if any(environment.get(name) for name in (PATH_2, PATH_3, TRANSPORTS)):
        return
    subnet = is_open(environment)
    if not subnet:
        environment.pop(PEERS, None)
    environment.pop(ONLY_HERE, None)
    if not middleware.startswith('rmw_fastrtps'):
        environment[RANGE] = 'SUBNET' if subnet else 'LOCALHOST'
        return
    # For LOCALHOST ROS 2 brings shared memory back, whatever a profile says; to the profile of
    # this machine, which does the rest of that, SYSTEM_DEFAULT adds nothing.
    environment[RANGE] = 'SUBNET' if subnet else 'SYSTEM_DEFAULT'
    path = PATH_2 if environment.get('ROS_DISTRO') == 'jazzy' else PATH_3
    environment[path] = str(share_folder('config/dds') / (PROFILE if subnet else PROFILE_HERE))
