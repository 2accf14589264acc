"""What one drive of a robot came to: the figures that a person asks for, and their file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

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

    @classmethod
    def of(cls, rows: Transitions, task: Task) -> DriveFigures:
        """Take the figures of a drive's transitions, oldest first."""

        def column(name: str) -> np.ndarray | None:
            names = task.observation_names
            return rows.observation[:, names.index(name)] if name in names else None

        x, x_dot = column('x'), column('x_dot')
        return cls(
            seconds=len(rows) * task.period,
            steps=len(rows),
            fell=bool(rows.terminated.any()),
            total_reward=float(rows.reward.sum(dtype=np.float64)),
            mean_abs_action=float(np.abs(rows.action).mean()),
            mean_abs_x=None if x is None else float(np.abs(x).mean()),
            mean_x_dot=None if x_dot is None else float(x_dot.mean()),
        )

    def __str__(self) -> str:
        """One line for people."""
        parts = [f'{self.seconds:.1f} s', f'mean |action| {self.mean_abs_action:.2f}']
        if self.mean_abs_x is not None:
            parts.append(f'mean |x| {self.mean_abs_x:.2f} m')
        if self.mean_x_dot is not None:
            parts.append(f'mean speed {self.mean_x_dot:.2f} m/s')
        parts.append(f'total reward {self.total_reward:.0f}')
        return ', '.join([*parts, 'fell'] if self.fell else parts)


def write_drive(path: Path, figures: DriveFigures | None, **also: Any) -> None:
    """Write a drive's figures as JSON, whole or not at all; also: what else is to be kept."""
    document = {**also, **(asdict(figures) if figures else {'seconds': 0.0, 'steps': 0})}
    partial = path.with_suffix('.partial')
    partial.write_text(json.dumps(document, indent=2) + '\n', encoding='utf-8')
    partial.replace(path)
