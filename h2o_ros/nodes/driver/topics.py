"""The hot topics of the hardware driver: sensors and commands in, observation and torque out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool

from h2o_ros.data.live_observation import Observer
from h2o_ros.errors import ConfigurationError
from h2o_ros.msg import Action, Observation
from h2o_ros.nodes.core.base_node import LATCHED, STREAM, STREAM_NEWEST, message_class, to_floats
from h2o_ros.nodes.core.manual_subscription import OwnSubscription, Waiter
from h2o_ros.robot.control.control_step import Command, Measurement
from h2o_ros.robot.description import WHEELS
from h2o_ros.task import Task

JOINTS = 'joint_states'
POLL = 0.002  # s
UNIT_ERROR = 0.02  # of a quaternion's squared length
# An emergency stop counts from any publisher. A subscription that wants what was said before it
# came hears latched publishers only, so there is a second one that asks for nothing.
STOPS = (LATCHED, STREAM)


class Sensor:
    """One topic of the task's observation: its newest message, and how old that is."""

    def __init__(self, node: Node, topic: str, kind: str, observer: Observer) -> None:
        self.topic, self.message = topic, None
        self._node, self._observer = node, observer
        self._subscription = OwnSubscription(
            node, message_class(topic, kind), topic, STREAM_NEWEST
        )
        self._arrived = self._looked = self._changed = -math.inf
        self._numbers: tuple[float, ...] | None = None
        self._measured: int | None = None  # ns, the message's own stamp

    def look(self, now: float) -> float:
        """Take what has come and return the newest message's age in s at `now`.

        The age is that of its arrival, or of its stamp where that is older. A clock that was set
        shows as an age, either way.
        """
        taken = self._subscription.take_newest()
        stamp = self._node.get_clock().now().nanoseconds
        if taken is not None:
            self.message, info = taken
            waited = 1e-9 * (stamp - info['received_timestamp'])
            self._arrived = max(self._looked, now - max(0.0, waited))
            numbers = self._observer.read(self.topic, self.message)
            if numbers is None or numbers != self._numbers:
                self._numbers, self._changed = numbers, self._arrived
            header = getattr(self.message, 'header', None)
            # Zero: a stamp that nobody set.
            self._measured = Time.from_msg(header.stamp).nanoseconds or None if header else None
        self._looked = now
        own_age = 0.0 if self._measured is None else abs(1e-9 * (stamp - self._measured))
        return max(now - self._arrived, own_age)

    @property
    def same(self) -> float:
        """For how long, in s, messages have come that all say the same."""
        return self._arrived - self._changed if self.message is not None else 0.0


