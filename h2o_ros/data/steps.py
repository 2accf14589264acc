"""Control steps: which messages belong together, and where the time line breaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.data.streams import Stream, check_rate
from h2o_ros.errors import BagError
from h2o_ros.task import ActionField, ObservationField, Task

LARGEST_GAP = 1.5  # control periods between two steps of one episode
SHORTEST_STEP = 0.5  # control periods; two stamps closer than this are duplicates
MOST_JUMPS = 1000


@dataclass(frozen=True)
class ControlSteps:
    """N control steps of one bag in the order of time, in the task's units and field order.

    stamps (N,) int64 ns; observation, next_observation (N, O) and action (N, A) float64.
    observed (N,): action and observation were recorded. complete (N,): and the next one too.
    consecutive (N,): the next row is the next control step. gap (N,): a pause follows.
    duplicate (N,): another step has the same stamp. jumps: how often the clock went back.
    rate: median, Hz.
    """

    stamps: np.ndarray
    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    observed: np.ndarray
    complete: np.ndarray
    consecutive: np.ndarray
    gap: np.ndarray
    duplicate: np.ndarray
    jumps: int
    rate: float


@dataclass(frozen=True)
class Epoch:
    """A stretch in which a topic's clock never goes back. rows: message numbers by stamp."""

    rows: np.ndarray
    first_log: int
    last_log: int


def find_steps(streams: dict[str, Stream], task: Task, where: str) -> ControlSteps:
    """Bring the streams together at the stamps of the first action field's topic."""
    clock = next(iter(streams.values()))
    rate = check_rate(clock, task, where, exact=True)
    for stream in streams.values():
        check_rate(stream, task, where, exact=False)
    epochs = {topic: split_epochs(stream, task, where) for topic, stream in streams.items()}
    clock_epochs = next(iter(epochs.values()))
    order = np.concatenate([epoch.rows for epoch in clock_epochs])
    number = np.repeat(np.arange(len(clock_epochs)), [len(epoch.rows) for epoch in clock_epochs])
    stamps = clock.stamps[order]
    partners = _partners(epochs, clock_epochs)

    period = 1e9 / task.rate
    step = np.full(len(stamps), np.inf)
    step[:-1] = np.where(number[1:] == number[:-1], np.diff(stamps), np.inf)
    close = step < SHORTEST_STEP * period
    duplicate = close.copy()
    duplicate[1:] |= close[:-1]
    consecutive = ~close & (step <= LARGEST_GAP * period)
    ahead = stamps + np.where(consecutive, step, period).astype(np.int64)

    def take(entries, times):
        found = {
            topic: _match(streams[topic], partners[topic], number, times, period)
            for topic in streams
        }
        return _values(entries, streams, found), found

    (action, has_action), _ = take(task.action, stamps)
    (observation, has_observation), now = take(task.observation, stamps)
    (following, has_following), then = take(task.observation, ahead)
    _explain_no_match(streams, now, stamps, task, where)
    topics = {source.topic for entry in task.observation for source in entry.sources}
    fresh = np.all([now[topic] != then[topic] for topic in topics], axis=0)
    return ControlSteps(
        stamps=stamps,
        observation=observation,
        action=action,
        next_observation=following,
        observed=has_action & has_observation,
        complete=has_action & has_observation & has_following & fresh,
        consecutive=consecutive,
        gap=np.isfinite(step) & (step > LARGEST_GAP * period),
        duplicate=duplicate,
        jumps=len(clock_epochs) - 1,
        rate=rate,
    )


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


def _partners(epochs: dict[str, list[Epoch]], clock: list[Epoch]) -> dict[str, list[Epoch]]:
    """For each epoch of the clock, the epoch of each topic that was recorded at the same time."""

    def overlap(one: Epoch, other: Epoch) -> int:
        return min(one.last_log, other.last_log) - max(one.first_log, other.first_log)

    return {
        topic: [max(own, key=lambda epoch: overlap(epoch, other)) for other in clock]
        for topic, own in epochs.items()
    }


def _match(
    stream: Stream, partners: list[Epoch], number: np.ndarray, times: np.ndarray, period: float
) -> np.ndarray:
    """Return the message nearest to each time, -1 where none is nearer than half a period.

    number: the epoch of each time, in ascending order. A stamp that occurs twice in the stream
    matches nothing, because it cannot be said which message is meant.
    """
    found = np.full(len(times), -1)
    for index, epoch in enumerate(partners):
        own = slice(*np.searchsorted(number, [index, index + 1]))
        stamps = stream.stamps[epoch.rows]
        wanted = times[own]
        right = np.searchsorted(stamps, wanted).clip(0, len(stamps) - 1)
        left = (right - 1).clip(0)
        nearest = np.where(
            np.abs(stamps[left] - wanted) < np.abs(stamps[right] - wanted), left, right
        )
        good = np.abs(stamps[nearest] - wanted) < SHORTEST_STEP * period
        twice = np.zeros(len(stamps), bool)
        twice[1:] = stamps[1:] == stamps[:-1]
        twice[:-1] |= twice[1:]
        found[own] = np.where(good & ~twice[nearest], epoch.rows[nearest], -1)
    return found


def _values(
    entries: tuple[ActionField, ...] | tuple[ObservationField, ...],
    streams: dict[str, Stream],
    found: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the fields' values (N, fields) and where all of their messages were found (N,)."""
    columns, whole = [], np.ones(len(next(iter(found.values()))), bool)
    for entry in entries:
        total = np.zeros(len(whole))
        for source in entry.sources:
            rows = found[source.topic]
            total += source.scale * streams[source.topic].columns[source][rows]
            whole &= rows >= 0
        columns.append(total)
    return np.stack(columns, axis=1), whole


def _explain_no_match(
    streams: dict[str, Stream],
    found: dict[str, np.ndarray],
    stamps: np.ndarray,
    task: Task,
    where: str,
) -> None:
    clock = next(iter(streams.values()))
    for topic, rows in found.items():
        if (rows < 0).all():
            apart = (streams[topic].stamps[0] - stamps[0]) / 1e9
            raise BagError(
                f'{where}: no message of topic {streams[topic].topic} is stamped within '
                f'{500 / task.rate:.1f} ms of a message of {clock.topic} (the first ones are '
                f'{apart:.3f} s apart); let both be stamped by the same clock'
            )
