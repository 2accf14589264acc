"""How long 1,000,000 control steps of HalfCheetah take to load, and how much memory.

Usage: python bench/load_dataset.py [--steps 1000000]. Once as this package writes them, once
compressed as D4RL does; each is loaded in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from h2o_ros.data.datasets.d4rl import load_d4rl, write_d4rl
from h2o_ros.data.load import report_on
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

MEGABYTE = 1e6


def main() -> None:
    """Write both files, and load each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--steps', type=int, default=1_000_000)
    parser.add_argument('--load', help='load this file and print what it took')
    options = parser.parse_args()
    if options.load:
        load(Path(options.load))
        return
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / 'plain.hdf5', Path(folder) / 'packed.hdf5'
        write_d4rl(plain, steps_of_noise(options.steps))
        with h5py.File(plain) as source, h5py.File(packed, 'w') as target:
            for name in source:
                target.create_dataset(name, data=source[name][()], compression='gzip')
        for path in (plain, packed):
            subprocess.run([sys.executable, __file__, '--load', str(path)], check=True)


def steps_of_noise(count: int) -> Transitions:
    """Return steps whose numbers are noise, in episodes of 1000."""
    generator = np.random.default_rng(0)
    return Transitions(
        observation=generator.standard_normal((count, 17), np.float32),
        action=generator.uniform(-1, 1, (count, 6)),
        reward=generator.standard_normal(count, np.float32),
        next_observation=generator.standard_normal((count, 17), np.float32),
        terminated=np.zeros(count, bool),
        truncated=np.arange(count) % 1000 == 999,
    )


def load(path: Path) -> None:
    """Load a file and print time and memory."""
    task, before = load_task('half_cheetah'), peak()
    begin = time.perf_counter()
    rows = load_d4rl(path, task)
    loaded, memory = time.perf_counter() - begin, peak() - before
    report_on(rows, task, (path.name,))
    counted = time.perf_counter() - begin - loaded
    size = sum(array.nbytes for array in vars(rows).values())
    print(
        f'{path.stem}, {path.stat().st_size / MEGABYTE:.0f} MB: {len(rows)} steps in '
        f'{loaded:.2f} s, report in {counted:.2f} s; arrays {size / MEGABYTE:.0f} MB, '
        f'at most {memory / MEGABYTE:.0f} MB more than before'
    )


def peak() -> int:
    """Return the most memory that this process has held, in bytes.

    From Linux's /proc, since getrusage counts what the parent process held before this began.
    """
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))


if __name__ == '__main__':
    main()
