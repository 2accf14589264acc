"""`h2o bags PATH ...`: what is in recordings, as text and as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from h2o_ros.data.bag_transitions.inspection import Inspection, inspect_bag
from h2o_ros.data.bags.bag import Bag
from h2o_ros.data.bags.takes import takes_in
from h2o_ros.errors import BagError, ConfigurationError
from h2o_ros.report.bag_picture import draw_bags
from h2o_ros.report.bag_report import DRIVERS, BagFigures, TopicRow, format_bags, usable
from h2o_ros.task import Task, load_task, task_names

# The report's names of what was found, as a person reads them.
COUNTS = {
    'interventions': 'interventions',
    'gaps': 'gaps',
    'jumps': 'jumps of the clock',
    'duplicates': 'steps closer than half a period',
    'incomplete': 'steps without every sensor',
    'down': 'steps with the robot down',
    'unarmed': 'steps with the motors off',
    'clipped': 'actions clipped',
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog='h2o bags',
        description='Show what is in bags: steps, falls, rates, gaps, coverage and rewards.',
    )
    parser.add_argument('bags', nargs='+', metavar='PATH', help='a bag, or a folder of takes')
    parser.add_argument(
        '--task', help="task name or path of its YAML file; default: the first bag's own"
    )
    parser.add_argument('--picture', default='runs/bags.png', help='default: %(default)s')
    options = parser.parse_args(arguments)
    paths = [bag for given in map(Path, options.bags) for bag in takes_in(given) or [given]]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise BagError(f'{", ".join(missing)}: there is no such bag or folder; check the path')
    if Path(options.picture).suffix != '.png':
        raise ConfigurationError(f'--picture {options.picture}: expected the name of a .png file')
    task = load_task(options.task) if options.task else task_of(paths)
    figures = [figures_of(path, task) for path in paths]
    print(format_bags(figures, task))
    if not usable(figures):
        raise BagError(f'no step of task {task.name} in {", ".join(options.bags)}')
    title = f'{", ".join(options.bags)}: {task.name}'
    print(f'picture: {draw_bags(title, figures, task, options.picture)}')
    return 0


def task_of(paths: list[Path]) -> Task:
    """Return the shipped task that the first bag was recorded for; standing_still if unsaid."""
    for path in paths:
        name = _entry(path, 'task')
        if name in task_names():
            return load_task(name)
    return load_task('standing_still')


def figures_of(path: Path, task: Task) -> BagFigures:
    """Look at one bag; what cannot be read is said in its refusal."""
    try:
        seen = inspect_bag(path, task)
    except BagError as err:
        return BagFigures(str(path), {}, (), refusal=str(err))
    topics = [TopicRow(t.topic, t.messages, t.rate, t.longest_pause) for t in seen.topics]
    if seen.dataset is None:
        return BagFigures(str(path), seen.metadata, topics, refusal=seen.refusal)
    report = seen.dataset.report
    return BagFigures(
        str(path),
        seen.metadata,
        topics,
        transitions=seen.dataset.transitions,
        drivers=_drivers(seen),
        counts={shown: getattr(report, name) for name, shown in COUNTS.items()},
        warnings=report.warnings,
    )


def _drivers(seen: Inspection) -> np.ndarray:
    if seen.dataset is None:
        return np.zeros(0, int)
    sources = seen.dataset.sources.astype(int)
    known = (sources >= 0) & (sources < len(DRIVERS) - 1)
    return np.where(known, sources, len(DRIVERS) - 1)


def _entry(path: Path, name: str) -> str:
    try:
        with Bag(path) as bag:
            return bag.metadata.get(name, '')
    except BagError:
        return ''
