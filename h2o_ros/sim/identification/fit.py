"""Fits a virtual robot to a recording of the real one.

Prediction error method (Ljung, System Identification, 1999, chapter 7): many windows are played
open loop from their measured first row, and what they get wrong is minimised over the physical
parameters; the torque's dead time is a grid. Only torque over mass shows in such data, so the mass
is taken as known and the torque gain is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeResult, least_squares
from scipy.signal import savgol_filter

from h2o_ros.errors import SimulationError
from h2o_ros.robot.description import WHEEL_RADIUS, RobotParameters
from h2o_ros.sim.identification.open_loop import WARM_ROWS, measured, predict_virtual
from h2o_ros.sim.identification.recording import Recording

# What is fitted, with the range that is searched.
BOUNDS: dict[str, tuple[float, float]] = {
    'com_height': (0.05, 0.4),
    'com_offset': (-0.03, 0.03),
    'pitch_inertia': (0.03, 0.4),
    'torque_gain': (0.4, 2.5),
    'torque_lag': (0.0005, 0.02),
    'coulomb_friction': (0.0, 1.0),
    'viscous_friction': (0.0, 0.05),
    'leg_stiffness': (100.0, 6000.0),
    'leg_damping': (0.5, 100.0),
}
DELAY_PERIODS = (0, 1, 2)
# Delays whose costs are this close are told apart by sense: the shorter leaves the motor a lag.
TIE = 0.01
# x is the integral of x_dot and would only count it twice.
SCORED = (0, 1, 3)
# Finite-difference step as a share of the searched range.
STEP = 2e-3


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    deviations: standard deviation by name, of the linearised least squares; too small where errors
    of neighbouring rows are alike. costs: the least cost by delay (s). windows: how many were
    used.
    """

    parameters: RobotParameters
    deviations: dict[str, float]
    costs: dict[float, float]
    windows: int


