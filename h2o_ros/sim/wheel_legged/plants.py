"""The two models of the wheel-legged robot behind one seam: torque in, sensor readings out.

A plant advances N robots by one control period. `sensors` is what IMU and encoders read then:

pitch                  (N,) rad, forward tilt of the body about +y
pitch_rate             (N,) rad/s
left_wheel_position    (N,) rad, wheel joint relative to the body; right_wheel_position likewise
left_wheel_velocity    (N,) rad/s; right_wheel_velocity likewise
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import mujoco
import numpy as np

from h2o_ros.robot.description import WHEEL_RADIUS, WHEELS, RobotParameters
from h2o_ros.sim.physics import Physics, read_model
from h2o_ros.sim.wheel_legged.parameters import apply_parameters, standing_pose

READINGS = (
    'pitch',
    'pitch_rate',
    *(f'{name}_position' for name in WHEELS),
    *(f'{name}_velocity' for name in WHEELS),
)


class Plant(Protocol):
    """N robots that take a torque for one control period."""

    batch: int
    period: float

    def reset(self, rows: np.ndarray, start: dict[str, np.ndarray]) -> None:
        """Place rows (indices) at theta, theta_dot, x, x_dot, each (len(rows),); SI units."""

    def advance(self, torque: np.ndarray) -> None:
        """Hold the commanded total torque (N,) N·m for one control period."""

    def sensors(self) -> dict[str, np.ndarray]:
        """Return what the sensors read at the end of the last period, each (N,)."""


def substeps(model: mujoco.MjModel, period: float) -> int:
    """Return the model's steps in one control period; ValueError where that is no integer."""
    count = period / model.opt.timestep
    if abs(count - round(count)) > 1e-6 or round(count) < 1:
        raise ValueError(
            f'rate: a control period of {period} s is no multiple of the physics step of '
            f'{model.opt.timestep} s'
        )
    return round(count)


class IdealPlant:
    """The training simulator: rigid, rolling, exact sensors."""

    def __init__(self, path: Path, batch: int, period: float) -> None:
        """path: simulator.xml; period: control period in s."""
        model = read_model(path)
        self.batch, self.period = batch, period
        self.physics = Physics(model, batch)
        self._substeps = substeps(model, period)

    def reset(self, rows: np.ndarray, start: dict[str, np.ndarray]) -> None:
        """Place rows so that the wheels roll without slip."""
        self.physics.clear(rows)
        state, columns = self.physics.state, self.physics
        wheel = start['x'] / WHEEL_RADIUS - start['theta']
        wheel_rate = start['x_dot'] / WHEEL_RADIUS - start['theta_dot']
        state[rows, columns.position('x')] = start['x']
        state[rows, columns.velocity('x')] = start['x_dot']
        state[rows, columns.position('pitch')] = start['theta']
        state[rows, columns.velocity('pitch')] = start['theta_dot']
        for name in WHEELS:
            state[rows, columns.position(name)] = wheel
            state[rows, columns.velocity(name)] = wheel_rate

    def advance(self, torque: np.ndarray) -> None:
        """Hold the torque, half to each wheel."""
        control = np.broadcast_to(0.5 * torque[:, None, None], (self.batch, self._substeps, 2))
        self.physics.advance(control)

    def sensors(self) -> dict[str, np.ndarray]:
        """Return the true values."""
        return read_sensors(self.physics, self.physics.state)


