"""Time of one update against a naive PyTorch version in the same run, one pinned core, float32.

    python bench/update.py [--updates 300]

Both draw their batches from 100,000 real and 100,000 simulated rows and draw their own noise.
Prints the median time of an update in ms and the ratio, at the sizes of the paper's robot and of
its HalfCheetah experiments, then the recipe's cost with several seeds in one batch.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from naive import NaiveH2O

from h2o_ros.algorithms.config import H2OConfig, load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.task import ActionField, ObservationField, Task
from h2o_ros.transitions import Transitions

ROWS = 100_000
HALF_CHEETAH = {
    'real_batch': 128,
    'sim_batch': 128,
    'classifier_batch': 256,
    'hidden': (256, 256),
    'classifier_hidden': (256, 256),
    'beta': 0.01,
}


def task_of(observation: int, action: int) -> Task:
    """Return a task with that many fields."""
    return Task(
        'bench',
        'none',
        'standing_still',
        tuple(ObservationField(f's{i}') for i in range(observation)),
        tuple(ActionField(f'a{i}', -1.0, 1.0) for i in range(action)),
    )


def random_transitions(task: Task, rows: int, seed: int) -> Transitions:
    """Return rows of standard normal numbers."""
    rng = np.random.default_rng(seed)
    o, a = len(task.observation), len(task.action)
    ends = rng.random(rows) < 0.01
    return Transitions(
        rng.normal(size=(rows, o)),
        np.tanh(rng.normal(size=(rows, a))),
        rng.normal(size=rows),
        rng.normal(size=(rows, o)),
        ends,
        np.zeros(rows, bool),
    )


def median_ms(make: Callable[[], None], updates: int, per_call: int = 1) -> float:
    """Return the median processor time of an update in ms, after a warm-up of a tenth.

    Processor time, because another process on the core would count in the wall clock.
    """
    for _ in range(max(1, updates // 10 // per_call)):
        make()
    times = []
    for _ in range(max(5, updates // per_call)):
        start = time.process_time()
        make()
        times.append((time.process_time() - start) / per_call)
    return 1e3 * statistics.median(times)


def naive_ms(config: H2OConfig, task: Task, updates: int) -> float:
    """Time the naive version."""
    learner = NaiveH2O(config, len(task.observation), len(task.action))
    buffers = []
    for seed in range(2):
        t = random_transitions(task, ROWS, seed)
        buffers.append(
            [
                torch.as_tensor(x, dtype=torch.float32)
                for x in (t.observation, t.action, t.reward, t.next_observation, t.terminated)
            ]
        )

    def draw(buffer: list, rows: int) -> tuple:
        index = torch.randint(len(buffer[0]), (rows,))
        return tuple(column[index] for column in buffer)

    def make() -> None:
        real, sim = buffers
        learner.update(
            draw(real, config.real_batch),
            draw(sim, config.sim_batch),
            draw(real, config.classifier_batch),
            draw(sim, config.classifier_batch),
        )

    return median_ms(make, updates)


def ours_ms(config: H2OConfig, task: Task, updates: int, seeds: int = 1) -> float:
    """Time the trainer, sampling and noise included."""
    real, sim = (random_transitions(task, ROWS, seed) for seed in range(2))
    trainer = Trainer(config, task, real, range(seeds))
    for index in range(seeds):
        trainer.add_simulated(sim, index)
    return median_ms(lambda: trainer.update(16), updates, 16)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--updates', type=int, default=480, help='updates timed per line')
    updates = parser.parse_args().updates
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    print(
        f'{platform.processor() or platform.machine()}, Python {platform.python_version()}, '
        f'torch {torch.__version__}, one core'
    )
    paper = load_config('h2o_paper')
    cases = (
        ('wheel-legged (4 + 1, batch 32, 32-32)', paper, task_of(4, 1), updates, 12.0),
        (
            'HalfCheetah (17 + 6, batch 256, 256-256)',
            load_config('h2o_paper', **HALF_CHEETAH),
            task_of(17, 6),
            max(48, updates // 6),
            3.5,
        ),
    )
    for name, config, task, count, goal in cases:
        ours, naive = ours_ms(config, task, count), naive_ms(config, task, count)
        print(f'{name}: {ours:.3f} ms, naive {naive:.2f} ms, {naive / ours:.1f} x (goal {goal} x)')
    for seeds in (1, 5):
        recipe = ours_ms(load_config('h2o'), task_of(4, 1), updates, seeds)
        print(
            f'recipe, {seeds} seeds in one batch: {recipe:.3f} ms, {recipe / seeds:.3f} ms a seed'
        )


if __name__ == '__main__':
    main()
