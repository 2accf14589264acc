"""Open-loop predictions of a recording's windows, by either model of the robot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from h2o_ros.robot.description import WHEEL_RADIUS, RobotParameters
from h2o_ros.sim.identification.recording import Recording
from h2o_ros.sim.wheel_legged.plants import IdealPlant, Plant, VirtualPlant

# Rows before a window: from the first ones delay and lag get their state, while the others are
# played the legs and the tyres get theirs.
COMMAND_ROWS, SETTLE_ROWS = 10, 8
WARM_ROWS = COMMAND_ROWS + SETTLE_ROWS
FIELDS = ('theta', 'theta_dot', 'x', 'x_dot')
# A model under a fit has exact sensors: noise would only blur the error.
EXACT = {
    name: 0.0
    for name in (
        'torque_noise', 'theta_noise', 'theta_dot_noise', 'wheel_velocity_noise',
        'theta_step', 'theta_dot_step', 'wheel_step', 'wheel_velocity_step',
        'theta_bias', 'theta_dot_bias', 'wheel_delay',
    )
}  # fmt: skip


def predict_virtual(
    path: Path, parameters: RobotParameters, recording: Recording, starts: np.ndarray, steps: int
) -> np.ndarray:
    """Return what the virtual robot does from each window's first row, (W, steps, 4).

    The last axis is theta, theta_dot, x, x_dot as the recording measures them. What is not
    measured (commands under way, lag, legs, tyres) comes from the rows before the window.
    """
    plant = VirtualPlant(
        path, replace(parameters, **EXACT), len(starts), recording.period, np.random.default_rng(0)
    )
    early = starts - SETTLE_ROWS
    _place(plant, recording, early)
    plant.warm(recording.torque[early[:, None] + np.arange(-COMMAND_ROWS, 0)])
    reached = _play(plant, recording, early, SETTLE_ROWS)[:, -1]
    wanted = np.stack([getattr(recording, name)[starts] for name in FIELDS], 1)
    change = dict(zip(FIELDS, (wanted - reached).T, strict=True))
    plant.nudge(_to_floor(change, recording))
    return _play(plant, recording, starts, steps)


def predict_ideal(path: Path, recording: Recording, starts: np.ndarray, steps: int) -> np.ndarray:
    """Return what the training simulator does from each window's first row, (W, steps, 4)."""
    plant = IdealPlant(path, len(starts), recording.period)
    _place(plant, recording, starts)
    return _play(plant, recording, starts, steps)


def measured(recording: Recording, starts: np.ndarray, steps: int) -> np.ndarray:
    """Return what really came, (W, steps, 4)."""
    rows = starts[:, None] + 1 + np.arange(steps)
    return np.stack([getattr(recording, name)[rows] for name in FIELDS], -1)


def hold(recording: Recording, starts: np.ndarray, steps: int) -> np.ndarray:
    """Return the trivial prediction: rates stay, positions move on with them, (W, steps, 4)."""
    ahead = recording.period * np.arange(1, steps + 1)
    theta, rate, x, speed = (getattr(recording, name)[starts][:, None] for name in FIELDS)
    still = np.zeros_like(ahead)
    return np.stack([theta + rate * ahead, rate + still, x + speed * ahead, speed + still], -1)


def _place(plant: Plant, recording: Recording, starts: np.ndarray) -> None:
    start = {name: getattr(recording, name)[starts] for name in FIELDS}
    plant.reset(np.arange(len(starts)), _to_floor(start, recording))


def _to_floor(state: dict[str, np.ndarray], recording: Recording) -> dict[str, np.ndarray]:
    """Return the state with x and x_dot as the way on the floor."""
    share = 0.0 if recording.wheel_to_floor else WHEEL_RADIUS
    x = state['x'] + share * state['theta']
    return {**state, 'x': x, 'x_dot': state['x_dot'] + share * state['theta_dot']}


def _play(plant: Plant, recording: Recording, starts: np.ndarray, steps: int) -> np.ndarray:
    found = np.empty((len(starts), steps, len(FIELDS)))
    for step in range(steps):
        plant.advance(recording.torque[starts + step])
        found[:, step] = read_fields(plant.sensors(), recording.wheel_to_floor)
    return found


def read_fields(sensors: dict[str, np.ndarray], wheel_to_floor: bool) -> np.ndarray:
    """Return theta, theta_dot, x, x_dot (N, 4) of a plant's sensors."""
    pitch, rate = sensors['pitch'], sensors['pitch_rate']
    share = 1.0 if wheel_to_floor else 0.0
    angle = 0.5 * (sensors['left_wheel_position'] + sensors['right_wheel_position'])
    speed = 0.5 * (sensors['left_wheel_velocity'] + sensors['right_wheel_velocity'])
    way = WHEEL_RADIUS * (angle + share * pitch)
    return np.stack([pitch, rate, way, WHEEL_RADIUS * (speed + share * rate)], -1)
