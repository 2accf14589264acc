"""One training run a ROS domain and topic on a machine: a second one is refused at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from h2o_ros.errors import ConfigurationError
from h2o_ros.locks import FileLock, HeldError

TOPIC = 'rollout_budget'


def take_run_lock(domain: int, topic: str) -> FileLock:
    """Take the run's lock; ConfigurationError where another run has it, OSError where none can be.

    topic: the full name of the topic on which the run grants its budget.
    """
    # No name in ROS has a dot, so that no two topics share a file.
    name = f'h2o_ros_domain_{domain}{topic.replace("/", ".")}.lock'
    try:
        return FileLock(Path(tempfile.gettempdir()) / name, everyone=True)
    except HeldError as err:
        other = f'another run (process {err.process})'
        raise ConfigurationError(refusal(other, domain, topic)) from err


def refuse_second_run(namespace: str = '') -> None:
    """Raise ConfigurationError where a run of this domain and namespace is under way.

    For launch files, before they start anything; the learner itself takes the lock.
    """
    domain = os.environ.get('ROS_DOMAIN_ID', '')
    parts = [part for part in (*namespace.split('/'), TOPIC) if part]
    try:
        take_run_lock(int(domain) if domain.isdigit() else 0, '/' + '/'.join(parts)).close()
    except OSError:
        return  # the learner says so


def refusal(other: str, domain: int, topic: str) -> str:
    """Say that there is another run, and how to separate the two."""
    return (
        f'{other} is training in ROS domain {domain} on {topic}; set ROS_DOMAIN_ID to another '
        'number (0 to 101) for one of them, or give it a namespace'
    )
