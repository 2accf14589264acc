"""From an observation out to its action in, between two processes over DDS.

Usage: python bench/latency.py [--seconds 20] [--rate 200]. The policy is an untrained one of the
shipped shape; only the time counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.msg import Action, Observation
from h2o_ros.nodes.core.base_node import LATEST, to_floats
from h2o_ros.nodes.core.dds_transport import join
from h2o_ros.task import Task, load_task
from h2o_ros.transitions import Transitions

WARM_UP = 200  # messages
TURNS = 2
WAYS = {'UDP': {}, 'shared memory': {'FASTDDS_BUILTIN_TRANSPORTS': 'DEFAULT'}}


def save_policy(task: Task, path: Path) -> None:
    """Write an untrained policy of the default recipe."""
    rows = 100
    generator = np.random.default_rng(0)
    states = generator.normal(size=(rows, len(task.observation)))
    flags = np.zeros(rows)
    real = Transitions(states, flags[:, None], flags, states, flags, flags)
    Trainer(load_config('h2o'), task, real, [0]).policy().save(path)


def round_trips(task: Task, seconds: float, rate: float) -> np.ndarray:
    """Send observations at `rate` Hz and return the time to each answer in ms."""
    node = rclpy.create_node('latency')
    answers: dict[int, float] = {}
    node.create_subscription(
        Action, 'action', lambda m: answers.setdefault(m.step, time.perf_counter()), LATEST
    )
    publisher = node.create_publisher(Observation, 'observation', LATEST)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while publisher.get_subscription_count() == 0:
        executor.spin_once(timeout_sec=0.1)
    data = to_floats(np.zeros((1, len(task.observation))))
    count = round(seconds * rate) + WARM_UP
    sent = np.zeros(count)
    due = time.perf_counter()
    for step in range(count):
        due += 1.0 / rate
        message = Observation(step=step, batch=1, data=data)
        sent[step] = time.perf_counter()
        publisher.publish(message)
        while (left := due - time.perf_counter()) > 0:
            executor.spin_once(timeout_sec=left)
    node.destroy_node()
    trips = [answers[k] - sent[k] for k in range(WARM_UP, count) if k in answers]
    return 1e3 * np.array(trips)


def measure(options: argparse.Namespace) -> None:
    """Print the distribution, spoken as this process's environment says."""
    task = load_task('standing_still')
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / 'policy.safetensors'
        save_policy(task, policy)
        # elsewhere than in the source folder, which would hide the built messages
        server = subprocess.Popen(
            [sys.executable, '-m', 'h2o_ros.nodes.policy_server', '--ros-args',
             '-p', f'policy:={policy}'],
            cwd=folder,
        )  # fmt: skip
        try:
            join()
            trips = round_trips(task, options.seconds, options.rate)
        finally:
            server.terminate()
            server.wait()
            rclpy.try_shutdown()
    median, late, worst = np.percentile(trips, [50, 99, 100])
    print(
        f'observation to action, {len(trips)} answers at {options.rate:g} Hz: '
        f'median {median:.2f} ms (goal 0.5), p99 {late:.2f} ms (goal 1.5), worst {worst:.1f} ms',
        flush=True,
    )


def main() -> None:
    """Measure in turns what nodes do, UDP alone, and what Fast DDS does by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--rate', type=float, default=200.0)
    parser.add_argument('--one-way', action='store_true', help='as the environment says, alone')
    options = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', '97')
    if options.one_way:
        measure(options)
        return
    for _ in range(TURNS):
        for way, variables in WAYS.items():
            print(f'{way}: ', end='', flush=True)
            command = [sys.executable, *sys.argv, '--one-way']
            subprocess.run(command, env=os.environ | variables, check=True)


if __name__ == '__main__':
    main()
