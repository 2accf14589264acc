"""Draw node_graph.png beside this file: who sends what to whom while recording and training.

python docs/pictures/node_graph.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK = '#20262d'
NODE, FILE = '#ffffff', '#fff3d6'
RECORD, TRAIN, EVALUATE = '#e7f4ee', '#e6f0f8', '#fbeae3'
POLICY, STEPS, PACE = '#D55E00', '#0072B2', '#009E73'
WIDTH, BOTTOM, TOP = 17.8, 0.7, 8.4

Point = tuple[float, float]


def panel(axes: Axes, x: float, y: float, size: Point, colour: str, title: str) -> None:
    """Draw a stage of the work, (x, y) its lower left corner."""
    shape = FancyBboxPatch(
        (x, y), *size, boxstyle='round,pad=0,rounding_size=0.25', fc=colour, lw=0
    )
    axes.add_patch(shape)
    axes.text(x + 0.25, y + size[1] - 0.38, title, fontsize=14, weight='bold', color=INK)


def box(
    axes: Axes, centre: Point, size: Point, name: str, text: str = '', fill: str = NODE
) -> None:
    """Draw a node or a file with its name and what it does."""
    corner = (centre[0] - size[0] / 2, centre[1] - size[1] / 2)
    style = 'round,pad=0,rounding_size=0.12'
    axes.add_patch(
        FancyBboxPatch(corner, *size, boxstyle=style, fc=fill, ec=INK, lw=1.4, zorder=3)
    )
    up = 0.2 if text else 0.0
    common = {'ha': 'center', 'va': 'center', 'color': INK, 'zorder': 4}
    axes.text(centre[0], centre[1] + up, name, fontsize=12.5, family='monospace', **common)
    if text:
        axes.text(centre[0], centre[1] - 0.22, text, fontsize=10, **common)


def arrow(
    axes: Axes, start: Point, end: Point, colour: str, label: str, at: Point, align: str = 'center'
) -> None:
    """Draw a topic from start to end with its name at a place of its own."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle='-|>', mutation_scale=17, lw=2.0, color=colour,
                        shrinkA=0, shrinkB=0, zorder=2)
    )  # fmt: skip
    axes.text(*at, label, fontsize=11, color=colour, ha=align, va='center', zorder=5)


def draw_record(axes: Axes) -> None:
    """Draw the recording of demonstrations."""
    panel(axes, 0.1, 0.85, (4.6, 7.4), RECORD, '1  record')
    box(axes, (1.35, 6.2), (1.9, 1.1), 'operator', 'a person, or scripted')
    box(axes, (1.35, 3.9), (1.9, 1.1), 'robot', 'virtual, or real')
    box(axes, (3.7, 5.05), (1.7, 1.1), 'bag_recorder', 'raw messages')
    box(axes, (3.7, 2.3), (1.7, 1.1), 'bags/', 'MCAP or sqlite3', FILE)
    arrow(axes, (1.3, 4.45), (1.3, 5.65), STEPS, 'observation', (1.22, 5.05), 'right')
    arrow(axes, (1.75, 5.65), (1.75, 4.45), POLICY, 'action', (1.83, 5.05), 'left')
    arrow(axes, (2.3, 6.1), (3.35, 5.6), POLICY, 'action', (2.98, 6.15))
    arrow(axes, (2.3, 4.0), (3.35, 4.5), STEPS, 'imu/data\njoint_states', (2.98, 3.68))
    arrow(axes, (3.7, 4.5), (3.7, 2.85), INK, '', (0, 0))


def draw_train(axes: Axes) -> None:
    """Draw the loop of learner, simulator and policy server."""
    panel(axes, 4.95, 0.85, (6.9, 7.4), TRAIN, '2  train')
    box(axes, (8.4, 5.6), (3.4, 1.2), 'learner', 'H2O, in a thread of its own')
    box(axes, (6.35, 2.3), (2.0, 1.1), 'sim_bridge', 'batched simulator')
    box(axes, (10.45, 2.3), (2.1, 1.1), 'policy_server', 'explores')
    text = 'run.png   summary.txt   TensorBoard\npolicy.safetensors   checkpoint'
    box(axes, (8.4, 7.3), (4.3, 0.8), '', '', FILE)
    axes.text(
        8.4, 7.3, text, fontsize=10.5, family='monospace', ha='center', va='center', zorder=4
    )
    arrow(axes, (8.4, 6.2), (8.4, 6.9), INK, 'learner_status, dynamics_gap', (8.55, 6.5), 'left')
    arrow(axes, (7.3, 5.0), (6.6, 2.85), PACE, 'rollout_budget', (7.12, 4.1), 'left')
    arrow(axes, (5.8, 2.85), (6.85, 5.0), STEPS, 'transitions', (6.12, 4.1), 'right')
    arrow(axes, (9.6, 5.0), (10.45, 2.85), POLICY, 'exploration_policy', (10.15, 4.1), 'left')
    arrow(axes, (7.35, 2.5), (9.4, 2.5), STEPS, 'observation', (8.38, 2.75))
    arrow(axes, (9.4, 2.1), (7.35, 2.1), POLICY, 'action', (8.38, 1.85))
    axes.plot([4.55, 4.8, 4.8], [2.3, 2.3, 5.6], color=INK, lw=2.0, zorder=2)
    arrow(axes, (4.8, 5.6), (6.7, 5.6), INK, 'real transitions', (5.75, 5.82))


def draw_evaluate(axes: Axes) -> None:
    """Draw the evaluation on the virtual robot."""
    panel(axes, 12.1, 0.85, (5.6, 7.4), EVALUATE, '3  evaluate')
    style = 'round,pad=0,rounding_size=0.2'
    frame = FancyBboxPatch(
        (12.3, 1.05), 5.2, 2.4, boxstyle=style, fc='none', ec=INK, lw=1.2, ls='--'
    )
    axes.add_patch(frame)
    axes.text(12.5, 1.35, 'namespace virtual_robot', fontsize=11, color=INK, va='center')
    box(axes, (14.9, 5.6), (2.8, 1.2), 'evaluator', 'whole episodes, newest policy')
    box(axes, (13.4, 2.3), (1.9, 1.1), 'sim_bridge', 'virtual robot')
    box(axes, (16.4, 2.3), (1.95, 1.1), 'policy_server', 'deterministic')
    arrow(axes, (14.2, 5.0), (13.75, 2.85), PACE, 'rollout_budget', (14.16, 4.3), 'left')
    arrow(axes, (13.05, 2.85), (13.75, 5.0), STEPS, 'transitions', (13.3, 4.3), 'right')
    arrow(axes, (15.75, 5.0), (16.4, 2.85), POLICY, 'policy', (16.15, 4.3), 'left')
    arrow(axes, (14.35, 2.5), (15.42, 2.5), STEPS, 'observation', (14.88, 2.75))
    arrow(axes, (15.42, 2.1), (14.35, 2.1), POLICY, 'action', (14.88, 1.85))
    arrow(axes, (10.1, 5.8), (13.5, 5.8), POLICY, 'policy', (11.2, 6.0))
    arrow(axes, (13.5, 5.4), (10.1, 5.4), INK, 'evaluation', (11.2, 5.16))


def main() -> None:
    """Write the picture."""
    figure = Figure(figsize=(16, 16 * (TOP - BOTTOM) / WIDTH), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(BOTTOM, TOP)
    axes.set_axis_off()
    draw_record(axes)
    draw_train(axes)
    draw_evaluate(axes)
    figure.savefig(Path(__file__).with_suffix('.png'))


if __name__ == '__main__':
    main()
