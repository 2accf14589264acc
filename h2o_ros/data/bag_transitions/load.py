"""From bags to transitions, as the task's YAML says.

The header stamps of the first action field's topic are the control steps: an action is stamped
with the observation that it answers. Where a driver says what it really sent to the motors, that
is the action. Every other number is taken from the newest message of its topic at that time
(matching.py). Rewards and terminations are computed from the task, never read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from h2o_ros.data.bag_transitions.armed_intervals import read_driver_status
from h2o_ros.data.bag_transitions.control_steps import ControlSteps, find_steps
from h2o_ros.data.bag_transitions.streams import OPERATOR, POLICY, read_streams
from h2o_ros.data.bags.bag import Bag
from h2o_ros.data.bags.takes import takes_in
from h2o_ros.errors import BagError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions, concatenate

# Of a BagReport, what is mentioned only where it occurred.
COUNTS = (
    'gaps',
    'jumps',
    'duplicates',
    'incomplete',
    'down',
    'unarmed',
    'clipped',
    'interventions',
)


@dataclass(frozen=True)
class BagReport:
    """What was found in the bags, for a person to read.

    files: the bags. steps: transitions. episodes: unbroken stretches of them. falls: transitions
    into a fall. gaps: pauses longer than 1.5 control periods. jumps: times that a clock went back.
    duplicates: control steps whose stamp occurs more than once. incomplete: control steps without
    a message of every sensor at their stamp. down: control steps in which the robot lay on the
    ground. unarmed: those in which the driver had the motors off. clipped: action values that were
    brought into the task's limits. interventions: times that a person took over from a policy.
    rate: median control rate in Hz. duration: s of usable data. warnings: one line each.
    """

    files: tuple[str, ...]
    steps: int
    episodes: int
    falls: int
    gaps: int
    jumps: int
    duplicates: int
    incomplete: int
    down: int
    unarmed: int
    clipped: int
    interventions: int
    rate: float
    duration: float
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        rest = ''.join(f', {getattr(self, n)} {n}' for n in COUNTS if getattr(self, n))
        warnings = ''.join(f'\nwarning: {text}' for text in self.warnings)
        return (
            f'{self.steps} steps ({self.duration:.1f} s at {self.rate:.1f} Hz) in {self.episodes} '
            f'episodes with {self.falls} falls from {", ".join(self.files)}{rest}{warnings}'
        )


@dataclass(frozen=True)
class BagDataset:
    """Transitions in the order of recording.

    stamps: (N,) int64 ns, of each row's observation. sources: (N,) int8, who decided each action,
    streams.POLICY, BALANCE_CONTROLLER or OPERATOR; -1 where it is not known.
    """

    transitions: Transitions
    report: BagReport
    stamps: np.ndarray
    sources: np.ndarray


def load_bags(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    task: Task,
    backend: str | None = None,
) -> BagDataset:
    """Read one or several bags; BagError names file, topic, field and the way out.

    A folder of takes stands for all of them; takes without a step are left out with a warning. An
    episode never reaches from one bag into the next. Actions beyond the task's limits are clipped
    and counted. backend: see bags.Bag.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    bags = [Path(path) for path in paths]
    if not bags:
        raise BagError('no bag was given; name at least one')
    _refuse_twice([take for bag in bags for take in takes_in(bag) or [bag]])
    parts = [part for bag in bags for part in _load_takes(bag, task, backend)]
    return BagDataset(
        concatenate([part.transitions for part in parts]),
        _join([part.report for part in parts]),
        np.concatenate([part.stamps for part in parts]),
        np.concatenate([part.sources for part in parts]),
    )


def _refuse_twice(bags: list[Path]) -> None:
    """Refuse a bag under two names, and a file beside the folder that it belongs to."""
    seen: list[tuple[Path, Path]] = []
    for bag in bags:
        path = bag.resolve()
        for other, known in seen:
            if path == known or path in known.parents or known in path.parents:
                also = '' if bag == other else f', also as {other}'
                raise BagError(f'{bag}: given twice{also}; name each bag once')
        seen.append((bag, path))


