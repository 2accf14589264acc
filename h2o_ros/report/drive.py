"""Figures of one drive of a robot, and their file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros.report.output import write_whole
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions


@dataclass(frozen=True)
class DriveFigures:
    """A drive without resets.

    seconds: driven. steps: of them whole. fell: it ended by the task's termination. mean_abs_x in
    m and mean_x_dot in m/s, None where the task does not observe them; mean_abs_action in the
    action's unit; total_reward in the task's units.
    """

    seconds: float
    steps: int
    fell: bool
    total_reward: float
    mean_abs_action: float
    mean_abs_x: float | None
    mean_x_dot: float | None

    def __str__(self) -> str:
        """One line for people."""
        parts = [f'{self.seconds:.1f} s', f'mean |action| {self.mean_abs_action:.2f}']
        if self.mean_abs_x is not None:
            parts.append(f'mean |x| {self.mean_abs_x:.2f} m')
        if self.mean_x_dot is not None:
            parts.append(f'mean speed {self.mean_x_dot:.2f} m/s')
        parts.append(f'total reward {self.total_reward:.0f}')
        return ', '.join([*parts, 'fell'] if self.fell else parts)


class DriveTotals:
    """Sums over a drive's transitions as they come; hours of them take no more memory than one.

    One thread may add while another reads.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        # steps, terminations, reward, |action|, |x| in m, x_dot in m/s
        self._sums = np.zeros(6)

    def add(self, rows: Transitions) -> None:
        """Take the next transitions."""
        self._sums = self._sums + [
            len(rows),
            rows.terminated.sum(),
            rows.reward.sum(dtype=np.float64),
            np.abs(rows.action).mean(axis=1, dtype=np.float64).sum(),
            np.abs(self._column(rows, 'x')).sum(dtype=np.float64),
            self._column(rows, 'x_dot').sum(dtype=np.float64),
        ]

    @property
    def seconds(self) -> float:
        """The time driven so far."""
        return float(self._sums[0]) * self._task.period

    def figures(self) -> DriveFigures | None:
        """Return the figures so far, None before the first step."""
        sums, names = self._sums, self._task.observation_names
        steps = int(sums[0])
        if not steps:
            return None
        action, x, x_dot = (float(value) for value in sums[3:] / steps)
        return DriveFigures(
            seconds=steps * self._task.period,
            steps=steps,
            fell=bool(sums[1]),
            total_reward=float(sums[2]),
            mean_abs_action=action,
            mean_abs_x=x if 'x' in names else None,
            mean_x_dot=x_dot if 'x_dot' in names else None,
        )

    def _column(self, rows: Transitions, name: str) -> np.ndarray:
        """Return an observation field, (N,), zeros where the task does not observe it."""
        names = self._task.observation_names
        return rows.observation[:, names.index(name)] if name in names else np.zeros(len(rows))


def describe_drive(figures: DriveFigures | None, missing: int) -> str:
    """Return a drive in one line, empty where nobody drove.

    missing: steps that were driven and are not among the figures.
    """
    text = f'drove {figures}' if figures else ''
    if missing:
        lost = f'{missing} steps more were driven and are missing in these figures'
        text = (
            f'{text}; {lost}'
            if text
            else f'no figures: {missing} steps were driven, none seen whole'
        )
    return text


def write_drive(path: Path, figures: DriveFigures | None, **also: Any) -> None:
    """Write a drive's figures as JSON, whole or not at all; ConfigurationError where it cannot.

    also: what else is to be kept.
    """
    document = {**also, **(asdict(figures) if figures else {'seconds': 0.0, 'steps': 0})}
    write_whole(path, json.dumps(document, indent=2) + '\n')
