"""How firmly and with what delay a robot is held while it is recorded, and what H2O learns.

    python -m h2o_ros.experiments.wheel_legged.controller_stiffness --seeds 4 --first-seed 20

The scripted operator holds the standard robot softly, as a hand, or firmly, as the balance
controller that nothing disturbs, at each delay of the torque. H2O trains from each recording; its
final policies are judged on the robot that was recorded. docs/wheel_legged.md has what came out.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.argument_types import at_least
from h2o_ros.configuration import build
from h2o_ros.errors import ConfigurationError, exit_code_of
from h2o_ros.experiments.core.in_process_training import train
from h2o_ros.experiments.core.results import write_text
from h2o_ros.experiments.wheel_legged.compare import chosen, judge
from h2o_ros.experiments.wheel_legged.comparison import passes
from h2o_ros.report.output import prepare_output_folder
from h2o_ros.robot.description import RobotParameters, load_parameters
from h2o_ros.robot.operator.scripted_operator import ScriptedOperator
from h2o_ros.robot.pilot.balance_controller import SOFT
from h2o_ros.robot.pilot.pilot import FIRM
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import Task, load_task
from h2o_ros.transitions import Transitions, concatenate

# The operator finds the trim by itself.
GAINS = {'soft': SOFT, 'firm': replace(FIRM, integral=0.0)}
OPERATOR_SEED = 5
HEAD = (
    '| delay of the torque | gains | change of theta_dot a step (rad/s) | falls '
    '| seeds that pass | survived of 10 (each seed) | mean abs torque of each seed (N·m) |',
    '|---|---|---|---|---|---|---|',
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'h2o_ros.experiments.wheel_legged.controller_stiffness',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--task', default='standing_still')
    parser.add_argument(
        '--delays', type=_numbers, default='0.005,0.008', help='of the torque, s, by commas'
    )
    parser.add_argument('--steps', type=at_least(1), default=100_000, help='of each recording')
    parser.add_argument('--algorithm', default='h2o')
    parser.add_argument('--seeds', type=at_least(1), default=4)
    parser.add_argument('--first-seed', type=at_least(0), default=20)
    parser.add_argument(
        '--updates', type=at_least(0), default=0, help='0: the number of the algorithm'
    )
    parser.add_argument('--output', default='runs/recording_gains')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print and write the table; return the exit code."""
    options = parse(arguments)
    return exit_code_of(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Record, train and judge each pair of delay and gains."""
    torch.set_num_threads(1)
    task = load_task(options.task)
    if task.robot != 'wheel_legged':
        raise ConfigurationError(
            f'--task {task.name}: its robot is not held by a balance controller; '
            'give standing_still or moving_straight'
        )
    config, seeds = chosen(options.algorithm, task, options)
    folder = prepare_output_folder(options.output)
    robots = {delay: slower_robot(delay, folder) for delay in options.delays}
    print('\n'.join(HEAD), flush=True)
    lines = []
    for (delay, robot), gains in itertools.product(robots.items(), GAINS):
        recorded = record(task, robot, gains, options.steps)
        trainer = Trainer(config, task, recorded, seeds)
        train(trainer, task, seeds)
        lines.append(line(task, delay, gains, recorded, judge(trainer, [robot])))
        print(lines[-1], flush=True)
    write_text(folder / 'table.md', '\n'.join([*HEAD, *lines]) + '\n')
    print(f'written: {options.output}/table.md')


def slower_robot(delay: float, folder: Path) -> str:
    """Write the standard robot with another delay of its torque, s; return the file's path."""
    standard = asdict(load_parameters('standard'))
    parameters = build(RobotParameters, {**standard, 'torque_delay': delay}, '--delays')
    path = folder / f'delay_{delay:g}.yaml'
    write_text(path, yaml.safe_dump(asdict(parameters), sort_keys=False))
    return str(path)


def record(task: Task, robot: str, gains: str, steps: int) -> Transitions:
    """Return so many steps of the scripted operator with these gains."""
    simulator = make_simulator(task, robot, seed=OPERATOR_SEED)
    operator = ScriptedOperator(task, OPERATOR_SEED, weights=GAINS[gains])
    rows, time = [], 0.0
    for _ in range(steps):
        rows.append(simulator.step(operator.act(simulator.observation, time)))
        time += task.period
        if rows[-1].terminated[0] or rows[-1].truncated[0]:
            time += 1.0  # somebody lifts it up again
    return concatenate(rows)


def line(
    task: Task, delay: float, gains: str, recorded: Transitions, rows: list[dict[str, Any]]
) -> str:
    """Return the table's row of one recording; delay in s."""
    theta_dot = task.observation_names.index('theta_dot')
    tremble = (recorded.next_observation - recorded.observation)[:, theta_dot].std()
    survived = ', '.join(str(each['survived']) for each in rows)
    torque = ', '.join(f'{each["mean_abs_action"]:.2f}' for each in rows)
    return (
        f'| {1e3 * delay:g} ms | {gains} | {tremble:.3f} | {np.sum(recorded.terminated)} '
        f'| {sum(map(passes, rows))} of {len(rows)} | {survived} | {torque} |'
    )


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(',')]
    except ValueError as err:
        raise argparse.ArgumentTypeError(f'expected numbers by commas, got {text!r}') from err


if __name__ == '__main__':
    raise SystemExit(main())
