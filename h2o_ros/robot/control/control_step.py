"""One control step of the robot: sensors in, torque out, safety between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from h2o_ros.errors import RobotError
from h2o_ros.robot.control.loop import ControlLoop
from h2o_ros.robot.motors.odrive.motors import Motors, Statistics
from h2o_ros.robot.safety.state_machine import Reading, Safety, State

REMEMBERED = 16  # newest observations whose answers may still come
SLOW_STEPS = 20  # control steps between two looks at what changes slowly


class Command(NamedTuple):
    """One message with an action.

    step: of the observation answered. data: N·m. sender: who published it, as far as it can be
    told. message: what `Graph.publish_applied` gets back.
    """

    step: int
    data: Sequence[float]
    sender: bytes
    source: int
    message: Any


class Measurement(NamedTuple):
    """What the task's sensors say; ages in s by topic.

    observation: (1, O), None where it could not be computed; fault says why, if somebody erred.
    same: s, by topic, for which fresh messages have said the same. lean: rad, as in Reading.
    """

    observation: np.ndarray | None
    ages: Mapping[str, float]
    fault: str
    same: Mapping[str, float] = MappingProxyType({})
    lean: float = math.nan


class Graph(Protocol):
    """The topics as the control steps see them; all of it runs in the loop's thread."""

    def measure(self, now: float, positions: np.ndarray, velocities: np.ndarray) -> Measurement:
        """Stamp this step, publish the wheels (rad, rad/s) and compute the observation."""

    def publish_observation(self, step: int, observation: np.ndarray) -> None:
        """Publish an observation (1, O) under this step's stamp."""

    def publish_applied(self, command: Command, torque: float) -> None:
        """Tell what was sent to the motors for a command, N·m."""

    def take_command(self) -> Command | None:
        """Return the newest command, once."""

    def take_stop(self) -> bool:
        """Say whether an emergency stop was asked for since the last call."""

    def tell(self) -> None:
        """Tell people that the state has changed."""


