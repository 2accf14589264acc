"""The folder of a grid: its settings, finished runs, runs under way, and all results in one file.

manifest.json     what all runs of this folder share; another grid is refused
runs/KEY.csv      a finished run, written whole or not at all
gaps/KEY.npy      what it took for the dynamics gap at some stages
policies/KEY.safetensors  its last policy
progress/KEY/     a batch of seeds under way: checkpoint and curve so far
locks/            which process trains what: two commands may share a folder
results.csv       every finished run, joined anew after each
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from h2o_ros.algorithms.files.tensor_file import write_atomically
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core import manifest
from h2o_ros.experiments.core.results import Outcome, Results, read_rows, write_rows
from h2o_ros.experiments.sweep import gap_samples
from h2o_ros.experiments.sweep.run_config import Cell
from h2o_ros.locks import FileLock, HeldError
from h2o_ros.report.output import prepare_output_folder

PATIENCE = 10.0  # s that another process may take to join the results


class ResultsFolder:
    """The results of one grid, safe against a kill at any moment."""

    def __init__(self, path: str | Path) -> None:
        """Make the folder where it is new."""
        self.path = prepare_output_folder(path)
        for name in ('runs', 'gaps', 'policies', 'progress', 'locks'):
            (self.path / name).mkdir(exist_ok=True)

    def claim(self, settings: Mapping[str, Any], parts: manifest.Parts) -> None:
        """Note what the runs share; ConfigurationError where this folder is another grid's."""
        with self._exclusive():
            manifest.claim(self.path, settings, parts)

    def compare(self, parts: manifest.Parts) -> None:
        """Refuse parts as `claim` does, and note nothing."""
        manifest.compare(self.path, {}, parts)

    def results(self) -> Results:
        """Return every finished run."""
        return Results(row for file in sorted(self._runs()) for row in read_rows(file))

    def add(self, outcome: Outcome) -> None:
        """Keep finished runs with their samples and policies; join the results anew."""
        finished = Results(outcome.rows)
        for key in finished:
            own = outcome.samples[outcome.samples[:, 0] == key.seed]
            if len(own):
                gap_samples.write(own, self.samples_of(key.cell, key.seed))
            policy = self.policy_of(key.cell, key.seed)
            write_atomically(policy, outcome.policies[key.seed], ConfigurationError)
            path = self.path / 'runs' / f'{_name(key.cell, [key.seed])}.csv'
            write_rows(finished.curve(key), path)
        with self._exclusive():
            self.results().write(self.path / 'results.csv')

    def samples_of(self, cell: Cell, seed: int) -> Path:
        """Return the file of a run's samples of the dynamics gap."""
        return self.path / 'gaps' / f'{_name(cell, [seed])}.npy'

    def policy_of(self, cell: Cell, seed: int) -> Path:
        """Return the file of a finished run's last policy."""
        return self.path / 'policies' / f'{_name(cell, [seed])}.safetensors'

    def place(self, cell: Cell, seeds: Sequence[int]) -> Path:
        """Return the folder of a batch of seeds under way."""
        return self.path / 'progress' / _name(cell, seeds)

    def clear(self, cell: Cell, seeds: Sequence[int]) -> None:
        """Remove the folder of a batch whose runs are finished."""
        shutil.rmtree(self.place(cell, seeds), ignore_errors=True)

    def begun(self, cell: Cell) -> list[tuple[int, ...]]:
        """Return the batches of seeds of a cell that were begun and not finished."""
        prefix = _name(cell, [])
        found = [path.name.removeprefix(prefix) for path in self.path.glob('progress/*')]
        numbers = [name.split('_') for name in found if name.replace('_', '').isdigit()]
        return sorted(tuple(map(int, seeds)) for seeds in numbers)

    def lock(self, cell: Cell, seed: int) -> FileLock | None:
        """Take a run for this process; None where another has it."""
        try:
            return FileLock(self.path / 'locks' / _name(cell, [seed]))
        except HeldError:
            return None

    def _runs(self) -> Iterator[Path]:
        return self.path.glob('runs/*.csv')

    def _exclusive(self) -> _Exclusive:
        return _Exclusive(self.path / 'locks' / 'results')


class _Exclusive:
    """Waits for a lock, which is held for moments only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._lock = FileLock(self._path)
                return
            except HeldError as err:
                if time.monotonic() > end:
                    raise ConfigurationError(
                        f'{self._path}: held by process {err.process} for more than '
                        f'{PATIENCE:.0f} s; end it'
                    ) from err
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _name(cell: Cell, seeds: Sequence[int]) -> str:
    return f'{cell.key}__seed_{"_".join(map(str, seeds))}'
