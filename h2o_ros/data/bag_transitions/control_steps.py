"""Control steps: which messages belong together, and where the time line breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from h2o_ros.data.bag_transitions.armed_intervals import find_armed
from h2o_ros.data.bag_transitions.streams import Stream, check_rate
from h2o_ros.data.bag_transitions.time_matching import (
    LARGEST_GAP,
    SHORTEST_STEP,
    SLACK,
    match,
    nearest,
    newest,
    partners_of,
    split_epochs,
)
from h2o_ros.errors import BagError
from h2o_ros.task import ActionField, ObservationField, Task


@dataclass(frozen=True)
class ControlSteps:
    """N control steps of one bag in the order of time, in the task's units and field order.

    stamps (N,) int64 ns; observation, next_observation (N, O) and action (N, A) float64.
    observed (N,): action and observation were recorded. complete (N,): and the next one too.
    consecutive (N,): the next row is the next control step. gap (N,): a pause follows.
    duplicate (N,): another step has the same stamp. source (N,) int8: who decided, SOURCE_* of the
    Action message, -1 where it is not said. armed (N,): the driver did not say that the motors
    were off. jumps: how often the clock went back. rate: median, Hz.
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
    source: np.ndarray
    armed: np.ndarray
    jumps: int
    rate: float


def find_steps(
    streams: dict[str, Stream], status: Stream | None, task: Task, where: str
) -> ControlSteps:
    """Bring the streams together at the stamps of the first action field's topic.

    status: what the driver said of itself, None where there was none.
    """
    clock = next(iter(streams.values()))
    rate = check_rate(clock, task, where, exact=True)
    for stream in streams.values():
        check_rate(stream, task, where, exact=False)
    epochs = {topic: split_epochs(stream, task, where) for topic, stream in streams.items()}
    clock_epochs = next(iter(epochs.values()))
    order = np.concatenate([epoch.rows for epoch in clock_epochs])
    number = np.repeat(np.arange(len(clock_epochs)), [len(epoch.rows) for epoch in clock_epochs])
    stamps = clock.stamps[order]
    partners = partners_of(epochs, clock_epochs)

    period = 1e9 / task.rate
    spacing = _spacing(stamps, number, period)
    sensors = {source.topic for entry in task.observation for source in entry.sources}

    def take(entries, times):
        found = {
            topic: match(
                streams[topic],
                partners[topic],
                number,
                times,
                period,
                newest if topic in sensors else nearest,
            )
            for topic in streams
        }
        return _values(entries, streams, found), found

    (action, has_action), _ = take(task.action, stamps)
    (observation, has_observation), now = take(task.observation, stamps)
    (following, has_following), then = take(task.observation, spacing.ahead)
    _explain_no_match(streams, now, stamps, task, where)
    fresh = np.all([now[topic] != then[topic] for topic in sensors], axis=0)
    return ControlSteps(
        stamps=stamps,
        observation=observation,
        action=action,
        next_observation=following,
        observed=has_action & has_observation,
        complete=has_action & has_observation & has_following & fresh,
        consecutive=spacing.consecutive,
        gap=spacing.gap,
        duplicate=spacing.duplicate,
        source=clock.sources[order],
        armed=find_armed(status, clock_epochs, number, stamps, task, where),
        jumps=len(clock_epochs) - 1,
        rate=rate,
    )


class _Spacing(NamedTuple):
    """What follows each stamp (N,): see ControlSteps; `ahead` is where its next state is, ns."""

    consecutive: np.ndarray
    gap: np.ndarray
    duplicate: np.ndarray
    ahead: np.ndarray


def _spacing(stamps: np.ndarray, number: np.ndarray, period: float) -> _Spacing:
    """Judge the distance to the next stamp of the same epoch; number: each stamp's epoch."""
    step = np.full(len(stamps), np.inf)
    step[:-1] = np.where(number[1:] == number[:-1], np.diff(stamps), np.inf)
    close = step < SHORTEST_STEP * period
    duplicate = close.copy()
    duplicate[1:] |= close[:-1]
    consecutive = ~close & (step <= LARGEST_GAP * period)
    return _Spacing(
        consecutive=consecutive,
        gap=np.isfinite(step) & (step > LARGEST_GAP * period),
        duplicate=duplicate,
        ahead=stamps + np.where(consecutive, step, period).astype(np.int64),
    )


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
                f'{where}: no message of topic {streams[topic].topic} belongs to one of '
                f'{clock.topic}: none is stamped as late, or {(1 + SLACK) * 1000 / task.rate:.1f} '
                f'ms before (the first ones are {apart:.3f} s apart); let both be stamped by the '
                'same clock'
            )
