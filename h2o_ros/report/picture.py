"""One picture of a run: the learning curve, where the simulator lies, and the final policy.

Drawn without pyplot, which keeps global state and looks for a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from h2o_ros.errors import ConfigurationError
from h2o_ros.report.evaluation import EpisodeFigures
from h2o_ros.report.text import format_field
from h2o_ros.task import Task

# Okabe and Ito's colours, told apart by colour-blind people; cividis likewise for u.
BLUE, ORANGE, GREEN, GREY = '#0072B2', '#D55E00', '#009E73', '#767676'
U_COLOURS = 'cividis'
SIZE_INCHES, DPI = (16.0, 6.4), 100  # 1600 x 640 pixels
FEW_UPDATES = 5000  # below it they are not counted in thousands
DATA_SHARE = 0.95  # of the real data, within the line drawn around it


@dataclass(frozen=True)
class GapSample:
    """The dynamics gap at N simulated steps: observation (N, O), u (N,) in nats."""

    observation: np.ndarray
    u: np.ndarray


@dataclass(frozen=True)
class RunFigures:
    """What the picture shows.

    title             above everything
    evaluations       in the order of their updates, on the virtual robot
    gap               a sample of simulated steps, None or no rows where there is none
    real_observation  (M, O) the recorded data, M may be 0
    final_episodes    (T_k, O) observations of each episode of the final policy, the first one is
                      drawn bold; rows of NaN after an episode's end are left out
    """

    title: str
    task: Task
    evaluations: Sequence[EpisodeFigures] = ()
    gap: GapSample | None = None
    real_observation: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    final_episodes: Sequence[np.ndarray] = ()


def draw_run(figures: RunFigures, path: str | Path) -> Path:
    """Write the picture as a PNG and return its path."""
    figure = new_figure(figures.title, SIZE_INCHES)
    left, middle, right = figure.subfigures(  # type: ignore[misc]
        1, 3, width_ratios=(1.0, 1.08, 1.0)
    )
    curve, survival = left.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_learning(curve, survival, figures)
    _draw_gap(middle.subplots(), figures)
    _draw_episodes(list(right.subplots(2, 1, sharex=True)), figures)
    tidy_axes(figure)
    path = Path(path)
    figure.savefig(path, dpi=DPI)
    return path


def new_figure(title: str, size: tuple[float, float], h_pad: float = 0.06) -> Figure:
    """Return an empty figure of a size in inches; h_pad, in inches, is left around its panels."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=h_pad)
    figure = Figure(figsize=size, dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=15, fontweight='bold')
    return figure


def write_picture(figure: Figure, path: str | Path) -> Path:
    """Tidy a figure, write it as PNG, its folder made, and return its path.

    ConfigurationError: it cannot be written; the command has --picture.
    """
    tidy_axes(figure)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)
    except OSError as err:
        raise ConfigurationError(
            f'{path}: cannot be written ({err.strerror}); choose another file with --picture'
        ) from err
    return path


def tidy_axes(figure: Figure) -> None:
    """Give all panels labels of one size, and no frame above and at the right."""
    for axes in figure.axes:
        axes.tick_params(labelsize=11)
        axes.spines[['top', 'right']].set_visible(False)


def pick_state_fields(task: Task) -> tuple[int, int]:
    """Return the observation columns of panel two: tilt and its rate, or speed and tilt."""
    return _columns(task, ('theta', 'theta_dot'), ('x_dot', 'pitch'))


def pick_time_fields(task: Task) -> tuple[int, int]:
    """Return the observation columns of panel three: tilt and x, or x_dot where x is unseen."""
    return _columns(task, ('theta', 'x'), ('theta', 'x_dot'), ('pitch', 'x_dot'))


def field_label(task: Task, column: int) -> str:
    """Name an observation field and its unit, as an axis shows it."""
    entry = task.observation[column]
    return format_field(entry.name, entry.unit)


def density_level(counts: np.ndarray, share: float) -> float:
    """Return the count above which cells of a histogram hold `share` of its mass."""
    ordered = np.sort(counts, axis=None)[::-1]
    total = np.cumsum(ordered)
    return float(ordered[np.searchsorted(total, share * total[-1])])


