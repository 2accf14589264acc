"""Rows of experience as the learner keeps them, and their scaling.

A row is (s, a, n, s', r, c): n is what the classifiers see of the next state (s' or s' - s), r the
learning reward and c the factor of the next value (0 where the episode ended by failure). Because
(s, a) and (s, a, n) are the beginning of a row, no network's input needs to be put together.
Rows lie in the task's units except r and c; an affine `Scaling` brings them to learning units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.errors import ConfigurationError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions


@dataclass(frozen=True)
class RowLayout:
    """Columns of a row for an observation of O and an action of A fields."""

    observation: int
    action: int

    @property
    def seen(self) -> slice:
        """What the classifiers see of the next state."""
        start = self.observation + self.action
        return slice(start, start + self.observation)

    @property
    def next_observation(self) -> slice:
        """The next state."""
        return slice(self.seen.stop, self.seen.stop + self.observation)

    @property
    def reward(self) -> int:
        """The learning reward."""
        return self.next_observation.stop

    @property
    def continuation(self) -> int:
        """Discount x (1 - terminated)."""
        return self.reward + 1

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.reward + 2


def _centre(task: Task) -> float:
    """Return the task's largest reward, which reward_centre takes for 0."""
    if task.largest_reward is None:
        raise ConfigurationError(
            f'task {task.name}: its reward has no largest value; set reward_centre: false'
        )
    return task.largest_reward


def make_rows(batch: Transitions, config: AlgorithmConfig, task: Task) -> Tensor:
    """Return the rows (N, width) of a batch; ValueError where its widths or numbers are wrong.

    Only `terminated` cuts the bootstrap. Actions are clipped to the task's limits, which is what
    a robot can do. With reward_centre, r = (reward - largest) x scale; every value falls by
    largest x scale / (1 - discount) then, and so must that of a failure, which was 0.
    """
    check_batch(batch, task)
    terminated = batch.terminated.astype(np.float32)
    centre = _centre(task) if config.reward_centre else 0.0
    failure_value = -centre * config.reward_scale / (1.0 - config.discount)
    reward = (batch.reward - np.float32(centre)) * config.reward_scale
    reward = reward + config.discount * failure_value * terminated
    seen = batch.next_observation
    if config.classifiers_see_difference:
        seen = seen - batch.observation
    action = np.clip(batch.action, task.action_lower, task.action_upper)
    continuation = config.discount * (1.0 - terminated)
    columns = (
        batch.observation,
        action,
        seen,
        batch.next_observation,
        reward[:, None],
        continuation[:, None],
    )
    return torch.from_numpy(np.concatenate(columns, 1, dtype=np.float32))


def check_batch(batch: Transitions, task: Task) -> None:
    """Raise ValueError where a batch is not of this task or not finite."""
    widths = batch.observation.shape[1], batch.action.shape[1]
    expected = len(task.observation), len(task.action)
    if widths != expected:
        raise ValueError(
            f'transitions: expected {expected[0]} observation and {expected[1]} action fields of '
            f'task {task.name!r}, got {widths[0]} and {widths[1]}'
        )
    if not batch.is_finite():
        raise ValueError('transitions: expected finite numbers, got NaN or infinity')


@dataclass(frozen=True)
class Scaling:
    """learning row = raw row x scale + shift, columns of a RowLayout.

    scale, shift: (S, W), one row a seed. gap_deviation: (S, O) standard deviation of the next
    states drawn for u, in the units in which the classifiers see the next state; 1 where a
    learned model makes them of standard normal numbers.
    """

    scale: Tensor
    shift: Tensor
    gap_deviation: Tensor

    @classmethod
    def fit(cls, parts: Sequence[Tensor], config: AlgorithmConfig, task: Task) -> Scaling:
        """Take each seed's means and deviations from its rows (N, W), actions by their limits."""
        columns = [_fit(rows, config, task) for rows in parts]
        return cls(*(torch.stack(column) for column in zip(*columns, strict=True)))

    @classmethod
    def identity(cls, seeds: int, layout: RowLayout) -> Scaling:
        """Change nothing."""
        ones = torch.ones(seeds, layout.width)
        return cls(ones, torch.zeros_like(ones), torch.ones(seeds, layout.observation))

    def to(self, device: str) -> Scaling:
        """Return the same on another device."""
        return Scaling(*(t.to(device) for t in (self.scale, self.shift, self.gap_deviation)))

    def apply(self, rows: Tensor) -> Tensor:
        """Bring rows (..., S, N, W) to learning units."""
        return torch.addcmul(self.shift[:, None], rows, self.scale[:, None])

    def standardise(self, observation: Tensor) -> Tensor:
        """Bring observations (S, N, O) to learning units."""
        o = observation.shape[-1]
        return torch.addcmul(self.shift[:, None, :o], observation, self.scale[:, None, :o])


def _fit(rows: Tensor, config: AlgorithmConfig, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    layout = RowLayout(len(task.observation), len(task.action))
    o, scale, shift = layout.observation, torch.ones(layout.width), torch.zeros(layout.width)
    states = rows[:, :o].double()
    deviation = _deviation(states)
    if config.standardise_observation:
        for columns in (slice(0, o), layout.seen, layout.next_observation):
            scale[columns] = 1.0 / deviation
            shift[columns] = -states.mean(0).float() / deviation
    half = torch.from_numpy(task.action_upper - task.action_lower) / 2.0
    middle = torch.from_numpy(task.action_upper + task.action_lower) / 2.0
    scale[o : layout.seen.start], shift[o : layout.seen.start] = 1.0 / half, -middle / half
    gap_deviation = torch.ones(o) if config.standardise_observation else deviation
    if config.classifiers_see_difference:
        scale[layout.seen] = 1.0 / _deviation(rows[:, layout.seen].double())
        shift[layout.seen] = 0.0
        gap_deviation = torch.ones(o)
    if config.learns_dynamics:
        return scale, shift, torch.ones(o)
    return scale, shift, config.gap_spread * gap_deviation


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation of each column, 1 where a column is constant."""
    deviation = values.std(0, correction=0)
    return torch.where(deviation > 1e-9, deviation, 1.0).float()


class SimulatedRows:
    """The newest `capacity` simulated rows of each seed, (S, capacity, W)."""

    def __init__(self, seeds: int, capacity: int, width: int, device: str = 'cpu') -> None:
        self.rows = torch.empty(seeds, capacity, width, device=device)
        self.added = [0] * seeds

    @property
    def capacity(self) -> int:
        """Rows kept per seed."""
        return self.rows.shape[1]

    def filled(self, seed_index: int) -> int:
        """Rows held for a seed."""
        return min(self.added[seed_index], self.capacity)

    def add(self, seed_index: int, rows: Tensor) -> None:
        """Append rows (N, W), over the oldest ones where the buffer is full."""
        kept = rows[-self.capacity :]
        start = (self.added[seed_index] + len(rows) - len(kept)) % self.capacity
        head = min(len(kept), self.capacity - start)
        self.rows[seed_index, start : start + head] = kept[:head]
        if head < len(kept):
            self.rows[seed_index, : len(kept) - head] = kept[head:]
        self.added[seed_index] += len(rows)
