"""A robot on a stand for tests of the driver: emulated motors, an IMU, a pilot, and a client."""

from __future__ import annotations

import collections
import contextlib
import math
import threading
import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from machine_watch import MACHINE
from motor_bench import punctual, trembling
from ros_client import ask, call, listening
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool

from h2o_ros.msg import Action, DriverStatus, Observation
from h2o_ros.nodes.core.base_node import (
    EVERY,
    LATCHED,
    LATEST,
    STREAM_EVERY,
    STREAM_NEWEST,
    to_floats,
)
from h2o_ros.nodes.core.sensor_messages import imu_message
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation.controllers import EmulatedMotors
from h2o_ros.robot.motors.settings import MotorSettings

# A loaded machine is late; what a test is not about gets as much time as may be given.
PATIENT = {
    'sensor_timeout': 0.1,
    'observation_timeout': 0.1,
    'command_timeout': 0.25,
    'missed_deadlines': 20,
    'encoder_timeout': 0.1,
    'heartbeat_timeout': 1.5,
    'status_timeout': 5.0,
}
IMU_PERIOD = 0.0025  # s
# Of the driver's lifecycle.
CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


def words(**changes):
    """Return a node's command line words for the patient parameters and some others."""
    values = {'interface': 'udp_multicast', **PATIENT, **changes}
    return [word for name, value in values.items() for word in ('-p', f'{name}:={value}')]


class Stand:
    """Motors on the domain's bus and an IMU on its topic, moved by hand; a thread of its own.

    torques: (2,) N·m that the wheels were given, each millisecond or so, with its time.
    longest_pause: s between two of them; the machine had something else to do.
    """

    def __init__(self, domain, node, firmware='0.6', watchdog=0.1):
        self.settings = MotorSettings(
            interface='udp_multicast',
            channel=f'239.74.163.{1 + domain % 250}',
            firmware=firmware,
        )
        self.pitch, self.imu_on = 0.02, True
        self.positions, self.velocities = np.array([0.3, 0.4]), np.zeros(2)
        self.torques: list[tuple[float, np.ndarray]] = []
        self.longest_pause = 0.0
        self._node = node
        self._bus = open_bus(self.settings)
        self.motors = EmulatedMotors(self._bus, self.settings, watchdog=watchdog)
        self._imu = node.create_publisher(Imu, 'imu/data', EVERY)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def last_torque(self):
        return self.torques[-1][1]

    def largest_torque(self, since):
        """Return the largest torque at a wheel since a time of the monotonic clock, N·m."""
        recent = [np.abs(torque).max() for at, torque in list(self.torques) if at > since]
        return max(recent, default=0.0)

    def end(self):
        self._ending.set()
        self._thread.join()
        self._bus.shutdown()

    def _run(self):
        due = before = time.monotonic()
        while not self._ending.wait(0.001):
            now = time.monotonic()
            self.longest_pause = max(self.longest_pause, now - before)
            before = now
            positions = self.positions + trembling(now)
            self.torques.append((now, self.motors.step(now, positions, self.velocities)))
            if self.imu_on and now >= due:
                due = max(due + IMU_PERIOD, now)
                stamp = self._node.get_clock().now().to_msg()
                self._imu.publish(imu_message(self.pitch, 0.01 * math.sin(now), stamp))


class Client:
    """Drives the driver as a pilot and as a person would, and hears what it says."""

    def __init__(self, node, wait_until):
        self.node, self._wait_until = node, wait_until
        self.answers = lambda observation: [0.5]
        self.status = DriverStatus()
        self.states: list[int] = []
        self._obstacles: collections.deque[str] = collections.deque(maxlen=4)
        self.diagnostics: list[str] = []
        self.observations: list[Observation] = []
        self.joints: list[JointState] = []
        self.applied: list[Action] = []
        self._action = node.create_publisher(Action, 'action', LATEST)
        node.create_subscription(Observation, 'observation', self._answer, STREAM_NEWEST)
        node.create_subscription(DriverStatus, 'driver_status', self._on_status, LATCHED)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        node.create_subscription(JointState, 'joint_states', self.joints.append, STREAM_EVERY)
        node.create_subscription(Action, 'applied_action', self.applied.append, STREAM_EVERY)
        self.stop_topic = node.create_publisher(Bool, 'emergency_stop', LATCHED)
        self._transitions = node.create_client(ChangeState, 'hardware_driver/change_state')

    def transition(self, number, patience=25.0):
        """Make a transition of the driver's lifecycle; True where it succeeded."""
        request = ChangeState.Request()
        request.transition.id = number
        return ask(self.node, self._transitions, request, self._wait_until, patience).success

    def configure(self):
        assert self.transition(CONFIGURE), self.status.reason
        self.await_ready()

    def activate(self):
        assert self.transition(ACTIVATE), self.status.reason

    def call(self, service):
        """Call a Trigger of the driver; return success and message."""
        answer = call(self.node, service, self._wait_until)
        return answer.success, answer.message

    def arm(self):
        success, message = self.call('arm')
        assert success, message

    def await_state(self, state, patience=10.0):
        self._wait_until(lambda: self.status.state == state, patience, f'state {state}')

    def await_ready(self):
        """Wait until nothing stands against arming, and has not for some status messages."""
        self._obstacles.clear()
        self._wait_until(lambda: list(self._obstacles) == [''] * 4, 10.0, 'no obstacles')

    def await_diagnosis(self, words):
        """Wait until /diagnostics says so."""
        self._wait_until(lambda: any(words in text for text in self.diagnostics), 5.0, words)

    def _answer(self, observation):
        self.observations.append(observation)
        data = self.answers(observation)
        if data is not None:
            self._action.publish(
                Action(
                    header=observation.header,
                    step=observation.step,
                    policy_version=7,
                    source=Action.SOURCE_BALANCE_CONTROLLER,
                    data=to_floats(np.array(data)),
                )
            )

    def _on_status(self, status):
        self.status = status
        self.states.append(status.state)
        self._obstacles.append(status.obstacles)

    def _on_diagnostics(self, message):
        self.diagnostics += [f'{s.level[0]} {s.name}: {s.message}' for s in message.status]


@contextlib.contextmanager
def stand_and_client(domain, wait_until, **options):
    """Give a robot on its stand and a client, both in the domain."""
    with punctual(), listening(domain, 'driver_test') as node:
        stand = Stand(domain, node, **options)
        client = Client(node, wait_until)
        try:
            yield stand, client
        finally:
            stand.end()
            MACHINE.note(max(stand.longest_pause, client.status.largest_lateness))
