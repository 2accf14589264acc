"""Datasets of simulated robots in the format of D4RL (Fu et al., arXiv:2004.07219).

An HDF5 file of N control steps in the order in which they were made:

observations       (N, O)   before the action
actions            (N, A)
rewards            (N,)     as the environment gave them; read, not computed
terminals          (N,)     the episode ended by failure
timeouts           (N,)     it ended for another reason; where missing, after the task's horizon
next_observations  (N, O)   where missing, the following row's observation
infos/..., metadata/...     what else was noted: states of the physics, the policy that acted
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from h2o_ros.data.datasets.hdf5 import open_hdf5, read_flags
from h2o_ros.errors import BagError
from h2o_ros.task import Task, share_folder
from h2o_ros.transitions import Transitions

FOLDER = 'datasets'
SUFFIXES = ('.hdf5', '.h5', '.hdf')
NEEDED = ('observations', 'actions', 'rewards', 'terminals')
OPTIONAL = ('timeouts', 'next_observations')
# D4RL's names of our tasks.
ENVIRONMENTS = {'halfcheetah': 'half_cheetah', 'walker2d': 'walker2d'}
# Returns of a random policy and of an expert that D4RL scores against, by our tasks' names.
REFERENCE_RETURNS = {'half_cheetah': (-280.178953, 12135.0), 'walker2d': (1.629008, 4592.3)}


def normalised_score(task_name: str, mean_return: float) -> float:
    """Return 100 (return - random) / (expert - random); ValueError for a task without them."""
    if task_name not in REFERENCE_RETURNS:
        raise ValueError(
            f'task {task_name!r} has no reference returns; {", ".join(REFERENCE_RETURNS)} have'
        )
    random, expert = REFERENCE_RETURNS[task_name]
    return 100.0 * (mean_return - random) / (expert - random)


def dataset_folder() -> Path:
    """Return the folder that names of datasets are looked up in."""
    return Path(os.environ.get('H2O_DATASETS') or FOLDER)


def dataset_names() -> list[str]:
    """List the datasets in that folder by name."""
    return sorted(path.stem for path in dataset_folder().glob('*.hdf5'))


def is_dataset(name: str) -> bool:
    """Say whether a name or path means a dataset rather than a bag."""
    path = Path(name)
    if path.suffix in SUFFIXES or name in dataset_names():
        return True
    environment, _, rest = name.partition('-')
    return environment in ENVIRONMENTS and bool(rest) and not path.exists()


def find_dataset(path_or_name: str | Path) -> Path:
    """Return the file of a dataset; BagError lists those that exist."""
    path = Path(path_or_name)
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise BagError(f'{path}: there is no such file; check the path')
        return path
    name, _, version = str(path_or_name).rpartition('-')
    # D4RL calls the file of halfcheetah-medium-replay-v2 halfcheetah_medium_replay-v2
    for stem in (str(path_or_name), f'{name.replace("-", "_")}-{version}'):
        if (dataset_folder() / f'{stem}.hdf5').is_file():
            return dataset_folder() / f'{stem}.hdf5'
    raise BagError(
        f'dataset {str(path_or_name)!r} is not in {dataset_folder()}/, which holds '
        f'{", ".join(dataset_names()) or "none"}; name one of these or a .hdf5 file, or make it: '
        f'{_how_to_make(str(path_or_name))}'
    )


def shipped_policy(environment: str, level: str) -> Path | None:
    """Return the behaviour policy of D4RL's environment at a level; None where none is shipped."""
    path = share_folder('config/policies') / f'{environment}-{level}.safetensors'
    return path if path.is_file() else None


def _how_to_make(name: str) -> str:
    """Return the commands that make a dataset, that which trains its policy first."""
    environment, _, rest = name.partition('-')
    level, make = rest.rpartition('-')[0], f'h2o dataset make {name}'
    if environment not in ENVIRONMENTS or level not in ('medium', 'expert', 'medium-expert'):
        return make
    missing = [each for each in level.split('-') if shipped_policy(environment, each) is None]
    if not missing:
        return make
    given = ' '.join(f'--policy {each}=FILE' for each in missing)
    return f'h2o dataset train {environment}, then {make} {given}'


def load_d4rl(path_or_name: str | Path, task: Task) -> Transitions:
    """Read a dataset by name or file; BagError where it is damaged or not of this task.

    The last row of the file ends an episode. Without next_observations the last row of an episode
    is left out, unless it ended by failure: its next observation, which cuts the bootstrap and is
    not known, is then taken to be its observation.
    """
    path = find_dataset(path_or_name)
    with open_hdf5(path) as file:
        return _read(file, path, task)


