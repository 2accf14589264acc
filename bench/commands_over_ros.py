"""Random commands to the driver's node over DDS, and what it sent over the CAN bus for them."""

from __future__ import annotations

import array
import math
import threading
import time
from collections.abc import Iterator

import numpy as np
import rclpy
from live_robot import BusListener, Heard, Person, Processes
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Imu

from h2o_ros.msg import Action, DriverStatus, Observation
from h2o_ros.nodes.core.base_node import EVERY, LATEST, STREAM_NEWEST
from h2o_ros.nodes.core.sensor_messages import imu_message
from h2o_ros.robot.control.real_time import prefer_punctuality, run_in_real_time
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation.controllers import EmulatedMotors
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.task import load_task

PRIORITY = 42  # under SCHED_FIFO, above the driver's: it is the robot
IMU_EVERY = 3  # ms
SLEW = 100.0  # N·m/s
LARGEST = 3.4e38  # that is finite in single precision
# What is not measured here may not stop the driver on a busy machine.
PATIENT = (
    'sensor_timeout:=0.1', 'observation_timeout:=0.1', 'command_timeout:=0.25',
    'missed_deadlines:=20', 'encoder_timeout:=0.1', 'heartbeat_timeout:=1.5',
)  # fmt: skip


class Stand:
    """A robot on a stand, whose wheels do not turn, and a pilot who answers with commands."""

    def __init__(self, commands: Iterator[list[float]]) -> None:
        self.given, self.done, self.wild = 0, False, False
        self._commands = commands
        self._node = rclpy.create_node('stand')
        self._imu = self._node.create_publisher(Imu, 'imu/data', EVERY)
        self._action = self._node.create_publisher(Action, 'action', LATEST)
        self._node.create_subscription(Observation, 'observation', self._answer, STREAM_NEWEST)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        settings = MotorSettings(interface='udp_multicast')
        self._bus = open_bus(settings)
        self._motors = EmulatedMotors(self._bus, settings)
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._run, self._spin)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._node.destroy_node()
        self._bus.shutdown()

    def _answer(self, message: Observation) -> None:
        data: list[float] | None = [0.0]
        if self.wild:
            data = next(self._commands, None)
            if data is None:
                self.wild, self.done = False, True
                return
            self.given += 1
        finite = [np.clip(each, -LARGEST, LARGEST) if np.isfinite(each) else each for each in data]
        numbers = array.array('f', finite)
        source = Action.SOURCE_POLICY
        action = Action(header=message.header, step=message.step, source=source, data=numbers)
        self._action.publish(action)

    def _run(self) -> None:
        count = 0
        while not self._ending.wait(0.001):
            now = time.monotonic()
            # The wheels of a driven robot do not stand still to the last bit.
            self._motors.step(now, np.full(2, 1e-4 * math.sin(100.0 * now)), np.zeros(2))
            count += 1
            if count % IMU_EVERY == 0:
                stamp = self._node.get_clock().now().to_msg()
                self._imu.publish(imu_message(0.01, 0.0, stamp))

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)


def over_ros(commands: Iterator[list[float]]) -> str:
    """Give the commands to the node, arm it again after each trip, and return the line."""
    processes, reasons = Processes(), []
    listener, person = BusListener(), Person()
    stand = Stand(commands)
    prefer_punctuality()
    run_in_real_time(PRIORITY)
    words = ('interface:=udp_multicast', f'slew_rate:={SLEW}', *PATIENT)
    processes.start('hardware_driver', *words)
    try:
        person.wait(lambda: person.is_in(DriverStatus.UNCONFIGURED), 'driver')
        person.change('CONFIGURE')
        person.wait(person.is_ready, 'ready')
        person.change('ACTIVATE')
        while not stand.done:
            person.wait(lambda: person.is_in(DriverStatus.ARMED), 'armed')
            stand.wild = True
            person.wait(lambda: stand.done or not person.is_in(DriverStatus.ARMED), 'end', 600.0)
            if not stand.done:
                stand.wild = False
                reasons.append(person.last_words())
                person.wait(person.is_ready, 'ready')
                person.call('arm')
    finally:
        processes.end()
        stand.close()
        person.close()
        listener.close()
    beyond, pairs = judge(listener.heard)
    refused = sum('command refused' in reason for reason in reasons)
    return (
        f'{stand.given} commands over DDS: {pairs} pairs of frames, of which {beyond} beyond the '
        f'limits, {listener.broken} not finite or broken; {len(reasons)} trips, {refused} of them '
        'because a command was refused'
    )


def judge(heard: list[Heard]) -> tuple[int, int]:
    """Return how many pairs of torques are beyond clamp or slew, and how many there are."""
    task = load_task('standing_still')
    largest, change = task.action[0].upper, SLEW * task.period + 1e-4
    torques = [frame for frame in heard if frame.name == 'Set_Input_Torque']
    left = [frame.value for frame in torques if frame.node_id == 0]
    right = [frame.value for frame in torques if frame.node_id == 1]
    last, beyond = 0.0, abs(len(left) - len(right))
    for one, other in zip(left, right, strict=False):
        total = one - other  # the right motor is mirrored
        cut = total == 0.0
        beyond += abs(total) > largest + 1e-5 or not (cut or abs(total - last) <= change)
        last = total
    return beyond, len(left)
