"""When the motors were on, from what the hardware driver said of itself."""

from __future__ import annotations

import numpy as np

from h2o_ros.data.bag_transitions.streams import Stream, read_stream
from h2o_ros.data.bag_transitions.time_matching import Epoch, match, partners_of, split_epochs
from h2o_ros.data.bags.bag import Bag
from h2o_ros.task import Source, Task

STATUS_TYPE = 'h2o_ros/msg/DriverStatus'
ARMED = 2  # of that message's states: commands reach the motors
STATE = Source('', STATUS_TYPE, 'state')


def read_driver_status(bag: Bag, action_topic: str) -> Stream | None:
    """Read the driver_status beside the action's topic; None where no driver spoke."""
    topic = f'{action_topic.rpartition("/")[0]}/driver_status'
    topic = topic if topic in bag.topics else topic.removeprefix('/')
    if bag.topics.get(topic) != STATUS_TYPE:
        return None
    recorded = bag.read([topic])[topic]
    if not recorded.messages:
        return None
    return read_stream(recorded, [STATE], bag.definitions, bag.path)


def find_armed(
    status: Stream | None,
    clock: list[Epoch],
    number: np.ndarray,
    stamps: np.ndarray,
    task: Task,
    where: str,
) -> np.ndarray:
    """Say of each control step (N,) whether the driver was armed; True where nobody said.

    clock: the epochs of the action's topic. number: the epoch of each step, ascending.
    """
    if status is None:
        return np.ones(len(stamps), bool)
    partners = partners_of({'status': split_epochs(status, task, where)}, clock)['status']
    found = match(status, partners, number, stamps, 1e9 / task.rate, _latest)
    return np.where(found >= 0, status.columns[STATE][found] == ARMED, True)


def _latest(stamps: np.ndarray, wanted: np.ndarray, _period: float):
    chosen = np.searchsorted(stamps, wanted, side='right') - 1
    return chosen.clip(0), chosen >= 0
