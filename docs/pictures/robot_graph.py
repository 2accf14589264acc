"""Draw robot_graph.png beside this file: who sends what to whom while a robot is driven.

python docs/pictures/robot_graph.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from node_graph import (
    EVALUATE,
    FILE,
    INK,
    PACE,
    POLICY,
    RECORD,
    STEPS,
    TRAIN,
    arrow,
    box,
    panel,
)

WIDTH, HEIGHT = 17.8, 7.2


def draw_drive(axes: Axes) -> None:
    """Draw the chain from the person to the motors."""
    panel(axes, 0.1, 0.15, (12.0, 6.9), RECORD, 'drive: record_teleop, deploy_robot')
    box(axes, (1.6, 4.6), (2.4, 1.1), 'teleop', 'keyboard, joystick, script')
    box(axes, (5.6, 4.6), (2.6, 1.1), 'policy_server', 'policy, balance controller')
    box(axes, (10.1, 4.6), (2.8, 1.1), 'hardware_driver', '200 Hz, limits, trips')
    box(axes, (10.1, 1.5), (2.8, 1.2), 'virtual_robot', 'or motors and IMU of a robot')
    box(axes, (5.6, 1.5), (2.6, 1.2), 'bag_recorder', 'a bag each take')
    box(axes, (1.6, 1.5), (2.4, 1.2), 'bags', 'labels, notes, contract', FILE)
    box(axes, (7.85, 6.35), (2.6, 0.8), 'supervisor', 'brings up, hands over')
    arrow(axes, (2.8, 4.6), (4.3, 4.6), POLICY, 'cmd_vel', (3.55, 4.8))
    arrow(axes, (6.9, 4.75), (8.7, 4.75), POLICY, 'action', (7.8, 4.93))
    arrow(axes, (8.7, 4.45), (6.9, 4.45), STEPS, 'observation', (7.8, 4.25))
    arrow(axes, (10.4, 4.05), (10.4, 2.1), POLICY, 'CAN: torque', (10.5, 3.3), 'left')
    arrow(axes, (9.8, 2.1), (9.8, 4.05), STEPS, 'CAN: encoders\nimu/data', (9.7, 2.75), 'right')
    arrow(
        axes, (9.4, 4.05), (6.9, 1.9), STEPS, 'applied_action\njoint_states', (7.5, 2.95), 'right'
    )
    arrow(axes, (4.3, 1.5), (2.8, 1.5), INK, '', (0, 0))
    arrow(axes, (7.2, 5.95), (6.3, 5.15), PACE, 'shadow, hand over', (5.75, 5.65))
    arrow(axes, (8.5, 5.95), (9.4, 5.15), PACE, 'configure, activate', (10.15, 5.65))
    axes.plot([1.6, 1.6, 9.0], [4.05, 3.6, 3.6], color=POLICY, lw=2.0, zorder=2)
    arrow(axes, (9.0, 3.6), (9.0, 4.05), POLICY, 'emergency_stop', (3.3, 3.4))


def draw_learn(axes: Axes) -> None:
    """Draw what goes on learning."""
    panel(axes, 12.35, 0.15, (5.35, 6.9), TRAIN, 'learn:=true')
    box(axes, (15.1, 4.6), (2.8, 1.1), 'policy_gate', 'no worse, not far off')
    box(axes, (15.1, 1.5), (2.8, 1.2), 'learner', 'with its simulator, nice 19')
    box(axes, (13.6, 3.0), (1.9, 0.8), 'robot_bridge', 'transitions')
    box(axes, (16.75, 3.0), (1.6, 0.8), 'evaluator', 'virtual robot', EVALUATE)
    arrow(axes, (15.1, 2.1), (15.1, 4.05), POLICY, 'candidate', (15.2, 2.4), 'left')
    arrow(axes, (13.6, 2.6), (14.1, 2.1), STEPS, '', (0, 0))
    arrow(axes, (16.0, 4.05), (16.6, 3.4), POLICY, '', (0, 0))
    arrow(axes, (16.95, 3.4), (16.35, 4.05), INK, 'return', (16.8, 3.85), 'left')
    arrow(axes, (12.1, 3.0), (12.65, 3.0), STEPS, '', (0, 0))
    arrow(axes, (13.7, 4.75), (12.1, 4.75), POLICY, 'policy', (12.95, 4.95))


def main() -> None:
    """Write the picture."""
    figure = Figure(figsize=(16, 16 * HEIGHT / WIDTH), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    draw_drive(axes)
    draw_learn(axes)
    figure.savefig(Path(__file__).with_suffix('.png'))


if __name__ == '__main__':
    main()
