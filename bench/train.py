"""`make train` as a user runs it: how long, how good, and how alike twice with the same seed.

Usage: python bench/train.py [--seeds 0,0,1,2,3,4] [--words algorithm:=h2o]. Set-up is done before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

LARGEST_X, LARGEST_TORQUE = 1.0, 1.0  # m, N·m: means over the episodes that pass


def main() -> None:
    """Print one line a run, then how many pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', default='0,0,1,2,3,4')
    parser.add_argument('--words', nargs='*', default=[])
    options = parser.parse_args()
    passing = []
    for seed in options.seeds.split(','):
        seconds, figures = train([f'seed:={seed}', *options.words])
        passing.append(passes(figures))
        print(
            f'seed {seed}: {seconds:.0f} s (goal 240), '
            f'{figures["updates"]} updates, {figures["simulated_steps"]} simulated steps; '
            f'final policy: {figures["survived"]} of {figures["episodes"]} episodes survived '
            f'30 s, return {figures["mean_return"]:.0f}, mean |x| {figures["mean_abs_x"]:.2f} m, '
            f'mean |torque| {figures["mean_abs_action"]:.2f} N·m: '
            f'{"passes" if passing[-1] else "does not pass"}',
            flush=True,
        )
    print(f'{sum(passing)} of {len(passing)} runs pass (goal 4 of 5)')


def train(words: list[str]) -> tuple[float, dict[str, Any]]:
    """Launch one run; return its seconds and the figures of its summary."""
    environment = {'ROS_DOMAIN_ID': '96', **os.environ}
    with tempfile.TemporaryDirectory() as folder:
        command = ['h2o', 'launch', 'train_sim.launch.py', *words, f'output:={folder}']
        began = time.monotonic()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        seconds = time.monotonic() - began
        return seconds, json.loads((Path(folder) / 'summary.json').read_text(encoding='utf-8'))


def passes(figures: dict[str, Any]) -> bool:
    """Say whether the final policy stands in every episode, near its place, without chatter."""
    stands = figures['survived'] == figures['episodes']
    near = figures['mean_abs_x'] < LARGEST_X
    return stands and near and figures['mean_abs_action'] < LARGEST_TORQUE


if __name__ == '__main__':
    main()
