"""The paper's figures, 6 and 7 of them from results: means over seeds, and their spread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from h2o_ros.experiments.catalogue import Experiment
from h2o_ros.experiments.cells import Cell, canonical
from h2o_ros.experiments.gap_figure import draw_gap
from h2o_ros.experiments.grid import Grid
from h2o_ros.experiments.results import Results
from h2o_ros.experiments.tables import final_rows

COLOURS = ('#767676', '#009E73', '#E69F00', '#CC79A7', '#0072B2', '#D55E00')
PANELS_ACROSS = 3


def draw_amounts(experiment: Experiment, results: Results, grid: Grid, path: Path) -> bool:
    """Draw figure 6, final return over the amount of real data; False where there is no run."""
    figure, axes = new_figure(7.5, 4.8)
    drawn = False
    names = experiment.head[1:]
    for column, (name, colour) in enumerate(zip(names, COLOURS[1::3], strict=False)):
        points = []
        for _, entries in experiment.lines:
            cell = entries[column].cell
            returns = [r.return_mean for r in final_rows(cell, results, grid.settings.steps)]
            if returns:
                points.append((cell.rows, np.mean(returns), deviation(np.array(returns))))
        if points:
            rows, means, deviations = map(np.array, zip(*points, strict=True))
            axes.errorbar(rows, means, deviations, color=colour, marker='o', capsize=3, label=name)
            drawn = True
    axes.set(xlabel='real transitions', ylabel='return on the unchanged model')
    axes.grid(alpha=0.3)
    return drawn and _finish(figure, axes, experiment, grid, path)


def draw_curves(experiment: Experiment, results: Results, grid: Grid, path: Path) -> bool:
    """Draw figure 7, a panel a line of the table; False where there is no run."""
    lines = experiment.lines
    down = -(-len(lines) // PANELS_ACROSS)
    across = min(len(lines), PANELS_ACROSS)
    figure = Figure(figsize=(4.6 * across, 3.2 * down + 0.8), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    names = experiment.head[-len(lines[0][1]) :]
    drawn = False
    for axes, (labels, entries) in zip(panels, lines, strict=False):
        for entry, name, colour in zip(entries, names, COLOURS, strict=False):
            drawn |= _curve(axes, entry.cell, results, grid.settings.steps, name, colour)
        axes.set_title(', '.join(labels), fontsize=10)
        axes.grid(alpha=0.3)
    for axes in panels[len(lines) :]:
        axes.set_axis_off()
    fullest = max(panels, key=lambda axes: len(axes.get_lines()))
    for axes in panels[-across:]:
        axes.set_xlabel('thousand updates')
    figure.supylabel('return on the unchanged model')
    return drawn and _finish(figure, fullest, experiment, grid, path)


def curves_of(cell: Cell, results: Results, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return updates (U,) at which every run of a cell was evaluated, and returns (runs, U)."""
    runs = results.of_cell(canonical(cell), steps)
    found = [{row.update: row.return_mean for row in results.curve(run)} for run in runs]
    shared = sorted(set.intersection(*map(set, found))) if found else []
    return np.array(shared), np.array([[curve[u] for u in shared] for curve in found])


def deviation(returns: np.ndarray) -> np.ndarray:
    """Return the sample deviation over the first axis, 0 of a single run."""
    return returns.std(0, ddof=1) if len(returns) > 1 else np.zeros(returns.shape[1:])


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one panel that draws without a screen."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _curve(axes: Axes, cell: Cell, results: Results, steps: int, name: str, colour: str) -> bool:
    updates, returns = curves_of(cell, results, steps)
    if not len(updates):
        return False
    mean, spread = returns.mean(0), deviation(returns)
    updates = updates / 1000.0
    axes.plot(updates, mean, color=colour, label=name)
    axes.fill_between(updates, mean - spread, mean + spread, color=colour, alpha=0.2)
    return True


def _finish(figure: Figure, axes: Axes, experiment: Experiment, grid: Grid, path: Path) -> bool:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=max(len(labels), 1))
    figure.suptitle(experiment.title)
    figure.savefig(path, dpi=110)
    return True


DRAWN: dict[str, Callable[[Experiment, Results, Grid, Path], bool]] = {
    'figure3': draw_gap,
    'figure6': draw_amounts,
    'figure7': draw_curves,
}
