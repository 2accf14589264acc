"""Model of an operator at the stick: velocity commands with delay and overshoot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.robot.pilot.excitation import happens


@dataclass(frozen=True)
class OperatorModelSettings:
    """How a person steers."""

    reaction: float = setting(0.2, 's', 'from seeing to moving the stick', minimum=0.0)
    stick_frequency: float = setting(5.0, 'rad/s', 'of the hand', minimum=0.1)
    stick_damping: float = setting(0.5, '1', 'below 1 overshoots', minimum=0.05)
    speed: float = setting(0.25, 'm/s', 'deviation of the speeds wished for', minimum=0.0)
    hold: float = setting(1.5, 's', 'mean time that a wish lasts', minimum=0.05)
    pause: float = setting(0.3, '1', 'share of wishes that are to stand', minimum=0.0, maximum=1.0)
    homing: float = setting(0.3, '1/s', 'speed wished for per metre from home', minimum=0.0)


class OperatorModel:
    """Wishes for speeds and moves the stick after them; call `move` once a period."""

    def __init__(
        self,
        habits: OperatorModelSettings,
        period: float,
        generator: np.random.Generator,
        cruise: float = 0.0,
    ) -> None:
        """period: s between calls. cruise: m/s, held on the whole; 0 stays near home instead."""
        self.habits, self.period, self.cruise = habits, period, cruise
        self._generator = generator
        self.reset()

    def reset(self) -> None:
        """Let go of the stick and forget what was wished for."""
        self._wishes = [0.0] * max(1, round(self.habits.reaction / self.period))
        self._want = self._stick = self._stick_rate = 0.0

    def move(self, x: float) -> float:
        """Return the velocity command in m/s; x: m from home."""
        self._wishes.append(self._wish(x))
        late, step = self._wishes.pop(0), self.period
        frequency, damping = self.habits.stick_frequency, self.habits.stick_damping
        pull = frequency**2 * (late - self._stick) - 2 * damping * frequency * self._stick_rate
        self._stick_rate += step * pull
        self._stick += step * self._stick_rate
        return self._stick

    def _wish(self, x: float) -> float:
        """Return the speed the person wants now, and steer home where there is a home."""
        if happens(self._generator, self.period, self.habits.hold):
            idle = self._generator.random() < self.habits.pause
            self._want = 0.0 if idle else self.habits.speed * self._generator.standard_normal()
        if self.cruise:
            return self.cruise + 0.5 * self._want
        return self._want - self.habits.homing * x


def cruise_speed(reward: str) -> float:
    """Return the speed (m/s) that a task's reward asks for; 0 where it asks to stand."""
    return 0.2 if reward == 'moving_straight' else 0.0
