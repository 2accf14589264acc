"""Disturbances for a rich recording: torque noise, knocks, and changing controller gains.

A dataset that only ever saw one quiet controller says nothing about the robot elsewhere. The
torque noise is a first-order process, correlated over some control steps as in the real recording,
so that it moves the robot and does not only shake it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting


@dataclass(frozen=True)
class DisturbanceSettings:
    """How much a robot is disturbed, and how often."""

    gain_jitter: float = setting(0.15, '1', 'deviation of the logarithm of each gain', minimum=0.0)
    gain_hold: float = setting(8.0, 's', 'mean time between changes of gains', minimum=0.1)
    torque_noise: float = setting(0.32, 'N·m', 'deviation, as in the recording', minimum=0.0)
    torque_correlation: float = setting(0.08, 's', 'of the torque noise', minimum=0.001)
    knock_interval: float = setting(5.0, 's', 'mean time between knocks', minimum=0.1)
    knock_torque: float = setting(2.5, 'N·m', 'largest knock', minimum=0.0)
    knock_duration: float = setting(0.08, 's', 'longest knock', minimum=0.001)


class Excitation:
    """Disturbs one balance controller; call `jitter` and `torque` once a control step."""

    def __init__(
        self, unrest: DisturbanceSettings, period: float, generator: np.random.Generator
    ) -> None:
        """period: control period in s."""
        self.unrest, self.period = unrest, period
        self._generator = generator
        self.reset()

    def reset(self) -> None:
        """End what is under way."""
        self._noise = self._knock_torque = 0.0
        self._knock_steps = 0

    def jitter(self, gains: np.ndarray) -> np.ndarray | None:
        """Return the gains (K,) changed at random where it is time for a change, else None."""
        if not happens(self._generator, self.period, self.unrest.gain_hold):
            return None
        return gains * np.exp(
            self.unrest.gain_jitter * self._generator.standard_normal(len(gains))
        )

    def torque(self) -> float:
        """Return this step's disturbance in N·m."""
        return self._next_noise() + self._knock()

    def _next_noise(self) -> float:
        kept = np.exp(-self.period / self.unrest.torque_correlation)
        fresh = self.unrest.torque_noise * np.sqrt(1 - kept**2)
        self._noise = kept * self._noise + fresh * self._generator.standard_normal()
        return self._noise

    def _knock(self) -> float:
        """Return the torque of a knock where one is under way."""
        unrest = self.unrest
        if self._knock_steps == 0 and happens(self._generator, self.period, unrest.knock_interval):
            longest = max(2, round(unrest.knock_duration / self.period))
            self._knock_steps = int(self._generator.integers(1, longest + 1))
            self._knock_torque = unrest.knock_torque * self._generator.uniform(-1.0, 1.0)
        if self._knock_steps == 0:
            return 0.0
        self._knock_steps -= 1
        return self._knock_torque


def happens(generator: np.random.Generator, period: float, mean_interval: float) -> bool:
    """Say whether something that happens every mean_interval (s) does so within this period."""
    return bool(generator.random() < period / mean_interval)
