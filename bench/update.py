"""Time of one update against a naive PyTorch version in the same run, one pinned core, float32.

    python bench/update.py [--rounds 30]

Both draw their batches from 100,000 real and 100,000 simulated rows and draw their own noise.
Prints the median time of an update in ms and the ratio, at the sizes of the paper's robot and of
its HalfCheetah experiments, in both precisions; how long the products alone take at the core's
best speed; then the cost of several seeds in one batch.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent))
from naive import NaiveH2O

from h2o_ros.algorithms.config import AlgorithmConfig, load_config
from h2o_ros.algorithms.cpu_kernels import fast_arithmetic
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.task import ActionField, ObservationField, Task
from h2o_ros.transitions import Transitions

ROWS = 100_000
UPDATES = 16  # of one measurement: the block whose rows and noise are drawn at once
HALF_CHEETAH = {
    'batch': 256,
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


def medians_ms(calls: Mapping[str, Callable[[], None]], updates: int, rounds: int) -> list[float]:
    """Return the median processor time of an update in ms for each call, which makes `updates`.

    In turns, so that all see the same machine; processor time, because another process on the core
    would count in the wall clock.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for name in [*calls, *(name for _ in range(rounds) for name in calls)]:
        start = time.process_time()
        calls[name]()
        times[name].append((time.process_time() - start) / updates)
    return [1e3 * statistics.median(each[1:]) for each in times.values()]


def naive(config: AlgorithmConfig, task: Task, device: str = 'cpu') -> Callable[[], None]:
    """Return a call that makes UPDATES of the naive version."""
    learner = NaiveH2O(config, len(task.observation), len(task.action), device)
    buffers = []
    for seed in range(2):
        t = random_transitions(task, ROWS, seed)
        buffers.append(
            [
                torch.as_tensor(x, dtype=torch.float32, device=device)
                for x in (t.observation, t.action, t.reward, t.next_observation, t.terminated)
            ]
        )

    def draw(buffer: list, rows: int) -> tuple:
        index = torch.randint(len(buffer[0]), (rows,), device=device)
        return tuple(column[index] for column in buffer)

    def make() -> None:
        real, sim = buffers
        for _ in range(UPDATES):
            learner.update(
                draw(real, config.real_batch),
                draw(sim, config.sim_batch),
                draw(real, config.classifier_batch),
                draw(sim, config.classifier_batch),
            )

    return make


def ours(
    config: AlgorithmConfig, task: Task, seeds: int = 1, device: str = 'cpu', **changes: Any
) -> Trainer:
    """Return a trainer with its rows; to update it takes sampling and noise, too."""
    real, sim = (random_transitions(task, ROWS, seed) for seed in range(2))
    trainer = Trainer(replace(config, **changes), task, real, range(seeds), device)
    for index in range(seeds):
        trainer.add_simulated(sim, index)
    return trainer


def compare(name: str, config: AlgorithmConfig, task: Task, rounds: int, goal: float) -> None:
    """Print the time of an update in both precisions, and the ratios to the naive version's."""
    trainers = [ours(config, task, matmul_precision=word) for word in ('highest', 'medium')]
    calls = {
        'naive': naive(config, task),
        'highest': lambda: trainers[0].update(UPDATES),
        'medium': lambda: trainers[1].update(UPDATES),
    }
    plain, highest, medium = medians_ms(calls, UPDATES, rounds)
    print(f'{name}, naive: {plain:.2f} ms')
    print(f'{name}: {highest:.3f} ms, {plain / highest:.1f} x (goal {goal} x)')
    print(f'{name}, matmul_precision medium: {medium:.3f} ms, {plain / medium:.1f} x')


def floor_ms(config: AlgorithmConfig, task: Task) -> str:
    """Say how long the products of one update take at the core's best speed in float32."""
    trainer = ours(config, task, compile='off')
    with FlopCounterMode(display=False) as counter:
        trainer.update(1)
    operations = counter.get_total_flops()
    left, right = torch.randn(2, 512, 256), torch.randn(2, 256, 256)
    best = math.inf
    with fast_arithmetic(256):
        for _ in range(200):
            start = time.perf_counter()
            torch.bmm(left, right)
            best = min(best, time.perf_counter() - start)
    speed = 2.0 * left.numel() * right.shape[-1] / best
    return (
        f'{operations / 1e9:.2f} GFLOP of products in an update, {speed / 1e9:.0f} GFLOP/s in the '
        f'best of 200 products of 512 x 256 x 256: at least {1e3 * operations / speed:.1f} ms'
    )


def batches(name: str, config: AlgorithmConfig, rounds: int, goal: str) -> None:
    """Print the cost of several seeds in one batch, and their common rate over that of one."""
    trainers = {seeds: ours(config, task_of(4, 1), seeds) for seeds in (1, 8, 16)}
    calls = {str(n): partial(trainer.update, UPDATES) for n, trainer in trainers.items()}
    times = medians_ms(calls, UPDATES, rounds)
    for seeds, each in zip(trainers, times, strict=True):
        rate = f', {seeds * times[0] / each:.1f} x the rate of one{goal}' if seeds > 1 else ''
        print(f'{name}, seeds: {seeds}, in one batch: {each:.3f} ms{rate}')


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=30, help=f'of {UPDATES} updates each')
    rounds = parser.parse_args().rounds
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    print(
        f'{platform.processor() or platform.machine()}, Python {platform.python_version()}, '
        f'torch {torch.__version__}, one core'
    )
    paper, cheetah = load_config('h2o_paper'), load_config('h2o_paper', **HALF_CHEETAH)
    compare('wheel-legged (4 + 1, batch 32, 32-32)', paper, task_of(4, 1), rounds, 12.0)
    compare('HalfCheetah (17 + 6, batch 256, 256-256)', cheetah, task_of(17, 6), rounds, 3.5)
    print(f'HalfCheetah: {floor_ms(cheetah, task_of(17, 6))}')
    batches('wheel-legged', paper, rounds, ' (goal 2.5 x)')
    batches('recipe', load_config('h2o'), rounds, '')


if __name__ == '__main__':
    main()
