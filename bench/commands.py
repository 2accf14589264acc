"""Whether any command, however wrong, leaves the limits: read from the frames on the CAN bus.

Usage: python bench/commands.py [--commands 1000000] [--over-ros 5000]. The driver's own way of a
command in one process, its time passed in; then the node itself, over DDS.
"""

from __future__ import annotations

import argparse
import math
import os
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import can
import numpy as np
from commands_over_ros import over_ros

from h2o_ros.robot.control.control_step import Command, Measurement, RobotControl
from h2o_ros.robot.control.real_time import prefer_punctuality
from h2o_ros.robot.motors.odrive.cansimple import CLOSED_LOOP, Frames
from h2o_ros.robot.motors.odrive.motors import Motors
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.robot.safety.settings import SafetySettings
from h2o_ros.robot.safety.state_machine import MEMORY, Safety
from h2o_ros.robot.safety.torque_limiter import FADE_FROM, TorqueLimiter
from h2o_ros.task import load_task

T = TypeVar('T')

TASK = load_task('standing_still')
SLEWS = (600.0, 100.0)  # N·m/s, half of the commands each
SET_TORQUE = 0x0E
ROUNDING = 1e-5  # N·m; frames carry single precision
FEEDBACK_EVERY = 10  # control steps
HEAT_EVERY = 200  # control steps
HEAT_SEEN = 41  # control steps until the driver has looked at the temperatures
WRONG = 0.01  # share of commands after which the motors must be off
EXTREMES = (3.0000002, -3.0000002, 1e-45, -0.0, 3.4e38, -3.4e38, 1e300, -1e300)
MOTORS = MotorSettings(encoder_timeout=0.1, heartbeat_timeout=1.5, encoder_jump=2.5)


class Wire(can.BusABC):
    """A bus on which every command is decoded as it is sent; feedback is put on it by hand."""

    def __init__(self, hear: Callable[[int, float], None]) -> None:
        super().__init__(channel='wire')
        self._hear = hear
        self._waiting: queue.SimpleQueue[can.Message] = queue.SimpleQueue()
        self._lock, self._taken = threading.Lock(), threading.Event()

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        """Decode a command, by no other code than this line."""
        if msg.arbitration_id & 0x1F == SET_TORQUE:
            self._hear(msg.arbitration_id >> 5, struct.unpack('<f', bytes(msg.data[:4]))[0])

    def feed(self, messages: list[can.Message]) -> None:
        """Let the driver hear frames, and wait until it has."""
        with self._lock:
            self._taken.clear()
            for message in messages:
                self._waiting.put(message)
        self._taken.wait()

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        with self._lock:
            if self._waiting.empty():
                self._taken.set()
        try:
            return self._waiting.get(timeout=timeout), True
        except queue.Empty:
            return None, True


class ArmedAtOnce(Motors):
    """Motors whose loops close without waiting for it; all else is as it is."""

    def arm(self) -> None:
        """Take commands from now on."""
        self.armed = True


class Graph:
    """The topics: an upright robot, and the command under trial."""

    def __init__(self) -> None:
        self.command: Command | None = None

    def measure(self, now: float, positions: np.ndarray, velocities: np.ndarray) -> Measurement:
        """Return an observation that nothing is wrong with."""
        return Measurement(np.zeros((1, 4), np.float32), {'imu/data': 0.001}, '')

    def publish_observation(self, step: int, observation: np.ndarray) -> None:
        """Nobody listens."""

    def publish_applied(self, command: Command, torque: float) -> None:
        """Nobody listens."""

    def take_command(self) -> Command | None:
        """Give the command once."""
        command, self.command = self.command, None
        return command

    def take_stop(self) -> bool:
        """No emergency stop."""
        return False

    def tell(self) -> None:
        """Nobody listens."""


