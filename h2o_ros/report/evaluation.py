"""Finished episodes of one policy, as the report's parts share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

PER_EPISODE = ('returns', 'lengths', 'survived', 'mean_abs_x', 'mean_abs_action', 'mean_x_dot')


@dataclass(frozen=True)
class EpisodeFigures:
    """K episodes of one policy without exploration; the fields of the Evaluation message.

    update           gradient update that made the policy
    returns          (K,) undiscounted, in the task's reward units
    lengths          (K,) control steps
    survived         (K,) 1 where it did not end by failure, else 0
    mean_abs_x       (K,) m; empty where the task does not observe x
    mean_abs_action  (K,) mean of |action|, in its unit; empty where it was not measured
    mean_x_dot       (K,) m/s; empty where the task does not observe x_dot
    """

    update: int
    returns: np.ndarray
    lengths: np.ndarray
    survived: np.ndarray
    mean_abs_x: np.ndarray
    mean_abs_action: np.ndarray
    mean_x_dot: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Bring every field to an array; ValueError where their lengths disagree."""
        for name in PER_EPISODE:
            array = np.asarray(getattr(self, name), np.float64).reshape(-1)
            object.__setattr__(self, name, array)
            optional = name.startswith('mean_') and not len(array)
            if len(array) != len(self.returns) and not optional:
                raise ValueError(
                    f'{name}: expected one value an episode ({len(self.returns)}), '
                    f'got {len(array)}'
                )

    @property
    def episodes(self) -> int:
        """K, the number of episodes."""
        return len(self.returns)


Series = Mapping[str, tuple[np.ndarray, np.ndarray]]


def evaluations_from_series(series: Series, horizon: int) -> list[EpisodeFigures]:
    """Return the evaluations that a progress.csv tells of, one row an episode.

    horizon: control steps; older files tell the lengths alone, and those that took so many count
    as survived. An evaluation is left out that a kill or a full disk tore while it was written.
    """
    if 'episode/returns' not in series:
        return []
    found = []
    for update in np.unique(series['episode/returns'][0]):
        values = {name: _at(series, f'episode/{name}', update) for name in PER_EPISODE}
        if not len(values['survived']):  # a run may have begun in an older version
            values['survived'] = values['lengths'] >= horizon
        if {len(each) for each in values.values()} - {0, len(values['lengths'])}:
            continue
        found.append(EpisodeFigures(int(update), **values))
    return found


def _at(series: Series, name: str, update: int) -> np.ndarray:
    """Return a name's values at one update, (N,); empty where there are none."""
    steps, values = series.get(name, (np.zeros(0), np.zeros(0)))
    return values[steps == update]