def write_d4rl(
    path: str | Path,
    transitions: Transitions,
    infos: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a dataset, whole or not at all.

    infos: arrays of N rows. metadata: numbers, text or arrays; a / in a name makes a group.
    """
    path = Path(path)
    columns: dict[str, Any] = {
        'observations': transitions.observation,
        'actions': transitions.action,
        'rewards': transitions.reward,
        'terminals': transitions.terminated,
        'timeouts': transitions.truncated,
        'next_observations': transitions.next_observation,
    }
    columns |= {f'infos/{name}': values for name, values in (infos or {}).items()}
    columns |= {f'metadata/{name}': value for name, value in (metadata or {}).items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, columns)
    except OSError as err:
        raise BagError(
            f'{path}: cannot be written ({err}); choose a folder that is writable and has room'
        ) from err


def _write_whole(path: Path, columns: Mapping[str, Any]) -> None:
    # A name of its own: another process may be writing the same dataset.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.part')
    os.close(handle)
    partial = Path(name)
    try:
        with h5py.File(partial, 'w') as file:
            for column, values in columns.items():
                file[column] = values
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the entries of metadata/ that are single numbers or text."""
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape == ():
            value = item[()]
            found[name] = value.decode() if isinstance(value, bytes) else value

    with h5py.File(path, 'r') as file:
        if isinstance(file.get('metadata'), h5py.Group):
            file['metadata'].visititems(note)
    return found


def _read(file: h5py.File, path: Path, task: Task) -> Transitions:
    rows = _check_keys(file, path)
    observation = _floats(file, 'observations', path, (rows, len(task.observation)), task)
    action = _floats(file, 'actions', path, (rows, len(task.action)), task)
    reward = _floats(file, 'rewards', path, (rows,), task)
    terminated = _flags(file, 'terminals', path, rows)
    if 'timeouts' in file:
        truncated = _flags(file, 'timeouts', path, rows) & ~terminated
    else:
        truncated = _at_horizon(terminated, task.horizon)
    truncated[-1] = not terminated[-1]
    if 'next_observations' in file:
        following = _floats(file, 'next_observations', path, observation.shape, task)
        return Transitions(observation, action, reward, following, terminated, truncated)
    following = np.empty_like(observation)
    following[:-1] = observation[1:]
    following[terminated] = observation[terminated]
    kept = ~truncated
    if not kept.any():
        raise BagError(f'{path}: no row is followed by another; give a longer dataset')
    ends = np.append(truncated[1:], False)  # the row before one that is left out ends the episode
    joined = Transitions(observation, action, reward, following, terminated, ends & ~terminated)
    return joined.select(kept)


def _check_keys(file: h5py.File, path: Path) -> int:
    """Return the number of rows that all columns have."""
    names = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise BagError(
            f'{path}: {", ".join(missing)} missing, it holds {", ".join(file) or "nothing"}; '
            f'a dataset needs {", ".join(NEEDED)}'
        )
    for name in OPTIONAL:
        if name in file and name not in names:
            raise BagError(f'{path}: {name} is a group, expected a column; make or copy it again')
    columns = [name for name in (*NEEDED, *OPTIONAL) if name in names]
    lengths = {name: file[name].shape[0] if file[name].shape else 0 for name in columns}
    if len(set(lengths.values())) != 1:
        listed = ', '.join(f'{name} {count}' for name, count in lengths.items())
        raise BagError(f'{path}: columns differ in length ({listed}); make or copy it again')
    if lengths['rewards'] == 0:
        raise BagError(f'{path}: holds no rows; make or copy it again')
    return lengths['rewards']


def _floats(
    file: h5py.File, name: str, path: Path, shape: tuple[int, ...], task: Task
) -> np.ndarray:
    """Read a column of numbers as float32 without a second copy."""
    column = file[name]
    found = column.shape[:1] if column.shape[1:] == (1,) and len(shape) == 1 else column.shape
    if found != shape or column.dtype.kind not in 'fiu':
        raise BagError(
            f'{path}: {name} has shape {column.shape} of {column.dtype}, task {task.name} needs '
            f'numbers of shape {shape}; give a dataset of this task'
        )
    values = np.empty(column.shape, np.float32)
    column.read_direct(values)
    values = values.reshape(shape)
    if not np.isfinite(values).all():
        wrong = ~np.isfinite(values.reshape(len(values), -1)).all(1)
        raise BagError(
            f'{path}: {name} is not finite in row {int(wrong.argmax())} ({int(wrong.sum())} such '
            'in all); make or copy it again'
        )
    return values


def _flags(file: h5py.File, name: str, path: Path, rows: int) -> np.ndarray:
    column = file[name]
    if column.shape not in ((rows,), (rows, 1)):
        raise BagError(f'{path}: {name} has shape {column.shape}, expected ({rows},)')
    return read_flags(column, f'{path}: {name}').reshape(rows)


def _at_horizon(terminated: np.ndarray, horizon: int) -> np.ndarray:
    """Say where an episode was cut after `horizon` steps, (N,) bool."""
    truncated = np.zeros(len(terminated), bool)
    start = 0
    for end in [*np.flatnonzero(terminated), len(terminated)]:
        truncated[start + horizon - 1 : end : horizon] = True
        start = int(end) + 1
    return truncated
