"""The numbers that a task needs, topic by topic, with their stamps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h2o_ros.data.bags.bag import Bag, TopicMessages
from h2o_ros.data.cdr.decode import decode
from h2o_ros.data.cdr.definitions import Definitions
from h2o_ros.errors import BagError
from h2o_ros.task import ActionField, ObservationField, Source, Task

RATE_TOLERANCE = 0.1  # of the task's rate
ACTION_TYPE = 'h2o_ros/msg/Action'
# SOURCE_* of that message: who decided
POLICY, BALANCE_CONTROLLER, OPERATOR = range(3)
UNSAID = 255  # SOURCE_UNKNOWN: written where nobody knows
DECIDER = Source('', ACTION_TYPE, 'source')
LARGEST_NUMBER = 1e12  # in SI units beyond any sensor; its square is still finite in float32


@dataclass(frozen=True)
class Stream:
    """One topic's messages, n of them, in the order of log times.

    stamps: (n,) int64 ns, of the header; log times where the type has none or it is never set.
    log_times: (n,) int64 ns. columns: (n,) float64 by source, unscaled. sources: (n,) int8, who
    decided each action, -1 where the messages are no Actions.
    """

    topic: str
    stamps: np.ndarray
    log_times: np.ndarray
    columns: dict[Source, np.ndarray]
    sources: np.ndarray


def task_sources(task: Task) -> dict[str, list[Source]]:
    """List the task's sources by topic, each once; the control steps' topic comes first."""
    result: dict[str, list[Source]] = {}
    entries: tuple[ActionField | ObservationField, ...] = (*task.action, *task.observation)
    for entry in entries:
        if not entry.sources:
            raise BagError(
                f'task {task.name}: field {entry.name!r} has no sources, so it cannot be read '
                'from a bag; add them to the task file'
            )
        for source in entry.sources:
            sources = result.setdefault(source.topic, [])
            if source not in sources:
                sources.append(source)
    return result


def read_streams(bag: Bag, task: Task) -> dict[str, Stream]:
    """Read all topics of the task, by the names that the task gives them."""
    wanted = task_sources(task)
    names = resolve_topics(bag, list(wanted), task)
    for topic, sources in wanted.items():
        found = bag.topics[names[topic]]
        for source in sources:
            if found != source.type:
                raise BagError(
                    f'{bag.path}: topic {names[topic]} has type {found}, task {task.name} expects '
                    f'{source.type}; record the right topic or correct the task file'
                )
    names = {topic: _applied(bag, name) for topic, name in names.items()}
    recorded = bag.read(names.values())
    return {
        topic: read_stream(recorded[names[topic]], sources, bag.definitions, bag.path)
        for topic, sources in wanted.items()
    }


def resolve_topics(bag: Bag, wanted: list[str], task: Task) -> dict[str, str]:
    """Find the namespace that holds all topics of the task: the recorded name by the task's."""
    relative = [topic for topic in wanted if not topic.startswith('/')]
    present = {name if name.startswith('/') else f'/{name}': name for name in bag.topics}
    spaces: dict[str, int] = {'': 0}
    for name in present:
        for topic in relative:
            if name.endswith(f'/{topic}'):
                space = name[: -len(topic) - 1]
                spaces[space] = spaces.get(space, 0) + 1
    best = max(spaces.values())
    candidates = [space for space, count in spaces.items() if count == best]
    space = '' if '' in candidates else candidates[0]
    names = {t: t if t.startswith('/') else f'{space}/{t}' for t in wanted}
    for topic in wanted:
        if names[topic] not in present:
            raise BagError(
                f'{bag.path}: lacks the topic {topic} that task {task.name} needs; it holds '
                f'{", ".join(sorted(bag.topics))}; record that topic or correct the task file'
            )
    if len(candidates) > 1 and space != '':
        raise BagError(
            f'{bag.path}: holds the topics of task {task.name} under several namespaces '
            f'({", ".join(sorted(candidates))}); name the topics in full in the task file'
        )
    return {topic: present[name] for topic, name in names.items()}


def _applied(bag: Bag, topic: str) -> str:
    """Return the topic that says what the motors were really sent, where a driver says so.

    A driver limits what it is asked for, and says nothing while the motors are off.
    """
    if bag.topics[topic] != ACTION_TYPE or topic.split('/')[-1] != 'action':
        return topic
    applied = f'{topic.removesuffix("action")}applied_action'
    return applied if bag.topics.get(applied) == ACTION_TYPE else topic


def read_stream(
    recorded: TopicMessages, sources: list[Source], definitions: Definitions, path: Path
) -> Stream:
    """Decode one topic; BagError where a number is not finite or beyond reason."""
    where = f'{path}: topic {recorded.topic}'
    if not recorded.messages:
        never = ': the motors were never armed' if 'applied' in recorded.topic else ''
        raise BagError(f'{where}: holds no messages{never}; record it again')
    deciders = [DECIDER] if recorded.type == ACTION_TYPE else []
    wanted = [*sources, *deciders]
    decoded = decode(recorded.messages, recorded.type, wanted, definitions, where)
    stamps = decoded.header_stamps
    if stamps is None or not stamps.any():
        stamps = recorded.log_times
    for source, column in zip(wanted, decoded.columns, strict=True):
        wrong = np.flatnonzero(~(np.abs(column) < LARGEST_NUMBER))
        if len(wrong):
            message = wrong[0]
            seconds = (stamps[message] - stamps[0]) / 1e9
            raise BagError(
                f'{where}: field {describe(source)} is {column[message]} in message {message} '
                f'({seconds:.3f} s after the first; {len(wrong)} such in all); cut it out'
            )
    columns = dict(zip(wanted, decoded.columns, strict=True))
    who = columns.pop(deciders[0]) if deciders else np.full(len(stamps), UNSAID)
    who = np.where(np.isin(who, (POLICY, BALANCE_CONTROLLER, OPERATOR)), who, -1).astype(np.int8)
    return Stream(recorded.topic, stamps, recorded.log_times, columns, who)


def describe(source: Source) -> str:
    """Name a source's number as a person would."""
    if source.joint is not None:
        return f'{source.field}[{source.joint}]'
    return source.field if source.index is None else f'{source.field}[{source.index}]'


def check_rate(stream: Stream, task: Task, where: str, exact: bool) -> float:
    """Return the stream's median rate in Hz; BagError where it is not the task's.

    exact: a faster stream is refused too, as it is for actions.
    """
    differences = np.diff(stream.stamps)
    forward = differences[differences > 0]
    if not len(forward):
        raise BagError(
            f'{where}: topic {stream.topic}: too short, {len(stream.stamps)} message(s) with '
            'distinct stamps; record a longer bag'
        )
    rate = 1e9 / float(np.median(forward))
    slow = rate < (1.0 - RATE_TOLERANCE) * task.rate
    if slow or (exact and rate > (1.0 + RATE_TOLERANCE) * task.rate):
        raise BagError(
            f'{where}: topic {stream.topic} runs at {rate:.1f} Hz, task {task.name} at '
            f'{task.rate:.1f} Hz; record at that rate or change the rate in the task file'
        )
    return rate
