"""Bags for tests: columns of the wheel-legged robot as messages, serialised by rosbags."""

from pathlib import Path

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from h2o_ros.data.bags.rosbags_backend import typestore_for

TYPES = {
    '/imu/data': 'sensor_msgs/msg/Imu',
    '/joint_states': 'sensor_msgs/msg/JointState',
    '/action': 'h2o_ros/msg/Action',
}
PERIOD = 5_000_000
START = 100 * 1_000_000_000


class Messages:
    """Serialised messages of the standing task's topics; every method takes a stamp in ns."""

    def __init__(self):
        self.store = typestore_for(TYPES.values())

    def make(self, kind, /, **values):
        return self.store.types[kind](**values)

    def raw(self, message):
        return bytes(self.store.serialize_cdr(message, message.__msgtype__))

    def header(self, stamp, frame=''):
        time = self.make('builtin_interfaces/msg/Time', sec=stamp // 10**9, nanosec=stamp % 10**9)
        return self.make('std_msgs/msg/Header', stamp=time, frame_id=frame)

    def vector(self, x=0.0, y=0.0, z=0.0):
        return self.make('geometry_msgs/msg/Vector3', x=x, y=y, z=z)

    def imu(
        self, stamp, theta, theta_dot, frame='imu_link', acceleration=(0.0, 0.0, 9.81), norm=1.0
    ):
        x, y, z, w = 0.0, norm * np.sin(theta / 2), 0.0, norm * np.cos(theta / 2)
        return self.raw(
            self.make(
                'sensor_msgs/msg/Imu',
                header=self.header(stamp, frame),
                orientation=self.make('geometry_msgs/msg/Quaternion', x=x, y=y, z=z, w=w),
                orientation_covariance=np.zeros(9),
                angular_velocity=self.vector(y=theta_dot),
                angular_velocity_covariance=np.zeros(9),
                linear_acceleration=self.vector(*acceleration),
                linear_acceleration_covariance=np.zeros(9),
            )
        )

    def joints(self, stamp, positions, velocities, names=('left_wheel', 'right_wheel'), effort=()):
        return self.raw(
            self.make(
                'sensor_msgs/msg/JointState',
                header=self.header(stamp),
                name=list(names),
                position=np.array(positions, float),
                velocity=np.array(velocities, float),
                effort=np.array(effort, float),
            )
        )

    def action(self, stamp, values, step=0):
        return self.raw(
            self.make(
                'h2o_ros/msg/Action',
                header=self.header(stamp),
                source=1,
                step=step,
                policy_version=0,
                data=np.array(values, np.float32),
            )
        )

    def step(self, stamp, theta=0.0, theta_dot=0.0, x=0.0, x_dot=0.0, torque=0.0):
        """All three messages of one control step: {topic: bytes}."""
        wheel, wheel_speed = x / 0.065 - theta, x_dot / 0.065 - theta_dot
        return {
            '/imu/data': self.imu(stamp, theta, theta_dot),
            '/joint_states': self.joints(stamp, [wheel] * 2, [wheel_speed] * 2),
            '/action': self.action(stamp, [torque]),
        }


def write_bag(path, entries, types=TYPES, storage='mcap', compression='none', version=9):
    """Write [(topic, log time in ns, bytes)] with rosbags; returns the bag's folder."""
    types = {topic: types[topic] for topic in types}
    writer = Writer(Path(path), version=version, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    store = typestore_for(types.values())
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in types.items()
        }
        for topic, stamp, message in entries:
            writer.write(connections[topic], stamp, message)
    return Path(path)


def columns_to_entries(columns, stamps=None, messages=None):
    """Make messages of (N, 5) rows theta, theta_dot, x, x_dot, torque; logged at their stamps."""
    messages = messages or Messages()
    if stamps is None:
        stamps = START + PERIOD * np.arange(len(columns))
    return [
        (topic, int(stamp), raw)
        for stamp, row in zip(stamps, columns, strict=True)
        for topic, raw in messages.step(int(stamp), *row).items()
    ]
