"""Text and pictures of how well a virtual robot stands in for the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from h2o_ros.experiments.core.pictures import save_picture
from h2o_ros.sim.identification.fit import Fit
from h2o_ros.sim.identification.validation import (
    ClosedLoop,
    OpenLoop,
    OperatorModel,
    band_power,
    spectrum,
)

SIZE_INCHES = (11.0, 5.5)
LABELS = ('theta (rad)', 'theta_dot (rad/s)', 'x (m)', 'x_dot (m/s)', 'torque (N·m)')
COLOURS = {'virtual robot': 'C0', 'idealised simulator': 'C1', 'rates held': 'C7'}
BANDS = ((0.3, 2.0), (2.0, 6.0), (6.0, 12.0), (12.0, 30.0), (30.0, 100.0))


def report_text(found: Fit, opened: OpenLoop, closed: ClosedLoop, hand: OperatorModel) -> str:
    """Return the whole comparison as Markdown tables."""
    return '\n\n'.join(
        [
            _fit_table(found),
            _error_table(opened, 1, '1 step'),
            _error_table(opened, opened.truth.shape[1], '0.25 s'),
            _spread_table(closed, hand),
            _band_table(closed),
        ]
    )


def _fit_table(found: Fit) -> str:
    lines = ['| parameter | fitted | deviation |', '|---|---|---|']
    for name, deviation in found.deviations.items():
        lines.append(f'| {name} | {getattr(found.parameters, name):.4g} | {deviation:.2g} |')
    costs = ', '.join(f'{1e3 * delay:g} ms: {cost:.0f}' for delay, cost in found.costs.items())
    lines.append(f'| torque_delay | {found.parameters.torque_delay:.4g} | grid: cost {costs} |')
    return '\n'.join(lines)


def _error_table(opened: OpenLoop, step: int, title: str) -> str:
    names = ' | '.join(LABELS[:4])
    lines = [f'| {title} ahead, RMS (median) | {names} |', '|---' * 5 + '|']
    for name in opened.errors:
        pairs = zip(opened.root_mean_square(name, step), opened.median(name, step), strict=True)
        lines.append(f'| {name} | ' + ' | '.join(f'{r:.2g} ({m:.2g})' for r, m in pairs) + ' |')
    return '\n'.join(lines)


def _spread_table(closed: ClosedLoop, hand: OperatorModel) -> str:
    each = closed.virtual.std(0)
    lines = [f'| deviation over the recording | {" | ".join(LABELS)} |', '|---' * 6 + '|']
    lines.append('| real | ' + ' | '.join(f'{v:.3g}' for v in closed.real.std(0)) + ' |')
    means = ' | '.join(f'{v:.3g}' for v in each.mean(0))
    lines.append(f'| virtual, mean of the robots | {means} |')
    pairs = zip(each.min(0), each.max(0), strict=True)
    ranges = ' | '.join(f'{low:.3g} to {high:.3g}' for low, high in pairs)
    lines.append(f'| virtual, least to most | {ranges} |')
    gains = ', '.join(f'{value:.3g}' for value in hand.gains)
    lines.append('')
    lines.append(
        f'Law of the hand: gains {gains}, bias {hand.bias:.2g} N·m, {hand.late} rows late, '
        f'unexplained {hand.rest.std():.2g} N·m; '
        f'{closed.virtual.shape[1]} virtual robots, {closed.falls} falls.'
    )
    return '\n'.join(lines)


def _band_table(closed: ClosedLoop) -> str:
    heads = ' | '.join(f'{low:g}-{high:g} Hz' for low, high in BANDS)
    lines = [f'| theta_dot by band (rad/s) | {heads} |', '|---' * (len(BANDS) + 1) + '|']
    for name, series in (('real', closed.real[:, 1]), ('virtual', closed.virtual[..., 1])):
        values = [band_power(series, closed.period, low, high) for low, high in BANDS]
        lines.append(f'| {name} | ' + ' | '.join(f'{value:.3g}' for value in values) + ' |')
    return '\n'.join(lines)


def draw_open_loop(opened: OpenLoop, path: Path) -> None:
    """Draw how errors grow with the time ahead, and two windows as examples."""
    figure = Figure(figsize=SIZE_INCHES, layout='constrained')
    axes = figure.subplots(2, 3)
    ahead = opened.period * np.arange(1, opened.truth.shape[1] + 1)
    chosen = (len(opened.truth) // 3, 2 * len(opened.truth) // 3)
    for row, column in enumerate((0, 3)):
        for name, error in opened.errors.items():
            size = np.sqrt((error[..., column] ** 2).mean(0))
            axes[row, 0].semilogy(ahead, size, color=COLOURS[name], label=name)
        axes[row, 0].set(ylabel=f'RMS error of {LABELS[column]}', xlabel='time ahead (s)')
        for place, window in enumerate(chosen):
            panel = axes[row, 1 + place]
            panel.plot(ahead, opened.truth[window, :, column], 'k', lw=2, label='real')
            for name, values in opened.predictions.items():
                panel.plot(ahead, values[window, :, column], color=COLOURS[name])
            panel.set(xlabel='time ahead (s)', ylabel=LABELS[column])
            panel.set_title(f'window {window} of {len(opened.truth)}', fontsize=9)
    axes[0, 0].legend(fontsize=8)
    axes[0, 1].legend(fontsize=8)
    figure.suptitle('Open-loop prediction of rows that were kept out of the fit')
    save_picture(figure, path)


def draw_closed_loop(closed: ClosedLoop, path: Path) -> None:
    """Draw histograms of every field and the spectrum of theta_dot, real beside virtual."""
    figure = Figure(figsize=SIZE_INCHES, layout='constrained')
    axes = figure.subplots(2, 3)
    for column, panel in enumerate(axes.flat[:5]):
        real, virtual = closed.real[:, column], closed.virtual[..., column].ravel()
        # Where one stood is the hand's doing; how widely one wandered is compared.
        if column == 2:
            real = real - real.mean()
            virtual = (closed.virtual[..., 2] - closed.virtual[..., 2].mean(0)).ravel()
        edge = max(np.quantile(np.abs(values), 0.995) for values in (real, virtual))
        bins = np.linspace(-edge, edge, 60)
        for values, name, colour in ((real, 'real', 'k'), (virtual, 'virtual robot', 'C0')):
            panel.hist(values, bins, density=True, histtype='step', color=colour, label=name)
        panel.set(xlabel=LABELS[column] + (', less its mean' if column == 2 else ''), yticks=[])
    axes[0, 0].legend(fontsize=8)
    panel = axes[1, 2]
    for series, colour in ((closed.real[:, 1], 'k'), (closed.virtual[..., 1], 'C0')):
        panel.loglog(*(values[1:] for values in spectrum(series, closed.period)), color=colour)
    panel.set(xlabel='frequency (Hz)', ylabel='power of theta_dot ((rad/s)²/Hz)')
    figure.suptitle('Under the recorded controller: density of each field, and the spectrum')
    save_picture(figure, path)
