"""Resolves the bag argument: the recordings named, or the demonstration of a task."""

from __future__ import annotations

from pathlib import Path

from h2o_ros.data.datasets.d4rl import ENVIRONMENTS, dataset_names
from h2o_ros.errors import BagError, ConfigurationError
from h2o_ros.task import Task, share_folder, task_names

GIVE = '--bag (with a launch file: bag:=)'  # as whoever trains names recordings


def chosen_bags(names: str, task: Task) -> list[Path]:
    """Return the bags of a comma-separated list; an empty one means the task's demonstration.

    ConfigurationError where a name between the commas is empty, as an unset variable leaves it.
    """
    if not names.strip():
        return [demonstration_bag(task)]
    paths = [name.strip() for name in names.split(',')]
    if not all(paths):
        raise ConfigurationError(
            f'bag: an empty name in {names!r}; name recordings as A,B, or nothing at all for '
            'the demonstration'
        )
    return [Path(path) for path in paths]


def demonstration_bag(task: Task) -> Path:
    """Return the shipped demonstration of a task; BagError where there is none."""
    if task.name in ENVIRONMENTS.values():
        environment = next(name for name, known in ENVIRONMENTS.items() if known == task.name)
        known = [name for name in dataset_names() if name.startswith(environment)]
        raise BagError(
            f'task {task.name!r} learns from a dataset, and none was named; give {GIVE} a name '
            f'({", ".join(known) or "none is here"}) or a .hdf5 file, or make one: '
            f'h2o dataset make {environment}-medium-replay-v2'
        )
    try:
        path = share_folder('bags') / f'{task.name}_demo'
    except ConfigurationError:
        path = Path('bags') / f'{task.name}_demo'
    if not path.is_dir():
        meant = task.name if task.name in task_names() else 'FILE.yaml'
        raise BagError(
            f'no demonstration of task {task.name!r} is shipped; give {GIVE} your own '
            f'recordings, or record one: make demo ARGS="task:={meant}"'
        )
    return path
