"""How often a trained policy stands on the virtual robot: the whole stack, in real time.

Usage: python bench/deploy.py [--runs 10] [--policy FILE]. Without a file, one is trained first
(seed 0, kept in runs/bench_deploy). No other process should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

TRAINED = Path('runs/bench_deploy')
SECONDS = 30.0
ENVIRONMENT = {'ROS_DOMAIN_ID': '95', **os.environ}


def main() -> None:
    """Print one line a run, then how many stood."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=10)
    parser.add_argument('--policy', default='')
    options = parser.parse_args()
    policy = options.policy or str(trained_policy())
    stood = 0
    for seed in range(options.runs):
        drive = deploy(policy, seed)
        stands = not drive['fault'] and drive['seconds'] >= SECONDS - 0.5
        stood += stands
        figures = ''
        if drive['seconds']:
            figures = (
                f'mean |x| {drive["mean_abs_x"]:.2f} m, mean |torque| '
                f'{drive["mean_abs_action"]:.2f} N·m, '
            )
        print(
            f'start {seed}: {drive["seconds"]:.1f} s, {figures}'
            f'{"stands" if stands else drive["fault"] or drive["policy_lost"]}',
            flush=True,
        )
    print(f'{stood} of {options.runs} runs stood {SECONDS:g} s (goal 9 of 10)')


def trained_policy() -> Path:
    """Train a policy on the demonstration, where there is none yet."""
    policy = TRAINED / 'policy.safetensors'
    if not policy.exists():
        command = ['h2o', 'train', '--output', str(TRAINED)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return policy


def deploy(policy: str, seed: int) -> dict[str, Any]:
    """Launch one deployment; return what its supervisor wrote."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f'policy:={policy}', f'seed:={seed}', f'seconds:={SECONDS}', f'output:={folder}']
        command = ['h2o', 'launch', 'deploy_robot.launch.py', *words]
        subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=False)
        return json.loads((Path(folder) / 'drive.json').read_text(encoding='utf-8'))


if __name__ == '__main__':
    main()
