"""Result of `h2o gap`, as text and as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from h2o_ros.report.picture import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    U_COLOURS,
    field_label,
    new_figure,
    pick_state_fields,
    say,
    write_picture,
)
from h2o_ros.report.text import format_field, format_unit
from h2o_ros.sim.gap_analysis.errors import LAGS, Effect, FieldErrors, scores, worst_regions
from h2o_ros.sim.gap_analysis.one_step import Remade

SIZE_INCHES = (16.0, 5.4)
MOST_BARS = 8  # fields, the worst ones
SHOWN_LAGS = LAGS - 4  # those left out keep later effects out of these
SHOWN_REGIONS = 3
LEAST_RATIO = 1.2  # of a region worth naming
PART_LABELS = ('linear in state and action', 'in earlier actions: delay, lag', 'the rest')
PART_COLOURS = (ORANGE, GREEN, GREY)
LEAST_LABELLED = 0.1  # of the panel's width, a part of a bar that holds a number


def gap_text(made: Remade, errors: FieldErrors, effects: Sequence[Effect]) -> str:
    """Return tables of the fields and of the actions' effects in Markdown, and what is worst."""
    steps = f'{len(made.index):,} of {len(made.recorded):,} recorded control steps made again'
    if made.left_out:
        steps += (
            f'; {made.left_out:,} left out, whose state was cut when it was observed or whose '
            'next observation was not kept'
        )
    exact = 'The simulator does what was recorded, but for rounding.'
    verdict = exact if errors.agree else _where(made)
    parts = [steps, _field_table(made, errors), _effect_table(made, effects), verdict]
    return '\n\n'.join(parts)


def _field_table(made: Remade, errors: FieldErrors) -> str:
    lines = [
        '| in one step | recorded change, deviation | simulator less recorded, mean | RMS '
        '| RMS over deviation | of the squared error: linear in state and action '
        '| of the squared error: in earlier actions |',
        '|---' * 7 + '|',
    ]
    for i in np.argsort(-np.nan_to_num(errors.size, nan=-1.0)):
        lines.append(
            f'| {field_label(made.task, i)} | {made.spread[i]:.3g} '
            f'| {errors.mean[i]:+.2g} | {errors.root[i]:.3g} | {_percent(errors.size[i])} '
            f'| {_percent(errors.by_state_and_action[i])} | {_percent(errors.by_earlier[i])} |'
        )
    return '\n'.join(lines)


def _percent(share: float) -> str:
    return '-' if np.isnan(share) else f'{max(share, 0.0):.0%}'


def _effect_table(made: Remade, effects: Sequence[Effect]) -> str:
    later = ' | '.join(f'{lag} before' for lag in range(1, SHOWN_LAGS))
    lines = [
        f'| effect of one unit of action | on the change of | simulated | recorded: of this step '
        f'| {later} |',
        '|---' * (3 + SHOWN_LAGS) + '|',
    ]
    for effect in effects:
        action = made.task.action[effect.action]
        recorded = ' | '.join(
            '-' if np.isnan(v) else f'{v:.2g}' for v in effect.recorded[:SHOWN_LAGS]
        )
        lines.append(
            f'| {format_field(action.name, action.unit)} '
            f'| {field_label(made.task, effect.observation)} '
            f'| {effect.simulated:.2g} | {recorded} |'
        )
    return '\n'.join(lines)


def _where(made: Remade) -> str:
    regions = worst_regions(made)
    if regions is None:
        return 'Too few steps to tell where the simulator is most off.'
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


def draw_gap(made: Remade, errors: FieldErrors, effects: Sequence[Effect], path: Path) -> Path:
    """Write the picture as a PNG and return its path; ConfigurationError where it cannot be."""
    title = f'{made.task.name}: the simulator beside {len(made.index):,} recorded steps'
    figure = new_figure(title, SIZE_INCHES)
    fields, places, actions = figure.subplots(1, 3, width_ratios=(1.0, 1.15, 1.0))
    _draw_fields(fields, made, errors)
    _draw_places(places, made, errors)
    _draw_effect(actions, made, _largest(made, effects))
    return write_picture(figure, path)