def fit(
    recording: Recording,
    path: Path,
    start: RobotParameters,
    bounds: Mapping[str, tuple[float, float]] = BOUNDS,
    delays: tuple[float, ...] | None = None,
    steps: int = 30,
    windows: int = 160,
    largest_torque: float = 3.0,
    progress: Callable[[str], None] = lambda line: None,
) -> Fit:
    """Fit the parameters named in bounds, and the delay, to a recording.

    path: virtual_robot.xml. start: first guess, and everything that is not fitted. steps: length
    of a window in control steps. windows: how many are used, evenly spread. delays: the grid in s;
    by default whole control periods, since commands are sent once a period, the lag takes the
    rest.
    """
    starts = recording.windows(WARM_ROWS, steps, max(1, steps // 2), largest_torque)
    if len(starts) < 10:
        raise SimulationError(
            f'the recording has {len(starts)} windows of {steps} steps without a break or a '
            f'torque beyond {largest_torque} N·m; expected 10 or more: record longer'
        )
    starts = starts[np.unique(np.linspace(0, len(starts) - 1, windows).astype(int))]
    problem = _Problem(recording, path, bounds, starts, steps)
    coarse: dict[float, OptimizeResult] = {}
    if delays is None:
        delays = tuple(count * recording.period for count in DELAY_PERIODS)
    first = None
    for delay in delays:
        guess = replace(start, torque_delay=delay)
        # The first delay brings the parameters near; the others start from there.
        coarse[delay] = problem.solve(guess, evaluations=5 if coarse else 15, first=first)
        first = coarse[delay].x
        progress(f'delay {1e3 * delay:.1f} ms: cost {coarse[delay].cost:.1f}')
    least = min(result.cost for result in coarse.values())
    best = min(delay for delay in coarse if coarse[delay].cost <= (1.0 + TIE) * least)
    guess = replace(start, torque_delay=best)
    final = problem.solve(guess, evaluations=10, first=coarse[best].x)
    progress(f'delay {1e3 * best:.1f} ms, refined: cost {final.cost:.1f}')
    found = problem.parameters(guess, final.x)
    costs = {delay: float(result.cost) for delay, result in coarse.items()}
    costs[best] = float(final.cost)
    return Fit(found, problem.deviations(final), costs, len(starts))


class _Problem:
    """The least-squares problem, in parameters that run from 0 to 1 over their range."""

    def __init__(
        self,
        recording: Recording,
        path: Path,
        bounds: Mapping[str, tuple[float, float]],
        starts: np.ndarray,
        steps: int,
    ) -> None:
        self._recording, self._path, self._starts, self._steps = recording, path, starts, steps
        self._names = list(bounds)
        self._low = np.array([bounds[name][0] for name in bounds])
        self._width = np.array([bounds[name][1] for name in bounds]) - self._low
        self._truth = measured(recording, starts, steps)[..., SCORED]
        start_rows = measured(recording, starts - 1, 1)[..., SCORED]
        # A field's error counts in units of how far it moves within a window.
        self._scale = (self._truth[:, -1:] - start_rows).std((0, 1))

    def parameters(self, guess: RobotParameters, point: np.ndarray) -> RobotParameters:
        values = self._low + self._width * point
        return replace(guess, **dict(zip(self._names, map(float, values), strict=True)))

    def solve(
        self, guess: RobotParameters, evaluations: int, first: np.ndarray | None = None
    ) -> OptimizeResult:
        if first is None:
            first = np.array([getattr(guess, name) for name in self._names])
            first = (first - self._low) / self._width
        first = np.clip(first, 0.01, 0.99)

        def residuals(point: np.ndarray) -> np.ndarray:
            chosen = self.parameters(guess, point)
            found = predict_virtual(self._path, chosen, self._recording, self._starts, self._steps)
            return np.ravel((found[..., SCORED] - self._truth) / self._scale)

        def slopes(point: np.ndarray) -> np.ndarray:
            base = residuals(point)
            steps = np.where(point < 0.5, STEP, -STEP)
            return np.stack(
                [(residuals(point + step * row) - base) / step
                 for step, row in zip(steps, np.eye(len(point)), strict=True)], 1
            )  # fmt: skip

        # The loss softens, so that rows shaken by something unknown do not rule the fit.
        return least_squares(
            residuals, first, slopes, bounds=(0.0, 1.0), loss='soft_l1', f_scale=0.3,
            max_nfev=evaluations, xtol=1e-4, ftol=1e-4,
        )  # fmt: skip

    def deviations(self, result: OptimizeResult) -> dict[str, float]:
        count = result.jac.shape[0]
        covariance = np.linalg.pinv(result.jac.T @ result.jac) * 2 * result.cost / count
        values = self._width * np.sqrt(np.diag(covariance))
        return dict(zip(self._names, map(float, values), strict=True))


def sensor_noise(recording: Recording) -> dict[str, float]:
    """Return the sensors' noise: what a smooth curve through 9 rows leaves, in quiet stretches.

    Quiet are the rows whose pitch moves least, a quarter of all; the steps' own part is taken off.
    """
    quiet = np.abs(recording.theta_dot) < np.quantile(np.abs(recording.theta_dot), 0.25)
    quiet[:-1] &= recording.unbroken
    # A cubic through 9 evenly spaced points keeps 0.255 of the noise in the middle point's square.
    kept = np.sqrt(1.0 - 59.0 / 231.0)

    def rough(series: np.ndarray) -> float:
        rest = (series - savgol_filter(series, 9, 3))[quiet]
        return float(1.4826 * np.median(np.abs(rest)) / kept)

    # The mean of two wheels has the noise of one over the square root of two.
    speed = float(np.sqrt(2.0)) * rough(recording.x_dot) / WHEEL_RADIUS
    return {
        'theta_noise': rough(recording.theta),
        'theta_dot_noise': rough(recording.theta_dot),
        'wheel_velocity_noise': speed,
    }


def sensor_steps(recording: Recording) -> dict[str, float]:
    """Return the sensors' resolution: the least usual distance of values."""

    def step(series: np.ndarray) -> float:
        gaps = np.diff(np.unique(np.round(series, 7)))
        # Values at the edge stand further apart than one step; float32 files differ by 1e-7.
        apart = gaps[gaps > 1e-6]
        return float(np.quantile(apart, 0.25)) if len(apart) else 0.0

    return {
        'theta_step': step(recording.theta),
        'theta_dot_step': step(recording.theta_dot),
        # The mean of two wheels comes in half steps of one.
        'wheel_velocity_step': 2.0 * step(recording.x_dot) / WHEEL_RADIUS,
    }


def torque_noise(recording: Recording, path: Path, fitted: RobotParameters) -> dict[str, float]:
    """Return the torque noise that explains how errors of theta_dot grow within ten rows.

    The errors' size is taken from their median, so that rare shocks and late rows do not count,
    and the gyroscope's noise in the first and the last row is taken off. Noise of deviation d and
    correlation r from row to row moves theta_dot by b d sqrt(sum of r^|i-j|), b being the change
    of theta_dot that one N·m makes in one period.
    """
    steps = 10
    starts = recording.windows(WARM_ROWS, steps, steps, 3.0)
    error = predict_virtual(path, fitted, recording, starts, steps) - measured(
        recording, starts, steps
    )
    size = 1.4826 * np.median(np.abs(error[:, -1, 1]))
    own = np.sqrt(max(0.0, size**2 - 2 * fitted.theta_dot_noise**2))
    free = replace(fitted, coulomb_friction=0.0, rolling_resistance=0.0)
    pushed = replace(recording, torque=recording.torque + 0.1)
    change = predict_virtual(path, free, pushed, starts, steps) - predict_virtual(
        path, free, recording, starts, steps
    )
    per_period = abs(float(np.median(change[:, -1, 1]))) / 0.1 / steps
    kept = np.exp(-recording.period / fitted.torque_noise_correlation)
    rows = np.arange(steps)
    together = np.sqrt((kept ** np.abs(rows[:, None] - rows)).sum())
    return {'torque_noise': float(fitted.torque_gain * own / per_period / together)}
