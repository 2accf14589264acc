"""The paper's pictures of the wheel-legged robot: figures 2c, 2d, 4 and 5."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from h2o_ros.experiments.core.pictures import save_picture
from h2o_ros.report.bag_picture import draw_rewards
from h2o_ros.report.picture import field_label
from h2o_ros.robot.operator.human_model import cruise_speed
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

# Told apart by people who see colours otherwise, too.
COLOURS = (
    '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#767676', '#5B3A1E',
)  # fmt: skip


@dataclass(frozen=True)
class Deployment:
    """What one algorithm's policy did. rows: None where it never drove. document: drive.json."""

    algorithm: str
    rows: Transitions | None
    document: dict[str, Any]

    @property
    def legend(self) -> str:
        """Name and end."""
        if self.rows is None:
            return f'{self.algorithm}: never drove'
        fell = ', fell' if self.rows.terminated.any() else ''
        fault = ', tripped' if self.document['fault'] and not fell else ''
        return f'{self.algorithm}{fell}{fault}'


def draw_deployments(
    task: Task, deployments: list[Deployment], seconds: float, path: Path
) -> None:
    """Draw tilt, place or speed, and cumulative reward over time, a line a deployment.

    Earlier ones lie above later ones.
    """
    names = task.observation_names
    place = 'x' if 'x' in names else 'x_dot'
    figure = Figure(figsize=(9, 9), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 1, sharex=True)
    colours = itertools.islice(itertools.cycle(COLOURS), len(deployments))
    for deployment, colour in reversed(list(zip(deployments, colours, strict=True))):
        _draw(task, deployment, place, colour, panels)
    panels[0].set(ylabel=field_label(task, names.index('theta')))
    panels[1].set(ylabel=field_label(task, names.index(place)))
    if place == 'x_dot':
        speed = cruise_speed(task.reward)
        panels[1].axhline(
            speed, color='black', linewidth=0.8, linestyle='--', label=f'wanted: {speed:g} m/s'
        )
        panels[1].legend(loc='upper right')
    panels[2].set(ylabel='cumulative reward', xlabel='time (s)', xlim=(0, seconds))
    for axes in panels:
        axes.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc='outside lower center', ncols=4)
    figure.suptitle(f'{task.name}: each policy on the virtual robot, one episode')
    save_picture(figure, path)


def _draw(task: Task, deployment: Deployment, place: str, colour: str, panels: list[Axes]) -> None:
    rows = deployment.rows
    if rows is None:
        panels[0].plot([], [], color=colour, label=deployment.legend)
        return
    time = np.arange(len(rows)) * task.period
    names = task.observation_names
    curves = (
        rows.observation[:, names.index('theta')],
        rows.observation[:, names.index(place)],
        np.cumsum(rows.reward, dtype=np.float64),
    )
    for axes, curve in zip(panels, curves, strict=True):
        label = deployment.legend if axes is panels[0] else None
        axes.plot(time, curve, color=colour, linewidth=1.2, label=label)
        axes.plot(time[-1], curve[-1], 'o', color=colour, markersize=5)


def draw_recording(task: Task, rows: Transitions, path: Path) -> None:
    """Draw the distribution of single rewards in a recording (figure 4)."""
    figure = Figure(figsize=(6, 4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_rewards(axes, rows, task)
    axes.set_title(f'{task.name}: {len(rows)} recorded steps')
    save_picture(figure, path)
