"""ROS messages of an IMU and of wheel encoders."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Imu, JointState

from h2o_ros.robot.description import WHEELS


def imu_message(pitch: float, pitch_rate: float, stamp: Time) -> Imu:
    """Return what an IMU at the body says: orientation (x, y, z, w) about +y, rate in rad/s."""
    message = Imu()
    message.header.stamp = stamp
    message.header.frame_id = 'imu_link'
    message.orientation.y = math.sin(pitch / 2)
    message.orientation.w = math.cos(pitch / 2)
    message.angular_velocity.y = pitch_rate
    message.linear_acceleration_covariance[0] = -1.0  # not measured (REP-145)
    return message


def joints_message(readings: dict[str, float], stamp: Time) -> JointState:
    """Return both wheels' angle (rad) and rate (rad/s), relative to the body."""
    message = JointState(
        name=list(WHEELS),
        position=np.array([readings[f'{name}_position'] for name in WHEELS]),
        velocity=np.array([readings[f'{name}_velocity'] for name in WHEELS]),
    )
    message.header.stamp = stamp
    return message
