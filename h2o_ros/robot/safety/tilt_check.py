"""Tilt and tilt rate come from one IMU by two ways; they must not contradict each other.

An orientation filter that hangs while its gyro goes on, or the other way round, sends messages
that are fresh and differ; they tell of a robot that stands while it falls.
"""

from __future__ import annotations

import math

MEMORY = 1.0  # s; slow drift of a gyro is forgotten, and so is what was wrong once
LONGEST_STEP = 0.05  # s; after more than that the tilt may have become another


class TiltCheck:
    """Compares the change of the tilt with the integral of its rate."""

    def __init__(self) -> None:
        self._time, self._theta, self._theta_dot = -math.inf, 0.0, 0.0
        self.difference = 0.0  # rad, by which the tilt has changed more than its rate says

    def update(self, now: float, theta: float, theta_dot: float) -> None:
        """Take tilt (rad) and rate (rad/s) at `now` (s)."""
        step = now - self._time
        if step > LONGEST_STEP or not math.isfinite(self.difference):
            self.difference = 0.0
        else:
            turned = 0.5 * (theta_dot + self._theta_dot) * step
            self.difference *= math.exp(-step / MEMORY)
            self.difference += theta - self._theta - turned
        self._time, self._theta, self._theta_dot = now, theta, theta_dot

    def complaint(self, limit: float) -> str:
        """Say in a line what is wrong where they differ by more than `limit` rad, else nothing."""
        if abs(self.difference) <= limit:
            return ''
        return (
            f'tilt and tilt rate contradict each other by {abs(self.difference):.2f} rad (limit '
            f'{limit:g}); is the orientation or the gyro frozen?'
        )
