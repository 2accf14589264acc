"""The virtual robot in real time: body, motor controllers and IMU, one physics step at a time."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from h2o_ros.sim.attended_robot import AttendedRobot
from h2o_ros.sim.plants import WHEELS

LONGEST_DELAY = 0.2  # s
OWN_FAULTS = ('imu_silence', 'extra_delay', 'repair')
LONGEST_SILENCE = 60.0  # s


class WheelMotors(Protocol):
    """Both motor controllers, as h2o_ros.robot.emulated_motors has them."""

    def step(self, now: float, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Take wheel angles and rates (2,) in rad and rad/s; return the torques (2,) in N·m."""

    def inject(self, name: str, **values: Any) -> None:
        """Begin a fault; ValueError for one that is unknown."""

    def repair(self) -> None:
        """End every fault; what has latched stays latched."""


@dataclass(frozen=True)
class ImuSample:
    """One measurement: monotonic time in s, pitch in rad, its rate in rad/s."""

    time: float
    pitch: float
    pitch_rate: float


class LiveRobot:
    """Moves by one physics step a call; motors and IMU are all that the outside sees of it."""

    def __init__(self, robot: AttendedRobot, motors: WheelMotors, imu_period: float) -> None:
        """imu_period: s between IMU samples."""
        self.robot, self.motors = robot, motors
        self._imu_period = imu_period
        self._imu_due = -np.inf
        self._imu_silent_until = -np.inf
        self._imu_delay = 0.0
        self._samples: deque[ImuSample] = deque()
        self._torque_delay = 0  # physics steps
        self._torques: deque[np.ndarray] = deque()
        self._now = 0.0
        self._lock = threading.Lock()

    def step(self, now: float) -> list[ImuSample]:
        """Pass one physics step at monotonic time now; return the IMU samples that are due."""
        with self._lock:
            return self._step(now)

    def inject(self, fault: str, **values: float | str) -> None:
        """Begin a fault, from any thread; ValueError says in a line why it cannot.

        imu_silence duration: no IMU message for so many seconds. extra_delay torque, imu: seconds
        by which the torques act and the IMU's messages come later, until told otherwise. repair
        ends what still goes on. Every other fault is the motors'.
        """
        with self._lock:
            self._inject(fault, values)

    def _step(self, now: float) -> list[ImuSample]:
        self._now = now
        readings = self.robot.readings()
        positions = np.array([readings[f'{name}_position'] for name in WHEELS])
        velocities = np.array([readings[f'{name}_velocity'] for name in WHEELS])
        self.robot.advance(self._delayed(self.motors.step(now, positions, velocities)))
        if now >= self._imu_due:
            following = self._imu_due + self._imu_period
            self._imu_due = following if following > now else now + self._imu_period
            if now >= self._imu_silent_until:
                sample = ImuSample(now, readings['pitch'], readings['pitch_rate'])
                self._samples.append(sample)
        due = []
        while self._samples and self._samples[0].time + self._imu_delay <= now:
            due.append(self._samples.popleft())
        return due

    def _inject(self, fault: str, values: dict[str, float | str]) -> None:
        if fault == 'imu_silence':
            limits = {'duration': (1.0, LONGEST_SILENCE)}
            self._imu_silent_until = self._now + _take(fault, values, limits)['duration']
        elif fault == 'extra_delay':
            limits = {'torque': (0.0, LONGEST_DELAY), 'imu': (0.0, LONGEST_DELAY)}
            delays = _take(fault, values, limits)
            self._imu_delay = delays['imu']
            self._torque_delay = round(delays['torque'] / self.robot.plant.period)
        elif fault == 'repair':
            _take(fault, values, {})
            self._imu_silent_until, self._imu_delay, self._torque_delay = self._now, 0.0, 0
            self.motors.repair()
        else:
            self._inject_into_motors(fault, values)

    def _inject_into_motors(self, fault: str, values: dict[str, float | str]) -> None:
        try:
            self.motors.inject(fault, **values)
        except ValueError as err:
            raise ValueError(f'{err}; the robot itself has {", ".join(OWN_FAULTS)}') from err

    def _delayed(self, torque: np.ndarray) -> np.ndarray:
        """Return the torque of the injected number of steps ago."""
        self._torques.append(torque)
        while len(self._torques) > self._torque_delay + 1:
            self._torques.popleft()
        return self._torques[0]


def parse_fault(text: str) -> tuple[str, dict[str, float | str]]:
    """Split 'name key=value ...', values numbers where they can be; ValueError where it cannot."""
    words = text.split()
    if not words:
        raise ValueError('no fault is named; write its name and values, as imu_silence duration=1')
    values: dict[str, float | str] = {}
    for word in words[1:]:
        key, _, value = word.partition('=')
        if not key.isidentifier() or not value:
            raise ValueError(f'{word!r}: expected key=value')
        try:
            values[key] = float(value)
        except ValueError:
            values[key] = value
    return words[0], values


def _take(
    fault: str, given: dict[str, float | str], known: dict[str, tuple[float, float]]
) -> dict[str, float]:
    """Return the numbers of a fault: known maps each to its default and its greatest value."""
    for key, value in given.items():
        if key not in known:
            raise ValueError(f'{fault} has no {key!r}; it takes {", ".join(known) or "nothing"}')
        if isinstance(value, str) or not 0.0 <= value <= known[key][1]:
            raise ValueError(f'{fault}: {key} must be 0 to {known[key][1]} s, got {value}')
    return {key: float(given.get(key, default)) for key, (default, _) in known.items()}
