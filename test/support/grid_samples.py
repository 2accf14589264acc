"""A task of HalfCheetah in small with its dataset, and the command lines of grids on it."""

import csv

import numpy as np
import yaml

from h2o_ros.data.datasets.d4rl import write_d4rl
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import find_task, load_task
from h2o_ros.transitions import concatenate

DATASET = 'halfcheetah-small-v2'
SMALL = {
    'hidden': [16, 16], 'classifier_hidden': [16, 16], 'batch': 16, 'classifier_batch': 16,
    'compile': 'off', 'warmup_steps': 20,
}  # fmt: skip


def make_small(folder, monkeypatch):
    """Write HalfCheetah with short episodes and small networks, and a dataset; return the task."""
    content = yaml.safe_load(find_task('half_cheetah').read_text(encoding='utf-8'))
    content['horizon'] = 30
    content['learning'] |= SMALL
    path = folder / 'small.yaml'
    path.write_text(yaml.safe_dump(content))
    write_dataset(folder, load_task(path), 5)
    monkeypatch.setenv('H2O_DATASETS', str(folder))
    return str(path)


def write_dataset(folder, task, seed):
    """Write 240 random steps as the task's dataset."""
    generator = np.random.default_rng(0)
    robots = make_simulator(task, 'standard', batch=4, seed=seed)
    rows = [robots.step(generator.uniform(-1, 1, (4, 6))) for _ in range(60)]
    write_d4rl(folder / f'{DATASET}.hdf5', concatenate(rows))


def words(small, folder, *more, algorithms='h2o,sac', steps=40):
    """Return the command line of a small grid."""
    return [
        'own', '--task', small, '--algorithms', algorithms, '--datasets', DATASET,
        '--gaps', 'gravity', '--steps', str(steps), '--every', '20', '--episodes', '2',
        '--robots', '4', '--output', str(folder), *more,
    ]  # fmt: skip


def lines_of(folder, without=('seconds', 'date', 'version', 'together')):
    """Return the rows of a folder's results, without these columns."""
    with (folder / 'results.csv').open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in without} for row in rows]