class DriverTopics:
    """What `RobotControl` sees of the graph. `tell`: called where the state changes."""

    def __init__(self, node: Node, task: Task, tell: Callable[[], None]) -> None:
        self._node, self.tell = node, tell
        self._observer = Observer(task)
        expected = self._observer.topics.get(JOINTS, 'sensor_msgs/msg/JointState')
        if expected != 'sensor_msgs/msg/JointState':
            raise ConfigurationError(
                f'task {task.name}: topic {JOINTS} is published by the driver as '
                f'sensor_msgs/msg/JointState, the task expects {expected}; correct the task file'
            )
        self.sensors = [
            Sensor(node, topic, kind, self._observer)
            for topic, kind in self._observer.topics.items()
            if topic != JOINTS
        ]
        self._commands = OwnSubscription(node, Action, 'action', STREAM_NEWEST)
        self._stops = [OwnSubscription(node, Bool, 'emergency_stop', qos) for qos in STOPS]
        self.waiter = Waiter(node, [self._commands, *self._stops])
        self._joints = node.create_publisher(JointState, JOINTS, STREAM)
        self._observation = node.create_publisher(Observation, 'observation', STREAM)
        self._applied = node.create_publisher(Action, 'applied_action', STREAM)
        self._stamp = node.get_clock().now().to_msg()

    def measure(self, now: float, positions: np.ndarray, velocities: np.ndarray) -> Measurement:
        """Stamp this step, publish the wheels (rad, rad/s) and compute the observation."""
        ages = {sensor.topic: sensor.look(now) for sensor in self.sensors}
        same = {sensor.topic: sensor.same for sensor in self.sensors}
        self._stamp = self._node.get_clock().now().to_msg()
        joints = JointState(name=list(WHEELS), position=positions, velocity=velocities)
        joints.header.stamp = self._stamp
        self._joints.publish(joints)
        messages: dict[str, Any] = {sensor.topic: sensor.message for sensor in self.sensors}
        if any(message is None for message in messages.values()):
            return Measurement(None, ages, '')
        lean = largest_lean(messages.values())
        messages[JOINTS] = joints
        try:
            return Measurement(self._observer.observe(messages), ages, '', same, lean)
        except ValueError as err:
            return Measurement(None, ages, str(err), same, lean)

    def publish_observation(self, step: int, observation: np.ndarray) -> None:
        """Publish an observation (1, O) under this step's stamp."""
        message = Observation(step=step, batch=1, data=to_floats(observation))
        message.header.stamp = self._stamp
        self._observation.publish(message)

    def publish_applied(self, command: Command, torque: float) -> None:
        """Tell what was sent to the motors for a command, N·m."""
        asked = command.message
        self._applied.publish(
            Action(
                header=asked.header,
                step=asked.step,
                policy_version=asked.policy_version,
                source=asked.source,
                data=to_floats(np.array([torque])),
            )
        )

    def take_command(self) -> Command | None:
        """Return the newest command, once."""
        taken = self._commands.take()
        if taken is None:
            return None
        message, info = taken
        # Jazzy does not tell who published a message; there the graph alone shows a second one.
        sender = (info.get('publisher_gid') or {}).get('data', b'')
        return Command(message.step, message.data, sender, message.source, message)

    def take_stop(self) -> bool:
        """Say whether an emergency stop was asked for; false on the topic takes nothing back."""
        asked = False
        for stops in self._stops:
            while (taken := stops.take()) is not None:
                asked |= taken[0].data
        return asked

    def find_sensors(self, oldest: float, timeout: float, watched: float) -> list[str]:
        """Wait for a message on each topic, watch them for a while, and say what is not fit.

        oldest: s, the age that no message may reach. timeout, watched: s.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end and any(
            s.look(time.monotonic()) > oldest for s in self.sensors
        ):
            time.sleep(POLL)
        worst = {sensor.topic: 0.0 for sensor in self.sensors}
        end = time.monotonic() + watched
        while time.monotonic() < end:
            time.sleep(POLL)
            for sensor in self.sensors:
                worst[sensor.topic] = max(worst[sensor.topic], sensor.look(time.monotonic()))
        return [text for s in self.sensors if (text := _unfit(s, worst[s.topic], oldest))]

    def publishers(self) -> int:
        """Count who publishes on the topic of commands."""
        return self._count('action')

    def crowded_sensors(self) -> tuple[str, ...]:
        """Name the sensors' topics with more than one publisher."""
        return tuple(s.topic for s in self.sensors if self._count(s.topic) > 1)

    def _count(self, topic: str) -> int:
        """Count who publishes on a topic under its name in the graph: rclpy does not remap it."""
        return self._node.count_publishers(self._node.resolve_topic_name(topic))


def largest_lean(messages: Iterable[Any]) -> float:
    """Return the angle in rad from the vertical to the z axis of an IMU; NaN where none tells.

    Of several the largest. An IMU without orientation sends a quaternion that is none.
    """
    found = math.nan
    for message in messages:
        if isinstance(message, Imu):
            q = message.orientation
            across, along = q.x * q.x + q.y * q.y, q.z * q.z + q.w * q.w
            if abs(across + along - 1.0) <= UNIT_ERROR:
                found = max(2.0 * math.atan2(math.sqrt(across), math.sqrt(along)), found)
    return found


def _unfit(sensor: Sensor, worst: float, oldest: float) -> str:
    """Say in a line why a sensor cannot be used, empty where it can."""
    if sensor.message is None:
        return f'{sensor.topic}: no message; start the sensor, or check its topic and namespace'
    if worst > oldest:
        return (
            f'{sensor.topic}: a message was {1e3 * worst:.0f} ms old (limit '
            f'{1e3 * oldest:.0f} ms); let the sensor send more often, and set the clocks alike'
        )
    if isinstance(sensor.message, Imu) and sensor.message.orientation_covariance[0] == -1.0:
        return f'{sensor.topic}: carries no orientation; use an IMU driver or filter that gives it'
    return ''
