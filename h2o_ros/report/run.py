"""All that a run shows, in one object: progress line, scalars, and at the end the rest."""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from h2o_ros.errors import ConfigurationError
from h2o_ros.report.evaluation import (
    PER_EPISODE,
    EpisodeFigures,
    evaluations_from_series,
)
from h2o_ros.report.output import FolderLock, prepare_output_folder, set_aside
from h2o_ros.report.picture import GapSample, RunFigures, draw_run
from h2o_ros.report.progress import Progress, ProgressLine
from h2o_ros.report.scalars import CSV_NAME, EVENTS, ScalarWriter, read_progress
from h2o_ros.report.summary import JSON_NAME, TEXT_NAME, RunSummary, next_command, write_summary
from h2o_ros.task import Task

POLICY = 'policy.safetensors'
CHECKPOINT = 'checkpoint.safetensors'
EPISODES = 'evaluation.npz'
PICTURE = 'run.png'
PURPOSES = {
    POLICY: 'the policy, to deploy or to export',
    CHECKPOINT: 'everything that training needs to go on from here',
    EPISODES: 'trajectories of the last evaluation on the virtual robot',
    PICTURE: 'picture: learning curve, dynamics gap, final policy',
}
WRITTEN = (*PURPOSES, TEXT_NAME, JSON_NAME, CSV_NAME, EVENTS)  # names and patterns
STATUS_PERIOD = 1.0  # s
RATE_WINDOW = 20  # statuses over which the rate for the time left is taken


