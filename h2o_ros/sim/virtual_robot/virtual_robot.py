"""The virtual robot in real time: body, motor controllers and IMU, one physics step at a time."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from h2o_ros.sim.virtual_robot.handled_robot import AttendedRobot
from h2o_ros.sim.wheel_legged.plants import WHEELS

LONGEST_DELAY = 0.2  # s
# What happens for a number of seconds.
PASSING = {
    'imu_silence': 'no IMU message',
    'imu_frozen': 'the IMU repeats itself',
    'orientation_frozen': "the IMU's pitch stays as it is and its rate does not",
}
OWN_FAULTS = (*PASSING, 'extra_delay', 'repair')
LONGEST_SILENCE = 60.0  # s


class WheelMotors(Protocol):
    """Both motor controllers, as h2o_ros.robot.motors.emulation.controllers has them."""

    def step(self, now: float, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Take wheel angles and rates (2,) in rad and rad/s; return the torques (2,) in N·m."""

    def inject(self, fault: str, /, **numbers: float) -> str:
        """Begin a fault and say in a sentence what happens; ValueError for an unknown one."""

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
        self._until = dict.fromkeys(PASSING, -np.inf)  # monotonic s, at which each fault ends
        self._imu_said = (0.0, 0.0)  # pitch in rad, its rate in rad/s
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

    def inject(self, fault: str, /, **numbers: float) -> str:
        """Begin a fault, from any thread; return what happens, ValueError where it cannot.

        imu_silence seconds: no IMU message for so long. imu_frozen seconds: all IMU messages say
        what the last one said. orientation_frozen seconds: their pitch alone does. extra_delay
        torque, imu: seconds by which the torques act and the IMU's messages come later, until told
        otherwise. repair ends what still goes on. Every other fault is the motors'.
        """
        with self._lock:
            return self._inject(fault, numbers)

    def _step(self, now: float) -> list[ImuSample]:
        self._now = now
        readings = self.robot.readings()
        positions = np.array([readings[f'{name}_position'] for name in WHEELS])
        velocities = np.array([readings[f'{name}_velocity'] for name in WHEELS])
        self.robot.advance(self._delayed(self.motors.step(now, positions, velocities)))
        if now >= self._imu_due:
            following = self._imu_due + self._imu_period
            self._imu_due = following if following > now else now + self._imu_period
            if now >= self._until['imu_silence']:
                self._imu_said = self._read_imu(readings)
                self._samples.append(ImuSample(now, *self._imu_said))
        due = []
        while self._samples and self._samples[0].time + self._imu_delay <= now:
            due.append(self._samples.popleft())
        return due

    def _read_imu(self, readings: dict[str, float]) -> tuple[float, float]:
        """Return what the IMU says: pitch in rad and its rate in rad/s."""
        pitch, rate = self._imu_said
        if self._now >= self._until['imu_frozen']:
            rate = readings['pitch_rate']
            if self._now >= self._until['orientation_frozen']:
                pitch = readings['pitch']
        return pitch, rate

    def _inject(self, fault: str, numbers: dict[str, float]) -> str:
        if fault in PASSING:
            seconds = _take(fault, numbers, {'seconds': (1.0, LONGEST_SILENCE)})['seconds']
            self._until[fault] = self._now + seconds
            return f'{PASSING[fault]}, for {seconds} s'
        if fault == 'extra_delay':
            limits = {'torque': (0.0, LONGEST_DELAY), 'imu': (0.0, LONGEST_DELAY)}
            delays = _take(fault, numbers, limits)
            self._imu_delay = delays['imu']
            self._torque_delay = round(delays['torque'] / self.robot.plant.period)
            return f'torque {delays["torque"]} s later, IMU {delays["imu"]} s later'
        if fault == 'repair':
            _take(fault, numbers, {})
            self._until = dict.fromkeys(PASSING, self._now)
            self._imu_delay, self._torque_delay = 0.0, 0
            self.motors.repair()
            return 'every fault has ended; what has latched stays latched'
        try:
            return self.motors.inject(fault, **numbers)
        except ValueError as err:
            raise ValueError(f'{err}; the robot itself has {", ".join(OWN_FAULTS)}') from err

    def _delayed(self, torque: np.ndarray) -> np.ndarray:
        """Return the torque of the injected number of steps ago."""
        self._torques.append(torque)
        while len(self._torques) > self._torque_delay + 1:
            self._torques.popleft()
        return self._torques[0]


def parse_fault(text: str) -> tuple[str, dict[str, float]]:
    """Split 'name key=number ...'; ValueError says in a line what is wrong."""
    words = text.split()
    if not words:
        raise ValueError('no fault is named; write its name and numbers, as imu_silence seconds=1')
    numbers = {}
    for word in words[1:]:
        key, _, value = word.partition('=')
        try:
            numbers[key] = float(value)
        except ValueError as err:
            raise ValueError(f'{word!r}: expected key=number') from err
        if not key.isidentifier():
            raise ValueError(f'{word!r}: expected key=number')
    return words[0], numbers


def _take(
    fault: str, given: dict[str, float], known: dict[str, tuple[float, float]]
) -> dict[str, float]:
    """Return the numbers of a fault: known maps each to its default and its greatest value."""
    for key, value in given.items():
        if key not in known:
            raise ValueError(f'{fault} has no {key!r}; it takes {", ".join(known) or "nothing"}')
        if not 0.0 <= value <= known[key][1]:
            raise ValueError(f'{fault}: {key} must be 0 to {known[key][1]} s, got {value}')
    return {key: given.get(key, default) for key, (default, _) in known.items()}
