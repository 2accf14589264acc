"""The recordings that the package ships, one a task."""

from __future__ import annotations

from pathlib import Path

from h2o_ros.errors import BagError, ConfigurationError
from h2o_ros.task import Task, share_folder


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
    try:
        path = share_folder('bags') / f'{task.name}_demo'
    except ConfigurationError:
        path = Path('bags') / f'{task.name}_demo'
    if not path.is_dir():
        raise BagError(
            f'no demonstration of task {task.name!r} is shipped; name your own recordings, '
            f'bag:=FOLDER, or record one: make demo ARGS="task:={task.name}"'
        )
    return path
