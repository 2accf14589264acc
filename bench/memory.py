"""How much memory 2,000,000 transitions of HalfCheetah take in the learner's buffers.

    python bench/memory.py [--rows 1000000]

So many recorded rows and as many simulated ones, in a process of its own; resident memory before
and after, from Linux's /proc, and the most that it ever was.
"""

from __future__ import annotations

import argparse
import gc
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from load_dataset import MEGABYTE, steps_of_noise

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.task import load_task

PORTION = 32_000  # simulated rows that are added at once
GOAL_MB = 600


def held(field: str = 'VmRSS') -> float:
    """Return the resident memory of this process in MB: VmRSS at present, VmHWM the most."""
    status = Path('/proc/self/status').read_text(encoding='utf-8')
    found = re.search(rf'{field}:\s+(\d+) kB', status)
    if not found:
        raise SystemExit('memory: this system has no /proc/self/status')
    return 1024 * int(found.group(1)) / MEGABYTE


def fill(rows: int) -> None:
    """Fill both buffers and print what it took."""
    task = load_task('half_cheetah')
    config = load_config('h2o', task)
    steps = steps_of_noise(rows)
    with_steps = held()
    Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')  # forget the most so far
    trainer = Trainer(config, task, steps, [0])
    width = trainer.layout.width
    print(f'h2o on half_cheetah: {width} numbers of 4 bytes a row')
    print(
        f'{rows} recorded rows: {held() - with_steps:.0f} MB, at most '
        f'{held("VmHWM") - with_steps:.0f} MB while they were arranged',
        flush=True,
    )
    for begin in range(0, rows, PORTION):
        trainer.add_simulated(steps.select(slice(begin, min(begin + PORTION, rows))))
    gc.collect()
    print(
        f'{rows} simulated rows besides: {held() - with_steps:.0f} MB (goal {GOAL_MB} MB), '
        f'at most {held("VmHWM") - with_steps:.0f} MB'
    )
    print(f'room for {trainer.simulated.capacity} simulated rows, of which untouched ones cost 0')


def main() -> None:
    """Fill the buffers in a process that has held nothing before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rows', type=int, default=1_000_000, help='of each source')
    parser.add_argument('--fill', action='store_true', help='in this process')
    options = parser.parse_args()
    if options.fill:
        fill(options.rows)
        return
    command = [sys.executable, __file__, '--fill', '--rows', str(options.rows)]
    subprocess.run(command, check=True)


if __name__ == '__main__':
    main()