def _columns(task: Task, *choices: tuple[str, str]) -> tuple[int, int]:
    """Return the columns of the first pair that the task observes, or its first two."""
    names = task.observation_names
    for first, second in choices:
        if first in names and second in names:
            return names.index(first), names.index(second)
    return 0, min(1, len(names) - 1)


def say(axes: Axes, text: str) -> None:
    """Write a text in place of a panel."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha='center', va='center', fontsize=12, color=GREY
    )
    axes.set_axis_off()


def _make_room_above(axes: Axes, share: float) -> None:
    """Raise the upper limit by a share of the height, for a legend that hides nothing."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))


def _draw_learning(returns: Axes, survival: Axes, figures: RunFigures) -> None:
    task, evaluations = figures.task, [e for e in figures.evaluations if e.episodes]
    returns.set_title('Return on the virtual robot', fontsize=13)
    if not evaluations:
        say(returns, 'no evaluation finished')
        survival.set_visible(False)
        return
    updates, unit = _scaled(np.array([e.update for e in evaluations]))
    episodes = np.concatenate([e.returns for e in evaluations]) / 1000.0
    counts = [e.episodes for e in evaluations]
    best, worst = max(0.0, float(episodes.max())), min(0.0, float(episodes.min()))
    if task.largest_reward is not None:
        best = task.largest_reward * task.horizon / 1000.0
        returns.axhline(best, color=GREY, linestyle='--', linewidth=1.2, label='best possible')
    returns.scatter(
        np.repeat(updates, counts), episodes, s=22, color=BLUE, alpha=0.35, linewidths=0,
        label='one episode',
    )  # fmt: skip
    means = [e.returns.mean() / 1000.0 for e in evaluations]
    returns.plot(updates, means, color=ORANGE, linewidth=2.2, marker='o', ms=5, label='mean')
    returns.set_ylabel('return (thousands, reward units)', fontsize=12)
    span = max(best, -worst, 1e-3)
    returns.set_ylim(worst - 0.03 * span, best + 0.06 * span)
    free = task.largest_reward is None
    returns.legend(fontsize=11, loc='best' if free else 'lower right', framealpha=0.85)
    seconds = task.horizon * task.period
    shares = [100.0 * e.survived.mean() for e in evaluations]
    survival.plot(updates, shares, color=GREEN, linewidth=2.2, marker='o', ms=5)
    survival.fill_between(updates, 0.0, shares, color=GREEN, alpha=0.15, linewidth=0)
    survival.set_ylabel(f'survived\n{seconds:g} s (%)', fontsize=12)
    survival.set_ylim(-5, 105)
    survival.set_xlabel(unit, fontsize=12)
    survival.set_xlim(left=0.0)
    for axes in (returns, survival):
        axes.grid(alpha=0.25)


def _scaled(updates: np.ndarray) -> tuple[np.ndarray, str]:
    """Return numbers of updates as an axis shows them, and the axis's label."""
    if updates.max() < FEW_UPDATES:
        return updates, 'updates'
    return updates / 1000.0, 'updates (thousands)'


def _draw_gap(axes: Axes, figures: RunFigures) -> None:
    first, second = pick_state_fields(figures.task)
    axes.set_title('Dynamics gap u of simulated steps', fontsize=13)
    axes.set_xlabel(field_label(figures.task, first), fontsize=12)
    axes.set_ylabel(field_label(figures.task, second), fontsize=12)
    gap = figures.gap
    if gap is None or not len(gap.u):
        say(axes, 'no sample of the dynamics gap')
        return
    shown = gap.observation[:, (first, second)]
    low, high = np.percentile(shown, (0.5, 99.5), axis=0)
    real = figures.real_observation[:, (first, second)] if len(figures.real_observation) else None
    if real is not None:
        real_low, real_high = np.percentile(real, (0.5, 99.5), axis=0)
        low, high = np.minimum(low, real_low), np.maximum(high, real_high)
    margin = np.maximum(0.04 * (high - low), 1e-6)
    low, high = low - margin, high + margin
    inside = ((shown >= low) & (shown <= high)).all(axis=1)
    u_range = np.percentile(gap.u, (2, 98))
    # Cells that hold some ten samples each where there are few, and stay visible where many.
    grid = int(np.clip(np.sqrt(inside.sum() / 8.0), 8, 34))
    cells = axes.hexbin(
        shown[inside, 0], shown[inside, 1], C=gap.u[inside], gridsize=(grid, grid), mincnt=1,
        reduce_C_function=np.mean, cmap=U_COLOURS, vmin=u_range[0], vmax=u_range[1],
        extent=(low[0], high[0], low[1], high[1]), linewidths=0.2,
    )  # fmt: skip
    bar = axes.figure.colorbar(cells, ax=axes, extend='both', pad=0.02)
    bar.set_label('mean u (nats)', fontsize=12)
    bar.ax.tick_params(labelsize=11)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    if real is not None:
        _outline(axes, real, low, high)
        _make_room_above(axes, 0.1)


