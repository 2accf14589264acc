"""Arguments that several launch files have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from h2o_ros.algorithms.config import load_config
from h2o_ros.errors import ConfigurationError
from h2o_ros.launching.description import Argument
from h2o_ros.nodes.core.network import HOST, SUBNET
from h2o_ros.task import Task, load_task, task_names

TASK = Argument(
    'task', 'standing_still', f'Task: {", ".join(task_names())}, or path of a YAML file'
)
NETWORK = Argument(
    'network',
    HOST,
    'Who may reach the nodes: this machine alone (host), or all machines of the network, which '
    'can then drive the robot too (subnet)',
    (HOST, SUBNET),
)


def check_training(arguments: dict[str, Any]) -> None:
    """Refuse a training for which there is no algorithm, bag or checkpoint, before it starts."""
    load_config(arguments['algorithm'], load_task(arguments['task']))
    # What is no path may be the name of a dataset, which the learner knows.
    bags = [bag.strip() for bag in arguments['bag'].split(',') if os.sep in bag]
    for name, path in [('bag', bag) for bag in bags] + [('resume', arguments['resume'])]:
        if path and not Path(path).exists():
            raise ConfigurationError(f'argument {name}: {path} is not there; check the path')


def load_robot_task(name: str) -> Task:
    """Read a task that nodes of a robot are to run; refuse one that no robot's topics tell."""
    task = load_task(name)
    if task.without_sources:
        raise ConfigurationError(
            f'task {task.name}: {", ".join(task.without_sources)}: no sources, so no robot has '
            'these fields; train on it by train_sim.launch.py'
        )
    return task
