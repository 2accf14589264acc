"""Draw safety_states.png beside this file: the states of the hardware driver, and what moves it.

python docs/pictures/safety_states.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, QUIET = '#20262d', '#6b7480'
OFF, ON, CUT, STOP = '#e6f0f8', '#e7f4ee', '#fbeae3', '#f6d5d0'
PERSON, DRIVER = '#0072B2', '#D55E00'
WIDTH, HEIGHT = 15.6, 7.1
SIZE = (3.1, 1.15)

Point = tuple[float, float]

STATES: dict[str, tuple[Point, str, str]] = {
    'UNCONFIGURED': ((1.9, 6.2), 'bus closed', OFF),
    'DISARMED': ((6.2, 6.2), 'motors idle, all is watched', OFF),
    'ARMED': ((12.6, 6.2), 'torque flows, within the limits', ON),
    'RAMPING_DOWN': ((9.4, 3.8), 'torque fades in 0.2 s', ON),
    'TRIPPED': ((12.6, 1.4), 'motors idle; the reason stays', CUT),
    'EMERGENCY_STOPPED': ((4.0, 1.4), 'motors idle, stopped by a person', STOP),
}


def state(axes: Axes, name: str) -> None:
    """Draw one state."""
    centre, text, colour = STATES[name]
    corner = (centre[0] - SIZE[0] / 2, centre[1] - SIZE[1] / 2)
    style = 'round,pad=0,rounding_size=0.16'
    axes.add_patch(
        FancyBboxPatch(corner, *SIZE, boxstyle=style, fc=colour, ec=INK, lw=1.5, zorder=3)
    )
    common = {'ha': 'center', 'va': 'center', 'zorder': 4, 'color': INK}
    axes.text(centre[0], centre[1] + 0.2, name, fontsize=12.5, family='monospace', **common)
    axes.text(centre[0], centre[1] - 0.25, text, fontsize=10, **common)


def arrow(
    axes: Axes, start: Point, end: Point, colour: str, label: str, at: Point, bend: float = 0.0
) -> None:
    """Draw a transition with its cause at a place of its own."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle='-|>',
            mutation_scale=17,
            lw=2.0,
            color=colour,
            shrinkA=0,
            shrinkB=0,
            connectionstyle=f'arc3,rad={bend}',
            zorder=2,
        )
    )
    axes.text(*at, label, fontsize=10.5, color=colour, ha='center', va='center', zorder=5)


def main() -> None:
    """Write the picture."""
    figure = Figure(figsize=(14, 14 * HEIGHT / WIDTH), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    for name in STATES:
        state(axes, name)
    arrow(axes, (3.45, 6.4), (4.65, 6.4), PERSON, 'configure', (4.05, 6.7))
    arrow(axes, (4.65, 6.0), (3.45, 6.0), PERSON, 'cleanup', (4.05, 5.7))
    arrow(axes, (7.75, 6.4), (11.05, 6.4), PERSON, 'activate, or arm after a reset', (9.4, 6.75))
    arrow(axes, (11.6, 5.62), (10.2, 4.38), PERSON, 'deactivate,\nCtrl-C', (10.2, 5.2))
    arrow(axes, (8.4, 4.38), (6.9, 5.62), DRIVER, 'zero reached', (7.0, 4.85))
    arrow(axes, (12.4, 5.62), (12.4, 1.98), DRIVER, 'any fault', (11.85, 3.0))
    arrow(axes, (13.4, 1.98), (13.4, 5.62), PERSON, 'arm, when the\ncause is gone', (14.35, 3.8))
    arrow(axes, (10.2, 3.22), (11.5, 1.98), DRIVER, 'any fault', (10.3, 2.5))
    arrow(axes, (4.6, 1.98), (5.9, 5.62), PERSON, 'reset_emergency_stop', (6.45, 3.6))
    arrow(axes, (11.05, 1.4), (5.55, 1.4), PERSON, 'emergency stop', (8.3, 1.65))
    axes.text(
        8.3,
        1.0,
        'from every state: topic, service, key or button',
        fontsize=10,
        color=PERSON,
        ha='center',
    )
    axes.text(0.35, 0.3, 'Blue: what a person asks for.', fontsize=11, color=PERSON)
    axes.text(3.75, 0.3, 'Orange: what the driver does by itself.', fontsize=11, color=DRIVER)
    axes.text(
        8.4, 0.3, 'No orange arrow leads to ARMED.', fontsize=11, color=QUIET, style='italic'
    )
    figure.savefig(Path(__file__).with_suffix('.png'))


if __name__ == '__main__':
    main()
