"""One picture of what bags hold: where the robot has been, what it earned, and how it went.

The histogram of single-step rewards is the H2O paper's figure 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from h2o_ros.errors import BagError
from h2o_ros.report.bag_report import DRIVERS, BagFigures, usable
from h2o_ros.report.picture import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    U_COLOURS,
    field_label,
    new_figure,
    pick_state_fields,
    write_picture,
)
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions, concatenate

SIZE_INCHES = (16.0, 9.0)
DRIVER_COLOURS = (ORANGE, BLUE, GREEN, GREY)
MOST_POINTS = 20_000  # of a curve; more than the picture has columns
LEAST_SHARE = 0.001  # of the rewards, at either end, that the histogram may leave out


def draw_bags(title: str, bags: Sequence[BagFigures], task: Task, path: str | Path) -> Path:
    """Write the picture as a PNG and return its path; BagError where no bag gives steps."""
    found = usable(bags)
    if not found:
        raise BagError('there is nothing to draw: none of the bags gives steps')
    rows = concatenate([part for _, part in found])
    drivers = np.concatenate([bag.drivers for bag, _ in found])
    figure = new_figure(title, SIZE_INCHES, h_pad=0.08)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1.0))  # type: ignore[misc]
    coverage, rewards, actions = top.subplots(1, 3, width_ratios=(1.25, 1.0, 1.0))
    _draw_coverage(coverage, rows, task)
    draw_rewards(rewards, rows, task)
    _draw_actions(actions, rows, drivers, task)
    curve = bottom.subplots()
    _draw_course(curve, rows, drivers, task)
    _mark_bags(curve, found, task)
    return write_picture(figure, path)


def _draw_coverage(axes: Axes, rows: Transitions, task: Task) -> None:
    first, second = pick_state_fields(task)
    x, y = rows.observation[:, first], rows.observation[:, second]
    axes.set_title('States that were visited', fontsize=13)
    cells = axes.hexbin(
        x, y, gridsize=(46, 30), mincnt=1, cmap=U_COLOURS, norm=LogNorm(vmin=1), linewidths=0.2
    )
    axes.locator_params(axis='x', nbins=6)
    axes.set_xlabel(field_label(task, first), fontsize=12)
    axes.set_ylabel(field_label(task, second), fontsize=12)
    bar = axes.figure.colorbar(cells, ax=axes, pad=0.02)
    bar.set_label('steps', fontsize=12)
    fell = rows.terminated
    if fell.any():
        axes.scatter(x[fell], y[fell], s=70, marker='X', color=ORANGE, label='a fall')
        axes.legend(fontsize=11, loc='upper right', framealpha=0.9)


def draw_rewards(axes: Axes, rows: Transitions, task: Task) -> None:
    """Draw the distribution of single rewards, their mean and the best possible."""
    axes.set_title('Reward of single steps', fontsize=13)
    best, name = task.largest_reward, 'best'
    if best is None:
        best, name = float(rows.reward.max()), 'largest'
    low = float(np.quantile(rows.reward, LEAST_SHARE))
    low = best - max(best - low, 1e-3) * 1.05
    shown = rows.reward[rows.reward >= low]
    axes.hist(shown, bins=60, range=(low, best), color=BLUE, weights=_percent(shown, rows))
    axes.axvline(best, color=GREY, linestyle='--', linewidth=1.2, label=f'{name}: {best:g}')
    mean = float(rows.reward.mean())
    axes.axvline(mean, color=ORANGE, linewidth=2.0, label=f'mean: {mean:.4g}')
    axes.set_xlabel('reward (reward units)', fontsize=12)
    axes.set_ylabel('share of the steps (%)', fontsize=12)
    axes.set_ylim(top=1.22 * axes.get_ylim()[1])  # so that the legend hides nothing
    axes.legend(fontsize=11, loc='upper left', framealpha=0.9)


def _draw_actions(axes: Axes, rows: Transitions, drivers: np.ndarray, task: Task) -> None:
    entry = task.action[0]
    axes.set_title(f'{entry.name} that was applied', fontsize=13)
    largest = max(float(np.abs(rows.action[:, 0]).max()), 1e-3)
    present = [i for i in range(len(DRIVERS)) if (drivers == i).any()]
    parts = [rows.action[drivers == i, 0] for i in present]
    axes.hist(
        parts, bins=60, range=(-largest, largest), stacked=True,
        color=[DRIVER_COLOURS[i] for i in present], weights=[_percent(p, rows) for p in parts],
    )  # fmt: skip
    axes.set_xlabel(f'{entry.name} ({entry.unit})', fontsize=12)
    axes.set_ylabel('share of the steps (%)', fontsize=12)


def _percent(values: np.ndarray, rows: Transitions) -> np.ndarray:
    return np.full(len(values), 100.0 / len(rows))


def _draw_course(axes: Axes, rows: Transitions, drivers: np.ndarray, task: Task) -> None:
    """Draw the first state field over the recorded time, in the colour of who drove."""
    column, _ = pick_state_fields(task)
    time = np.arange(len(rows)) * task.period
    every = slice(None, None, -(-len(rows) // MOST_POINTS))
    breaks = rows.terminated | rows.truncated
    axes.set_title('Course of the recording, what lies between episodes left out', fontsize=13)
    for number, colour in enumerate(DRIVER_COLOURS):
        values = np.where(drivers == number, rows.observation[:, column], np.nan)
        values[breaks] = np.nan
        axes.plot(time[every], values[every], color=colour, linewidth=0.9)
    fell = rows.terminated
    axes.scatter(time[fell], rows.next_observation[fell, column], s=70, marker='X', color='black')
    handles = [
        Line2D([], [], color=DRIVER_COLOURS[i], linewidth=2.5, label=name)
        for i, name in enumerate(DRIVERS)
        if (drivers == i).any()
    ]
    if fell.any():
        handles.append(Line2D([], [], color='black', marker='X', ms=9, linestyle='', label='fall'))
    axes.legend(handles=handles, fontsize=11, loc='upper right', framealpha=0.9, ncols=5)
    axes.axhline(0.0, color='black', linewidth=0.7)
    axes.set_xlabel('recorded time (s)', fontsize=12)
    axes.set_ylabel(field_label(task, column), fontsize=12)
    axes.set_xlim(0.0, max(time[-1], task.period))
    axes.grid(alpha=0.25)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.2 * (high - low))


def _mark_bags(axes: Axes, found: Sequence[tuple[BagFigures, Transitions]], task: Task) -> None:
    """Say where each bag begins and how it was judged, as far as there is room."""
    begin, total = 0.0, sum(len(part) for _, part in found) * task.period
    for number, (bag, part) in enumerate(found):
        if number:
            axes.axvline(begin, color=GREY, linewidth=1.0, linestyle=':')
        length = len(part) * task.period
        label = bag.metadata.get('label', '')
        if length > 0.06 * total:
            text = bag.name.rsplit('/', 1)[-1] + (f'\n{label}' if label else '')
            axes.text(
                begin + 0.003 * total, 0.97, text, transform=axes.get_xaxis_transform(),
                va='top', fontsize=11, color='black',
            )  # fmt: skip
        begin += length
