"""Batched episodes of a task on a model of the robot: actions in, transitions out."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import (
    SIMULATOR,
    WHEEL_RADIUS,
    load_parameters,
    model_names,
    robot_folder,
)
from h2o_ros.sim.gaps import Gap, apply_gap, find_gap
from h2o_ros.sim.plants import IdealPlant, Plant, VirtualPlant
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

START_FIELDS = ('theta', 'theta_dot', 'x', 'x_dot')


class BatchedSimulator(Protocol):
    """The seam between whoever needs simulated control steps and whatever makes them."""

    task: Task
    batch: int

    @property
    def observation(self) -> np.ndarray:
        """What the robots see now, (N, O) float32."""

    @property
    def time(self) -> float:
        """Simulated seconds since the start, the same for every robot."""

    def reset(self, seed: int | None = None) -> None:
        """Begin a new episode on every robot; a seed starts the random sequence anew."""

    def step(self, action: np.ndarray) -> Transitions:
        """Take one control step under action (N, A); finished robots begin anew afterwards."""

    def sensors(self) -> dict[str, np.ndarray]:
        """Return what the robots' sensors read now, see h2o_ros.sim.plants."""


class Simulator:
    """A plant under a task: episodes, rewards and resets."""

    def __init__(
        self,
        task: Task,
        plant: Plant,
        generator: np.random.Generator,
        widths: dict[str, float],
        gap: Gap | None = None,
    ) -> None:
        """widths: half-widths of the uniform initial state by field name; others start at zero."""
        check_fields(task)
        self.task, self.batch = task, plant.batch
        self.plant = plant
        self._generator = generator
        self._widths = widths
        self._action_noise = gap.action_noise if gap else 0.0
        self._steps = 0
        self._ages = np.zeros(self.batch, np.int64)
        self.reset()

    @property
    def observation(self) -> np.ndarray:
        """What the robots see now, (N, O) float32."""
        return self._observation

    @property
    def time(self) -> float:
        """Simulated seconds since the start, the same for every robot."""
        return self._steps * self.task.period

    def sensors(self) -> dict[str, np.ndarray]:
        """Return what the robots' sensors read now, each (N,)."""
        return self.plant.sensors()

    def reset(self, seed: int | None = None) -> None:
        """Begin a new episode on every robot; a seed starts the random sequence anew."""
        if seed is not None:
            fresh = np.random.default_rng(seed)
            self._generator.bit_generator.state = fresh.bit_generator.state
        self._restart(np.arange(self.batch))
        self._observation = observe(self.task, self.plant.sensors())

    def step(self, action: np.ndarray) -> Transitions:
        """Take one control step under action (N, A) in N·m, clipped to the task's limits.

        The rows hold the true next observation; robots whose episode ended begin anew afterwards,
        and `observation` is then their new one.
        """
        action = np.asarray(action, np.float32)
        if action.shape != (self.batch, 1):
            raise ValueError(f'action: expected shape ({self.batch}, 1), got {action.shape}')
        if not np.isfinite(action).all():
            raise ValueError('action: expected finite torques, got NaN or infinity')
        action = np.clip(action, self.task.action_lower, self.task.action_upper)
        torque = action[:, 0].astype(np.float64)
        if self._action_noise:
            torque = torque + self._action_noise * self._generator.standard_normal(self.batch)
        observation = self._observation
        self.plant.advance(torque)
        next_observation = observe(self.task, self.plant.sensors())
        self._steps += 1
        self._ages += 1
        terminated = self.task.compute_terminated(next_observation)
        truncated = ~terminated & (self._ages >= self.task.horizon)
        ended = np.flatnonzero(terminated | truncated)
        self._observation = next_observation
        if len(ended):
            self._restart(ended)
            self._observation = observe(self.task, self.plant.sensors())
        return Transitions(
            observation=observation,
            action=action,
            reward=self.task.compute_reward(observation, action),
            next_observation=next_observation,
            terminated=terminated,
            truncated=truncated,
        )

    def _restart(self, rows: np.ndarray) -> None:
        draws = self._generator.uniform(-1.0, 1.0, (len(START_FIELDS), len(rows)))
        start = {
            name: self._widths.get(name, 0.0) * draw
            for name, draw in zip(START_FIELDS, draws, strict=True)
        }
        self.plant.reset(rows, start)
        self._ages[rows] = 0


def observe(task: Task, sensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the observation (N, O) float32 in the task's order.

    x is the way that the wheels rolled: radius times (mean wheel angle to the body + pitch).
    """
    pitch, rate = sensors['pitch'], sensors['pitch_rate']
    angle = 0.5 * (sensors['left_wheel_position'] + sensors['right_wheel_position'])
    speed = 0.5 * (sensors['left_wheel_velocity'] + sensors['right_wheel_velocity'])
    values = {
        'theta': pitch,
        'theta_dot': rate,
        'x': WHEEL_RADIUS * (angle + pitch),
        'x_dot': WHEEL_RADIUS * (speed + rate),
    }
    return np.stack([values[name] for name in task.observation_names], 1).astype(np.float32)


def check_fields(task: Task) -> None:
    """Refuse a task whose fields this robot's models do not have."""
    for name in task.observation_names:
        if name not in START_FIELDS:
            raise ConfigurationError(
                f'task {task.name}: observation field {name!r} is not simulated; '
                f'the models give {", ".join(START_FIELDS)}'
            )
    if task.action_names != ['torque']:
        raise ConfigurationError(
            f'task {task.name}: action {", ".join(task.action_names)} is not simulated; '
            'the models take one field, torque'
        )


def make_simulator(
    task: Task,
    model: str = SIMULATOR,
    batch: int = 1,
    seed: int = 0,
    gap: str = 'none',
    reset: str = 'training',
) -> Simulator:
    """Make N robots of a model: 'simulator', or a virtual robot as 'standard' or 'hard'.

    gap: a name of h2o_ros.sim.gaps. reset: 'training' or 'evaluation', the task's initial states.
    """
    if reset not in ('training', 'evaluation'):
        raise ConfigurationError(f'reset: expected training or evaluation, got {reset!r}')
    if batch < 1:
        raise ConfigurationError(f'batch: expected 1 robot or more, got {batch}')
    chosen = find_gap(gap)
    folder = robot_folder(task.robot)
    if model not in model_names(task.robot) and not model.endswith(('.yaml', '.yml')):
        raise ConfigurationError(
            f'model {model!r} of {task.robot} is unknown; '
            f'choose one of {", ".join(model_names(task.robot))}'
        )
    generator = np.random.default_rng(seed)
    plant: IdealPlant | VirtualPlant
    try:
        if model == SIMULATOR:
            plant = IdealPlant(folder / 'simulator.xml', batch, task.period)
        else:
            parameters = load_parameters(model, task.robot)
            path = folder / 'virtual_robot.xml'
            plant = VirtualPlant(path, parameters, batch, task.period, generator)
    except ValueError as err:
        raise ConfigurationError(f'task {task.name}, model {model}: {err}') from err
    apply_gap(plant.physics.model, chosen)
    widths = task.training_reset if reset == 'training' else task.evaluation_reset
    return Simulator(task, plant, generator, widths, chosen)
