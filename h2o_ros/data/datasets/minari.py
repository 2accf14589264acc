"""Datasets of Minari, read from their HDF5 files without Minari itself.

main_data.hdf5 holds a group an episode, episode_0, episode_1, ..., of T control steps each:

observations            (T + 1, O), the last one that was reached included
actions                 (T, A)
rewards                 (T,)
terminations            (T,), the episode ended by failure
truncations             (T,), it ended for another reason

As written by Minari 0.5.3; a folder DATASET/data/ holds the file, with metadata.json beside it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import h5py
import numpy as np

from h2o_ros.data.datasets.d4rl import SUFFIXES
from h2o_ros.data.datasets.hdf5 import open_hdf5, read_flags
from h2o_ros.errors import BagError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

FILE = 'main_data.hdf5'
EPISODE = re.compile(r'episode_(\d+)')
COLUMNS = ('observations', 'actions', 'rewards', 'terminations', 'truncations')


def minari_folder() -> Path:
    """Return the folder in which Minari keeps its datasets."""
    chosen = os.environ.get('MINARI_DATASETS_PATH')
    return Path(chosen) if chosen else Path.home() / '.minari' / 'datasets'


def minari_names() -> list[str]:
    """List the datasets in that folder by Minari's names, as mujoco/halfcheetah/medium-v0."""
    root = minari_folder()
    return sorted(str(p.parent.parent.relative_to(root)) for p in root.glob(f'**/data/{FILE}'))


def find_minari(source: str | Path) -> Path:
    """Return the HDF5 file of a dataset given as such, by its folder, or by name."""
    path = Path(source)
    if path.suffix in SUFFIXES and path.is_file():
        return path
    folders = (path, path / 'data', minari_folder() / path / 'data')
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
        form = _data_format(folder)
        if form not in ('', 'hdf5'):
            raise BagError(
                f'{folder}: its data format is {form!r}, only hdf5 is read; make it again in '
                'Minari with data_format="hdf5"'
            )
    known = ', '.join(minari_names()) or 'none'
    raise BagError(
        f'{source}: no {FILE} there, nor a dataset of that name in {minari_folder()}/, which '
        f'holds {known}; give a file, a folder or one of these'
    )


def import_minari(source: str | Path, task: Task) -> Transitions:
    """Read all episodes in order; BagError where the file is damaged or not of this task.

    An episode without an end of its own is taken to be truncated at its last step.
    """
    path = find_minari(source)
    with open_hdf5(path) as file:
        return _read(file, path, task)


def _data_format(folder: Path) -> str:
    try:
        return json.loads((folder / 'metadata.json').read_text('utf-8')).get('data_format', '')
    except (OSError, ValueError, AttributeError):
        return ''


def _read(file: h5py.File, path: Path, task: Task) -> Transitions:
    numbers = sorted(int(match[1]) for name in file if (match := EPISODE.fullmatch(name)))
    if not numbers:
        raise BagError(
            f'{path}: has no groups episode_0, episode_1, ..., it holds '
            f'{", ".join(file) or "nothing"}; give the {FILE} of a Minari dataset'
        )
    groups = [file[f'episode_{number}'] for number in numbers]
    lengths = [_check_episode(group, path, task) for group in groups]
    total, o, a = sum(lengths), len(task.observation), len(task.action)
    if not total:
        raise BagError(f'{path}: its episodes have no steps; make or copy it again')
    table = Transitions(
        observation=np.empty((total, o), np.float32),
        action=np.empty((total, a), np.float32),
        reward=np.empty(total, np.float32),
        next_observation=np.empty((total, o), np.float32),
        terminated=np.empty(total, bool),
        truncated=np.empty(total, bool),
    )
    start = 0
    for group, length in zip(groups, lengths, strict=True):
        if length:
            _fill(table, slice(start, start + length), group, path)
            start += length
    if not table.is_finite():
        raise BagError(f'{path}: holds numbers that are not finite; make or copy it again')
    return table


def _check_episode(group: h5py.Group, path: Path, task: Task) -> int:
    """Return an episode's number of steps; BagError where its columns are not as they must be."""
    where = f'{path}: {group.name.strip("/")}'
    missing = [name for name in COLUMNS if name not in group]
    if missing:
        raise BagError(
            f'{where}: {", ".join(missing)} missing; an episode needs {", ".join(COLUMNS)}'
        )
    nested = [name for name in COLUMNS if not isinstance(group[name], h5py.Dataset)]
    if nested:
        raise BagError(
            f'{where}: {", ".join(nested)} in parts; flatten the spaces in Minari before importing'
        )
    length = group['actions'].shape[0]
    shapes = {
        'observations': (length + 1, len(task.observation)),
        'actions': (length, len(task.action)),
        **dict.fromkeys(COLUMNS[2:], (length,)),
    }
    for name, shape in shapes.items():
        if group[name].shape != shape:
            raise BagError(
                f'{where}: {name} has shape {group[name].shape}, expected {shape} for task '
                f'{task.name}; give a dataset of this task'
            )
    return length


def _fill(table: Transitions, rows: slice, group: h5py.Group, path: Path) -> None:
    where = f'{path}: {group.name.strip("/")}: '
    observations = group['observations'][()]
    table.observation[rows], table.next_observation[rows] = observations[:-1], observations[1:]
    table.action[rows], table.reward[rows] = group['actions'][()], group['rewards'][()]
    terminated, truncated = (
        read_flags(group[name], where + name) for name in ('terminations', 'truncations')
    )
    truncated[-1] = not terminated[-1]
    table.terminated[rows], table.truncated[rows] = terminated, truncated