class RobotControl:
    """Runs in the loop's thread, but for `arm`."""

    def __init__(self, safety: Safety, motors: Motors, graph: Graph) -> None:
        self.safety, self._motors, self._graph = safety, motors, graph
        self.statistics: Statistics = motors.statistics()
        self.number = 0  # of the newest observation
        self.torque = 0.0  # N·m, sent last
        self.source = 0  # of the newest command, or the last before the motors were cut out
        self.missing = 0  # steps, while armed, to which no command came in time
        self.measurement = Measurement(None, {}, '')
        self.error: Exception | None = None  # that ended the loop
        self._headroom = math.inf
        self._published: dict[int, float] = {}
        self._answered = 0
        self._sent_at = self._step_at = -math.inf
        self._arming = False
        self._told = safety.state
        self._steps = 0

    def wake_at(self) -> float:
        """Say when the running command's time is up."""
        return self.safety.cut_at

    def serve(self, now: float) -> None:
        """Take what has arrived; the answer to a good command is on the bus at once."""
        if self._graph.take_stop():
            self.stop_for_emergency(now, 'emergency stop on the topic emergency_stop')
        command = self._graph.take_command()
        if command is not None:
            self._take(now, command)
        self.safety.expire(now)
        self._follow()

    def step(self, now: float, misses_in_row: int) -> None:
        """Measure, judge, publish; repeat the last command where no new one came since."""
        self.safety.misses_in_row = misses_in_row
        if self._steps % SLOW_STEPS == 0:
            self._look_at_statistics()
        self._steps += 1
        silent = self._sent_at <= self._step_at
        self._step_at = now
        velocities = self._motors.velocities()
        self.measurement = measured = self._graph.measure(
            now, self._motors.positions(), velocities
        )
        self.safety.sense(now, self._reading(now, velocities, measured))
        self._follow()
        self._publish(now, measured)
        if silent and self.safety.moving:
            self.missing += 1
            self._send(now)

    def encoder_age(self, now: float) -> float:
        """Return s since the older one of both motors' newest encoder frames."""
        return self._motors.age(now)

    def arm(self, loop: ControlLoop) -> list[str]:
        """Close the motors' loops and let torque flow; return what stands against it instead.

        Runs in a thread that may block, which the motors' own arming does for up to 5 s.
        """
        obstacles = loop.call(self.safety.obstacles)
        if obstacles:
            return obstacles
        self._arming = True
        try:
            self._motors.arm()
            obstacles = loop.call(self._begin)
        except RobotError as err:
            obstacles = [str(err)]
        finally:
            self._arming = False
        if obstacles:
            self._motors.disarm()
        return obstacles

    def stop_for_emergency(self, _now: float, reason: str) -> None:
        """End all torque; on the motors' side too, where it stays until it is cleared."""
        self.safety.stop_for_emergency(reason)
        self._follow()
        self._motors.estop()

    def reset_emergency_stop(self, _now: float) -> None:
        """Take the emergency stop back, on the motors' side too; nothing moves.

        RobotError where the motors have latched another error, which would be cleared with it.
        """
        others = self._motors.errors_beside_stop()
        if others:
            raise RobotError(f'{"; ".join(others)}; look at it, and call clear_errors first')
        self._motors.clear_errors()
        self.safety.reset_emergency_stop(configured=True)
        self._follow()

    def clear_errors(self, _now: float) -> None:
        """Clear the errors that the motors have latched; RobotError while torque flows."""
        if self.safety.moving:
            raise RobotError('the motors are armed; deactivate first')
        self._motors.clear_errors()

    def fail(self, error: Exception) -> None:
        """Stop the motors: the loop has failed."""
        self.error = error
        self.safety.trip(f'the driver failed: {error!r}')
        self._motors.disarm()
        self._graph.tell()

    def _begin(self, now: float) -> list[str]:
        if not self._arming:
            return ['arming was given up']  # who asked waits no longer, and the motors are off
        obstacles = self.safety.arm(now)
        if not obstacles and not self._send(now):
            obstacles = [self.safety.reason]
        self._follow()
        return obstacles

    def _take(self, now: float, command: Command) -> None:
        if not self.safety.accept(now, command.sender):
            return
        first = command.step > self._answered
        observed_at = self._published.get(command.step, -math.inf) if first else -math.inf
        if not self.safety.take(now, observed_at, command.data, command.sender):
            return
        self._answered = command.step
        if self.safety.state not in (State.TRIPPED, State.EMERGENCY_STOPPED):
            self.source = command.source  # else it stays who drove when the motors went off
        if self.safety.moving and self._send(now):
            self._graph.publish_applied(command, self.torque)

    def _send(self, now: float) -> bool:
        torque = self.safety.torque(now)
        try:
            sent = self._motors.send(np.full(2, 0.5 * torque))
        except RobotError as err:
            self.safety.trip(str(err))
            self._follow()
            return False
        self.torque, self._sent_at = float(sent.sum()), now
        return True

    def _reading(self, now: float, velocities: np.ndarray, measured: Measurement) -> Reading:
        faults = self._motors.faults(now)
        if measured.fault:
            faults.append(measured.fault)
        if not self.safety.moving and not self._arming:
            # What has passed trips, and is told by that; it does not stand against arming again.
            self._motors.forget_events()
        speeds = float(velocities[0]), float(velocities[1])
        return Reading(
            measured.observation,
            measured.ages,
            speeds,
            self._headroom,
            faults,
            measured.same,
            measured.lean,
        )

    def _publish(self, now: float, measured: Measurement) -> None:
        observation = measured.observation
        if observation is None or not np.isfinite(observation).all():
            return
        if not self.safety.is_fresh(measured.ages):
            return
        self.number += 1
        self._published[self.number] = now
        self._published.pop(self.number - REMEMBERED, None)
        self._graph.publish_observation(self.number, observation)

    def _look_at_statistics(self) -> None:
        self.statistics = now = self._motors.statistics()
        limits = self._motors.settings
        left = np.concatenate(
            [
                limits.fet_temperature_limit - now.fet_temperature,
                limits.motor_temperature_limit - now.motor_temperature,
            ]
        )
        known = left[np.isfinite(left)]
        self._headroom = float(known.min()) if len(known) else math.inf

    def _follow(self) -> None:
        """Bring the motors where the state says; tell people where it changed."""
        if not self.safety.moving and self._motors.armed and not self._arming:
            self._motors.disarm()
            self.torque = 0.0
        if self.safety.state != self._told:
            self._told = self.safety.state
            self._graph.tell()
