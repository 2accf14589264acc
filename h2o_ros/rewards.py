"""Rewards and terminations by name; each works on whole batches.

Sources: the H2O paper, appendix B.2, equations 34 (standing still) and 35 (moving straight);
Gymnasium's HalfCheetah-v4 and Walker2d-v4 (half_cheetah, walker2d, outside), whose rewards are
those of D4RL's data sets too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Fields = Mapping[str, np.ndarray]
Bounds = Mapping[str, tuple[float, ...]]
# The robot's mean velocity along x over the control step, m/s: known to whoever saw the step made.
PROGRESS = 'progress'


def standing_still(observation: Fields, action: Fields) -> np.ndarray:
    """Return r = 30 - theta² - theta_dot² - x² - x_dot² - torque² (eq. 34), shape (N,)."""
    return (
        30.0
        - observation['theta'] ** 2
        - observation['theta_dot'] ** 2
        - observation['x'] ** 2
        - observation['x_dot'] ** 2
        - action['torque'] ** 2
    )


def moving_straight(observation: Fields, action: Fields) -> np.ndarray:
    """Return r = 15 - (x_dot - 0.2 m/s)² - torque² (eq. 35), shape (N,)."""
    return 15.0 - (observation['x_dot'] - 0.2) ** 2 - action['torque'] ** 2


def half_cheetah(observation: Fields, action: Fields) -> np.ndarray:
    """Return r = progress - 0.1 |action|², shape (N,)."""
    return observation[PROGRESS] - 0.1 * _squares(action)


def walker2d(observation: Fields, action: Fields) -> np.ndarray:
    """Return r = progress + 1 - 0.001 |action|², shape (N,)."""
    return observation[PROGRESS] + 1.0 - 0.001 * _squares(action)


def _squares(action: Fields) -> np.ndarray:
    # converted first: np.square(..., dtype=...) takes two buffers of 64 KB at each call
    return np.square(np.stack(list(action.values()), dtype=np.float64)).sum(0)


def never(next_observation: Fields, limit: float, bounds: Bounds) -> np.ndarray:
    """Say that no row ends an episode, shape (N,) bool."""
    return np.zeros(len(next(iter(next_observation.values()))), bool)


def fallen(next_observation: Fields, limit: float, bounds: Bounds) -> np.ndarray:
    """Say where the body's tilt has left ±limit (rad), shape (N,) bool."""
    return np.abs(next_observation['theta']) > limit


def outside(next_observation: Fields, limit: float, bounds: Bounds) -> np.ndarray:
    """Say where a field is not strictly between its bounds (low, high), shape (N,) bool."""
    inside = ~never(next_observation, limit, bounds)
    for name, (low, high) in bounds.items():
        inside &= (low < next_observation[name]) & (next_observation[name] < high)
    return ~inside


@dataclass(frozen=True)
class Reward:
    """A reward function, and the largest reward of one step; None where there is no largest."""

    function: Callable[[Fields, Fields], np.ndarray]
    largest: float | None = None
    needs_progress: bool = False


# The unit in which the functions above take a field.
FIELD_UNITS = {'theta': 'rad', 'theta_dot': 'rad/s', 'x': 'm', 'x_dot': 'm/s', 'torque': 'N·m'}

REWARDS = {
    'standing_still': Reward(standing_still, 30.0),
    'moving_straight': Reward(moving_straight, 15.0),
    'half_cheetah': Reward(half_cheetah, needs_progress=True),
    'walker2d': Reward(walker2d, needs_progress=True),
}
TERMINATIONS: dict[str, Callable[[Fields, float, Bounds], np.ndarray]] = {
    'fallen': fallen,
    'outside': outside,
    'never': never,
}
