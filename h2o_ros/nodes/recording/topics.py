"""Topics that the recorder subscribes to, and what it reads of a message without unpacking it."""

from __future__ import annotations

import struct
from typing import Any

from h2o_ros.task import Task

# What driver, pilot and people say while a robot runs, beside the task's own topics.
ROBOT_TOPICS = {
    'observation': 'h2o_ros/msg/Observation',
    'applied_action': 'h2o_ros/msg/Action',
    'shadow_action': 'h2o_ros/msg/Action',
    'driver_status': 'h2o_ros/msg/DriverStatus',
    'pilot_status': 'h2o_ros/msg/PilotStatus',
    'emergency_stop': 'std_msgs/msg/Bool',
    'recording_note': 'std_msgs/msg/String',
    '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray',
}

# Those among them that come at each control step, best effort.
STREAMS = ('observation', 'applied_action', 'shadow_action')

HEADER_SIZE = 12  # bytes of a serialised message up to the end of its stamp


def topics_of(task: Task) -> dict[str, str]:
    """Return topic and type of everything the task's fields come from."""
    sources = [s for field in task.observation for s in field.sources]
    sources += [s for field in task.action for s in field.sources]
    return {source.topic: source.type for source in sources}


def robot_topics(stamped_cmd_vel: bool) -> dict[str, str]:
    """Return topic and type of what is recorded in takes beside the task's topics."""
    kind = 'TwistStamped' if stamped_cmd_vel else 'Twist'
    return {**ROBOT_TOPICS, 'cmd_vel': f'geometry_msgs/msg/{kind}'}


def begins_with_header(kind: Any) -> bool:
    """Say whether messages of a class begin with a std_msgs/Header."""
    types = list(kind.get_fields_and_field_types().values())
    return types[:1] == ['std_msgs/Header']


def header_stamp(raw: bytes) -> int:
    """Return the stamp (ns) of a serialised message that begins with a std_msgs/Header, 0 if torn.

    The log time is when a thing was measured, not when it came through: a recording made on a busy
    machine plays back as it was.
    """
    if len(raw) < HEADER_SIZE:
        return 0
    order = '<' if raw[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw, 4)
    return seconds * 10**9 + nanoseconds
