"""The task's observation of live messages, number for number as the bag reader has it later."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from h2o_ros.data.cdr.decode import ANGLES, quaternion_angle
from h2o_ros.errors import ConfigurationError
from h2o_ros.task import Source, Task

Read = Callable[[Any], float]


class Observer:
    """Computes the observation from the newest message of each topic.

    topics: the message type that the task expects, by topic.
    """

    def __init__(self, task: Task) -> None:
        self._fields: list[list[tuple[str, Read, float]]] = []
        self._reads: dict[str, list[Read]] = {}
        self.topics: dict[str, str] = {}
        readers: dict[tuple, Read] = {}
        for field in task.observation:
            if not field.sources:
                raise ConfigurationError(
                    f'task {task.name}: field {field.name!r} has no sources, so no robot can '
                    'observe it; add them to the task file'
                )
            parts = []
            for source in field.sources:
                known = self.topics.setdefault(source.topic, source.type)
                if known != source.type:
                    raise ConfigurationError(
                        f'task {task.name}: topic {source.topic} has both type {known} and type '
                        f'{source.type}; correct the task file'
                    )
                same = (source.topic, source.field, source.joint, source.index)
                if same not in readers:
                    readers[same] = reader(source)
                    self._reads.setdefault(source.topic, []).append(readers[same])
                read = readers[same]
                parts.append((source.topic, read, source.scale))
            self._fields.append(parts)

    def read(self, topic: str, message: Any) -> tuple[float, ...] | None:
        """Return the numbers that the task reads in a topic's message; None where it lacks one."""
        try:
            return tuple(read(message) for read in self._reads[topic])
        except (AttributeError, IndexError, TypeError, ValueError):
            return None

    def observe(self, messages: Mapping[str, Any]) -> np.ndarray:
        """Return the observation (1, O) float32 of messages by topic.

        ValueError names the field that a message does not have, or has no number in.
        """
        values: dict[tuple[str, Read], float] = {}
        row = np.zeros((1, len(self._fields)))
        for column, parts in enumerate(self._fields):
            for topic, read, scale in parts:
                if (topic, read) not in values:
                    try:
                        values[topic, read] = read(messages[topic])
                    except (AttributeError, IndexError, TypeError, ValueError) as err:
                        raise ValueError(f'{topic}: {err}; correct the task file') from err
                row[0, column] += scale * values[topic, read]
        return row.astype(np.float32)


def reader(source: Source) -> Read:
    """Return the function that takes the source's number, unscaled, out of a message."""
    base, _, last = source.field.rpartition('.')
    parent = operator.attrgetter(base) if base else lambda message: message
    get = operator.attrgetter(source.field)
    if last in ANGLES:
        return lambda message: _angle(parent(message), base, last)
    if source.joint is not None:
        return lambda message: float(get(message)[parent(message).name.index(source.joint)])
    if source.index is not None:
        return lambda message: float(get(message)[source.index])
    return lambda message: float(get(message))


def _angle(quaternion: Any, name: str, angle: str) -> float:
    """Return an angle in rad of an orientation with x, y, z, w."""
    parts = np.array([[quaternion.x, quaternion.y, quaternion.z, quaternion.w]])
    norm = np.linalg.norm(parts, axis=1)
    if not abs(norm[0] - 1.0) <= 0.01:
        raise ValueError(f'{name} is not a unit quaternion (norm {norm[0]:.3g})')
    return float(quaternion_angle(parts / norm[:, None], angle)[0])
