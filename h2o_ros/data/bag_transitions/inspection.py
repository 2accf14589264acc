"""Contents of a bag, usable or not: topics, metadata, and the steps it gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h2o_ros.data.bag_transitions.load import BagDataset, load_bags
from h2o_ros.data.bags.bag import Bag, TopicMessages
from h2o_ros.errors import BagError
from h2o_ros.task import Task


@dataclass(frozen=True)
class TopicFigures:
    """One topic's messages: their count, median rate (Hz) and longest pause (s) by log time.

    rate and longest_pause are not a number where there are fewer than two messages.
    """

    topic: str
    type: str
    messages: int
    rate: float
    longest_pause: float


@dataclass(frozen=True)
class Inspection:
    """One bag. dataset: None where it gives no step of the task, and refusal says why."""

    path: Path
    topics: tuple[TopicFigures, ...]
    metadata: dict[str, str]
    dataset: BagDataset | None
    refusal: str


def inspect_bag(path: Path, task: Task) -> Inspection:
    """Look at one bag; BagError where it is none."""
    with Bag(path) as bag:
        recorded = bag.read(bag.topics)
        topics = tuple(figures_of(recorded[topic]) for topic in sorted(recorded))
        metadata = bag.metadata
    try:
        return Inspection(path, topics, metadata, load_bags(path, task), '')
    except BagError as err:
        return Inspection(path, topics, metadata, None, str(err))


def figures_of(topic: TopicMessages) -> TopicFigures:
    """Count one topic's messages and the time between them."""
    steps = np.diff(np.sort(topic.log_times)) / 1e9
    forward = steps[steps > 0]
    return TopicFigures(
        topic.topic,
        topic.type,
        len(topic.messages),
        1.0 / float(np.median(forward)) if len(forward) else np.nan,
        float(steps.max()) if len(steps) else np.nan,
    )
