"""How nodes reach each other under Fast DDS: by UDP alone, not by its shared memory.

Who speaks through shared memory to a process for the first time looks whether it still reads, and
where it has had nothing to read, waits up to 333 ms for a sign (issue 6535 of Fast DDS; seen with
3.2.3). All that the speaker sends waits, too: a robot's motors were switched off whenever somebody
began to listen to a topic. UDP, on one machine as between two, waits for nobody.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

import rclpy
from rclpy.utilities import get_rmw_implementation_identifier

from h2o_ros.task import share_folder

PROFILE, PROFILE_HERE = 'udp.xml', 'udp_on_this_host.xml'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
# The path of a profile, as Fast DDS 2 reads it, which Jazzy has, and Fast DDS 3.
PATH_2, PATH_3 = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
ONLY_HERE = 'ROS_LOCALHOST_ONLY'  # an older way to say what RANGE says


def join(**options: Any) -> None:
    """Have this process join ROS, as `rclpy.init` does with these options."""
    leave_shared_memory(os.environ, get_rmw_implementation_identifier())
    rclpy.init(**options)


def leave_shared_memory(environment: MutableMapping[str, str], middleware: str) -> None:
    """Set, before a process joins ROS, the profile that lets it use UDP alone.

    Nothing is set where the middleware is not Fast DDS, or the environment says itself how Fast
    DDS is to speak. Nodes for their own machine alone get shared memory from ROS 2 whatever a
    profile says, so theirs does the rest of what ROS 2 does then; with static peers besides,
    which it does not know, they stay as ROS 2 has them.
    """
    told = any(environment.get(name) for name in (PATH_2, PATH_3, TRANSPORTS))
    if told or not middleware.startswith('rmw_fastrtps'):
        return
    here = environment.get(RANGE, '').upper() == 'LOCALHOST' or environment.get(ONLY_HERE) == '1'
    if here and environment.get('ROS_STATIC_PEERS'):
        return
    if here:
        environment.pop(ONLY_HERE, None)
        environment[RANGE] = 'SYSTEM_DEFAULT'  # ROS 2 adds nothing to the profile
    path = PATH_2 if environment.get('ROS_DISTRO') == 'jazzy' else PATH_3
    environment[path] = str(share_folder('config/dds') / (PROFILE_HERE if here else PROFILE))
