"""Arguments that several launch files have."""

from __future__ import annotations

from h2o_ros.launching.description import Argument
from h2o_ros.task import task_names

TASK = Argument(
    'task', 'standing_still', f'Task: {", ".join(task_names())}, or path of a YAML file'
)
