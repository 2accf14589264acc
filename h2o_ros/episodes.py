"""First episodes of a batch of robots, gathered step by step, and what they say of a policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.task import Task
from h2o_ros.transitions import Transitions


@dataclass(frozen=True)
class Episodes:
    """N episodes without exploration, T the longest of them in control steps.

    returns          (N,) undiscounted, in the task's reward units
    lengths          (N,) control steps
    survived         (N,) bool, did not end by failure
    mean_abs_x       (N,) m, or NaN where the task does not observe x
    mean_abs_action  (N,) mean of |action| over steps and fields, in the action's unit
    mean_x_dot       (N,) m/s, or NaN where the task does not observe x_dot
    observation      (N, T, O) SI units, NaN after an episode's end
    action           (N, T, A) likewise
    """

    returns: np.ndarray
    lengths: np.ndarray
    survived: np.ndarray
    mean_abs_x: np.ndarray
    mean_abs_action: np.ndarray
    mean_x_dot: np.ndarray
    observation: np.ndarray
    action: np.ndarray


class EpisodeCollector:
    """Collects the first episode of each robot of a batch."""

    def __init__(self, task: Task, batch: int) -> None:
        self._task, self._batch = task, batch
        self._steps: list[Transitions] = []
        self._ended = np.zeros(batch, bool)
        self._lengths = np.zeros(batch, np.int64)
        self._survived = np.ones(batch, bool)

    def add(self, rows: Transitions) -> None:
        """Take one control step of every robot; rows of ended episodes are ignored."""
        if len(rows) != self._batch:
            raise ValueError(f'expected one row for each of {self._batch} robots, got {len(rows)}')
        running = ~self._ended
        self._lengths[running] += 1
        self._survived &= ~(running & rows.terminated)
        self._ended |= rows.terminated | rows.truncated
        self._steps.append(rows)

    @property
    def complete(self) -> bool:
        """Whether every robot has ended its first episode."""
        return bool(self._ended.all())

    def result(self) -> Episodes:
        """Return what was gathered."""
        longest = int(self._lengths.max(initial=0))
        steps = self._steps[:longest]
        valid = np.arange(longest)[None, :] < self._lengths[:, None]

        def gather(name: str) -> np.ndarray:
            values = np.stack([getattr(step, name) for step in steps], axis=1).astype(np.float64)
            values[~valid] = np.nan
            return values

        observation, action, reward = gather('observation'), gather('action'), gather('reward')
        return Episodes(
            returns=np.nansum(reward, axis=1),
            lengths=self._lengths.copy(),
            survived=self._survived.copy(),
            mean_abs_x=self._mean(np.abs(observation), 'x'),
            mean_abs_action=np.nanmean(np.abs(action), axis=(1, 2)),
            mean_x_dot=self._mean(observation, 'x_dot'),
            observation=observation.astype(np.float32),
            action=action.astype(np.float32),
        )

    def _mean(self, observation: np.ndarray, name: str) -> np.ndarray:
        """Return (N,), the mean of a field over each episode; NaN where it is not observed."""
        names = self._task.observation_names
        if name not in names:
            return np.full(self._batch, np.nan)
        return np.nanmean(observation[:, :, names.index(name)], axis=1)