class Trial:
    """One driver under commands; found: how often what was on the bus was wrong, by kind."""

    def __init__(self, slew: float, generator: np.random.Generator) -> None:
        self._generator, self.now = generator, 1000.0
        self.limits = SafetySettings(slew_rate=slew)
        self.found = {'beyond the limits': 0, 'not finite': 0, 'with torque while off': 0}
        self.unpunished = 0  # wrong commands that the motors went on after
        self.trips = self.sent = 0
        self._left, self._last, self._last_at = 0.0, 0.0, self.now
        self._positions, self._speeds = np.zeros(2), np.zeros(2)
        self._temperature, self._heated_at, self._steps = 35.0, 0, 0
        self._fed_at = self.now
        self._frames, self.wire, self._graph = Frames('0.6'), Wire(self._hear), Graph()
        self.motors = ArmedAtOnce(self.wire, MOTORS, clock=lambda: self.now)
        field = TASK.action[0]
        limiter = TorqueLimiter(
            self.limits, field.lower, field.upper, 2.0 * MOTORS.torque_limit, TASK.period
        )
        self._most = field.upper
        self._safety = Safety(self.limits, TASK, limiter)
        self._safety.configured()
        self._feed()
        self._control = RobotControl(self._safety, self.motors, self._graph)

    def run(self, data: list[float]) -> None:
        """Send a command in answer to a new observation; arm first where the motors are off."""
        if not self._safety.moving:
            self._arm()
        self._step()
        self._answer(data)
        self.trips += not self._safety.moving
        self.unpunished += is_wrong(data) == self._safety.moving

    def call(self, function: Callable[[float], T]) -> T:
        """Stand for the control loop."""
        return function(self.now)

    def close(self) -> None:
        """Switch off and end the reader."""
        self._safety.trip('the end')
        self.motors.close()
        self.wire.shutdown()

    def _arm(self) -> None:
        self.now += MEMORY + 0.1
        self._feed(fastest=0.0)  # a person holds it still
        self._steps += self._steps % FEEDBACK_EVERY == FEEDBACK_EVERY - 1
        self._step()
        self._answer([0.0])
        self._last, self._last_at = 0.0, self.now
        obstacles = self._control.arm(self)  # type: ignore[arg-type]
        if obstacles:
            raise SystemExit(f'not armed: {obstacles}')

    def _step(self) -> None:
        self._steps += 1
        self.now += TASK.period * self._generator.choice([0.2, 0.9, 1.0, 1.0, 1.1, 2.0])
        if self._steps % FEEDBACK_EVERY == 0:
            self._feed()
        self._control.step(self.now, 0)

    def _answer(self, data: list[float]) -> None:
        self.now += self._generator.uniform(0.0, 0.004)
        self._graph.command = Command(self._control.number, data, b'', 1, None)
        self._control.serve(self.now)

    def _feed(self, fastest: float = 34.0) -> None:
        """Turn the wheels and heat the motors at random; the driver hears of both."""
        before, took = self._speeds, self.now - self._fed_at
        self._speeds, self._fed_at = self._generator.uniform(-fastest, fastest, 2), self.now
        self._positions += 0.5 * (before + self._speeds) * took if took < 0.5 else 0.0
        if self._steps % HEAT_EVERY == 0:
            self._temperature = float(self._generator.uniform(30.0, 84.0))
            self._heated_at = self._steps
        scale, frames = MOTORS.revolutions_per_radian, []
        for index, node in enumerate(MOTORS.node_ids):
            place = {
                'Pos_Estimate': self._positions[index] * scale[index],
                'Vel_Estimate': self._speeds[index] * scale[index],
            }
            heat = {'FET_Temperature': self._temperature, 'Motor_Temperature': 30.0}
            state = {'Axis_State': CLOSED_LOOP, 'Procedure_Result': 1}
            for name, values in (
                ('Heartbeat', state),
                ('Get_Encoder_Estimates', place),
                ('Get_Temperature', heat),
                ('Get_Bus_Voltage_Current', {'Bus_Voltage': 25.0}),
            ):
                frames.append(self._frames.encode(name, node, values))
                frames[-1].timestamp = time.time() + 1.0
        self.wire.feed(frames)

    def _hear(self, node: int, torque: float) -> None:
        """Judge both wheels' torque; the right motor is mirrored and comes second."""
        if not math.isfinite(torque):
            self.found['not finite'] += 1
        if node == MOTORS.left_node_id:
            self._left = torque
            return
        total = self._left - torque
        self.sent += 1
        if not self._safety.moving:
            self.found['with torque while off'] += total != 0.0
            return
        change = self.limits.slew_rate * min(TASK.period, self.now - self._last_at) + ROUNDING
        up, down = (self._bound(sign) for sign in (1.0, -1.0))
        # What is beyond a limit that has just come down may come down as fast as it may change.
        highest = max(up, min(self._most, self._last - change + 2 * ROUNDING)) + ROUNDING
        lowest = min(-down, max(-self._most, self._last + change - 2 * ROUNDING)) - ROUNDING
        good = lowest <= total <= highest and abs(total - self._last) <= change
        self.found['beyond the limits'] += not good
        self._last, self._last_at = total, self.now

    def _bound(self, sign: float) -> float:
        """Return how much torque of a sign heat and speed leave, N·m."""
        fastest = float(np.max(sign * self._speeds))
        left = (self.limits.speed_limit - fastest) / ((1.0 - FADE_FROM) * self.limits.speed_limit)
        cool = 1.0
        if self._steps - self._heated_at > HEAT_SEEN:
            cool = (MOTORS.fet_temperature_limit - self._temperature) / self.limits.derating_band
        return self._most * min(1.0, max(0.0, left)) * min(1.0, max(0.0, cool))


