"""Arguments that several launch files have."""

from __future__ import annotations

from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import Argument
from h2o_ros.task import Task, load_task, task_names

TASK = Argument(
    'task', 'standing_still', f'Task: {", ".join(task_names())}, or path of a YAML file'
)


def load_robot_task(name: str) -> Task:
    """Read a task that nodes of a robot are to run; refuse one that no robot's topics tell."""
    task = load_task(name)
    unseen = [field.name for field in task.observation if not field.sources]
    unseen += [field.name for field in task.action if not field.sources]
    if unseen:
        raise ConfigurationError(
            f'task {task.name}: {", ".join(unseen)}: no sources, so no robot has these fields; '
            'train on it by train_sim.launch.py'
        )
    return task
