"""The one record that every part of the package passes on: a batch of transitions."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True)
class Transitions:
    """N control steps as contiguous arrays, SI units, in the task's field order.

    observation       (N, O) float32, before the action
    action            (N, A) float32, in the unit of the task (N·m for torques)
    reward            (N,) float32, in the units of the task's reward function
    next_observation  (N, O) float32
    terminated        (N,) bool, the episode ended by failure: cuts the bootstrap
    truncated         (N,) bool, the episode ended for another reason (horizon, end of a recording)
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    def __post_init__(self) -> None:
        """Bring every array to its type; ValueError where shapes disagree."""
        for field in fields(self):
            kind = bool if field.name in ('terminated', 'truncated') else np.float32
            array = np.ascontiguousarray(getattr(self, field.name), dtype=kind)
            object.__setattr__(self, field.name, array)
        rows = len(self.observation)
        for field in fields(self):
            array = getattr(self, field.name)
            dimensions = 2 if field.name in ('observation', 'action', 'next_observation') else 1
            if array.ndim != dimensions or len(array) != rows:
                raise ValueError(
                    f'{field.name}: expected {dimensions} dimensions and {rows} rows, '
                    f'got shape {array.shape}'
                )
        if self.observation.shape != self.next_observation.shape:
            raise ValueError(
                f'next_observation: expected shape {self.observation.shape}, '
                f'got {self.next_observation.shape}'
            )

    def __len__(self) -> int:
        return len(self.reward)

    def select(self, rows: np.ndarray | slice) -> Transitions:
        """Return the chosen rows (indices, mask or slice)."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def is_finite(self) -> bool:
        """Say whether every number is finite."""
        arrays = (self.observation, self.action, self.reward, self.next_observation)
        return all(bool(np.isfinite(array).all()) for array in arrays)


def concatenate(parts: list[Transitions]) -> Transitions:
    """Join batches in order; ValueError where there is none."""
    if not parts:
        raise ValueError('concatenate: expected at least one batch of transitions, got none')
    names = [field.name for field in fields(Transitions)]
    return Transitions(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
