"""One training run, and one driven robot, a ROS domain and topic on a machine.

A second one is refused at once, and so is a training beside a robot on the same topics: its
policy server would command the robot, and the driver switch it off.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from h2o_ros.errors import ConfigurationError
from h2o_ros.locks import FileLock, HeldError

TOPIC = 'rollout_budget'  # of a training run, on which it grants its budget
ROBOT_TOPIC = 'action'  # of a robot, on which it is commanded
DOES = {TOPIC: 'is training', ROBOT_TOPIC: 'drives a robot'}


def take_run_lock(domain: int, topic: str) -> FileLock:
    """Take the lock of a topic; ConfigurationError where another has it, OSError where none can.

    topic: the full name of a training's or a robot's topic.
    """
    # No name in ROS has a dot, so that no two topics share a file.
    name = f'h2o_ros_domain_{domain}{topic.replace("/", ".")}.lock'
    try:
        return FileLock(Path(tempfile.gettempdir()) / name, everyone=True)
    except HeldError as err:
        other = f'another run (process {err.process})'
        raise ConfigurationError(refusal(other, domain, topic)) from err


def refuse_second_run(namespace: str = '') -> None:
    """Raise ConfigurationError where a training or a robot of this domain and namespace runs.

    For launch files, before they start anything; learner and driver take the locks themselves.
    """
    domain = os.environ.get('ROS_DOMAIN_ID', '')
    for topic in DOES:
        name = '/'.join(part for part in (*namespace.split('/'), topic) if part)
        try:
            take_run_lock(int(domain) if domain.isdigit() else 0, f'/{name}').close()
        except OSError:
            continue  # learner and driver say so


def refusal(other: str, domain: int, topic: str) -> str:
    """Say that there is another run, and how to separate the two."""
    does = DOES[topic.rpartition('/')[2]]
    return (
        f'{other} {does} in ROS domain {domain} on {topic}; set ROS_DOMAIN_ID to another '
        'number (0 to 101) for one of them, or give it a namespace'
    )
