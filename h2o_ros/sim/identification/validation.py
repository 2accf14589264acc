"""Holds a virtual robot against the recording of the real one: open loop and closed loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import welch

from h2o_ros.errors import SimulationError
from h2o_ros.robot.description import RobotParameters
from h2o_ros.sim.identification.open_loop import (
    FIELDS,
    WARM_ROWS,
    hold,
    measured,
    predict_ideal,
    predict_virtual,
    read_fields,
)
from h2o_ros.sim.identification.recording import Recording
from h2o_ros.sim.wheel_legged.plants import VirtualPlant

LOOKAHEAD = 0.25  # s, length of the open-loop comparison


@dataclass(frozen=True)
class OpenLoop:
    """Errors (W, steps, 4) of each predictor over windows that were kept out of the fit."""

    errors: dict[str, np.ndarray]
    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    period: float

    def root_mean_square(self, name: str, step: int) -> np.ndarray:
        """Return the RMS error (4,) of the step-th row predicted, 1 being the next row."""
        return np.sqrt((self.errors[name][:, step - 1] ** 2).mean(0))

    def median(self, name: str, step: int) -> np.ndarray:
        """Return the median absolute error (4,)."""
        return np.median(np.abs(self.errors[name][:, step - 1]), 0)


@dataclass(frozen=True)
class OperatorModel:
    """The linear law that explains the recorded torque best, and what it leaves.

    torque[t] = gains . (theta, theta_dot, x, x_dot)[t - late] + bias + rest[t], rest (T,) in N·m.
    """

    gains: np.ndarray
    bias: float
    late: int
    rest: np.ndarray


@dataclass(frozen=True)
class ClosedLoop:
    """Rows (T, 5) of theta, theta_dot, x, x_dot, torque: recorded, and of N virtual robots."""

    real: np.ndarray
    virtual: np.ndarray
    falls: int
    period: float


def open_loop_windows(recording: Recording, largest_torque: float = 3.0) -> np.ndarray:
    """Return the rows (W,) from which 0.25 s can be predicted; SimulationError without any."""
    steps = round(LOOKAHEAD / recording.period)
    starts = recording.windows(WARM_ROWS, steps, 5, largest_torque)
    if not len(starts):
        raise SimulationError(
            f'the {len(recording)} rows kept out of the fit have no {WARM_ROWS + steps} in a row '
            f'without a break or a torque beyond {largest_torque} N·m: record longer'
        )
    return starts


def compare_open_loop(
    folder: Path, parameters: RobotParameters, recording: Recording, largest_torque: float = 3.0
) -> OpenLoop:
    """Predict every fifth row's next 0.25 s with the fit, the idealised simulator and no model."""
    starts = open_loop_windows(recording, largest_torque)
    steps = round(LOOKAHEAD / recording.period)
    predictions = {
        'virtual robot': predict_virtual(
            folder / 'virtual_robot.xml', parameters, recording, starts, steps
        ),
        'idealised simulator': predict_ideal(folder / 'simulator.xml', recording, starts, steps),
        'rates held': hold(recording, starts, steps),
    }
    truth = measured(recording, starts, steps)
    errors = {name: values - truth for name, values in predictions.items()}
    return OpenLoop(errors, truth, predictions, recording.period)


def recorded_hand(recording: Recording, latest: int = 3) -> OperatorModel:
    """Fit the law of whoever drove; the right lateness leaves the smoothest rest."""
    state = np.stack([getattr(recording, name) for name in FIELDS] + [np.ones(len(recording))], 1)
    hands = []
    for late in range(latest + 1):
        seen, torque = state[latest - late : len(state) - late], recording.torque[latest:]
        law = np.linalg.lstsq(seen, torque, rcond=None)[0]
        rest = torque - seen @ law
        correlation = float(rest[1:] @ rest[:-1] / (rest @ rest))
        fresh = float(np.std(rest[1:] - correlation * rest[:-1]))
        hands.append((fresh, OperatorModel(law[:4], float(law[4]), late, rest)))
    return min(hands, key=lambda pair: pair[0])[1]


def compare_closed_loop(
    path: Path,
    parameters: RobotParameters,
    recording: Recording,
    robots: int = 8,
    seed: int = 0,
) -> ClosedLoop:
    """Drive virtual robots by the recorded hand's law for as long as the recording lasts.

    What the law leaves unexplained is played back to each robot, each from another place.
    """
    hand, generator = recorded_hand(recording), np.random.default_rng(seed)
    plant = VirtualPlant(path, parameters, robots, recording.period, generator)
    count = len(recording)
    rows = np.zeros((count, robots, 5))
    seen = np.zeros((hand.late + 1, robots, 4))
    falls, places = 0, generator.integers(0, len(hand.rest), robots)
    for step in range(count):
        now = read_fields(plant.sensors(), recording.wheel_to_floor)
        seen = np.concatenate([now[None], seen[:-1]])
        rest = hand.rest[(places + step) % len(hand.rest)]
        torque = seen[hand.late] @ hand.gains + hand.bias + rest
        rows[step, :, :4], rows[step, :, 4] = now, torque
        plant.advance(torque)
        fallen = np.flatnonzero(np.abs(plant.sensors()['pitch']) > np.pi / 6)
        if len(fallen):
            falls += len(fallen)
            zeros = np.zeros(len(fallen))
            plant.reset(fallen, {name: zeros for name in FIELDS})
    real = np.stack([getattr(recording, name) for name in (*FIELDS, 'torque')], 1)
    return ClosedLoop(real, rows, falls, recording.period)


def spectrum(series: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies (Hz) and power density of columns (T,) or (T, N), averaged over N."""
    frequency, power = welch(series, 1.0 / period, nperseg=min(512, len(series)), axis=0)
    return frequency, power if power.ndim == 1 else power.mean(1)


def band_power(series: np.ndarray, period: float, low: float, high: float) -> float:
    """Return the deviation that lies between two frequencies (Hz)."""
    frequency, power = spectrum(series, period)
    inside = (frequency >= low) & (frequency < high)
    return float(np.sqrt(power[inside].sum() * (frequency[1] - frequency[0])))