def is_wrong(data: list[float]) -> bool:
    """Say whether the motors must be off after a command."""
    return len(data) != 1 or not math.isfinite(data[0])


def commands(number: int, generator: np.random.Generator) -> Iterator[list[float]]:
    """Yield commands: sensible, extreme, tiny, huge, not finite, of a wrong length."""
    wrong: list[list[float]] = [[math.nan], [math.inf], [-math.inf], [], [0.1, 0.1], [0.0] * 1000]
    for _ in range(number):
        kind = generator.random()
        if kind < WRONG:
            yield wrong[generator.integers(len(wrong))]
        elif kind < 0.4:
            yield [float(generator.uniform(-4.0, 4.0))]
        elif kind < 0.6:
            yield [float(generator.choice(EXTREMES))]
        else:
            size = 10.0 ** generator.uniform(-45.0, 308.0)
            yield [float(size * generator.choice([-1.0, 1.0]))]


def in_process(number: int) -> str:
    """Run the driver's own code and return its line."""
    generator = np.random.default_rng(0)
    sent = trips = unpunished = 0
    found: dict[str, int] = {}
    for slew in SLEWS:
        trial = Trial(slew, generator)
        for data in commands(number // len(SLEWS), generator):
            trial.run(data)
        trial.close()
        sent, trips = sent + trial.sent, trips + trial.trips
        unpunished += trial.unpunished
        found = {kind: found.get(kind, 0) + count for kind, count in trial.found.items()}
    faults = ', '.join(f'{count} {kind}' for kind, count in found.items())
    return (
        f'{number} commands in one process: {sent} pairs of frames, of which {faults}; motors off '
        f'after {trips} commands; {unpunished} wrong ones did not do so, or good ones did'
    )


def main() -> None:
    """Print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--commands', type=int, default=1_000_000)
    parser.add_argument('--over-ros', type=int, default=5_000)
    options = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', '94')
    prefer_punctuality()
    if options.commands:
        print(in_process(options.commands), flush=True)
    if options.over_ros:
        print(over_ros(commands(options.over_ros, np.random.default_rng(1))), flush=True)


if __name__ == '__main__':
    main()
