"""Run every measurement and write docs/benchmarks.md: what was printed, by which machine.

Usage: python bench/run.py [--only latency,update]. The comparison of algorithms takes most of an
hour and is kept between runs in its output folder; `--only` leaves the other sections as they are.
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

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'benchmarks.md'
COMPARISON = 'runs/wheel_legged'
SECTIONS = {
    'update': ('One H2O update on one core', ['bench/update.py']),
    'latency': ('Observation in, action out', ['bench/latency.py']),
    'load_bag': ('Loading a recording', ['bench/load_bag.py']),
    'train': ('From the demonstration bag to a policy, with ROS', ['bench/train.py']),
    'wheel_legged': (
        'Algorithms on the wheel-legged robot',
        ['-m', 'h2o_ros.experiments.wheel_legged', '--output', COMPARISON],
    ),
}
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
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = [
        f'## {title}\n',
        f'`python {" ".join(command)}` on {datetime.date.today()}; {machine()}\n',
        f'```\n{result.stdout.strip()}\n```\n',
    ]
    table = ROOT / COMPARISON / 'table.md'
    if name == 'wheel_legged':
        picture = ROOT / 'docs' / 'pictures' / 'wheel_legged_comparison.png'
        picture.write_bytes((ROOT / COMPARISON / 'comparison.png').read_bytes())
        lines.append(table.read_text(encoding='utf-8'))
        lines.append('![comparison](pictures/wheel_legged_comparison.png)\n')
    return '\n'.join(lines)


def main() -> None:
    """Measure what was asked for and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', default=','.join(SECTIONS), help=', '.join(SECTIONS))
    chosen = parser.parse_args().only.split(',')
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
