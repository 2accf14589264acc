"""Recorded control steps made again: the simulator in the recorded state and under its action."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import SIMULATOR
from h2o_ros.sim.simulator import Simulator, make_simulator
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

BATCH = 256  # robots at once; each of MuJoCo's takes half a megabyte
LEAST_ROWS = 100
PROBES = 1000  # steps at which an action is changed, to see what it does
SEED = 0  # of a gap's noise
PROBE = 0.02  # of an action's range, up and down


@dataclass(frozen=True)
class Remade:
    """N of M recorded steps and what the simulator made of them.

    recorded: all usable steps in their order, actions within the task's limits. index: which of
    them were made again, (N,), rising. left_out: recorded steps that are not usable.
    error: simulated less recorded next observation (N, O). effect: mean derivative (A, O) of the
    simulated next observation by the action. All in the fields' units.
    """

    task: Task
    recorded: Transitions
    index: np.ndarray
    left_out: int
    error: np.ndarray
    effect: np.ndarray

    @cached_property
    def rows(self) -> Transitions:
        """The steps that were made again."""
        return self.recorded.select(self.index)

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviation of what really changed in one step, (O,)."""
        change = self.rows.next_observation.astype(np.float64) - self.rows.observation
        return change.std(0)


def remake(task: Task, recorded: Transitions, most: int, gap: str = 'none') -> Remade:
    """Make up to `most` recorded steps again, drawn at random, alike each time.

    Not usable are steps whose observation does not tell the whole state, as where a velocity was
    cut, and a dataset's last steps of failed episodes whose next observation was not kept.
    ConfigurationError: too few usable steps, steps without change, or no observation tells the
    simulator's state.
    """
    batch = min(BATCH, most)
    robots = make_simulator(task, SIMULATOR, batch, gap=gap)
    unknown = recorded.terminated & (recorded.next_observation == recorded.observation).all(1)
    usable = np.flatnonzero(robots.placeable(recorded.observation) & ~unknown)
    if len(usable) < LEAST_ROWS:
        raise ConfigurationError(
            f'{len(usable)} usable of {len(recorded)} recorded control steps, where {LEAST_ROWS} '
            'are needed; record longer'
        )
    chosen = recorded.select(usable)
    if (chosen.next_observation == chosen.observation).all():
        raise ConfigurationError('the recorded observations never change; record motion')
    chosen.action[:] = chosen.action.clip(task.action_lower, task.action_upper)
    order = np.random.default_rng(0).permutation(len(chosen))
    index = np.sort(order[:most])
    rows = chosen.select(index)
    error = _reached(robots, rows.observation, rows.action) - rows.next_observation
    effect = _effect(robots, chosen.select(order[: min(most, PROBES)]))
    return Remade(task, chosen, index, len(recorded) - len(chosen), error, effect)


def _effect(robots: Simulator, rows: Transitions) -> np.ndarray:
    """Return the mean change of the next observation per unit of each action, (A, O)."""
    task, effects = robots.task, []
    for column, size in enumerate(PROBE * (task.action_upper - task.action_lower)):
        low, high = rows.action.copy(), rows.action.copy()
        low[:, column] = np.maximum(low[:, column] - size, task.action_lower[column])
        high[:, column] = np.minimum(high[:, column] + size, task.action_upper[column])
        rise = _reached(robots, rows.observation, high) - _reached(robots, rows.observation, low)
        effects.append((rise / (high - low)[:, [column]]).mean(0))
    return np.stack(effects)


def _reached(robots: Simulator, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return the next observations (N, O) float64 of N states under N actions.

    A gap's noise is the same at each call, so that two of them differ by their actions alone.
    """
    robots.reset(SEED)
    reached = np.empty(observation.shape)
    for start in range(0, len(observation), robots.batch):
        part = np.arange(start, min(start + robots.batch, len(observation)))
        filled = np.resize(part, robots.batch)
        robots.begin_at(observation[filled])
        reached[part] = robots.step(action[filled]).next_observation[: len(part)]
    return reached
