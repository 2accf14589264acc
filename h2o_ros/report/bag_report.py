"""Text report on a bag: steps, falls, who drove, labels, and how regular it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from h2o_ros.report.picture import field_label, pick_state_fields
from h2o_ros.report.text import format_duration
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions, concatenate

DRIVERS = ('policy', 'balance controller', 'operator', 'unknown')
SHOWN_ENTRIES = ('task', 'started', 'operator', 'label', 'end', 'policy_version', 'policy_hash')


@dataclass(frozen=True)
class TopicRow:
    """One topic: messages, median rate in Hz, longest pause in s; nan where unknown."""

    topic: str
    messages: int
    rate: float
    longest_pause: float


@dataclass(frozen=True)
class BagFigures:
    """One bag.

    metadata: the recorder's entries. topics: in the order shown. refusal: why it gives no steps,
    empty where it does; then everything below is there. summary: its counts in a line.
    transitions: N rows. drivers: (N,) numbers of DRIVERS, who decided each. counts: what else was
    found, by what a person calls it.
    """

    name: str
    metadata: Mapping[str, str]
    topics: Sequence[TopicRow]
    refusal: str = ''
    transitions: Transitions | None = None
    drivers: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def usable(bags: Sequence[BagFigures]) -> list[tuple[BagFigures, Transitions]]:
    """Return the bags that give steps, each with its rows."""
    return [(bag, bag.transitions) for bag in bags if bag.transitions is not None]


def format_bags(bags: Sequence[BagFigures], task: Task) -> str:
    """Return the report on all bags as lines of text, the sum last."""
    lines = [line for bag in bags for line in [*_bag_lines(bag, task), '']]
    found = usable(bags)
    if len(bags) > 1:
        lines += [f'all {len(bags)} bags, {len(found)} with steps', *_sum_lines(found, task), '']
    return '\n'.join(lines)


def _bag_lines(bag: BagFigures, task: Task) -> list[str]:
    said = [f'{name} {bag.metadata[name]}' for name in SHOWN_ENTRIES if bag.metadata.get(name)]
    lines = [bag.name, *([f'  {", ".join(said)}'] if said else [])]
    if bag.transitions is None:
        lines.append(f'  gives no steps: {bag.refusal}')
    else:
        lines += _sum_lines([(bag, bag.transitions)], task)
    lines += [f'  warning: {text}' for text in bag.warnings]
    lines += [f'  note: {text}' for text in bag.metadata.get('notes', '').splitlines()]
    width = max((len(row.topic) for row in bag.topics), default=0)
    lines.append(f'  {"topic":{width}}  messages  rate (Hz)  longest pause (ms)')
    lines += [
        f'  {row.topic:{width}}  {row.messages:8d}  {_number(row.rate, 1):>9}  '
        f'{_number(1000 * row.longest_pause, 1):>18}'
        for row in bag.topics
    ]
    return lines


def _sum_lines(found: Sequence[tuple[BagFigures, Transitions]], task: Task) -> list[str]:
    """Describe the steps of some bags together."""
    if not found:
        return []
    rows = concatenate([part for _, part in found])
    drivers = np.concatenate([bag.drivers for bag, _ in found])
    episodes = int((rows.terminated | rows.truncated).sum())
    counts: dict[str, int] = {}
    for bag, _ in found:
        for name, count in bag.counts.items():
            counts[name] = counts.get(name, 0) + count
    shares = [f'{n} {np.mean(drivers == i):.0%}' for i, n in enumerate(DRIVERS)]
    drove = [text for text in shares if not text.endswith(' 0%')]
    others = [f'{name} {count}' for name, count in counts.items() if count]
    lines = [
        f'  {len(rows):,} steps, {format_duration(len(rows) * task.period)}, '
        f'{_count(episodes, "episode")}, {_count(int(rows.terminated.sum()), "fall")}',
        f'  drove: {", ".join(drove)}',
        f'  besides: {", ".join(others) or "nothing out of order"}',
        f'  reward a step: mean {rows.reward.mean():.3g}, middle 90 % '
        f'{_range(rows.reward)}{_best(task)}',
    ]
    for column in pick_state_fields(task):
        low, high = rows.observation[:, column].min(), rows.observation[:, column].max()
        lines.append(
            f'  {field_label(task, column)}: {low:.3g} to {high:.3g}, middle 90 % '
            f'{_range(rows.observation[:, column])}'
        )
    return lines


def _best(task: Task) -> str:
    return '' if task.largest_reward is None else f', best possible {task.largest_reward:g}'


def _count(number: int, what: str) -> str:
    return f'{number} {what}' if number == 1 else f'{number} {what}s'


def _range(values: np.ndarray) -> str:
    low, high = np.percentile(values, (5, 95))
    return f'{low:.3g} to {high:.3g}'


def _number(value: float, digits: int) -> str:
    return f'{value:.{digits}f}' if math.isfinite(value) else '-'
