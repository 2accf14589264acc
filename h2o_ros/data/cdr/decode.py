"""Numbers out of serialised messages, many at a time.

Quaternions are in the order x, y, z, w; angles follow REP-103 (roll about x, pitch about y, yaw
about z, applied in the order yaw, pitch, roll).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from h2o_ros.data.cdr.definitions import Definitions
from h2o_ros.data.cdr.layout import Layout, Leaf, MalformedMessage, find_layout
from h2o_ros.errors import BagError
from h2o_ros.task import Source

ANGLES = ('roll', 'pitch', 'yaw')
LAYOUTS_IN_BULK = 32  # after so many different layouts the rest goes message by message


@dataclass(frozen=True)
class Decoded:
    """Columns of n messages of one topic.

    header_stamps: (n,) int64 nanoseconds, None where the type has no header. columns: one (n,)
    float64 for each source asked for, unscaled, in the message's own unit.
    """

    header_stamps: np.ndarray | None
    columns: list[np.ndarray]


def decode(
    messages: Sequence[bytes],
    kind: str,
    sources: Sequence[Source],
    definitions: Definitions,
    where: str,
) -> Decoded:
    """Read the sources' fields of all messages of a topic.

    where: file and topic, for error messages.
    """
    count = len(messages)
    stamps: np.ndarray | None = np.zeros(count, np.int64)
    columns = [np.zeros(count) for _ in sources]
    for rows, data, layout in _blocks(messages, kind, definitions, where):
        if not {'header.stamp.sec', 'header.stamp.nanosec'} <= layout.leaves.keys():
            stamps = None
        elif stamps is not None:
            seconds = _gather(data, layout, layout.leaves['header.stamp.sec']).astype(np.int64)
            rest = _gather(data, layout, layout.leaves['header.stamp.nanosec']).astype(np.int64)
            stamps[rows] = seconds * 1_000_000_000 + rest
        for column, source in zip(columns, sources, strict=True):
            try:
                column[rows] = _column(data, layout, source)
            except MalformedMessage as err:
                raise BagError(f'{where}: {err} (message {rows[err.row]})') from err
    return Decoded(stamps, columns)


def _blocks(messages, kind, definitions, where):
    """Yield (row numbers, bytes (rows, length), layout) for each layout among the messages."""
    lengths = np.fromiter(map(len, messages), np.int64, len(messages))
    left = np.arange(len(messages))
    for _ in range(LAYOUTS_IN_BULK):
        if not len(left):
            return
        layout = _layout(messages, left[0], kind, definitions, where)
        alike = lengths[left] == lengths[left[0]]
        rows = left[alike]
        joined = messages if len(rows) == len(messages) else [messages[row] for row in rows]
        data = np.frombuffer(b''.join(joined), np.uint8).reshape(len(rows), -1)
        same = np.ones(len(rows), bool)
        for offset, length in layout.fixed:
            place = slice(offset, offset + length)
            same &= (data[:, place] == data[0, place]).all(axis=1)
        yield rows[same], data if same.all() else data[same], layout
        left = np.sort(np.concatenate([left[~alike], rows[~same]]))
    for row in left:
        layout = _layout(messages, row, kind, definitions, where)
        yield np.array([row]), np.frombuffer(messages[row], np.uint8)[None], layout


def _layout(messages, row, kind, definitions, where) -> Layout:
    try:
        return find_layout(messages[row], kind, definitions)
    except MalformedMessage as err:
        raise BagError(
            f'{where}: message {row} cannot be read as {kind}: {err}; the recording is damaged'
        ) from err


def _gather(data: np.ndarray, layout: Layout, leaf: Leaf, element: int = 0) -> np.ndarray:
    start = leaf.offset + element * leaf.size
    raw = np.ascontiguousarray(data[:, start : start + leaf.size])
    return raw.view(layout.order + leaf.code)[:, 0]


def _column(data: np.ndarray, layout: Layout, source: Source) -> np.ndarray:
    leaf, element = find_leaf(layout, source)
    if leaf is not None:
        return _gather(data, layout, leaf, element).astype(np.float64)
    base, _, angle = source.field.rpartition('.')
    parts = [_gather(data, layout, layout.leaves[f'{base}.{axis}']) for axis in 'xyzw']
    quaternion = np.stack(parts, axis=1).astype(np.float64)
    finite = np.isfinite(quaternion).all(axis=1)
    with np.errstate(over='ignore', invalid='ignore'):
        norm = np.linalg.norm(quaternion, axis=1)
        wrong = np.flatnonzero(finite & ~(np.abs(norm - 1.0) <= 0.01))
        if len(wrong):
            raise MalformedMessage(
                f'{base} is not a unit quaternion (norm {norm[wrong[0]]:.3g}), so its {angle} has '
                'no meaning; record with a sensor that gives its orientation',
                int(wrong[0]),
            )
        return quaternion_angle(quaternion / norm[:, None], angle)


def find_leaf(layout: Layout, source: Source) -> tuple[Leaf | None, int]:
    """Return the leaf and the element that a source names; (None, 0) for a quaternion's angle."""
    leaf = layout.leaves.get(source.field)
    base, _, last = source.field.rpartition('.')
    if leaf is None and last in ANGLES and f'{base}.w' in layout.leaves:
        return None, 0
    if leaf is None:
        raise MalformedMessage(
            f'field {source.field!r} is not one of {source.type}; its numbers are '
            f'{", ".join(layout.leaves)}; correct the task file'
        )
    if leaf.count is None:
        if source.joint is not None or source.index is not None:
            raise MalformedMessage(
                f'field {source.field!r} is a single number; drop joint and index in the task file'
            )
        return leaf, 0
    element = source.index
    if source.joint is not None:
        element = _joint_index(layout, source, base)
    if element is None:
        raise MalformedMessage(
            f'field {source.field!r} is an array; name a joint or an index in the task file'
        )
    if not 0 <= element < leaf.count:
        raise MalformedMessage(
            f'field {source.field!r} has {leaf.count} elements, so there is none for '
            f'{f"joint {source.joint!r}" if source.joint else f"index {element}"}; '
            'record them or correct the task file'
        )
    return leaf, element


def _joint_index(layout: Layout, source: Source, base: str) -> int:
    names = layout.names.get(f'{base}.name' if base else 'name', [])
    if source.joint not in names:
        raise MalformedMessage(
            f'joint {source.joint!r} is not among the joints {", ".join(names) or "(none)"}; '
            'correct the joint in the task file'
        )
    return names.index(source.joint)


def quaternion_angle(quaternion: np.ndarray, angle: str) -> np.ndarray:
    """Return roll, pitch or yaw in rad, (N,), of unit quaternions (N, 4) in order x, y, z, w."""
    x, y, z, w = quaternion.T
    if angle == 'roll':
        return np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    if angle == 'pitch':
        return np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    return np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def quaternion_from_angles(roll: np.ndarray, pitch: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Return unit quaternions (N, 4) in the order x, y, z, w."""
    cr, sr = np.cos(roll / 2), np.sin(roll / 2)
    cp, sp = np.cos(pitch / 2), np.sin(pitch / 2)
    cy, sy = np.cos(yaw / 2), np.sin(yaw / 2)
    return np.stack(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ],
        axis=1,
    )
