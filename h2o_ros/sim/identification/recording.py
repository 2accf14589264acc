"""A robot's recording as time series, and the windows of it that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from h2o_ros.errors import BagError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

COLUMNS = ('theta', 'theta_dot', 'x', 'x_dot', 'torque')
# A row whose pitch moved by this much more (rad) than its rates say was not taken 5 ms later.
LARGEST_JUMP = 0.004


@dataclass(frozen=True)
class Recording:
    """T control steps in order, SI units; row t's torque was commanded on seeing row t.

    theta, theta_dot, x, x_dot, torque: (T,) float64. unbroken: (T - 1,) bool, row t + 1 follows
    row t after one period. period: s. wheel_to_floor: True where x is the way on the floor, radius
    times (wheel angle + pitch); False where it is the wheel's angle to the body alone.
    """

    theta: np.ndarray
    theta_dot: np.ndarray
    x: np.ndarray
    x_dot: np.ndarray
    torque: np.ndarray
    unbroken: np.ndarray
    period: float
    wheel_to_floor: bool = True

    def __len__(self) -> int:
        return len(self.theta)

    def part(self, start: int, stop: int) -> Recording:
        """Return rows start to stop."""
        cut = {f.name: getattr(self, f.name)[start:stop] for f in fields(self)[:5]}
        unbroken = self.unbroken[start : max(start, stop - 1)]
        return replace(self, **cut, unbroken=unbroken)

    def windows(self, before: int, after: int, stride: int, largest_torque: float) -> np.ndarray:
        """Return the rows (W,) with `before` sound rows before them and `after` behind.

        Windows with a broken step or a torque that the motors cannot give are left out.
        """
        starts = np.arange(before, len(self) - after - 1, stride)
        good = [
            self.unbroken[s - before : s + after].all()
            and np.abs(self.torque[s - before : s + after]).max() <= largest_torque
            for s in starts
        ]
        return starts[np.array(good, bool)]


def read_text(
    path: str | Path, columns: list[str], period: float, wheel_to_floor: bool
) -> Recording:
    """Read a text file of numbers, one control step a row; columns: their names in order."""
    try:
        rows = np.loadtxt(path, ndmin=2)
    except OSError as err:
        raise BagError(f'{path}: cannot be read; check the path') from err
    except ValueError as err:
        raise BagError(f'{path}: not columns of numbers ({err}); correct the file') from err
    missing = [name for name in COLUMNS if name not in columns]
    if missing or rows.shape[1] != len(columns):
        raise BagError(
            f'{path}: expected columns {", ".join(columns)} with {", ".join(COLUMNS)} among them, '
            f'got {rows.shape[1]} columns, missing names: {", ".join(missing) or "none"}'
        )
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise BagError(f'{path}: line {row + 1} holds a number that is not finite; remove it')
    series = {name: rows[:, columns.index(name)] for name in COLUMNS}
    unbroken = np.ones(len(rows) - 1, bool)
    return _checked(series, unbroken, period, wheel_to_floor)


def from_transitions(rows: Transitions, task: Task) -> Recording:
    """Make a recording of a bag's transitions; steps that do not follow each other are breaks."""
    series = {
        name: rows.observation[:, task.observation_names.index(name)].astype(np.float64)
        for name in COLUMNS[:4]
    }
    series['torque'] = rows.action[:, 0].astype(np.float64)
    follows = (rows.next_observation[:-1] == rows.observation[1:]).all(1)
    return _checked(series, follows, task.period, True)


def _checked(
    series: dict[str, np.ndarray], unbroken: np.ndarray, period: float, wheel_to_floor: bool
) -> Recording:
    """Also break where the pitch jumped: a row was late, or rows are missing."""
    theta, rate = series['theta'], series['theta_dot']
    jump = np.diff(theta) - 0.5 * period * (rate[1:] + rate[:-1])
    unbroken = unbroken & (np.abs(jump) < LARGEST_JUMP)
    return Recording(**series, unbroken=unbroken, period=period, wheel_to_floor=wheel_to_floor)
