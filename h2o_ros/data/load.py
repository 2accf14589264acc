"""A learner's real data: bags of a robot, or datasets of a simulated one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h2o_ros.data.bag_transitions.load import BagReport, load_bags
from h2o_ros.data.datasets.d4rl import (
    REFERENCE_RETURNS,
    find_dataset,
    is_dataset,
    load_d4rl,
    normalised_score,
)
from h2o_ros.data.selection import GIVE, chosen_bags
from h2o_ros.errors import BagError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions, concatenate


@dataclass(frozen=True)
class DatasetReport:
    """What a dataset holds.

    files: where it was read. steps: control steps. episodes: stretches of them, those included
    that were cut. failures: episodes that ended by failure. mean_return: undiscounted, over the
    episodes. score: D4RL's normalised score of that, None for a task without one. clipped: action
    values beyond the task's limits, which the learner brings into them.
    """

    files: tuple[str, ...]
    steps: int
    episodes: int
    failures: int
    mean_return: float
    score: float | None
    clipped: int

    def __str__(self) -> str:
        score = '' if self.score is None else f" (D4RL's score {self.score:.1f})"
        clipped = f', {self.clipped} action values clipped' if self.clipped else ''
        return (
            f'{self.steps} steps in {self.episodes} episodes with {self.failures} failures from '
            f'{", ".join(self.files)}, mean return {self.mean_return:.1f}{score}{clipped}'
        )


@dataclass(frozen=True)
class Recorded:
    """Transitions in the order of recording, and what is to be said of them."""

    transitions: Transitions
    report: BagReport | DatasetReport


def load_recorded(names: str, task: Task) -> Recorded:
    """Read bags or datasets, separated by commas; an empty list means the task's demonstration.

    BagError names the file and the way out, also where bags and datasets are mixed: rewards of
    bags are computed from the task, those of datasets are what their environment gave.
    """
    paths = chosen_bags(names, task)
    datasets = [path for path in paths if is_dataset(str(path))]
    if not datasets:
        if not any(field.sources for field in task.observation):
            raise BagError(
                f'{paths[0]}: task {task.name!r} names no topics, so no bag is of it; give '
                f'{GIVE} the name of a dataset or a .hdf5 file'
            )
        bags = load_bags(paths, task)
        return Recorded(bags.transitions, bags.report)
    bags_too = [str(path) for path in paths if path not in datasets]
    if bags_too:
        raise BagError(
            f'{", ".join(bags_too)}: a bag beside the dataset {datasets[0]}; their rewards come '
            'from different sources, give either bags or datasets'
        )
    return load_datasets(paths, task)


def load_datasets(paths: list[Path], task: Task) -> Recorded:
    """Read datasets by name or file, one after the other."""
    files = [find_dataset(path) for path in paths]
    for file, path in zip(files, paths, strict=True):
        if [other.resolve() for other in files].count(file.resolve()) > 1:
            raise BagError(f'{path}: given twice; name each dataset once')
    parts = [load_d4rl(file, task) for file in files]
    transitions = parts[0] if len(parts) == 1 else concatenate(parts)
    return Recorded(transitions, report_on(transitions, task, tuple(map(str, files))))


def report_on(transitions: Transitions, task: Task, files: tuple[str, ...]) -> DatasetReport:
    """Count what a dataset holds."""
    returns = episode_returns(transitions)
    mean = float(returns.mean())
    known = task.name in REFERENCE_RETURNS
    lower, upper = task.action_lower, task.action_upper
    return DatasetReport(
        files=files,
        steps=len(transitions),
        episodes=len(returns),
        failures=int(transitions.terminated.sum()),
        mean_return=mean,
        score=normalised_score(task.name, mean) if known else None,
        clipped=int(((transitions.action < lower) | (transitions.action > upper)).sum()),
    )


def episode_returns(transitions: Transitions) -> np.ndarray:
    """Return each episode's undiscounted sum of rewards, in their order; rows at the end count."""
    ends = np.flatnonzero(transitions.terminated | transitions.truncated) + 1
    starts = np.append(0, ends)
    starts = starts[starts < len(transitions)]
    return np.add.reduceat(transitions.reward.astype(np.float64), starts)
