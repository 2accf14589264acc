"""The paper's figures, and the learning curves behind each table: seeds, means, their spread."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from h2o_ros.experiments.core.pictures import save_picture
from h2o_ros.experiments.core.results import Results
from h2o_ros.experiments.paper.catalogue import BASELINES, NAMES, Experiment, Line
from h2o_ros.experiments.paper.gap_figure import draw_gap
from h2o_ros.experiments.paper.tables import final_rows
from h2o_ros.experiments.sweep.run_config import Cell, canonical
from h2o_ros.experiments.sweep.sweep import Grid

COLOURS = (
    '#767676', '#009E73', '#E69F00', '#CC79A7', '#0072B2', '#D55E00', '#56B4E9', '#5B3A1E',
)  # fmt: skip
OWN_COLOURS = dict(zip((NAMES[name] for name in BASELINES), COLOURS, strict=False))
MANY = 3  # seeds from which a band says more than a line each
PANELS_ACROSS = 3


def draw_amounts(experiment: Experiment, results: Results, grid: Grid, path: Path) -> bool:
    """Draw figure 6, final return over the amount of real data; False where there is no run."""
    figure, axes = new_figure(7.5, 4.8)
    drawn = False
    names = experiment.head[1:]
    for column, (name, colour) in enumerate(zip(names, colours_of(names), strict=True)):
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
    if drawn:
        _name_colours(figure, [axes], experiment.title)
        save_picture(figure, path)
    return drawn


def draw_curves(experiment: Experiment, results: Results, grid: Grid, path: Path) -> bool:
    """Draw figure 7, or the learning curves behind a table; False where there is no run."""
    figure = curves_figure(experiment, results, grid.settings.steps)
    if figure is None:
        return False
    save_picture(figure, path)
    return True


def curves_figure(experiment: Experiment, results: Results, steps: int) -> Figure | None:
    """Return a panel of learning curves for each of `lines_to_draw`; None without any."""
    lines = lines_to_draw(experiment, results, steps)
    if not lines:
        return None
    across = min(len(lines), PANELS_ACROSS)
    down = -(-len(lines) // across)
    width = 9.0 if across == 1 else 4.6 * across
    figure = Figure(figsize=(width, 3.6 * down + 0.8), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    for axes, (labels, entries) in zip(panels, lines, strict=False):
        names = experiment.head[-len(entries) :]
        for entry, name, colour in zip(entries, names, colours_of(names), strict=True):
            _curve(axes, *curves_of(entry.cell, results, steps), name, colour)
        axes.set_title(', '.join(labels), fontsize=10)
        axes.grid(alpha=0.3)
    for axes in panels[len(lines) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(lines) - across) : len(lines)]:
        axes.set_xlabel('thousand updates')
        axes.tick_params(labelbottom=True)
    figure.supylabel('return on the unchanged model', fontsize=10)
    note = f'mean over seeds; each seed beside it, from {MANY} on the deviation'
    _name_colours(figure, list(panels[: len(lines)]), f'{experiment.title}\n{note}')
    return figure


def lines_to_draw(experiment: Experiment, results: Results, steps: int) -> list[Line]:
    """Return the fewest lines, in order, that show every run: those with one of their own first.

    SAC reads no dataset, so that its runs stand in several lines of table 1.
    """
    runs = [
        {
            cell
            for cell in (canonical(entry.cell) for entry in entries)
            if results.of_cell(cell, steps)
        }
        for _, entries in experiment.lines
    ]
    times = Counter(cell for cells in runs for cell in cells)
    wanted = [any(times[cell] == 1 for cell in cells) for cells in runs]
    shown = {cell for cells, own in zip(runs, wanted, strict=True) if own for cell in cells}
    for place, cells in enumerate(runs):
        if cells - shown:
            wanted[place] = True
            shown |= cells
    return list(itertools.compress(experiment.lines, wanted))


def curves_of(cell: Cell, results: Results, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return updates (U,) at which every run of a cell was evaluated, and returns (runs, U)."""
    runs = results.of_cell(canonical(cell), steps)
    found = [{row.update: row.return_mean for row in results.curve(run)} for run in runs]
    shared = sorted(set.intersection(*map(set, found))) if found else []
    return np.array(shared), np.array([[curve[u] for u in shared] for curve in found])


def colours_of(names: Sequence[str]) -> list[str]:
    """Return a colour for each: its own, in every picture, or one that is left."""
    own = [OWN_COLOURS.get(NAMES.get(name, name)) for name in names]
    left = itertools.cycle([colour for colour in COLOURS if colour not in own])
    return [colour or next(left) for colour in own]


def deviation(returns: np.ndarray) -> np.ndarray:
    """Return the sample deviation over the first axis, 0 of a single run."""
    return returns.std(0, ddof=1) if len(returns) > 1 else np.zeros(returns.shape[1:])


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one panel that draws without a screen."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _curve(axes: Axes, updates: np.ndarray, returns: np.ndarray, name: str, colour: str) -> None:
    """Draw the mean of a cell's runs, and a band or each run around it."""
    if not len(updates):
        return
    mean, spread = returns.mean(0), deviation(returns)
    updates = updates / 1000.0
    axes.plot(updates, mean, color=colour, label=name)
    if len(returns) >= MANY:
        axes.fill_between(updates, mean - spread, mean + spread, color=colour, alpha=0.2)
    elif len(returns) > 1:
        axes.plot(updates, returns.T, color=colour, alpha=0.35, linewidth=0.8)


def _name_colours(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    named: dict = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    figure.legend(list(named.values()), list(named), loc='outside lower center', ncols=len(named))
    figure.suptitle(title, fontsize=11)


NO_CURVES: dict[str, Callable[[Experiment, Results, Grid, Path], bool]] = {
    'figure3': draw_gap,
    'figure6': draw_amounts,
}


def draw(experiment: Experiment, results: Results, grid: Grid, path: Path) -> bool:
    """Draw an experiment's figure, learning curves where it has no other; False: nothing to."""
    return NO_CURVES.get(experiment.name, draw_curves)(experiment, results, grid, path)
