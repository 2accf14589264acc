"""Messages from numbers: the way of decode.py backwards.

A task's field is a sum of scaled numbers from messages. Here that is turned round: the smallest
numbers that add up to the fields are written into messages of the task's own topics and types.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from h2o_ros.data.bag_transitions.streams import (
    ACTION_TYPE,
    DECIDER,
    UNSAID,
    describe,
    task_sources,
)
from h2o_ros.data.bags.bag import BagWriter
from h2o_ros.data.cdr.decode import ANGLES, find_leaf, quaternion_from_angles
from h2o_ros.data.cdr.definitions import Definitions
from h2o_ros.data.cdr.layout import Layout, MalformedMessage, blank_message, find_layout
from h2o_ros.errors import BagError
from h2o_ros.task import ActionField, ObservationField, Source, Task


def write_columns(
    output: str | Path,
    table: dict[str, np.ndarray],
    stamps: np.ndarray,
    task: Task,
    metadata: dict[str, str],
) -> None:
    """Write one message of each of the task's topics for every row."""
    numbers = solve_sources(table, task)
    definitions = Definitions()
    topics, messages = {}, {}
    for topic, sources in task_sources(task).items():
        name = topic if topic.startswith('/') else f'/{topic}'
        topics[name] = sources[0].type
        values = [numbers[s] for s in sources]
        if sources[0].type == ACTION_TYPE:  # a zero would say that a policy decided
            sources, values = [*sources, DECIDER], [*values, np.full(len(stamps), UNSAID)]
        messages[name] = encode(sources, values, stamps, definitions)
    contract = {'task': task.name, 'contract_hash': task.contract_hash}
    with BagWriter(output, topics, {**contract, **metadata}) as writer:
        for row, stamp in enumerate(stamps):
            for name, content in messages.items():
                writer.write(name, int(stamp), content[row].tobytes())


def solve_sources(table: dict[str, np.ndarray], task: Task) -> dict[Source, np.ndarray]:
    """Find unscaled numbers, least in square, whose scaled sums are the columns."""
    entries: tuple[ActionField | ObservationField, ...] = (*task.observation, *task.action)
    places: dict[tuple, int] = {}
    for entry in entries:
        for source in entry.sources:
            places.setdefault(_place(source), len(places))
    matrix = np.zeros((len(entries), len(places)))
    for row, entry in enumerate(entries):
        for source in entry.sources:
            matrix[row, places[_place(source)]] += source.scale
    columns = np.stack([table[entry.name] for entry in entries])
    numbers = np.linalg.pinv(matrix) @ columns
    error = np.abs(matrix @ numbers - columns).max(axis=1)
    for entry, worst in zip(entries, error, strict=True):
        if worst > 1e-6:
            raise BagError(
                f'task {task.name}: field {entry.name!r} cannot be written: its sources are those '
                f'of other fields, which contradict it by {worst:.3g} {entry.unit}; '
                'check the columns'
            )
    return {s: numbers[places[_place(s)]] for entry in entries for s in entry.sources}


def _place(source: Source) -> tuple:
    return source.topic, source.field, source.joint, source.index


def encode(
    sources: list[Source], columns: list[np.ndarray], stamps: np.ndarray, definitions: Definitions
) -> np.ndarray:
    """Return serialised messages (N, bytes) uint8 that hold the columns in the sources' fields."""
    kind = sources[0].type
    joints = list(dict.fromkeys(s.joint for s in sources if s.joint is not None))
    lengths, names = {}, {}
    for source in sources:
        base = source.field.rpartition('.')[0]
        if source.joint is not None:
            lengths[source.field] = len(joints)
            names[f'{base}.name' if base else 'name'] = joints
        elif source.index is not None:
            lengths[source.field] = max(lengths.get(source.field, 0), source.index + 1)
    blank = blank_message(kind, definitions, lengths, names)
    layout = find_layout(blank, kind, definitions)
    data = np.tile(np.frombuffer(blank, np.uint8), (len(stamps), 1))
    if 'header.stamp.sec' in layout.leaves:
        _put(data, layout, 'header.stamp.sec', 0, stamps // 1_000_000_000)
        _put(data, layout, 'header.stamp.nanosec', 0, stamps % 1_000_000_000)
    angles: dict[str, dict[str, np.ndarray]] = {}
    for source, column in zip(sources, columns, strict=True):
        try:
            leaf, element = find_leaf(layout, source)
        except MalformedMessage as err:
            raise BagError(f'topic {source.topic}: {err}') from err
        if leaf is None:
            base, _, angle = source.field.rpartition('.')
            angles.setdefault(base, {})[angle] = _check_angle(source, column)
        else:
            _put(data, layout, source.field, element, column)
    for base, given in angles.items():
        zeros = np.zeros(len(stamps))
        quaternion = quaternion_from_angles(*(given.get(angle, zeros) for angle in ANGLES))
        for axis, values in zip('xyzw', quaternion.T, strict=True):
            _put(data, layout, f'{base}.{axis}', 0, values)
    return data


def _check_angle(source: Source, values: np.ndarray) -> np.ndarray:
    limit = math.pi / 2 if source.field.endswith('pitch') else math.pi
    if np.abs(values).max() > limit:
        raise BagError(
            f'topic {source.topic}: {describe(source)} reaches {np.abs(values).max():.3g} rad, a '
            f'quaternion holds ±{limit:.3g}; are the columns in this order and in rad?'
        )
    return values


def _put(data: np.ndarray, layout: Layout, path: str, element: int, values: np.ndarray) -> None:
    leaf = layout.leaves[path]
    start = leaf.offset + element * leaf.size
    raw = np.ascontiguousarray(values.astype(layout.order + leaf.code))
    data[:, start : start + leaf.size] = raw.view(np.uint8).reshape(len(data), leaf.size)
