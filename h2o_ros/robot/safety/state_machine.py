"""The driver's state machine: when torque may flow, and why it stopped.

Knows neither threads nor ROS nor the bus: whoever owns it passes the time in and carries out what
it says. docs/safety.md draws it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from h2o_ros.robot.safety.settings import OVERSPEED, SafetySettings
from h2o_ros.robot.safety.tilt_check import TiltCheck
from h2o_ros.robot.safety.torque_limiter import TorqueLimiter
from h2o_ros.task import Task

CUT_EARLY = 0.005  # s, so that the zero is on the bus when the command's time is up
MEMORY = 1.0  # s for which a refused command or a second sender stands against arming


class State(IntEnum):
    """The numbers of DriverStatus."""

    UNCONFIGURED = 0
    DISARMED = 1
    ARMED = 2
    RAMPING_DOWN = 3
    TRIPPED = 4
    EMERGENCY_STOPPED = 5


class Reading(NamedTuple):
    """What one control step knows.

    observation: (1, O), None where it could not be computed. ages: s, by topic. speeds: rad/s, of
    both wheels, in the torque's sense. headroom: °C, from the hottest part to its limit; infinite
    where unknown. faults: sentences of sensors and motors. same: s, by topic, for which fresh
    messages have said the same. lean: rad, of the IMU's z axis from the vertical; NaN where no
    sensor tells.
    """

    observation: np.ndarray | None
    ages: Mapping[str, float]
    speeds: tuple[float, float]
    headroom: float
    faults: Sequence[str]
    same: Mapping[str, float] = MappingProxyType({})
    lean: float = math.nan


class Safety:
    """Decides over the torque. Only `arm` leads to ARMED, and only a caller's hand calls it."""

    def __init__(self, settings: SafetySettings, task: Task, limiter: TorqueLimiter) -> None:
        self._settings, self._task, self._limiter = settings, task, limiter
        self._theta = task.observation_names.index('theta')
        self._theta_dot = (
            task.observation_names.index('theta_dot')
            if 'theta_dot' in task.observation_names
            else None
        )
        self._tilt_check = TiltCheck()
        self.state = State.UNCONFIGURED
        self.reason = ''
        self._stopped_by = ''  # what the newest emergency stop was, whatever was refused since
        self.trips = 0
        self.refused = 0
        self.publishers = 1  # on the topic of commands, as the graph shows
        self.crowded_sensors: tuple[str, ...] = ()  # topics with more than one publisher
        self.misses_in_row = 0
        self._reading: Reading | None = None
        self._wish = 0.0
        self._command_at = -math.inf
        self._sender: bytes | None = None
        self._refusal, self._refused_at = '', -math.inf
        self._ramp_end = math.inf

    @property
    def moving(self) -> bool:
        """Whether torque may flow."""
        return self.state in (State.ARMED, State.RAMPING_DOWN)

    @property
    def cut_at(self) -> float:
        """When torque must end unless a fresh command comes; infinite where none flows."""
        if not self.moving:
            return math.inf
        return self._command_at + self._settings.command_timeout - CUT_EARLY

    def command_age(self, now: float) -> float:
        """Seconds since the last fresh command."""
        return now - self._command_at

    def configured(self) -> None:
        """Begin to watch; an emergency stop stays."""
        if self.state == State.UNCONFIGURED:
            self.state, self.reason = State.DISARMED, ''

    def cleaned_up(self) -> None:
        """End watching; an emergency stop stays."""
        self._reading, self._command_at = None, -math.inf
        if self.state != State.EMERGENCY_STOPPED:
            self.state, self.reason = State.UNCONFIGURED, ''

    def sense(self, now: float, reading: Reading) -> None:
        """Judge a control step; trips where torque flows and must not."""
        self._reading = reading
        if reading.observation is not None and self._theta_dot is not None:
            row = reading.observation[0]
            self._tilt_check.update(now, float(row[self._theta]), float(row[self._theta_dot]))
        if not self.moving:
            return
        causes = self._causes(now)
        if causes:
            self.trip('; '.join(causes))
        elif self.state == State.RAMPING_DOWN and now >= self._ramp_end:
            self.state, self.reason = State.DISARMED, ''

    def accept(self, now: float, sender: bytes) -> bool:
        """Say whether a command's sender is the one publisher that may command; else trips.

        sender: as far as it can be told; another one is accepted when the first was silent.
        """
        if sender == self._sender or now - self._command_at > MEMORY:
            return True
        self._refuse(now, 'a second publisher sends commands on the topic action; end one')
        return False

    def take(self, now: float, observed_at: float, data: Sequence[float], sender: bytes) -> bool:
        """Take a command; True where it is fresh and good, and `torque` may be sent.

        observed_at: when the observation that it answers was published, for the first time
        answered. data: N·m, one number. A command that makes no sense trips.
        """
        if now - observed_at > self._settings.observation_timeout:
            self.refused += 1
            return False
        if len(data) != 1 or not math.isfinite(data[0]):
            wrong = 'not finite' if len(data) == 1 else f'{len(data)} numbers, expected one'
            self._refuse(now, f'command refused: {wrong}; is another task running?')
            return False
        self._sender, self._command_at, self._wish = sender, now, float(data[0])
        return True

    def is_fresh(self, ages: Mapping[str, float]) -> bool:
        """Say whether sensors of these ages (s) may be acted upon."""
        return all(age <= self._settings.sensor_timeout for age in ages.values())

    def torque(self, now: float) -> float:
        """Return what to send now: the newest command after the limits, N·m; 0 at rest."""
        if not self.moving or self._reading is None:
            return 0.0
        share = 1.0
        if self.state == State.RAMPING_DOWN:
            share = min(1.0, max(0.0, (self._ramp_end - now) / self._settings.ramp_time))
        reading = self._reading
        return self._limiter.apply(self._wish, now, reading.speeds, reading.headroom, share)

    def expire(self, now: float) -> None:
        """Trip where the command's time is up."""
        if now >= self.cut_at:
            self.trip(self._silence(now))

    def obstacles(self, now: float) -> list[str]:
        """Say what stands against arming, each a clause; empty where nothing does."""
        if self.state == State.EMERGENCY_STOPPED:
            return [f'{self._stopped_by}; call reset_emergency_stop first']
        if self.state == State.UNCONFIGURED:
            return ['not configured']
        if self.moving:
            return ['armed already']
        return [*self._causes(now), *self._posture()]

    def arm(self, now: float) -> list[str]:
        """Let torque flow, from zero on; return what stands against it instead."""
        obstacles = self.obstacles(now)
        if not obstacles:
            self._limiter.reset(now)
            self.state, self.reason = State.ARMED, ''
        return obstacles

    def ramp_down(self, now: float) -> None:
        """Begin to end the torque where it flows."""
        if self.state == State.ARMED:
            self.state, self._ramp_end = State.RAMPING_DOWN, now + self._settings.ramp_time

    def trip(self, reason: str) -> None:
        """End the torque for good, until somebody arms again; the first reason stays."""
        if self.moving:
            self.state, self.reason = State.TRIPPED, reason
            self.trips += 1

    def stop_for_emergency(self, reason: str) -> None:
        """End the torque; only a reset and then `arm` undo it."""
        if self.state != State.EMERGENCY_STOPPED:
            self.state, self.reason = State.EMERGENCY_STOPPED, reason
            self._stopped_by = reason
            self.trips += 1

    def reset_emergency_stop(self, configured: bool) -> None:
        """Take the emergency stop back; torque stays off."""
        if self.state == State.EMERGENCY_STOPPED:
            self.state = State.DISARMED if configured else State.UNCONFIGURED
            self.reason = 'the emergency stop was reset; call arm'

    def _refuse(self, now: float, why: str) -> None:
        self.refused += 1
        self._refusal, self._refused_at = why, now
        self.trip(why)

    def _causes(self, now: float) -> list[str]:
        """Say what forbids torque, whether or not it flows."""
        reading, settings = self._reading, self._settings
        if reading is None:
            return ['no control step has run yet']
        causes = list(reading.faults)
        causes += [
            f'{topic}: {_age(age)} (limit {1e3 * settings.sensor_timeout:.0f} ms)'
            for topic, age in reading.ages.items()
            if not age <= settings.sensor_timeout
        ]
        causes += [
            f'{topic}: the same numbers for {1e3 * time:.0f} ms (limit '
            f'{1e3 * settings.sensor_frozen:.0f} ms); a sensor has noise, is it frozen?'
            for topic, time in reading.same.items()
            if not time <= settings.sensor_frozen
        ]
        fastest = max(map(abs, reading.speeds))
        if not fastest <= OVERSPEED * settings.speed_limit:
            limit = OVERSPEED * settings.speed_limit
            causes.append(f'a wheel turns at {fastest:.1f} rad/s (limit {limit:g})')
        if not reading.headroom > 0.0:
            causes.append('a motor is at its temperature limit')
        causes += self._observed_causes(reading)
        if self.misses_in_row >= settings.missed_deadlines:
            causes.append(f'{self.misses_in_row} control steps in a row missed their deadline')
        if self.publishers > 1:
            causes.append(
                f'{self.publishers} publishers on the topic action; end all but one (one that '
                'died is seen for some seconds more)'
            )
        causes += [
            f"{topic}: has more than one publisher; end all but the robot's own"
            for topic in self.crowded_sensors
        ]
        if now - self._refused_at < MEMORY:
            causes.append(self._refusal)
        elif now - self._command_at >= settings.command_timeout - CUT_EARLY:
            causes.append(self._silence(now))
        return causes

    def _observed_causes(self, reading: Reading) -> list[str]:
        observation, limit = reading.observation, self._settings.tilt_limit
        if observation is None:
            return []  # whoever could not compute it named the fault
        if not np.isfinite(observation).all():
            return ['the observation is not finite']
        theta = float(observation[0, self._theta])
        if self._task.compute_terminated(observation)[0]:
            own = self._task.termination
            told = f'limit {own.limit:.2f}' if own.name == 'fallen' else f'task {self._task.name}'
            return [f'the robot has fallen: tilt {theta:.2f} rad ({told})']
        if not abs(theta) <= limit:
            return [f'the robot has fallen: tilt {theta:.2f} rad (limit {limit:g})']
        if reading.lean > limit:
            return [
                f'the robot has fallen: it leans by {reading.lean:.2f} rad (limit {limit:g}); '
                "while it stands, its IMU's z axis must point up"
            ]
        complaint = self._tilt_check.complaint(self._settings.tilt_difference)
        return [complaint] if complaint else []

    def _posture(self) -> list[str]:
        reading, settings, found = self._reading, self._settings, []
        if reading is None or reading.observation is None:
            return ['no observation yet']
        theta = float(reading.observation[0, self._theta])
        if not abs(theta) <= settings.arm_tilt:
            found.append(
                f'not upright: tilt {theta:.2f} rad (limit {settings.arm_tilt:g}); hold it upright'
            )
        elif reading.lean > settings.arm_tilt:
            found.append(
                f'not upright: it leans by {reading.lean:.2f} rad (limit {settings.arm_tilt:g}); '
                'hold it upright'
            )
        fastest = max(map(abs, reading.speeds))
        if not fastest <= settings.arm_wheel_speed:
            found.append(
                f'a wheel turns at {fastest:.1f} rad/s (limit {settings.arm_wheel_speed:g}); '
                'hold it still'
            )
        return found

    def _silence(self, now: float) -> str:
        age = self.command_age(now)
        since = f'for {1e3 * age:.0f} ms' if math.isfinite(age) else 'so far'
        return f'no fresh command {since} (limit {1e3 * self._settings.command_timeout:.0f} ms)'


def _age(age: float) -> str:
    return f'{1e3 * age:.0f} ms old' if math.isfinite(age) else 'no message so far'