class RunReport:
    """Gathers what a run tells and writes it into its folder, which it holds for itself.

    arguments: those that a resumed run must be given again. launched: by train_sim.launch.py.
    folder  absolute, made and checked; updates_per_second, seconds_left  as of the last status
    """

    def __init__(
        self,
        folder: str | Path,
        task: Task,
        algorithm: str,
        seed: int,
        updates_total: int,
        arguments: Mapping[str, str | int] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        launched: bool = True,
    ) -> None:
        """Take the folder; ConfigurationError where it cannot be written or is in use."""
        self.folder = prepare_output_folder(folder)
        self._lock = FolderLock(self.folder)
        self._task, self._algorithm, self._seed = task, algorithm, seed
        self._updates_total = updates_total
        self._arguments, self._launched = arguments, launched
        self._line = ProgressLine(stream, clock=clock)
        self._clock = clock
        self._scalars: ScalarWriter | None = None
        self._evaluations: list[EpisodeFigures] = []
        self._metrics: dict[str, float] = {}
        self._start = self._last_status = clock()
        self._pace: collections.deque[tuple[float, int]] = collections.deque(maxlen=RATE_WINDOW)
        self.updates_per_second = self.seconds_left = math.nan

    def begin(self, update: int, checkpoint: str | Path = '') -> None:
        """Start at `update`: 0, or where a run goes on from `checkpoint`.

        Files of another run are moved aside. Where the checkpoint lies in this folder they are of
        the same run: what it said from `update` on is replaced, the evaluations before it stay in
        the learning curve.
        """
        same = bool(str(checkpoint)) and Path(checkpoint).resolve().parent == self.folder.resolve()
        aside = None if same else set_aside(self.folder, WRITTEN)
        if aside is not None:
            self.message(f'files of an earlier run were moved to {aside}')
        self._scalars = ScalarWriter(self.folder, update)
        before = read_progress(self._scalars.csv_path)
        self._evaluations = evaluations_from_series(before, self._task.horizon)
        self._start = self._clock()
        self._last_status = -math.inf

    @property
    def last_evaluation(self) -> EpisodeFigures | None:
        """The evaluation of the newest policy, None while there is none."""
        return max(self._evaluations, key=lambda e: e.update, default=None)

    def message(self, text: str) -> None:
        """Print a line of its own above the progress line."""
        self._line.message(text)

    def evaluating(self) -> None:
        """Say, after the last status, that what takes long now is the last evaluation."""
        self._line.close()
        self._line.message('evaluating the final policy')

    def status_due(self) -> bool:
        """Say whether it is time for another status."""
        return self._clock() - self._last_status >= STATUS_PERIOD

    def status(self, update: int, metrics: Mapping[str, float]) -> None:
        """Take the learner's numbers at `update`; names as the fields of LearnerStatus."""
        self._last_status = now = self._clock()
        self._metrics = {n: float(v) for n, v in metrics.items() if math.isfinite(v)}
        self._pace.append((now, update))
        if len(self._pace) > 1:  # the time before the first status went into compiling
            self.updates_per_second = _rate(self._pace[-2], self._pace[-1])
        recent = _rate(self._pace[0], self._pace[-1])
        left = max(self._updates_total - update, 0)
        self.seconds_left = left / recent if recent > 0 else math.nan
        values = {f'learner/{name}': value for name, value in self._metrics.items()}
        if math.isfinite(self.updates_per_second):
            values['learner/updates_per_second'] = self.updates_per_second
        self._writer().add(update, values)
        self._line.show(self._progress(update))

    def evaluation(self, figures: EpisodeFigures) -> None:
        """Take the episodes of one policy on the virtual robot."""
        self._evaluations.append(figures)
        for name in PER_EPISODE:
            self._writer().add_each(figures.update, f'episode/{name}', getattr(figures, name))
        means = {
            'evaluation/mean_return': figures.returns,
            'evaluation/survived': figures.survived,
            'evaluation/mean_abs_x': figures.mean_abs_x,
            'evaluation/mean_abs_action': figures.mean_abs_action,
            'evaluation/mean_x_dot': figures.mean_x_dot,
        }
        self._writer().add(
            figures.update, {name: float(np.mean(v)) for name, v in means.items() if len(v)}
        )

    def finish(
        self,
        update: int,
        simulated_steps: int,
        gap: GapSample | None,
        real_observation: np.ndarray,
        final_episodes: Sequence[np.ndarray],
    ) -> str:
        """Draw the picture, write the summary, let the folder go; return the summary's text.

        simulated_steps: control steps received from the simulator; the rest as in RunFigures.
        """
        self._line.close()
        self._writer().close()
        state = f'{update:,} of {self._updates_total:,} updates'
        figures = RunFigures(
            title=f'{self._algorithm} on {self._task.name}, seed {self._seed}, {state}',
            task=self._task,
            evaluations=sorted(self._evaluations, key=lambda e: e.update),
            gap=gap,
            real_observation=real_observation,
            final_episodes=final_episodes,
        )
        try:
            draw_run(figures, self.folder / PICTURE)
            return write_summary(self._summary(update, simulated_steps))
        except OSError as err:
            raise ConfigurationError(
                f'{self.folder}: picture or summary could not be written ({err.strerror}); '
                'policy and checkpoint are there'
            ) from err
        finally:
            self._lock.close()

    def _writer(self) -> ScalarWriter:
        if self._scalars is None:
            raise ValueError('RunReport: expected begin() before the first number')
        return self._scalars

    def _progress(self, update: int) -> Progress:
        last = self.last_evaluation
        if last and last.update < update == self._updates_total:
            last = None  # the one of the final policy is on its way
        return Progress(
            update=update,
            updates_total=self._updates_total,
            updates_per_second=self.updates_per_second,
            seconds_left=self.seconds_left,
            mean_return=float(last.returns.mean()) if last else math.nan,
            survived=int(last.survived.sum()) if last else 0,
            episodes=last.episodes if last else 0,
            mean_u=self._metrics.get('mean_u', math.nan),
        )

    def _summary(self, update: int, simulated_steps: int) -> RunSummary:
        policy, checkpoint = self.folder / POLICY, self.folder / CHECKPOINT
        return RunSummary(
            folder=self.folder,
            task=self._task,
            algorithm=self._algorithm,
            seed=self._seed,
            updates=update,
            updates_total=self._updates_total,
            simulated_steps=simulated_steps,
            duration=self._clock() - self._start,
            evaluation=self.last_evaluation,
            mean_u=self._metrics.get('mean_u', math.nan),
            dynamics_ratio=self._metrics.get('mean_dynamics_ratio', math.nan),
            files=self._files(),
            next_command=next_command(
                update >= self._updates_total,
                checkpoint if checkpoint.exists() else None,
                policy if policy.exists() else None,
                self._arguments,
                self._launched,
                not self._task.without_sources,
            ),
        )

    def _files(self) -> list[tuple[Path, str]]:
        named = [(self.folder / name, purpose) for name, purpose in PURPOSES.items()]
        named.append((self._writer().csv_path, 'every number over training (step, name, value)'))
        events = sorted(self.folder.glob(EVENTS))
        named += [(path, 'for `tensorboard --logdir` on this folder') for path in events]
        return [(path, purpose) for path, purpose in named if path.exists()]


def _rate(before: tuple[float, int], now: tuple[float, int]) -> float:
    seconds = now[0] - before[0]
    return (now[1] - before[1]) / seconds if seconds > 0 else math.nan
