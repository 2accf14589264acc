"""The share of a training run's time that its rollouts take: HalfCheetah and the paper's robot.

    python bench/rollouts.py [--updates 2000]

As `python -m h2o_ros.experiments` and `h2o train` run them, without evaluations, on one core:
the simulator alone, then with the actions and the rows that are made of its steps.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from update import ROWS, random_transitions

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.experiments.core import in_process_training
from h2o_ros.sim.simulator import Simulator
from h2o_ros.task import load_task

FIRST = 64  # updates before the clock starts, in which the update is compiled
GOAL = 0.1
RUNS = (('half_cheetah', 1), ('half_cheetah', 32), ('standing_still', 32))


def timed(call: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return the same call, which adds the processor time that it takes to `spent`."""

    def wrapper(*args: Any) -> Any:
        start = time.process_time()
        result = call(*args)
        spent.append(time.process_time() - start)
        return result

    return wrapper


def measure(name: str, robots: int, updates: int) -> None:
    """Train for some updates and print where the time went."""
    task = load_task(name)
    config = load_config('h2o', task, warmup_steps=robots, updates_total=10**6)
    trainer = Trainer(config, task, random_transitions(task, ROWS, 0), [0])
    in_process_training.train(
        trainer, task, [0], environments=robots, stopping=lambda: trainer.updates >= FIRST
    )
    stepping, rolling = Simulator.step, in_process_training._roll_out
    steps: list[float] = []
    rollouts: list[float] = []
    Simulator.step = timed(stepping, steps)  # type: ignore[method-assign]
    in_process_training._roll_out = timed(rolling, rollouts)
    begun, start = trainer.updates, time.process_time()
    in_process_training.train(
        trainer,
        task,
        [0],
        environments=robots,
        stopping=lambda: trainer.updates >= begun + updates,
    )
    total = time.process_time() - start
    Simulator.step, in_process_training._roll_out = stepping, rolling  # type: ignore[method-assign]
    print(
        f'{name}, {robots} robots at once: {1e3 * total / (trainer.updates - begun):.2f} ms an '
        f'update with its step; simulator {sum(steps) / total:.1%}, with acting and storing '
        f'{sum(rollouts) / total:.1%} (goal under {GOAL:.0%})',
        flush=True,
    )


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--updates', type=int, default=2000, help='that are timed')
    updates = parser.parse_args().updates
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    for name, robots in RUNS:
        measure(name, robots, updates)


if __name__ == '__main__':
    main()
