"""The wheel-legged comparison: H2O beside what one would try instead, on one virtual robot.

    python -m h2o_ros.experiments.wheel_legged --robot hard --bag runs/hard_demo --output runs/hard

Every algorithm trains all seeds as one batch on the same data and budget; the final policy is
judged, never one picked by its return on the robot. A finished algorithm is not run again, and
others join it on the same task, robot, recording and seeds alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.argument_types import at_least
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.selection import chosen_bags
from h2o_ros.episodes import Episodes
from h2o_ros.errors import exit_code_of
from h2o_ros.experiments.core.in_process_training import evaluate, evaluate_controller, train
from h2o_ros.experiments.wheel_legged import comparison_folder
from h2o_ros.experiments.wheel_legged.comparison import draw_comparison, write_table
from h2o_ros.experiments.wheel_legged.comparison_folder import LQR
from h2o_ros.report.output import FolderLock, prepare_output_folder
from h2o_ros.robot.pilot.balance_controller import BalanceController
from h2o_ros.task import Task, load_task
from h2o_ros.transitions import Transitions

OTHER = {'standard': 'hard', 'hard': 'standard'}
ALGORITHMS = (
    'h2o', 'h2o_paper', 'sac', 'real_only', 'mixed', 'h2o_no_ratio', 'h2o_no_regularisation',
    'h2o_wide_gap', 'h2o_ensemble', 'h2o_expectile',
)  # fmt: skip
EPISODES = 10


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser('h2o_ros.experiments.wheel_legged', description=__doc__)
    parser.add_argument('--task', default='standing_still')
    parser.add_argument('--robot', default='standard', choices=tuple(OTHER), help='of the bag')
    parser.add_argument(
        '--bag', default='', help='recordings, by commas; empty: the demonstration'
    )
    parser.add_argument('--algorithms', default=','.join((LQR, *ALGORITHMS)))
    parser.add_argument('--seeds', type=at_least(1), default=5)
    parser.add_argument('--first-seed', type=at_least(0), default=0)
    parser.add_argument(
        '--updates', type=at_least(0), default=0, help='0: the number of the algorithm'
    )
    parser.add_argument('--environments', type=at_least(1), default=32)
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--output', default='runs/wheel_legged')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; return the exit code."""
    options = parse(arguments)
    return exit_code_of(lambda: compare(options))


def compare(options: argparse.Namespace) -> None:
    """Run what is missing, then write the table and the picture."""
    torch.set_num_threads(1)
    task = load_task(options.task)
    algorithms = comparison_folder.by_name(options.algorithms)
    configs = {
        name: chosen(word, task, options)[0] for name, word in algorithms.items() if word != LQR
    }
    folder = prepare_output_folder(options.output)
    with closing(FolderLock(folder)):
        real = load_bags(chosen_bags(options.bag, task), task).transitions
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        settings = {'robot': options.robot, 'environments': options.environments}
        comparison_folder.claim(folder, task, real, settings, configs, seeds)
        _run_missing(folder, algorithms, task, real, options)
        results = list(comparison_folder.read(folder).values())
        results.sort(key=lambda result: _place(result['algorithm']))
        write_table(results, folder / 'table.md')
        draw_comparison(results, folder / 'comparison.png')
    print(f'written: {options.output}/table.md and comparison.png')


def _run_missing(
    folder: Path,
    algorithms: Mapping[str, str],
    task: Task,
    real: Transitions,
    options: argparse.Namespace,
) -> None:
    for name, algorithm in algorithms.items():
        if comparison_folder.path_of(folder, name).exists():
            continue
        if algorithm == LQR:
            result = run_lqr(task, options.robot)
        else:
            result = run(algorithm, task, real, options)
        comparison_folder.write(folder, name, result)
        print(f'{algorithm}: done in {result["seconds"]:.0f} s', flush=True)


def run(
    algorithm: str, task: Task, real: Transitions, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one algorithm on all seeds and judge each final policy on every robot."""
    config, seeds = chosen(algorithm, task, options)
    began = time.monotonic()
    trainer = Trainer(config, task, real, seeds, options.device)
    train(trainer, task, seeds, environments=options.environments)
    seconds = time.monotonic() - began
    metrics = {name: np.asarray(values).tolist() for name, values in trainer.metrics().items()}
    return {
        'algorithm': Path(algorithm).stem,
        'task': task.name,
        'robot': options.robot,
        'updates': config.updates_total,
        'real_rows': len(real),
        'seconds': seconds,
        'configuration': config.as_mapping(),
        'metrics': metrics,
        'rows': judge(trainer, robots(options.robot)),
    }


def chosen(
    algorithm: str, task: Task, options: argparse.Namespace
) -> tuple[AlgorithmConfig, range]:
    """Return the configuration and the seeds by --updates, --first-seed and --seeds."""
    overrides = {'updates_total': options.updates} if options.updates else {}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    return load_config(algorithm, task, **overrides), seeds


def judge(trainer: Trainer, models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the figures of each seed's policy on each of these robots."""
    rows = []
    for index, seed in enumerate(trainer.seeds):
        policy = trainer.policy(index)
        for model in models:
            episodes = evaluate(policy, trainer.task, model, EPISODES, seed=1000 + seed)
            rows.append(row(seed, model, episodes))
    return rows


def robots(robot: str) -> tuple[str, ...]:
    """Return where a policy is judged: where it trained, on its robot, and on one it never saw."""
    return ('simulator', robot, OTHER[robot])


def run_lqr(task: Task, robot_of_the_bag: str) -> dict[str, Any]:
    """Judge the linear controller that is optimal for the idealised simulator."""
    began = time.monotonic()
    rows = []
    for robot in robots(robot_of_the_bag):
        controller = BalanceController(task, batch=EPISODES, home=0.0)
        episodes = evaluate_controller(controller.act, task, robot, EPISODES, seed=1000)
        rows.append(row(0, robot, episodes))
    return {
        'algorithm': LQR,
        'task': task.name,
        'robot': robot_of_the_bag,
        'updates': 0,
        'real_rows': 0,
        'seconds': time.monotonic() - began,
        'metrics': {},
        'rows': rows,
    }


def row(seed: int, robot: str, episodes: Episodes) -> dict[str, Any]:
    """Return the figures of one policy on one robot."""
    return {
        'seed': seed,
        'robot': robot,
        'episodes': len(episodes.returns),
        'survived': int(episodes.survived.sum()),
        'mean_return': float(episodes.returns.mean()),
        'mean_abs_x': float(episodes.mean_abs_x.mean()),
        'mean_abs_action': float(episodes.mean_abs_action.mean()),
        'mean_x_dot': float(episodes.mean_x_dot.mean()),
    }


def _place(algorithm: str) -> tuple[int, str]:
    """Order by the list above, others after it by name."""
    known = (LQR, *ALGORITHMS)
    return (known.index(algorithm) if algorithm in known else len(known), algorithm)


if __name__ == '__main__':
    raise SystemExit(main())
