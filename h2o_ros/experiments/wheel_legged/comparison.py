"""Table and picture of several algorithms, every seed shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from h2o_ros.experiments.core.pictures import save_picture
from h2o_ros.experiments.core.results import write_text

SURVIVING_SHARE, LARGEST_X, LARGEST_TORQUE = 0.9, 1.0, 1.0
COLOURS = {'simulator': '#767676', 'standard': '#0072B2', 'hard': '#D55E00'}
MEASURES = (
    ('survived', 'share of episodes survived', 1.0),
    ('mean_abs_x', 'mean |x| (m)', 3.0),
    ('mean_abs_action', 'mean |torque| (N·m)', 3.0),
)


def passes(row: dict[str, Any]) -> bool:
    """Say whether a policy does its task: it stays up, near its place, without chatter."""
    stays = row['survived'] >= SURVIVING_SHARE * row['episodes']
    near = not row['mean_abs_x'] >= LARGEST_X  # NaN where x is not observed
    return stays and near and row['mean_abs_action'] < LARGEST_TORQUE


def write_table(results: list[dict[str, Any]], path: Path) -> None:
    """Write one Markdown row an algorithm and robot, medians over seeds."""
    lines = [
        '| algorithm | robot | seeds that pass | survived of 10 (each seed) | return '
        '| mean abs x (m) | mean abs torque (N·m) | p_real/p_sim |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for result in results:
        for robot in COLOURS:
            rows = [row for row in result['rows'] if row['robot'] == robot]
            ratio = result['metrics'].get('mean_dynamics_ratio')
            lines.append(
                f'| {result["algorithm"]} | {robot} '
                f'| {sum(map(passes, rows))} of {len(rows)} '
                f'| {", ".join(str(row["survived"]) for row in rows)} '
                f'| {_median(rows, "mean_return"):,.0f} '
                f'| {_median(rows, "mean_abs_x"):.2f} '
                f'| {_median(rows, "mean_abs_action"):.2f} '
                f'| {f"{np.median(ratio):.3f}" if ratio else ""} |'
            )
    write_text(path, '\n'.join(lines) + '\n')


def draw_comparison(results: list[dict[str, Any]], path: Path) -> None:
    """Draw every seed of every algorithm as a dot, a panel a measure."""
    figure = Figure(figsize=(15, 1.6 + 0.55 * len(results)), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    names = [result['algorithm'] for result in results]
    for axes, (measure, label, limit) in zip(panels, MEASURES, strict=True):
        for height, result in enumerate(results):
            for shift, (robot, colour) in enumerate(COLOURS.items()):
                rows = [row for row in result['rows'] if row['robot'] == robot]
                values = np.array([_value(row, measure) for row in rows])
                axes.scatter(
                    np.clip(values, 0, limit), np.full(len(rows), height + 0.22 * (shift - 1)),
                    color=colour, s=34, alpha=0.75, clip_on=False,
                    label=robot if height == 0 else None,
                )  # fmt: skip
        axes.set(xlabel=label, xlim=(0, limit))
        axes.grid(axis='x', alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    panels[1].axvline(LARGEST_X, color='black', linewidth=0.8, linestyle='--')
    panels[2].axvline(LARGEST_TORQUE, color='black', linewidth=0.8, linestyle='--')
    panels[0].axvline(SURVIVING_SHARE, color='black', linewidth=0.8, linestyle='--')
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', ncols=3)
    figure.suptitle('Final policies: a dot a seed, values beyond an axis at its end')
    save_picture(figure, path)


def _value(row: dict[str, Any], measure: str) -> float:
    return row['survived'] / row['episodes'] if measure == 'survived' else row[measure]


def _median(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.median([row[name] for row in rows])) if rows else float('nan')
