"""Which message of a topic belongs to which control step.

A sensor's message belongs to a step if it is the newest that whoever acted can have seen: one
stamped later would let the policy look into the future. Messages that were stamped alike by their
publishers, as those of a robot that waits for its answers, are found by their equal stamps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from h2o_ros.data.bag_transitions.streams import Stream
from h2o_ros.errors import BagError
from h2o_ros.task import Task

LARGEST_GAP = 1.5  # control periods between two steps of one episode
SHORTEST_STEP = 0.5  # control periods; two stamps closer than this are duplicates
SLACK = 0.1  # of a period, by which a stamp may be late or a message too old
MOST_JUMPS = 1000


@dataclass(frozen=True)
class Epoch:
    """A stretch in which a topic's clock never goes back. rows: message numbers by stamp."""

    rows: np.ndarray
    first_log: int
    last_log: int


# Of sorted stamps (n,) and times (N,) in ns and a control period in ns: the message of each time
# as an index into the stamps (N,), and whether it will do (N,).
Rule = Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def newest(stamps: np.ndarray, wanted: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Choose the newest message not later than each time and not older than one control period.

    Stamps may be late by a tenth of the sensor's own period. Where the sensor's next message is
    missing, what came before it is not what was seen, and will not do.
    """
    steps = np.diff(stamps)
    own = min(float(np.median(steps[steps > 0])), period) if (steps > 0).any() else period
    late = int(SLACK * own)
    chosen = np.searchsorted(stamps, wanted + late, side='right') - 1
    exists = chosen >= 0
    chosen = chosen.clip(0)
    age = wanted - stamps[chosen]
    pause = np.append(steps, np.iinfo(np.int64).max)[chosen]
    missing = (pause > LARGEST_GAP * period) & (age + late >= own)
    return chosen, exists & (age <= (1.0 + SLACK) * period) & ~missing


def nearest(
    stamps: np.ndarray, wanted: np.ndarray, period: float
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the message nearest to each time, within half a control period."""
    right = np.searchsorted(stamps, wanted).clip(0, len(stamps) - 1)
    left = (right - 1).clip(0)
    closer = np.abs(stamps[left] - wanted) < np.abs(stamps[right] - wanted)
    chosen = np.where(closer, left, right)
    return chosen, np.abs(stamps[chosen] - wanted) < SHORTEST_STEP * period


def match(
    stream: Stream,
    partners: list[Epoch],
    number: np.ndarray,
    times: np.ndarray,
    period: float,
    rule: Rule,
) -> np.ndarray:
    """Return the message of each time (N,) by a rule, -1 where there is none.

    number: the epoch of each time, in ascending order. period: of control, ns. A stamp that occurs
    twice in the stream matches nothing, because it cannot be said which message is meant.
    """
    found = np.full(len(times), -1)
    for index, epoch in enumerate(partners):
        own = slice(*np.searchsorted(number, [index, index + 1]))
        stamps = stream.stamps[epoch.rows]
        chosen, good = rule(stamps, times[own], period)
        twice = np.zeros(len(stamps), bool)
        twice[1:] = stamps[1:] == stamps[:-1]
        twice[:-1] |= twice[1:]
        found[own] = np.where(good & ~twice[chosen], epoch.rows[chosen], -1)
    return found


def split_epochs(stream: Stream, task: Task, where: str) -> list[Epoch]:
    """Split a stream where its stamps go back by more than a swap of neighbours."""
    back = np.diff(stream.stamps) < -LARGEST_GAP * 1e9 / task.rate
    starts = np.concatenate([[0], np.flatnonzero(back) + 1, [len(stream.stamps)]])
    if len(starts) - 2 > MOST_JUMPS:
        raise BagError(
            f'{where}: topic {stream.topic}: its stamps go back {len(starts) - 2} times; are '
            'there two publishers? record one robot a bag'
        )
    epochs = []
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        rows = start + np.argsort(stream.stamps[start:end], kind='stable')
        logs = stream.log_times[start:end]
        epochs.append(Epoch(rows, int(logs.min()), int(logs.max())))
    return epochs


def partners_of(epochs: dict[str, list[Epoch]], clock: list[Epoch]) -> dict[str, list[Epoch]]:
    """For each epoch of the clock, the epoch of each topic that was recorded at the same time."""

    def overlap(one: Epoch, other: Epoch) -> int:
        return min(one.last_log, other.last_log) - max(one.first_log, other.first_log)

    return {
        topic: [max(own, key=lambda epoch: overlap(epoch, other)) for other in clock]
        for topic, own in epochs.items()
    }