def _draw_fields(axes: Axes, made: Remade, errors: FieldErrors) -> None:
    """Draw how far off each field is, each bar divided as the squared error is."""
    shown = [i for i in np.argsort(errors.size) if not np.isnan(errors.size[i])][-MOST_BARS:]
    names = [made.task.observation[i].name for i in shown]
    axes.set_xlim(0.0, max(105.0 * float(errors.size[shown].max(initial=0.0)), 1.0))
    room = LEAST_LABELLED * axes.get_xlim()[1]
    size = 100.0 * errors.size[shown]
    axes.set_title('Error of one step', fontsize=13)
    left = np.zeros(len(shown))
    parts = zip(error_shares(errors)[:, shown], PART_LABELS, PART_COLOURS, strict=True)
    for share, label, colour in parts:
        width = share * size
        bars = axes.barh(names, width, left=left, color=colour, label=label)
        told = np.where(width > room, [f'{part:.0%}' for part in share], '')
        axes.bar_label(bars, told, label_type='center', color='white', fontsize=10)
        left += width
    axes.set_xlabel("RMS, % of the recorded change's deviation", fontsize=12)
    axes.legend(
        fontsize=10, loc='upper center', bbox_to_anchor=(0.4, -0.14), ncols=2,
        title='share of the squared error', title_fontsize=10,
    )  # fmt: skip


def error_shares(errors: FieldErrors) -> np.ndarray:
    """Return the parts of each field's squared error (3, O), which sum up to 1.

    What is linear in state and action, what earlier actions explain besides, and the rest; what
    cannot be told is in the rest.
    """
    first = np.clip(np.nan_to_num(errors.by_state_and_action), 0.0, 1.0)
    besides = np.clip(np.nan_to_num(errors.by_earlier), 0.0, 1.0 - first)
    return np.array([first, besides, 1.0 - first - besides])


def _draw_places(axes: Axes, made: Remade, errors: FieldErrors) -> None:
    """Draw the mean error over two fields of the state."""
    first, second = pick_state_fields(made.task)
    axes.set_title('Where it is off', fontsize=13)
    if errors.agree:
        say(axes, 'nowhere')
        return
    places = made.rows.observation[:, (first, second)]
    low, high = np.percentile(places, (0.1, 99.9), axis=0)
    inside = ((places >= low) & (places <= high)).all(1)
    x, y = places[inside].T
    cells = axes.hexbin(
        x, y, C=scores(made)[inside], gridsize=(34, 22), mincnt=3, reduce_C_function=np.mean,
        cmap=U_COLOURS, linewidths=0.2,
    )  # fmt: skip
    means: np.ndarray = np.ma.compressed(np.ma.asarray(cells.get_array()))
    if len(means):
        cells.set_clim(*np.percentile(means, (2, 98)))
    axes.locator_params(axis='x', nbins=6)
    axes.set_xlabel(field_label(made.task, first), fontsize=12)
    axes.set_ylabel(field_label(made.task, second), fontsize=12)
    bar = axes.figure.colorbar(cells, ax=axes, extend='both', pad=0.02)
    bar.set_label('error, deviations of the recorded change', fontsize=12)


def _draw_effect(axes: Axes, made: Remade, effect: Effect) -> None:
    """Draw when an action acts: at once in the simulator, later on a robot with delay."""
    action = made.task.action[effect.action]
    observation = made.task.observation[effect.observation]
    axes.set_title(f'When action {action.name} acts on {observation.name}', fontsize=13)
    axes.bar(-0.2, effect.simulated, 0.38, color=BLUE, label='simulator')
    recorded = effect.recorded[:SHOWN_LAGS]
    known = np.flatnonzero(~np.isnan(recorded))
    if len(known):
        axes.bar(known + 0.2, recorded[known], 0.38, color=ORANGE, label='recorded')
    else:
        text = 'the recording does not tell:\nno steps in a row, or\nan action that only follows'
        axes.text(
            0.6, 0.5, text, transform=axes.transAxes, ha='center', va='center', fontsize=12,
            color=GREY,
        )  # fmt: skip
    axes.axhline(0.0, color='black', linewidth=0.8)
    axes.set_xticks(range(SHOWN_LAGS))
    axes.set_xlim(-0.7, SHOWN_LAGS - 0.3)
    axes.set_xlabel('control steps later', fontsize=12)
    per = format_unit(action.unit) or 'unit'
    axes.set_ylabel(
        f'change of {field_label(made.task, effect.observation)} per {per}', fontsize=12
    )
    axes.legend(fontsize=11, framealpha=0.9)


def _largest(made: Remade, effects: Sequence[Effect]) -> Effect:
    """Return the effect that moves its field most, by the field's spread."""
    deviation = made.rows.action.std(0)

    def moved(effect: Effect) -> float:
        spread = made.spread[effect.observation]
        return abs(effect.simulated) * deviation[effect.action] / spread if spread else 0.0

    return max(effects, key=moved)
