"""Time of one update on a GPU against a naive PyTorch version there, for one seed and for 32.

    python bench/gpu.py [--rounds 20]

At the sizes of the paper's HalfCheetah, in float32: captured as one CUDA graph, then compiled and
captured (`compile: on`). Rows and noise are drawn on the GPU, which takes part in the times.
`--device cpu` tries the program where there is none.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from update import HALF_CHEETAH, UPDATES, naive, ours, task_of

from h2o_ros.algorithms.config import load_config

MANY = 32
GOALS = {1: 20, MANY: 100}


def median_ms(call: Callable[[], None], rounds: int, device: str) -> float:
    """Return the median time of an update in ms, by the clock on the wall, once it runs."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        call()
        if device == 'cuda':
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / UPDATES)
    return 1e3 * statistics.median(times[2:])


def main() -> None:
    """Print the times, or that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=20, help=f'of {UPDATES} updates each')
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    options = parser.parse_args()
    rounds, device = options.rounds, options.device
    if device == 'cuda' and not torch.cuda.is_available():
        print('no GPU here: nothing was measured')
        return
    print(torch.cuda.get_device_name() if device == 'cuda' else 'on the processor, as a trial')
    config, task = load_config('h2o_paper', **HALF_CHEETAH), task_of(17, 6)
    plain = median_ms(naive(config, task, device), rounds, device)
    print(f'naive, one seed: {plain:.2f} ms', flush=True)
    for seeds, goal in GOALS.items():
        for mode in ('auto', 'on'):
            trainer = ours(config, task, seeds, device, compile=mode, sim_buffer_ratio=1.0)
            each = median_ms(partial(trainer.update, UPDATES), rounds, device)
            print(
                f'compile: {mode}, {seeds} seeds in one batch: {each:.3f} ms, '
                f'{seeds * plain / each:.1f} x the naive rate (goal {goal} x)',
                flush=True,
            )


if __name__ == '__main__':
    main()