def _outline(axes: Axes, points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Draw the line within which DATA_SHARE of the points (M, 2) lie."""
    bounds = [(low[0], high[0]), (low[1], high[1])]
    counts, x_edges, y_edges = np.histogram2d(points[:, 0], points[:, 1], bins=60, range=bounds)
    if not counts.sum():
        return
    counts = np.pad(counts, 2)  # so that the line closes at the picture's edge
    kernel = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
    for axis in (0, 1, 0, 1):
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, 'same')
    centres = [_centres(edges, 2) for edges in (x_edges, y_edges)]
    level = density_level(counts, DATA_SHARE)
    axes.contour(*centres, counts.T, levels=[level], colors='white', linewidths=4.5)
    axes.contour(*centres, counts.T, levels=[level], colors=ORANGE, linewidths=2.4)
    line = Line2D([], [], color=ORANGE, linewidth=2.4, label=f'{DATA_SHARE:.0%} of the real data')
    axes.legend(handles=[line], fontsize=11, loc='upper right', framealpha=0.9)


def _centres(edges: np.ndarray, padding: int) -> np.ndarray:
    width = edges[1] - edges[0]
    return edges[0] + width * (np.arange(len(edges) - 1 + 2 * padding) - padding + 0.5)


def _draw_episodes(panels: list[Axes], figures: RunFigures) -> None:
    task = figures.task
    seconds = task.horizon * task.period
    panels[0].set_title(f'Final policy over {seconds:g} s on the virtual robot', fontsize=13)
    episodes = [rows[np.isfinite(rows).all(axis=1)] for rows in figures.final_episodes]
    if not any(map(len, episodes)):
        say(panels[0], 'no episode of the final policy')
        panels[1].set_visible(False)
        return
    for axes, column in zip(panels, pick_time_fields(task), strict=True):
        for number, episode in reversed(list(enumerate(episodes))):
            _draw_episode(axes, task, episode[:, column], bold=number == 0)
        axes.set_ylabel(field_label(task, column), fontsize=12)
        axes.axhline(0.0, color='black', linewidth=0.7)
        axes.grid(alpha=0.25)
    panels[1].set_xlabel('time (s)', fontsize=12)
    panels[1].set_xlim(0.0, seconds * 1.01)
    handles = [Line2D([], [], color=BLUE, linewidth=2.0, label='first episode')]
    if len(episodes) > 1:
        handles.append(Line2D([], [], color=GREY, alpha=0.6, label='the others'))
    if any(len(episode) < task.horizon for episode in episodes):
        handles.append(Line2D([], [], color=ORANGE, marker='X', ms=9, linestyle='', label='fell'))
    panels[0].legend(handles=handles, fontsize=11, loc='upper right', framealpha=0.9, ncols=3)
    _make_room_above(panels[0], 0.18)


def _draw_episode(axes: Axes, task: Task, values: np.ndarray, bold: bool) -> None:
    time = np.arange(len(values)) * task.period
    style: dict[str, Any] = (
        {'color': BLUE, 'linewidth': 1.6, 'zorder': 3}
        if bold
        else {'color': GREY, 'linewidth': 0.8, 'alpha': 0.45}
    )
    axes.plot(time, values, **style)
    if 0 < len(values) < task.horizon:
        axes.plot(time[-1], values[-1], color=ORANGE, marker='X', ms=9, zorder=4)
