"""A grid: which runs are wanted, which are missing, and training those, one batch at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from h2o_ros.errors import ConfigurationError, H2OError
from h2o_ros.experiments.core.interruption import interruptible
from h2o_ros.experiments.core.results import Outcome, Results, RunKey
from h2o_ros.experiments.sweep import run_config
from h2o_ros.experiments.sweep.dependencies import rests_on
from h2o_ros.experiments.sweep.folder import ResultsFolder
from h2o_ros.experiments.sweep.progress import GridProgress
from h2o_ros.experiments.sweep.run import Run, Settings
from h2o_ros.experiments.sweep.run_config import UNUSED, Cell, Datasets
from h2o_ros.locks import FileLock


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
        """Note what the folder's runs and these batches rest on, before they are trained.

        ConfigurationError where the folder, or a known run, rests on anything else.
        """
        settings, missing = self.settings, {batch.cell for batch in batches}
        shared = {
            'steps': settings.steps,
            'evaluations every': settings.every,
            'episodes': settings.episodes,
            'robots': settings.robots,
        }
        self._check_known(missing, data)
        self._check_how_known()
        own = self._cells_of(self.folder.results()) | missing
        self.folder.claim(shared, rests_on(own, missing, data, settings.steps))

    def compare(self, data: Datasets) -> None:
        """Refuse as `claim` what the folder's runs and the known ones rest on; note nothing."""
        self._check_known((), data)
        own = self._cells_of(self.folder.results())
        self.folder.compare(rests_on(own, (), data, self.settings.steps))

    def versions(self) -> list[str]:
        """Return by which code each run of the grid that the folder has was made."""
        results = self.folder.results()
        return [
            results.final(key).version
            for key in results
            if key.cell in self.cells
            and key.seed in self.seeds
            and key.steps == self.settings.steps
        ]

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

    def _cells_of(self, results: Results) -> set[Cell]:
        """Return the grid's cells that have a run of its steps in these results."""
        steps = self.settings.steps
        return set(self.cells) & {key.cell for key in results if key.steps == steps}

    def _check_known(self, missing: Collection[Cell], data: Datasets) -> None:
        """Refuse known runs of other data or settings than those that there are here."""
        steps, known = self.settings.steps, self._cells_of(self.known)
        datasets = rests_on(known | set(missing), missing, data, steps)['dataset']
        for name, digest in self.known.digests().items():
            if datasets.get(name, digest) != digest:
                raise ConfigurationError(
                    f'known results: made from another {name} (digest {digest}, here '
                    f'{datasets[name]}); leave --known out, or take the same dataset'
                )
        for cell in sorted(known):
            run = self.known.of_cell(cell, steps)[0]
            there = self.known.final(run).recipe
            here = run_config.digest_of_recipe(
                run_config.recipe(run_config.configuration(cell, steps))
            )
            if there != here:
                raise ConfigurationError(
                    f'known results: {cell} was made with other settings (recipe {there}, here '
                    f'{here}); leave --known out, or take the same settings'
                )

    def _check_how_known(self) -> None:
        """Refuse known runs that were simulated or evaluated otherwise."""
        for cell in sorted(self._cells_of(self.known)):
            for run in self.known.of_cell(cell, self.settings.steps):
                last = self.known.final(run)
                made = {'episodes': last.episodes}
                if cell.gap != UNUSED and last.robots:  # unknown in older files
                    made['robots'] = last.robots
                for name, there in made.items():
                    if there != (here := getattr(self.settings, name)):
                        raise ConfigurationError(
                            f'known results: made with --{name} {there}, here {here} ({cell}); '
                            'give the same, or leave --known out'
                        )


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
        progress.interrupted(batch, saved=run.trainer.updates > 0)
        return False
    finish(grid, batch, run.outcome())
    progress.done(batch, run.rows)
    return True


def finish(grid: Grid, batch: Batch, outcome: Outcome) -> None:
    """Keep what a batch that is through leaves, then remove what it needed on the way."""
    grid.folder.add(outcome)
    grid.folder.clear(batch.cell, batch.seeds)
