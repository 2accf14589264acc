"""Results as one tidy table: a row for each evaluation of each run, whichever table asked for it.

A run is a cell, a seed and a number of steps. It is read and written whole; a run that was not
finished is in no results file.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from h2o_ros.algorithms.files.tensor_file import write_atomically
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.sweep.run_config import UNUSED, Cell


@dataclass(frozen=True)
class Row:
    """One evaluation of one run.

    algorithm, task, dataset, gap, rows, overrides: the cell. digest: of the dataset's numbers.
    recipe: digest of the settings that are not the package's defaults. seed, steps: the run, steps
    being its number of updates. update: those made when this policy was evaluated. return_mean,
    return_std: over `episodes` of the deterministic policy on the unchanged model, undiscounted.
    score: D4RL's normalised score, NaN for a task without one. seconds: since the run began.
    together: seeds trained in one batch. machine, version, date: by what and when. robots:
    simulated at once; 0 in files that are older than this column.
    """

    algorithm: str
    task: str
    dataset: str
    gap: str
    rows: int
    overrides: str
    digest: str
    recipe: str
    seed: int
    steps: int
    update: int
    return_mean: float
    return_std: float
    episodes: int
    score: float
    seconds: float
    together: int
    machine: str
    version: str
    date: str
    robots: int = 0

    @property
    def run(self) -> RunKey:
        """The run that this evaluation belongs to."""
        cell = Cell(self.algorithm, self.task, self.dataset, self.gap, self.rows, self.overrides)
        return RunKey(cell, self.seed, self.steps)


COLUMNS = tuple(field.name for field in fields(Row))
OLDER_COLUMNS = COLUMNS[:-1]
TYPES = {
    field.name: {'int': int, 'float': float, 'str': str}[str(field.type)] for field in fields(Row)
}


class Outcome(NamedTuple):
    """What a batch of seeds that is through leaves.

    samples: of the dynamics gap, see gap_samples. policies: each seed's last, as its file's bytes.
    """

    rows: list[Row]
    samples: np.ndarray
    policies: dict[int, bytes]


class RunKey(NamedTuple):
    """What tells runs apart."""

    cell: Cell
    seed: int
    steps: int


class Results:
    """Finished runs, each with its evaluations in order of updates."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        """Rows of runs that were not finished are left out."""
        gathered: dict[RunKey, list[Row]] = {}
        for row in rows:
            gathered.setdefault(row.run, []).append(row)
        self._runs = {
            key: tuple(sorted(curve, key=lambda row: row.update))
            for key, curve in gathered.items()
            if any(row.update == key.steps for row in curve)
        }

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, key: RunKey) -> bool:
        return key in self._runs

    def __iter__(self) -> Iterator[RunKey]:
        return iter(sorted(self._runs))

    def curve(self, key: RunKey) -> tuple[Row, ...]:
        """Return the evaluations of a run."""
        return self._runs[key]

    def final(self, key: RunKey) -> Row:
        """Return the evaluation of a run's last policy."""
        return self._runs[key][-1]

    def of_cell(self, cell: Cell, steps: int) -> list[RunKey]:
        """Return the runs of a cell with so many steps, by seed."""
        return [key for key in self if key.cell == cell and key.steps == steps]

    def digests(self) -> dict[str, str]:
        """Return the digest of each dataset; ConfigurationError where one name has two."""
        found: dict[str, str] = {}
        for key in self:
            row = self.final(key)
            if row.dataset != UNUSED and found.setdefault(row.dataset, row.digest) != row.digest:
                raise ConfigurationError(
                    f'results of two datasets named {row.dataset} (digests {found[row.dataset]} '
                    f'and {row.digest}); keep results of different data in different files'
                )
        return found

    def check(self) -> None:
        """ConfigurationError where runs that tables take together were made differently."""
        self.digests()
        found: dict[tuple[Cell, int, str], object] = {}
        for key in self:
            row = self.final(key)
            robots = 0 if row.gap == UNUSED else row.robots
            made = {'recipe': row.recipe, 'episodes': row.episodes, 'robots': robots}
            for name, value in made.items():
                there = found.setdefault((key.cell, key.steps, name), value) if value else value
                if there != value:
                    raise ConfigurationError(
                        f'{key.cell}: runs with {name} {there} and with {value}; keep results '
                        'of different settings in different files'
                    )

    def joined(self, other: Results) -> Results:
        """Return the runs of both, checked; where both have one, that of this one."""
        joined = Results()
        joined._runs = other._runs | self._runs
        joined.check()
        return joined

    def thinned(self, every: int) -> Results:
        """Return the same runs with the evaluations at multiples of `every`, and the last."""
        return Results(
            row for row in self.rows() if row.update % every == 0 or row.update == row.steps
        )

    def rows(self) -> Iterator[Row]:
        """Go through every evaluation of every run, in order."""
        for key in self:
            yield from self._runs[key]

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        write_rows(self.rows(), path)

    @classmethod
    def read(cls, path: str | Path) -> Results:
        """Read a file; ConfigurationError names a line that is no result."""
        results = cls(read_rows(path))
        results.check()
        return results


def write_rows(rows: Iterable[Row], path: str | Path) -> None:
    """Write a results file, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows([_text(value) for value in astuple(row)] for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: str | Path) -> list[Row]:
    """Read a results file; ConfigurationError names a line that is no result."""
    try:
        lines = list(csv.reader(io.StringIO(Path(path).read_text(encoding='utf-8'))))
    except OSError as err:
        raise ConfigurationError(
            f'{path}: cannot be read ({err.strerror}); check the path'
        ) from err
    except (csv.Error, UnicodeDecodeError) as err:
        raise ConfigurationError(f'{path}: not a file of results ({err}); check the path') from err
    if not lines or tuple(lines[0]) not in (COLUMNS, OLDER_COLUMNS):
        raise ConfigurationError(
            f'{path}: not a file of results; its first line must be {",".join(COLUMNS)}'
        )
    columns = lines[0]
    return [
        _row(columns, values, f'{path}, line {number}')
        for number, values in enumerate(lines[1:], 2)
    ]


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all; ConfigurationError where that fails."""
    write_atomically(path, text.encode(), ConfigurationError)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return '' if math.isnan(value) else f'{value:.2f}'
    return str(value)


def _row(columns: list[str], values: list[str], where: str) -> Row:
    if len(values) != len(columns):
        raise ConfigurationError(
            f'{where}: expected {len(columns)} columns, got {len(values)}; correct the file'
        )
    taken: dict[str, Any] = {}
    for name, value in zip(columns, values, strict=True):
        try:
            taken[name] = math.nan if name == 'score' and not value else TYPES[name](value)
        except ValueError as err:
            raise ConfigurationError(
                f'{where}: {name}: expected {TYPES[name].__name__}, got {value!r}; correct it'
            ) from err
    return Row(**taken)
