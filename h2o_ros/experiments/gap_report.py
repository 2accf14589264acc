"""What `h2o gap` finds, as text and as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from h2o_ros.errors import ConfigurationError
from h2o_ros.report.picture import BLUE, GREY, ORANGE, U_COLOURS, field_label, pick_state_fields
from h2o_ros.report.text import format_unit
from h2o_ros.sim.disagreement import LAGS, Disagreement, Effect, Region
from h2o_ros.task import ActionField, ObservationField

SIZE_INCHES, DPI = (16.0, 5.2), 100
MOST_BARS = 8  # fields, the worst ones
SHOWN_REGIONS = 3
LEAST_RATIO = 1.2  # of a region worth naming
WHEN = ('of this step', *(f'of {lag} before' for lag in range(1, LAGS)))


def gap_text(found: Disagreement, effects: Sequence[Effect], regions: Sequence[Region]) -> str:
    """Return tables of the fields and of the actions' effects in Markdown, and where it is worst.

    regions: the worst first.
    """
    steps = f'{len(found.rows):,} recorded control steps made again in the simulator'
    parts = [steps, _field_table(found), _effect_table(found, effects), _where(regions)]
    return '\n\n'.join(parts)


def _field_table(found: Disagreement) -> str:
    lines = [
        '| in one step | recorded change, deviation | simulator less recorded, mean | RMS '
        '| RMS over deviation | linear in state and action |',
        '|---' * 6 + '|',
    ]
    size, share, spread = found.size, found.linear_share, found.change.std(0)
    mean, root = found.error.mean(0), np.sqrt((found.error**2).mean(0))
    for column in np.argsort(-size):
        lines.append(
            f'| {_name(found.task.observation[column])} | {spread[column]:.3g} '
            f'| {mean[column]:+.2g} | {root[column]:.3g} '
            f'| {size[column]:.0%} | {share[column]:.0%} |'
        )
    return '\n'.join(lines)


def _effect_table(found: Disagreement, effects: Sequence[Effect]) -> str:
    lines = [
        '| effect of one unit | on the change of | simulated | recorded: '
        + ' | '.join(WHEN)
        + ' |',
        '|---' * (3 + LAGS) + '|',
    ]
    for effect in effects:
        recorded = ' | '.join('-' if np.isnan(v) else f'{v:.2g}' for v in effect.recorded)
        lines.append(
            f'| {_name(found.task.action[effect.action])} '
            f'| {_name(found.task.observation[effect.observation])} '
            f'| {effect.simulated:.2g} | {recorded} |'
        )
    return '\n'.join(lines)


def _where(regions: Sequence[Region]) -> str:
    shown = [region for region in regions[:SHOWN_REGIONS] if region.ratio >= LEAST_RATIO]
    if not shown:
        return 'The simulator is about as far off everywhere.'
    parts = [
        f'{region.name} from {region.low:.3g} to {region.high:.3g}'
        + (f' {unit}' if (unit := format_unit(region.unit)) else '')
        + f' ({region.ratio:.1f} times the mean)'
        for region in shown
    ]
    return f'Most off at {", ".join(parts)}.'


def _name(field: ObservationField | ActionField) -> str:
    unit = format_unit(field.unit)
    return f'{field.name} ({unit})' if unit else field.name


def draw_gap(found: Disagreement, effects: Sequence[Effect], path: Path) -> Path:
    """Write the picture as a PNG and return its path; ConfigurationError where it cannot be."""
    figure = Figure(
        figsize=SIZE_INCHES, dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06)
    )
    FigureCanvasAgg(figure)
    figure.suptitle(
        f'{found.task.name}: the simulator beside {len(found.rows):,} recorded steps',
        fontsize=15, fontweight='bold',
    )  # fmt: skip
    fields, places, actions = figure.subplots(1, 3, width_ratios=(1.0, 1.15, 1.0))
    _draw_fields(fields, found)
    _draw_places(places, found)
    _draw_effect(actions, found, _largest(found, effects))
    for axes in figure.axes:
        axes.tick_params(labelsize=11)
        axes.spines[['top', 'right']].set_visible(False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI)
    except (OSError, ValueError) as err:
        raise ConfigurationError(
            f'{path}: cannot be written ({err}); choose another .png file with --picture'
        ) from err
    return path


def _draw_fields(axes: Axes, found: Disagreement) -> None:
    """Draw how far off each field is, and which part of it a linear model could take away."""
    shown = np.argsort(found.size)[-MOST_BARS:]
    size = 100.0 * found.size[shown]
    linear = size * found.linear_share[shown]
    names = [found.task.observation[column].name for column in shown]
    axes.set_title('Error of one step', fontsize=13)
    axes.barh(names, linear, color=ORANGE, label='linear in state and action')
    axes.barh(names, size - linear, left=linear, color=GREY, label='the rest, sensor noise too')
    axes.set_xlabel("RMS, % of the recorded change's deviation", fontsize=12)
    axes.legend(fontsize=11, loc='lower right', framealpha=0.9)  # beside the shortest bars


def _draw_places(axes: Axes, found: Disagreement) -> None:
    """Draw the mean error over two fields of the state."""
    first, second = pick_state_fields(found.task)
    axes.set_title('Where it is off', fontsize=13)
    places = found.rows.observation[:, (first, second)]
    low, high = np.percentile(places, (0.1, 99.9), axis=0)
    inside = ((places >= low) & (places <= high)).all(1)
    x, y = places[inside].T
    cells = axes.hexbin(
        x, y, C=found.score[inside], gridsize=(34, 22), mincnt=3, reduce_C_function=np.mean,
        cmap=U_COLOURS, linewidths=0.2,
    )  # fmt: skip
    means: np.ndarray = np.ma.compressed(np.ma.asarray(cells.get_array()))
    if len(means):
        cells.set_clim(*np.percentile(means, (2, 98)))
    axes.locator_params(axis='x', nbins=6)
    axes.set_xlabel(field_label(found.task, first), fontsize=12)
    axes.set_ylabel(field_label(found.task, second), fontsize=12)
    bar = axes.figure.colorbar(cells, ax=axes, extend='both', pad=0.02)
    bar.set_label('error, deviations of the recorded change', fontsize=12)


def _draw_effect(axes: Axes, found: Disagreement, effect: Effect) -> None:
    """Draw when an action works: at once in the simulator, later on a robot with delay."""
    action = found.task.action[effect.action]
    observation = found.task.observation[effect.observation]
    axes.set_title(f'When {action.name} acts on {observation.name}', fontsize=13)
    place = np.arange(LAGS)
    simulated = np.where(place == 0, effect.simulated, 0.0)
    axes.bar(place - 0.2, simulated, 0.38, color=BLUE, label='simulator')
    axes.bar(place + 0.2, np.nan_to_num(effect.recorded), 0.38, color=ORANGE, label='recorded')
    axes.axhline(0.0, color='black', linewidth=0.8)
    axes.set_xticks(place, ['same step', *(f'{lag} later' for lag in range(1, LAGS))])
    per = format_unit(action.unit) or f'unit of {action.name}'
    axes.set_ylabel(f'change of {_name(observation)} per {per}', fontsize=12)
    axes.legend(fontsize=11, framealpha=0.9)


def _largest(found: Disagreement, effects: Sequence[Effect]) -> Effect:
    """Return the effect that moves its field most, by the field's spread."""
    spread = found.change.std(0)
    actions = found.rows.action.std(0)
    return max(
        effects,
        key=lambda e: abs(e.simulated) * actions[e.action] / max(spread[e.observation], 1e-12),
    )
