"""A grid: which runs are wanted, which are missing, and training those, one batch at a time."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from h2o_ros.errors import ConfigurationError, H2OError
from h2o_ros.experiments import cells
from h2o_ros.experiments.cells import UNUSED, Cell, Datasets
from h2o_ros.experiments.grid_progress import GridProgress
from h2o_ros.experiments.results import Outcome, Results, RunKey
from h2o_ros.experiments.results_folder import ResultsFolder
from h2o_ros.experiments.runs import Run, Settings
from h2o_ros.locks import FileLock
from h2o_ros.sim.gaps import find_gap
from h2o_ros.task import load_task


class Batch(NamedTuple):
    """A cell and the seeds that train together."""

    cell: Cell
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Cells, each with every seed. together: seeds of a batch. known: runs made elsewhere."""

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    settings: Settings
    folder: ResultsFolder
    together: int = 1
    known: Results = dataclasses.field(default_factory=Results)

    def results(self) -> Results:
        """Return the runs of the folder, and those known elsewhere."""
        return self.folder.results().joined(self.known)

    def claim(self, batches: Sequence[Batch], data: Datasets) -> None:
        """Note what these batches rest on; ConfigurationError where the folder is another's."""
        wanted = list(dict.fromkeys(batch.cell for batch in batches))
        of_all = self.settings
        shared = {
            'steps': of_all.steps,
            'evaluations every': of_all.every,
            'episodes': of_all.episodes,
            'robots': of_all.robots,
        }
        datasets = _digests(wanted, data)
        self._check_known(datasets)
        names = {cell.gap for cell in wanted if cell.gap != UNUSED}
        gaps = {name: dataclasses.asdict(find_gap(name)) for name in sorted(names)}
        recipes = {
            f'{cell.algorithm} on {cell.task} {cell.overrides}'.strip(): cells.recipe(
                cells.configuration(cell, of_all.steps)
            )
            for cell in wanted
        }
        self.folder.claim(shared, {'dataset': datasets, 'gap': gaps, 'algorithm': recipes})

    def missing(self) -> list[Batch]:
        """Return what is to be trained: the first seeds of all cells first."""
        have = self.results()
        batches = []
        for cell in self.cells:
            wanted = [
                seed for seed in self.seeds if RunKey(cell, seed, self.settings.steps) not in have
            ]
            for begun in self.folder.begun(cell):
                if set(begun) <= set(wanted):
                    batches.append(Batch(cell, begun))
                    wanted = [seed for seed in wanted if seed not in begun]
            for first in range(0, len(wanted), self.together):
                batches.append(Batch(cell, tuple(wanted[first : first + self.together])))
        return sorted(batches, key=lambda batch: batch.seeds[0])  # stable: cells keep their order

    def _check_known(self, datasets: dict[str, str]) -> None:
        for name, digest in self.known.digests().items():
            if datasets.get(name, digest) != digest:
                raise ConfigurationError(
                    f'known results: made from another {name} (digest {digest}, here '
                    f'{datasets[name]}); leave --known out, or take the same dataset'
                )
        for key in self.known:
            robots = self.known.final(key).robots
            simulated = key.cell in self.cells and key.cell.gap != UNUSED
            if simulated and robots not in (0, self.settings.robots):
                raise ConfigurationError(
                    f'known results: made with --robots {robots}, here {self.settings.robots}; '
                    'give the same, or leave --known out'
                )


def _digests(wanted: Sequence[Cell], data: Datasets) -> dict[str, str]:
    pairs = sorted({(cell.dataset, cell.task) for cell in wanted if cell.dataset != UNUSED})
    return {dataset: data.digest(dataset, load_task(task)) for dataset, task in pairs}


def run_here(grid: Grid, batches: Sequence[Batch], data: Datasets, progress: GridProgress) -> bool:
    """Train batch after batch in this process; False where Ctrl-C ended it early."""
    with interruptible() as stopping:
        for batch in batches:
            locks = take(grid, batch)
            if locks is None:
                progress.left_out(batch)
                continue
            try:
                if not _run(grid, batch, data, progress, stopping):
                    return False
            except H2OError as err:
                progress.failed(batch, err)
            finally:
                for lock in locks:
                    lock.close()
    return True


def take(grid: Grid, batch: Batch) -> list[FileLock] | None:
    """Take the runs of a batch for this process; None where another has or had one of them."""
    locks = [grid.folder.lock(batch.cell, seed) for seed in batch.seeds]
    held = [lock for lock in locks if lock is not None]
    have = grid.folder.results()
    done = any(RunKey(batch.cell, s, grid.settings.steps) in have for s in batch.seeds)
    if len(held) == len(locks) and not done:
        return held
    for lock in held:
        lock.close()
    return None


def _run(
    grid: Grid, batch: Batch, data: Datasets, progress: GridProgress, stopping: Callable[[], bool]
) -> bool:
    place = grid.folder.place(batch.cell, batch.seeds)
    run = Run(batch.cell, batch.seeds, grid.settings, place, data)
    progress.begin(batch, run.trainer.updates)
    if not run.train(lambda run: progress.at(batch, run.trainer.updates, run.rows), stopping):
        progress.interrupted(batch)
        return False
    finish(grid, batch, run.outcome())
    progress.done(batch, run.rows)
    return True


def finish(grid: Grid, batch: Batch, outcome: Outcome) -> None:
    """Keep what a batch that is through leaves, then remove what it needed on the way."""
    grid.folder.add(outcome)
    grid.folder.clear(batch.cell, batch.seeds)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C or a request to end came; a second one ends."""
    came: list[int] = []

    def note(number: int, _frame: object) -> None:
        came.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
