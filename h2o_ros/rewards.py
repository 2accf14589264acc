"""Rewards and terminations by name; each works on whole batches.

Sources: the H2O paper, appendix B.2, equations 34 (standing still) and 35 (moving straight).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Fields = Mapping[str, np.ndarray]


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


def fallen(next_observation: Fields, limit: float) -> np.ndarray:
    """Say where the body's tilt has left ±limit (rad), shape (N,) bool."""
    return np.abs(next_observation['theta']) > limit


# The unit in which the functions above take a field.
FIELD_UNITS = {'theta': 'rad', 'theta_dot': 'rad/s', 'x': 'm', 'x_dot': 'm/s', 'torque': 'N·m'}

# name: (function, the largest reward of one step)
REWARDS: dict[str, tuple[Callable[[Fields, Fields], np.ndarray], float]] = {
    'standing_still': (standing_still, 30.0),
    'moving_straight': (moving_straight, 15.0),
}
TERMINATIONS: dict[str, Callable[[Fields, float], np.ndarray]] = {'fallen': fallen}
