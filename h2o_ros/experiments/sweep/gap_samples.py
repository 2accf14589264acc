"""An algorithm's estimates of dynamics gap and values, at some stages of its training.

At each stage the present policy explores in the simulator for a while; u and Q of the steps are
noted with their velocity along x. Figure 3 shows them; every run with classifiers keeps them.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from h2o_ros.algorithms.files.tensor_file import write_atomically
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core.in_process_training import explore
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.transitions import Transitions

FIELD = 'x_dot'  # m/s
STAGES = (0.02, 0.1, 0.3, 1.0)  # of the updates
STEPS = 150  # control steps of each robot: from rest to its usual speed
ROBOTS = 20
KEPT = 1000  # samples of a stage
COLUMNS = ('seed', 'update', 'x_dot', 'u', 'q')


def stages(total: int, every: int) -> set[int]:
    """Return the updates after which samples are taken: multiples of `every`, and the end."""
    return {min(max(round(share * total / every), 1) * every, total) for share in STAGES}


def sample(trainer: Trainer, gap: str) -> np.ndarray:
    """Return (samples, 5) float64 of COLUMNS for every seed at this moment.

    Nothing of the trainer changes. Empty where it trains no classifiers, or where the task does
    not observe the velocity.
    """
    names = trainer.task.observation_names
    if not trainer.config.classifiers or FIELD not in names:
        return np.zeros((0, len(COLUMNS)))
    parts = []
    for index, seed in enumerate(trainer.seeds):
        rows = _explore(trainer, index, seed, gap)
        u, _ = trainer.dynamics_gap(rows, index)
        velocity = rows.observation[:, names.index(FIELD)]
        # float64: a seed may be a date, which float32 does not hold
        whose = np.full(len(rows), float(seed)), np.full(len(rows), float(trainer.updates))
        parts.append(np.stack((*whose, velocity, u, trainer.value(rows, index)), 1))
    return np.concatenate(parts)


def _explore(trainer: Trainer, index: int, seed: int, gap: str) -> Transitions:
    generator = np.random.default_rng([seed, trainer.updates])
    robots = make_simulator(
        trainer.task, batch=ROBOTS, seed=int(generator.integers(2**31)), gap=gap
    )
    rows = explore(trainer.policy(index), robots, STEPS, generator)
    return rows.select(generator.choice(len(rows), KEPT, replace=False))


def write(samples: np.ndarray, path: Path) -> None:
    """Write samples, whole or not at all."""
    data = io.BytesIO()
    np.save(data, samples)
    write_atomically(path, data.getvalue(), ConfigurationError)


def read(path: Path) -> np.ndarray:
    """Return the samples of a file; none where there is no file."""
    return np.load(path) if path.is_file() else np.zeros((0, len(COLUMNS)))
