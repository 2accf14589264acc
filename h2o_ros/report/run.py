"""All that a run shows, in one object: progress line, scalars, and at the end the rest."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from h2o_ros.report.evaluation import EpisodeFigures, evaluations_from_series
from h2o_ros.report.picture import GapSample, RunFigures, draw_run
from h2o_ros.report.progress import Progress, ProgressLine
from h2o_ros.report.scalars import ScalarWriter, read_progress
from h2o_ros.report.summary import RunSummary, next_command, write_summary
from h2o_ros.task import Task

PICTURE_NAME = 'run.png'


class RunReport:
    """Gathers what a run tells and writes it into `folder`.

    first_update: where a resumed run goes on; what the same folder says from there on is replaced.
    """

    def __init__(
        self,
        folder: Path,
        task: Task,
        algorithm: str,
        seed: int,
        updates_total: int,
        first_update: int = 0,
        stream: TextIO | None = None,
    ) -> None:
        """Open the files; ConfigurationError where the folder cannot be written."""
        self.folder, self.task, self.algorithm, self.seed = Path(folder), task, algorithm, seed
        self.updates_total = updates_total
        self._scalars = ScalarWriter(self.folder, first_update)
        # An evaluation of a policy made before the interruption counts on.
        self._evaluations = evaluations_from_series(read_progress(self._scalars.csv_path))
        self._line = ProgressLine(stream)
        self._start = time.monotonic()
        self._simulated_steps = 0
        self._status: dict[str, float] = {}
        self._gap: GapSample | None = None

    @property
    def last_evaluation(self) -> EpisodeFigures | None:
        """The evaluation of the newest policy, None while there is none."""
        return max(self._evaluations, key=lambda e: e.update, default=None)

    def status(self, update: int, simulated_steps: int, metrics: Mapping[str, float]) -> None:
        """Take the learner's numbers at `update`; names as the fields of LearnerStatus.

        Shown where given: updates_per_second, seconds_left (s), mean_u (nats).
        """
        self._simulated_steps = simulated_steps
        self._status = dict(metrics)
        finite = {f'learner/{n}': float(v) for n, v in metrics.items() if math.isfinite(v)}
        self._scalars.add(update, finite | {'learner/simulated_steps': simulated_steps})
        self._line.show(self._progress(update))

    def evaluation(self, figures: EpisodeFigures) -> None:
        """Take the episodes of one policy on the virtual robot."""
        self._evaluations.append(figures)
        for name in ('returns', 'lengths', 'mean_abs_x', 'mean_abs_action'):
            self._scalars.add_each(figures.update, f'episode/{name}', getattr(figures, name))
        means = {
            'evaluation/mean_return': figures.returns,
            'evaluation/survived': figures.lengths >= self.task.horizon,
            'evaluation/mean_abs_x': figures.mean_abs_x,
            'evaluation/mean_abs_action': figures.mean_abs_action,
        }
        self._scalars.add(
            figures.update, {name: np.mean(v) for name, v in means.items() if len(v)}
        )

    def dynamics_gap(self, observation: np.ndarray, u: np.ndarray) -> None:
        """Take the newest sample: observation (N, O) of simulated steps, u (N,) in nats."""
        self._gap = GapSample(observation, u)

    def message(self, text: str) -> None:
        """Print a line of its own above the progress line."""
        self._line.message(text)

    def finish(
        self,
        update: int,
        real_observation: np.ndarray,
        final_episodes: Sequence[np.ndarray] | np.ndarray,
        files: Sequence[tuple[Path, str]],
        checkpoint: Path | None,
        policy: Path | None,
    ) -> str:
        """Draw the picture, write the summary and return its text.

        real_observation (M, O); final_episodes (T_k, O) each; files: what else was written.
        """
        self._line.close()
        self._scalars.close()
        done = f'{update:,} of {self.updates_total:,} updates'
        title = f'{self.algorithm} on {self.task.name}, seed {self.seed}, {done}'
        ordered = sorted(self._evaluations, key=lambda e: e.update)
        figures = RunFigures(
            title, self.task, ordered, self._gap, real_observation, list(final_episodes)
        )
        picture = draw_run(figures, self.folder / PICTURE_NAME)
        events = sorted(self.folder.glob('events.out.tfevents.*'))
        own = [
            (picture, 'picture: learning curve, dynamics gap, final policy'),
            (self._scalars.csv_path, 'every number over training (step, name, value)'),
            *((path, f'TensorBoard: tensorboard --logdir {self.folder}') for path in events),
        ]
        return write_summary(self._summary(update, [*files, *own], checkpoint, policy))

    def _progress(self, update: int) -> Progress:
        last = self.last_evaluation
        return Progress(
            update=update,
            updates_total=self.updates_total,
            updates_per_second=self._status.get('updates_per_second', math.nan),
            seconds_left=self._status.get('seconds_left', math.nan),
            mean_return=float(last.returns.mean()) if last else math.nan,
            survived=last.survived(self.task.horizon) if last else 0,
            episodes=last.episodes if last else 0,
            mean_u=self._status.get('mean_u', math.nan),
        )

    def _summary(
        self,
        update: int,
        files: Sequence[tuple[Path, str]],
        checkpoint: Path | None,
        policy: Path | None,
    ) -> RunSummary:
        return RunSummary(
            folder=self.folder,
            task=self.task,
            algorithm=self.algorithm,
            seed=self.seed,
            updates=update,
            updates_total=self.updates_total,
            simulated_steps=self._simulated_steps,
            duration=time.monotonic() - self._start,
            evaluation=self.last_evaluation,
            mean_u=self._status.get('mean_u', math.nan),
            dynamics_ratio=self._status.get('mean_dynamics_ratio', math.nan),
            files=files,
            next_command=next_command(update >= self.updates_total, checkpoint, policy),
        )
