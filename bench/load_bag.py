"""How long 100,000 control steps take to load from a bag, and how large the bag is.

Usage: python bench/load_bag.py [--steps 100000]. The bag holds noisy sensors in the steps in which
real ones count (16-bit angle, gyroscope, 14-bit encoder), stamped with jitter.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.bags.bag import BagWriter
from h2o_ros.data.bags.pack import pack_bag
from h2o_ros.data.cdr.definitions import Definitions
from h2o_ros.data.import_columns.encode import encode
from h2o_ros.task import Source, load_task

ENCODER = 2 * np.pi / 16384  # rad
ANGLE = 2 * np.pi / 65536  # rad
GYROSCOPE = 1.53e-3  # rad/s
ACCELEROMETER = 4.8e-3  # m/s²


def robot_messages(steps: int, generator: np.random.Generator):
    """Return stamps (N,) ns and for each topic its type and serialised messages (N, bytes)."""

    def walk(scale: float, step: float) -> np.ndarray:
        smooth = np.convolve(generator.normal(0, scale, steps + 99), np.ones(100) / 10, 'valid')
        return np.round(smooth / step) * step

    jitter = generator.normal(0, 50_000, steps)
    stamps = (1_700_000_000_000_000_000 + 5_000_000 * np.arange(steps) + jitter).astype(np.int64)
    imu = [
        ('orientation.pitch', None, walk(0.05, ANGLE)),
        ('angular_velocity.x', None, walk(0.01, GYROSCOPE)),
        ('angular_velocity.y', None, walk(0.5, GYROSCOPE)),
        ('angular_velocity.z', None, walk(0.01, GYROSCOPE)),
        ('linear_acceleration.x', None, walk(0.2, ACCELEROMETER)),
        ('linear_acceleration.z', None, 9.81 + walk(0.2, ACCELEROMETER)),
    ]
    joints = [
        (field, joint, walk(scale, step))
        for field, scale, step in (
            ('position', 3, ENCODER),
            ('velocity', 3, 0.02),
            ('effort', 0.4, 2e-3),
        )
        for joint in ('left_wheel', 'right_wheel')
    ]
    action = generator.normal(0, 0.7, steps)
    result = {}
    for topic, kind, fields in (
        ('/imu/data', 'sensor_msgs/msg/Imu', imu),
        ('/joint_states', 'sensor_msgs/msg/JointState', joints),
    ):
        sources = [Source(topic, kind, field, joint) for field, joint, _ in fields]
        result[topic] = kind, encode(sources, [c for _, _, c in fields], stamps, Definitions())
    source = Source('/action', 'h2o_ros/msg/Action', 'data', index=0)
    result['/action'] = source.type, encode([source], [action], stamps, Definitions())
    return stamps, result


def main() -> None:
    """Write the bag, load it twice, pack it, and print sizes and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--steps', type=int, default=100_000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        stamps, topics = robot_messages(arguments.steps, np.random.default_rng(0))
        begin = time.perf_counter()
        with BagWriter(
            folder / 'bag', {name: kind for name, (kind, _) in topics.items()}
        ) as writer:
            for row, stamp in enumerate(stamps):
                for name, (_, messages) in topics.items():
                    writer.write(name, int(stamp), messages[row].tobytes())
        print(f'write: {time.perf_counter() - begin:.2f} s')
        begin = time.perf_counter()
        pack_bag(folder / 'bag', folder / 'packed')
        print(f'pack: {time.perf_counter() - begin:.2f} s')
        for name in ('bag', 'packed'):
            size = sum(file.stat().st_size for file in (folder / name).iterdir())
            print(f'{name}: {size / 1e6:.2f} MB, {size / arguments.steps:.1f} bytes a step')
            begin = time.perf_counter()
            dataset = load_bags(folder / name, load_task('standing_still'))
            print(
                f'{name}: {len(dataset.transitions)} transitions '
                f'in {time.perf_counter() - begin:.2f} s'
            )
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
