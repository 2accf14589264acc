"""Commands of an operator besides the velocity, and the scripted stick.

Every way of steering (keyboard, joystick, script) has `velocity(now)`: the speed in m/s while the
dead-man is held, None while it is not. Time is monotonic, in s.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.robot.operator.human_model import OperatorModel, OperatorModelSettings, cruise_speed
from h2o_ros.task import Task

STICK_PERIOD = 0.02  # s between two commands
LOST = 0.2  # s without an observation after which the scripted person lets go


class Order(enum.Enum):
    """What is asked for by one key or button; the value is the topic or service that does it."""

    EMERGENCY_STOP = 'emergency_stop'
    RESET_EMERGENCY_STOP = 'reset_emergency_stop'
    ARM = 'arm'
    POLICY = 'drive_by_policy'
    BALANCE = 'drive_by_balance_controller'
    START_RECORDING = 'start_recording'
    STOP_RECORDING = 'stop_recording'
    SUCCESS = 'label_success'
    FAILURE = 'label_failure'


@dataclass(frozen=True)
class TeleopSettings:
    """How fast a person may go; the policy server has the last word on it."""

    speed: float = setting(
        0.3, 'm/s', 'at full stick, or while a key is held', minimum=0.0, maximum=1.0
    )


class Steering(Protocol):
    """A way to steer."""

    def velocity(self, now: float) -> float | None:
        """Return the speed in m/s while the dead-man is held at `now`, else None."""


class ScriptedStick:
    """Steers as a person would who knows the task; lets go where it sees no robot."""

    def __init__(self, task: Task, speed: float, seed: int = 0) -> None:
        """speed: m/s, the fastest."""
        generator = np.random.default_rng(seed)
        self._task, self._speed = task, speed
        self._hand = OperatorModel(
            OperatorModelSettings(), STICK_PERIOD, generator, cruise_speed(task.reward)
        )
        self._names = task.observation_names
        self._seen_at = -math.inf
        self._x = self._home = 0.0

    def see(self, observation: np.ndarray, now: float) -> None:
        """Take an observation (O,) of the robot; every one counts where the task leaves x out."""
        lost = now - self._seen_at > LOST
        if 'x' in self._names:
            self._x = float(observation[self._names.index('x')])
        else:
            self._x += self._task.period * float(observation[self._names.index('x_dot')])
        if lost:
            self._home = self._x
            self._hand.reset()
        self._seen_at = now

    def velocity(self, now: float) -> float | None:
        """Return the stick's next position in m/s; call it every STICK_PERIOD."""
        if now - self._seen_at > LOST:
            return None
        return min(max(self._hand.move(self._x - self._home), -self._speed), self._speed)
