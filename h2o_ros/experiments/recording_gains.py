"""How firmly and with what delay a robot is held while it is recorded, and what H2O learns.

    python -m h2o_ros.experiments.recording_gains --seeds 4 --first-seed 20

The scripted operator holds the standard robot softly, as a hand, or firmly, as the balance
controller that nothing disturbs, at each delay of the torque. H2O trains from each recording; its
final policies are judged on the robot that was recorded. docs/wheel_legged.md has what came out.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.experiments.comparison import passes
from h2o_ros.experiments.training import evaluate, train
from h2o_ros.experiments.wheel_legged import EPISODES, row
from h2o_ros.report.output import prepare_output_folder
from h2o_ros.robot.balance import SOFT
from h2o_ros.robot.description import load_parameters
from h2o_ros.robot.operator import ScriptedOperator
from h2o_ros.robot.pilot import FIRM
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
    parser = argparse.ArgumentParser('h2o_ros.experiments.recording_gains', description=__doc__)
    parser.add_argument('--task', default='standing_still')
    parser.add_argument('--delays', default='0.005,0.008', help='of the torque, s, by commas')
    parser.add_argument('--steps', type=int, default=100_000, help='of each recording')
    parser.add_argument('--algorithm', default='h2o')
    parser.add_argument('--seeds', type=int, default=4)
    parser.add_argument('--first-seed', type=int, default=20)
    parser.add_argument('--updates', type=int, default=0, help='0: the number of the algorithm')
    parser.add_argument('--output', default='runs/recording_gains')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Record, train and judge each pair of delay and gains; print and write the table."""
    options = parse(arguments)
    torch.set_num_threads(1)
    task = load_task(options.task)
    folder = prepare_output_folder(options.output)
    print('\n'.join(HEAD), flush=True)
    lines = []
    for delay in map(float, options.delays.split(',')):
        robot = slower_robot(delay, folder)
        for gains in GAINS:
            recorded = record(task, robot, gains, options.steps)
            rows = judge(task, robot, recorded, options)
            lines.append(line(task, delay, gains, recorded, rows))
            print(lines[-1], flush=True)
    (folder / 'table.md').write_text('\n'.join([*HEAD, *lines]) + '\n', encoding='utf-8')
    print(f'written: {options.output}/table.md')
    return 0


def slower_robot(delay: float, folder: Path) -> str:
    """Write the standard robot with another delay of its torque, s; return the file's path."""
    parameters = replace(load_parameters('standard'), torque_delay=delay)
    path = folder / f'delay_{delay:g}.yaml'
    path.write_text(yaml.safe_dump(asdict(parameters), sort_keys=False), encoding='utf-8')
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


def judge(
    task: Task, robot: str, real: Transitions, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train all seeds from a recording; return the figures of each final policy."""
    overrides = {'updates_total': options.updates} if options.updates else {}
    config = load_config(options.algorithm, task, **overrides)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    trainer = Trainer(config, task, real, seeds)
    train(trainer, task, seeds)
    return [
        row(
            seed,
            robot,
            evaluate(trainer.policy(index), task, robot, EPISODES, seed=1000 + seed),
        )
        for index, seed in enumerate(seeds)
    ]


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


if __name__ == '__main__':
    raise SystemExit(main())
