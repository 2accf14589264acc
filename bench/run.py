"""Run every measurement and write docs/benchmarks.md: what was printed, by which machine.

Usage: python bench/run.py [--only latency,update]. The comparisons of algorithms take an hour on
one core; what is done is kept in their folders under runs/. `--only` leaves the other sections as
they are. H2O_REAL_RECORDING names the text file of the real robot, where one has it. What needs a
GPU is left out where there is none.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'benchmarks.md'
HARD_BAG = 'runs/hard_demo'
REAL_BAG = 'runs/real_recording'
COMPARE = ['-m', 'h2o_ros.experiments.wheel_legged', '--seeds', '5']
COLUMNS = 'x,x_dot,theta,theta_dot,torque,done'
SECTIONS = {
    'update': ('One H2O update on one core', ['bench/update.py']),
    'gpu': ('One H2O update on a GPU', ['bench/gpu.py']),
    'latency': ('Observation in, action out', ['bench/latency.py']),
    'driver': ('Driver and policy server at 200 Hz', ['bench/driver.py']),
    'deploy': ('A trained policy on the virtual robot, through CAN', ['bench/deploy.py']),
    'cutout': ('Off when the command is lost', ['bench/cutout.py']),
    'commands': ('A million commands, and what is on the bus', ['bench/commands.py']),
    'load_bag': ('Loading a recording', ['bench/load_bag.py']),
    'load_dataset': ('Loading a dataset', ['bench/load_dataset.py']),
    'rollouts': ('What rollouts take of a training run', ['bench/rollouts.py']),
    'memory': ('Memory of 2,000,000 transitions', ['bench/memory.py']),
    'train': ('From the demonstration bag to a policy, with ROS', ['bench/train.py']),
    'standard': (
        'Algorithms on the standard robot, trained on its demonstration',
        [*COMPARE, '--output', 'runs/wheel_legged'],
    ),
    'fresh': (
        'The same with five other seeds',
        [*COMPARE, '--first-seed', '5', '--algorithms', 'h2o,real_only,mixed', '--output',
         'runs/wheel_legged_fresh'],
    ),
    'hard': (
        'Algorithms on the hard robot, trained on its demonstration',
        [*COMPARE, '--robot', 'hard', '--bag', HARD_BAG, '--output', 'runs/wheel_legged_hard'],
    ),
    'real': (
        'Trained on 60 s of the paper’s own robot',
        [*COMPARE, '--bag', REAL_BAG, '--algorithms',
         'h2o,real_only,mixed,h2o_ensemble,h2o_expectile', '--output', 'runs/wheel_legged_real'],
    ),
}  # fmt: skip
PACKAGES = ('torch', 'numpy', 'mujoco', 'ros-rclpy', 'ros-fastdds', 'rosbags')


def machine() -> str:
    """Return processor, cores and versions in one line."""
    model = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        found = re.search(r'model name\s*:\s*(.+)', info.read_text(encoding='utf-8'))
        model = found.group(1) if found else model
    versions = ', '.join(f'{name} {_version(name)}' for name in PACKAGES)
    return f'{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}'


def measure(name: str) -> str:
    """Run one measurement and return its section of the page."""
    title, command = SECTIONS[name]
    make_bag(name)
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = [
        f'## {title}\n',
        f'`python {" ".join(command)}` on {datetime.date.today()}; {machine()}\n',
        f'```\n{result.stdout.strip()}\n```\n',
    ]
    if '--output' in command:
        folder = ROOT / command[command.index('--output') + 1]
        picture = f'pictures/comparison_{name}.png'
        (ROOT / 'docs' / picture).write_bytes((folder / 'comparison.png').read_bytes())
        lines += [(folder / 'table.md').read_text(encoding='utf-8'), f'![every seed]({picture})\n']
    return '\n'.join(lines)


def make_bag(name: str) -> None:
    """Record or import the bag that a section learns from, where it is not there yet."""
    if name == 'hard' and not (ROOT / HARD_BAG).exists():
        words = ['launch', 'record_demo.launch.py', 'robot:=hard', f'output:={HARD_BAG}']
    elif name == 'real' and not (ROOT / REAL_BAG).exists():
        recording = os.environ['H2O_REAL_RECORDING']
        words = ['import-recording', recording, '--task', 'standing_still', '--output', REAL_BAG]
        words += ['--columns', COLUMNS]
    else:
        return
    subprocess.run(['h2o', *words], cwd=ROOT, check=True)


def main() -> None:
    """Measure what was asked for and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', default=','.join(SECTIONS), help=', '.join(SECTIONS))
    chosen = parser.parse_args().only.split(',')
    if 'real' in chosen and 'H2O_REAL_RECORDING' not in os.environ:
        print('real: left out; H2O_REAL_RECORDING names no recording')
        chosen.remove('real')
    if 'gpu' in chosen and not torch.cuda.is_available():
        print('gpu: left out; there is no GPU here')
        chosen.remove('gpu')
    page = PAGE.read_text(encoding='utf-8') if PAGE.exists() else '# Benchmarks\n'
    for name in chosen:
        print(f'{name} ...', flush=True)
        page = replace_section(page, name, measure(name))
        PAGE.write_text(page, encoding='utf-8')
    print(f'written: {PAGE}')


def replace_section(page: str, name: str, text: str) -> str:
    """Put a section between its marks, at the end where it is new."""
    begin, end = f'<!-- {name} -->', f'<!-- end {name} -->'
    block = f'{begin}\n{text}{end}'
    if begin in page:
        head, rest = page.split(begin, 1)
        return head + block + rest.split(end, 1)[1]
    return f'{page.rstrip()}\n\n{block}\n'


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return 'not from PyPI'


if __name__ == '__main__':
    main()
