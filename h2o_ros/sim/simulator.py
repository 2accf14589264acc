"""Batched episodes of a task on a model of the robot: actions in, transitions out."""

from __future__ import annotations

from typing import Protocol

import mujoco
import numpy as np

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import SIMULATOR, VIRTUAL_ROBOT, check_model, robot_folder
from h2o_ros.sim.gaps import NO_GAP, Gap, apply_gap, find_gap
from h2o_ros.sim.locomotion.robots import make_locomotion
from h2o_ros.sim.wheel_legged.robots import make_wheel_legged
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions


class Robots(Protocol):
    """N robots of one kind under a task: what differs between kinds of robots lies behind this."""

    batch: int

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, the same for all robots; a gap is put into it."""

    def restart(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Place rows (indices) at initial states drawn by the generator."""

    def advance(self, action: np.ndarray) -> None:
        """Hold the action (N, A), in the task's units, for one control period."""

    def observe(self) -> np.ndarray:
        """Return what the robots see now, (N, O) float32 in the task's order."""

    def position_x(self) -> np.ndarray:
        """Return how far along x the robots are, (N,) m."""

    def speed(self) -> np.ndarray:
        """Return the velocity along x, (N,) m/s."""

    def sensors(self) -> dict[str, np.ndarray]:
        """Return what the sensors read now, each (N,)."""

    def hidden_states(self) -> list[str]:
        """Name what a robot's motion depends on and its observation does not tell."""

    def placeable(self, observation: np.ndarray) -> np.ndarray:
        """Say which observations (N, O) were not cut, (N,)."""

    def place_as_observed(self, observation: np.ndarray) -> None:
        """Put all robots where `observe` gives this (N, O)."""


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
        """Return what the robots' sensors read now, see h2o_ros.sim.wheel_legged.plants."""


class Simulator:
    """Robots under a task: episodes, rewards and the noise of a gap."""

    def __init__(
        self, task: Task, plant: Robots, generator: np.random.Generator, gap: Gap = NO_GAP
    ) -> None:
        """gap: what disturbs the action; the plant's model holds the rest of it already."""
        self.task, self.batch = task, plant.batch
        self.plant = plant
        self._generator, self._gap = generator, gap
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
        self._observation = self.plant.observe()

    @property
    def shows_its_state(self) -> bool:
        """Whether robots can be placed where something was observed."""
        return not self.plant.hidden_states()

    def placeable(self, observation: np.ndarray) -> np.ndarray:
        """Say at which observations (N, O) a robot moves on as what was observed there, (N,).

        ConfigurationError: what is observed is not all of this robot's state.
        """
        self._require_fully_observed()
        return self.plant.placeable(observation)

    def begin_at(self, observation: np.ndarray) -> None:
        """Begin an episode on every robot where it observes (N, O).

        ConfigurationError: what is observed is not all of this robot's state.
        """
        self._require_fully_observed()
        self.plant.place_as_observed(observation)
        self._ages[:] = 0
        self._observation = self.plant.observe()

    def step(self, action: np.ndarray) -> Transitions:
        """Take one control step under action (N, A) in the task's units, clipped to its limits.

        The rows hold the action that was sent, without the gap's noise, and the true next
        observation; robots whose episode ended begin anew afterwards, and `observation` is then
        their new one.
        """
        action = self._checked(action)
        observation = self._observation
        before = self.plant.position_x() if self.task.needs_progress else None
        self.plant.advance(self._disturbed(action))
        next_observation = self.plant.observe()
        progress = None
        if before is not None:
            progress = (self.plant.position_x() - before) / self.task.period
        self._steps += 1
        self._ages += 1
        terminated = self.task.compute_terminated(next_observation)
        truncated = ~terminated & (self._ages >= self.task.horizon)
        ended = np.flatnonzero(terminated | truncated)
        self._observation = next_observation
        if len(ended):
            self._restart(ended)
            self._observation = self.plant.observe()
        return Transitions(
            observation=observation,
            action=action,
            reward=self.task.compute_reward(observation, action, progress),
            next_observation=next_observation,
            terminated=terminated,
            truncated=truncated,
        )

    def _checked(self, action: np.ndarray) -> np.ndarray:
        """Return the action (N, A) float32 within the task's limits."""
        action, expected = np.asarray(action, np.float32), (self.batch, len(self.task.action))
        if action.shape != expected:
            raise ValueError(f'action: expected shape {expected}, got {action.shape}')
        if not np.isfinite(action).all():
            raise ValueError('action: expected finite numbers, got NaN or infinity')
        return np.clip(action, self.task.action_lower, self.task.action_upper)

    def _disturbed(self, action: np.ndarray) -> np.ndarray:
        """Return what the gap makes of the action (N, A), float64."""
        speed = self.plant.speed() if self._gap.velocity_offset else None
        return self._gap.disturb(action.astype(np.float64), speed, self._generator)

    def _require_fully_observed(self) -> None:
        if hidden := self.plant.hidden_states():
            raise ConfigurationError(
                f'task {self.task.name}: its robots have states that are not observed '
                f'({", ".join(hidden)}), and cannot be placed where something was observed; '
                'observe them, or take the simulator in place of a virtual robot'
            )

    def _restart(self, rows: np.ndarray) -> None:
        self.plant.restart(rows, self._generator)
        self._ages[rows] = 0


def make_simulator(
    task: Task,
    model: str = SIMULATOR,
    batch: int = 1,
    seed: int = 0,
    gap: str = 'none',
    reset: str = 'training',
) -> Simulator:
    """Make N robots of a model: 'simulator', or what stands for reality, as 'standard' or 'hard'.

    gap: as h2o_ros.sim.gaps reads it. reset: the task's 'training' or 'evaluation' states.
    """
    if reset not in ('training', 'evaluation'):
        raise ConfigurationError(f'reset: expected training or evaluation, got {reset!r}')
    if batch < 1:
        raise ConfigurationError(f'batch: expected 1 robot or more, got {batch}')
    chosen = find_gap(gap)
    check_model(task.robot, model)
    generator = np.random.default_rng(seed)
    plant: Robots
    try:
        if (robot_folder(task.robot) / VIRTUAL_ROBOT).is_file():
            widths = task.training_reset if reset == 'training' else task.evaluation_reset
            plant = make_wheel_legged(task, model, batch, widths, generator)
        else:
            plant = make_locomotion(task, model, batch)
    except ValueError as err:
        raise ConfigurationError(f'task {task.name}, model {model}: {err}') from err
    apply_gap(plant.model, chosen)
    return Simulator(task, plant, generator, chosen)