class VirtualPlant:
    """The stand-in for the real robot: delay, lag, friction, compliance, real sensors."""

    def __init__(
        self,
        path: Path,
        parameters: RobotParameters,
        batch: int,
        period: float,
        generator: np.random.Generator,
    ) -> None:
        """path: virtual_robot.xml; generator: draws the sensors' noise."""
        model = read_model(path)
        apply_parameters(model, parameters)
        self.batch, self.period, self.parameters = batch, period, parameters
        self.physics = Physics(model, batch)
        self._standing = standing_pose(model)
        self._generator = generator
        self._substeps = substeps(model, period)
        self._issued = issue_ages(parameters.torque_delay, model.opt.timestep, self._substeps)
        # commands[:, k] was issued k control periods ago
        self.commands = np.zeros((batch, int(self._issued.max()) + 1))
        self._ripple = np.zeros(batch)
        self._wheel_age = round(parameters.wheel_delay / model.opt.timestep)
        self._wheel_columns = [self.physics.position(name) for name in WHEELS]
        self._wheel_columns += [self.physics.velocity(name) for name in WHEELS]
        # wheels[:, -1 - k] was true k physics steps ago
        self.wheels = np.zeros((batch, self._wheel_age + 1, len(self._wheel_columns)))
        self._body_columns = [self.physics.position('pitch'), self.physics.velocity('pitch')]
        self._errors = SensorErrors.of(parameters)
        self._all = np.arange(batch)
        self._values = np.zeros((len(READINGS), batch))
        self._readings: dict[str, np.ndarray] = {}
        zeros = np.zeros(batch)
        names = ('theta', 'theta_dot', 'x', 'x_dot')
        self.reset(self._all, {name: zeros for name in names})

    def reset(self, rows: np.ndarray, start: dict[str, np.ndarray]) -> None:
        """Stand rows on the floor, legs at rest under the load, no torque under way."""
        self.physics.clear(rows)
        state, columns, pose = self.physics.state, self.physics, self._standing
        theta, rate = start['theta'], start['theta_dot']
        wheel = start['x'] / WHEEL_RADIUS - theta
        wheel_rate = start['x_dot'] / WHEEL_RADIUS - rate
        # The axle as seen from the hip, in world axes, turns with the body.
        forward = np.cos(theta) * pose.axle_x + np.sin(theta) * pose.axle_z
        upward = np.cos(theta) * pose.axle_z - np.sin(theta) * pose.axle_x
        state[rows, columns.position('x')] = start['x'] - forward
        state[rows, columns.velocity('x')] = start['x_dot'] - rate * upward
        state[rows, columns.position('z')] = pose.axle_height - upward - pose.hip_height
        state[rows, columns.velocity('z')] = rate * forward
        state[rows, columns.position('pitch')] = theta
        state[rows, columns.velocity('pitch')] = rate
        state[rows, columns.position('hip')] = pose.hip
        state[rows, columns.position('knee')] = pose.knee
        for name in WHEELS:
            state[rows, columns.position(name)] = wheel
            state[rows, columns.velocity(name)] = wheel_rate
        self.commands[rows] = 0.0
        self._ripple[rows] = 0.0
        self.wheels[rows] = state[rows][:, None, self._wheel_columns]
        self._measure(rows)

    def advance(self, torque: np.ndarray) -> None:
        """Issue the total torque; what acts is older by the delay, scaled and filtered."""
        self.commands[:, 1:] = self.commands[:, :-1]
        self.commands[:, 0] = torque
        acting = self.parameters.torque_gain * self.commands[:, self._issued]
        acting = 0.5 * (acting + self._next_ripple()[:, None])
        states = self.physics.advance(np.repeat(acting[:, :, None], 2, axis=2))
        newest = states[:, :, self._wheel_columns]
        self.wheels = np.concatenate([self.wheels, newest], axis=1)[:, -1 - self._wheel_age :]
        self._measure(self._all)

    def measure(self) -> None:
        """Read the sensors again without a step: for a robot that something else holds still."""
        self._measure(self._all)

    def warm(self, torque: np.ndarray) -> None:
        """Put torques (N, P) of the last P periods, oldest first, on their way; P spans the delay.

        The lag's state becomes what these commands have made of it, the oldest one held before.
        """
        count = self.commands.shape[1]
        self.commands[:] = torque[:, ::-1][:, :count]
        made = torque[:, 0].copy()
        kept = np.exp(-self.physics.model.opt.timestep / self.parameters.torque_lag)
        for period in range(torque.shape[1]):
            for age in self._issued:
                command = torque[:, max(0, period - age)]
                made = command + kept * (made - command)
        half = 0.5 * self.parameters.torque_gain * made
        self.physics.state[:, 1 + self.physics.model.nq + self.physics.model.nv :] = half[:, None]

    def nudge(self, change: dict[str, np.ndarray]) -> None:
        """Shift theta, theta_dot, x, x_dot of all robots, each (N,); legs and torques stay."""
        state, columns, pose = self.physics.state, self.physics, self._standing
        theta, rate = change['theta'], change['theta_dot']
        state[:, columns.position('pitch')] += theta
        state[:, columns.velocity('pitch')] += rate
        state[:, columns.position('x')] += change['x'] - theta * pose.axle_z
        state[:, columns.velocity('x')] += change['x_dot'] - rate * pose.axle_z
        for name in WHEELS:
            state[:, columns.position(name)] += change['x'] / WHEEL_RADIUS - theta
            state[:, columns.velocity(name)] += change['x_dot'] / WHEEL_RADIUS - rate

    def sensors(self) -> dict[str, np.ndarray]:
        """Return the readings of the last measurement: noise is drawn once a period."""
        return self._readings

    def _next_ripple(self) -> np.ndarray:
        """Return this period's torque noise (N,), a first-order process."""
        chosen = self.parameters
        kept = np.exp(-self.period / chosen.torque_noise_correlation)
        fresh = chosen.torque_noise * np.sqrt(1.0 - kept**2)
        self._ripple = kept * self._ripple + fresh * self._generator.standard_normal(self.batch)
        return self._ripple

    def _measure(self, rows: np.ndarray) -> None:
        errors = self._errors
        noise = self._generator.standard_normal((len(errors.noisy), len(rows)))
        true = np.empty((len(READINGS), len(rows)))
        true[:2] = self.physics.state[rows][:, self._body_columns].T
        true[2:] = self.wheels[rows, 0].T
        true += errors.bias
        true[errors.noisy] += errors.noise * noise
        self._values = self._values.copy()  # whoever holds the last readings keeps them
        self._values[:, rows] = quantise(true, errors.step)
        self._readings = dict(zip(READINGS, self._values, strict=True))


