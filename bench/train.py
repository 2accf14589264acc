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


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', default='0,0,1,2,3,4')
    parser.add_argument('--words', nargs='*', default=[])
    options = parser.parse_args()
    environment = {'ROS_DOMAIN_ID': '96', **os.environ}
    for seed in options.seeds.split(','):
        with tempfile.TemporaryDirectory() as folder:
            words = [f'seed:={seed}', f'output:={folder}', *options.words]
            command = ['h2o', 'launch', 'train_sim.launch.py', *words]
            began = time.monotonic()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            seconds = time.monotonic() - began
            figures = json.loads((Path(folder) / 'summary.json').read_text(encoding='utf-8'))
        steps = figures['simulated_steps']
        print(
            f'seed {seed}: {seconds:.0f} s (goal 240), '
            f'{figures["updates"]} updates, {steps} simulated steps; final policy: '
            f'{figures["survived"]} of {figures["episodes"]} episodes lasted 30 s, return '
            f'{figures["mean_return"]:.0f}, mean |x| {figures["mean_abs_x"]:.2f} m, mean |torque| '
            f'{figures["mean_abs_action"]:.2f} N·m',
            flush=True,
        )


if __name__ == '__main__':
    main()
