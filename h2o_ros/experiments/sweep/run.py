"""One cell trained with some seeds: evaluations on the way, and all that an interruption needs.

Several seeds train as one batch; each one's numbers are those it would have alone, up to rounding.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.data.datasets.d4rl import REFERENCE_RETURNS, normalised_score
from h2o_ros.experiments.core.in_process_training import evaluate, train
from h2o_ros.experiments.core.provenance import machine, version
from h2o_ros.experiments.core.results import Outcome, Row, read_rows, write_rows
from h2o_ros.experiments.sweep import gap_samples, run_config
from h2o_ros.experiments.sweep.run_config import Cell, Datasets
from h2o_ros.sim.gaps import simulation
from h2o_ros.task import Task, load_task

REALITY = 'standard'  # the unchanged model, on which policies are judged
EVALUATION_SEED = 10_000  # plus the run's: all algorithms meet the same initial states
CHECKPOINT, CURVE, SAMPLES = 'checkpoint.safetensors', 'curve.csv', 'gap.npy'


@dataclass(frozen=True)
class Settings:
    """What all runs of a grid share.

    steps: updates of a run. every: updates between two evaluations. episodes: of each. robots:
    that are simulated at once. device: what computes. saving: s between two checkpoints.
    """

    steps: int
    every: int = 10_000
    episodes: int = 10
    robots: int = 32
    device: str = 'cpu'
    saving: float = 300.0


class Run:
    """A cell and the seeds that train together, in a folder that is theirs until they end.

    rows: the evaluations so far. samples: the dynamics gap at some stages, see gap_samples.
    """

    def __init__(
        self, cell: Cell, seeds: Sequence[int], settings: Settings, folder: Path, data: Datasets
    ) -> None:
        """Begin, or go on from the folder's checkpoint."""
        self.cell, self.seeds, self.settings = cell, tuple(seeds), settings
        self.folder, self.task = folder, load_task(cell.task)
        torch.set_num_threads(1)
        folder.mkdir(parents=True, exist_ok=True)
        config = run_config.configuration(cell, settings.steps)
        self._recipe = run_config.digest_of_recipe(run_config.recipe(config))
        self._digest = data.digest(cell.dataset, self.task)
        real = data.of_cell(cell, self.task)
        simulated_in = simulation(cell.gap, settings.robots) if config.needs_simulated else {}
        self.rows: list[Row] = []
        self.samples = gap_samples.read(Path())
        self._stages = gap_samples.stages(settings.steps, settings.every)
        if (folder / CHECKPOINT).is_file():
            path = folder / CHECKPOINT
            self.trainer = Trainer.load(
                path, config, self.task, real, settings.device, simulation=simulated_in
            )
            self._read_begun()
        else:
            self.trainer = Trainer(config, self.task, real, self.seeds, settings.device)
            self.trainer.simulation = simulated_in
        self._before = max((row.seconds for row in self.rows), default=0.0)
        self._began = self._saved = time.monotonic()

    def train(
        self,
        tell: Callable[[Run], None] = lambda run: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end and say True; saved and False where `stopping` came first.

        tell: called after each chunk of updates.
        """

        def after_chunk() -> None:
            updates = self.trainer.updates
            if updates in self._stages:
                self._sample()
            if updates % self.settings.every == 0 or updates == self.settings.steps:
                self._evaluate()
            tell(self)

        seeds = [self.trainer.simulator_seed(seed) for seed in self.seeds]
        train(
            self.trainer, self.task, seeds, self.cell.gap, self.settings.robots, after_chunk,
            stopping, self.settings.every,
        )  # fmt: skip
        if self.trainer.updates < self.settings.steps:
            self.save()
            return False
        return True

    def outcome(self) -> Outcome:
        """Return what a run that is through leaves."""
        policies = {s: self.trainer.policy(i).to_bytes() for i, s in enumerate(self.seeds)}
        return Outcome(self.rows, self.samples, policies)

    def save(self) -> None:
        """Write a checkpoint; before the first update there is nothing to keep."""
        if self.trainer.updates:
            write_rows(self.rows, self.folder / CURVE)
            gap_samples.write(self.samples, self.folder / SAMPLES)
            self.trainer.save(self.folder / CHECKPOINT)
        self._saved = time.monotonic()

    def _evaluate(self) -> None:
        for index, seed in enumerate(self.seeds):
            episodes = evaluate(
                self.trainer.policy(index), self.task, REALITY, self.settings.episodes,
                EVALUATION_SEED + seed,
            )  # fmt: skip
            self.rows.append(self._row(seed, episodes.returns))
        write_rows(self.rows, self.folder / CURVE)
        waited = time.monotonic() - self._saved
        if waited > self.settings.saving and self.trainer.updates < self.settings.steps:
            self.save()

    def _sample(self) -> None:
        found = gap_samples.sample(self.trainer, self.cell.gap)
        self.samples = np.concatenate((self.samples, found))

    def _row(self, seed: int, returns: np.ndarray) -> Row:
        mean = float(returns.mean())
        return Row(
            **dataclasses.asdict(self.cell),
            digest=self._digest,
            recipe=self._recipe,
            seed=seed,
            steps=self.settings.steps,
            update=self.trainer.updates,
            return_mean=mean,
            return_std=float(returns.std()),
            episodes=len(returns),
            score=score(self.task, mean),
            seconds=self._before + time.monotonic() - self._began,
            together=len(self.seeds),
            machine=machine(self.settings.device),
            version=version(),
            date=datetime.date.today().isoformat(),
            robots=self.settings.robots,
        )

    def _read_begun(self) -> None:
        """Take what was measured up to the checkpoint; the rest will be measured again."""
        updates = self.trainer.updates
        if (self.folder / CURVE).is_file():
            rows = read_rows(self.folder / CURVE)
            self.rows = [row for row in rows if row.update <= updates]
        samples = gap_samples.read(self.folder / SAMPLES)
        column = gap_samples.COLUMNS.index('update')
        self.samples = samples[samples[:, column] <= updates]


def score(task: Task, mean_return: float) -> float:
    """Return D4RL's normalised score, NaN for a task without one."""
    known = task.name in REFERENCE_RETURNS
    return normalised_score(task.name, mean_return) if known else math.nan