@dataclass(frozen=True)
class SensorErrors:
    """What the sensors add, a row for each of READINGS, (6, 1) each; SI units.

    noise (4, 1) belongs to the readings at the indices `noisy`.
    """

    bias: np.ndarray
    noise: np.ndarray
    noisy: list[int]
    step: np.ndarray

    @classmethod
    def of(cls, chosen: RobotParameters) -> SensorErrors:
        """Take bias, noise and resolution from a robot's parameters."""
        wheel, speed = [chosen.wheel_step] * 2, [chosen.wheel_velocity_step] * 2
        bias = [chosen.theta_bias, chosen.theta_dot_bias, 0.0, 0.0, 0.0, 0.0]
        noise = [chosen.theta_noise, chosen.theta_dot_noise, *[chosen.wheel_velocity_noise] * 2]
        step = [chosen.theta_step, chosen.theta_dot_step, *wheel, *speed]
        columns = [np.array(values)[:, None] for values in (bias, noise, step)]
        return cls(columns[0], columns[1], [0, 1, 4, 5], columns[2])


def read_sensors(physics: Physics, state: np.ndarray) -> dict[str, np.ndarray]:
    """Return true sensor values of states (N, S)."""
    readings = {
        'pitch': state[:, physics.position('pitch')],
        'pitch_rate': state[:, physics.velocity('pitch')],
    }
    for name in WHEELS:
        readings[f'{name}_position'] = state[:, physics.position(name)]
        readings[f'{name}_velocity'] = state[:, physics.velocity(name)]
    return readings


def issue_ages(delay: float, timestep: float, count: int) -> np.ndarray:
    """Say for each of `count` physics steps of a period how many periods old its command is.

    Returns (count,) int. With a delay of d physics steps, step j of a period is ruled by the
    newest command issued at least d steps before it: ceil((d - j) / count) periods ago.
    """
    steps = round(delay / timestep)
    return np.array([max(0, -((j - steps) // count)) for j in range(count)])


def quantise(values: np.ndarray, step: float | np.ndarray) -> np.ndarray:
    """Round to the nearest multiple of step; a step of zero leaves the values as they are."""
    if np.all(step):
        return step * np.round(values / step)
    exact = np.equal(step, 0.0)
    whole = np.where(exact, 1.0, step)
    return np.where(exact, values, whole * np.round(values / whole))