def _join(reports: list[BagReport]) -> BagReport:
    """Add up the counts; the rate is the median of the bags' rates."""
    values = {f.name: [getattr(r, f.name) for r in reports] for f in fields(BagReport)}
    joined = {name: sum(v[1:], start=v[0]) for name, v in values.items()}
    return BagReport(**{**joined, 'rate': float(np.median(values['rate']))})


def _load_takes(path: Path, task: Task, backend: str | None) -> list[BagDataset]:
    """Load one bag, or all takes of a folder that can be used."""
    takes = takes_in(path)
    if not takes:
        return [_load(path, task, backend)]
    parts, refused = [], []
    for take in takes:
        try:
            parts.append(_load(take, task, backend))
        except BagError as err:
            refused.append(f'left out: {err}')
    if not parts:
        raise BagError(f'{path}: none of its {len(takes)} takes can be used; {refused[0]}')
    report = parts[0].report
    warned = replace(report, warnings=(*refused, *report.warnings))
    return [replace(parts[0], report=warned), *parts[1:]]


def _load(path: Path, task: Task, backend: str | None) -> BagDataset:
    with Bag(path, backend) as bag:
        streams = read_streams(bag, task)
        status = read_driver_status(bag, next(iter(streams.values())).topic)
        warnings = (bag.warning,) if bag.warning else ()
    steps = find_steps(streams, status, task, str(path))
    transitions, rows, down = build_transitions(steps, task)
    if not len(rows):
        raise BagError(
            f'{path}: too short, no control step is followed by another '
            f'({len(steps.stamps)} steps, {int(steps.gap.sum())} gaps, '
            f'{int((~steps.observed).sum())} without all sensors, {down} with the robot down, '
            f'{int((~steps.armed).sum())} with the motors off); '
            'record a longer bag'
        )
    report = BagReport(
        files=(str(path),),
        steps=len(rows),
        episodes=int((transitions.terminated | transitions.truncated).sum()),
        falls=int(transitions.terminated.sum()),
        gaps=int(steps.gap.sum()),
        jumps=steps.jumps,
        duplicates=int(steps.duplicate.sum()),
        incomplete=int((~steps.observed & ~steps.duplicate).sum()),
        down=down,
        unarmed=int((~steps.armed & steps.observed).sum()),
        clipped=int((steps.action[rows].astype(np.float32) != transitions.action).sum()),
        interventions=count_interventions(steps.source),
        rate=steps.rate,
        duration=len(rows) / steps.rate,
        warnings=warnings,
    )
    return BagDataset(transitions, report, steps.stamps[rows], steps.source[rows])


def count_interventions(sources: np.ndarray) -> int:
    """Count how often a person took over from a policy, of who decided each step (N,)."""
    return int(((sources[1:] == OPERATOR) & (sources[:-1] == POLICY)).sum())


def build_transitions(steps: ControlSteps, task: Task) -> tuple[Transitions, np.ndarray, int]:
    """Make transitions of the control steps that can carry one.

    Returns them, the numbers of their steps, and in how many steps the robot was down. A step
    carries a transition if it is complete, not a duplicate, and starts with the robot up and the
    motors armed. The last one before a break is truncated, unless it ends in a fall.
    """
    observation = steps.observation.astype(np.float32)
    following = steps.next_observation.astype(np.float32)
    action = np.clip(steps.action.astype(np.float32), task.action_lower, task.action_upper)
    down = task.compute_terminated(observation)
    usable = steps.complete & ~steps.duplicate & ~down & steps.armed
    terminated = task.compute_terminated(following)
    goes_on = np.zeros(len(usable), bool)
    goes_on[:-1] = usable[1:] & steps.consecutive[:-1]
    rows = np.flatnonzero(usable)
    transitions = Transitions(
        observation=observation[rows],
        action=action[rows],
        reward=task.compute_reward(observation[rows], action[rows]),
        next_observation=following[rows],
        terminated=terminated[rows],
        truncated=(~terminated & ~goes_on)[rows],
    )
    return transitions, rows, int((down & steps.observed).sum())
