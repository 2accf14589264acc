"""`h2o dataset ...`: make datasets as D4RL's, show what is in them, import those of Minari."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from pathlib import Path

import numpy as np

from h2o_ros.argument_types import between
from h2o_ros.data.datasets.d4rl import (
    ENVIRONMENTS,
    dataset_folder,
    dataset_names,
    find_dataset,
    load_d4rl,
    read_metadata,
    write_d4rl,
)
from h2o_ros.data.datasets.minari import import_minari
from h2o_ros.data.load import episode_returns, report_on
from h2o_ros.errors import BagError, ConfigurationError, H2OError
from h2o_ros.experiments.d4rl.behaviour_policy import SEGMENT, BehaviourRun, Progress
from h2o_ros.experiments.d4rl.make import (
    LEVELS,
    MEDIUM_RETURNS,
    MOST_ROBOTS,
    Request,
    check_policies,
    make,
    make_replay,
    parse_name,
    shares,
)
from h2o_ros.report.output import prepare_output_folder
from h2o_ros.task import Task, load_task

LONGEST_TRAINING = 1_000_000  # control steps
RUNS = 'runs/datasets'


def main(arguments: list[str] | None = None) -> int:
    """Run `h2o dataset`."""
    options = parse(arguments)
    return options.run(options) or 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser('h2o dataset', description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    _add_make(commands.add_parser('make', help='make datasets as those of D4RL'))
    _add_show(commands.add_parser('show', help='show what is in datasets'))
    _add_train(commands.add_parser('train', help='train the policies that act in datasets'))
    _add_import(commands.add_parser('import-minari', help='read a dataset of Minari'))
    options = parser.parse_args(arguments)
    for name in ('steps', 'robots'):
        number = getattr(options, name, None)
        if number is not None and number < 1:
            parser.error(f'argument --{name}: expected 1 or more, got {number}')
    if getattr(options, 'seed', 0) < 0:
        parser.error(f'argument --seed: expected 0 or more, got {options.seed}')
    return options


def _add_make(parser: argparse.ArgumentParser) -> None:
    environments = ', '.join(ENVIRONMENTS)
    parser.add_argument(
        'names', nargs='+', metavar='NAME',
        help=f'ENVIRONMENT-LEVEL-v2; environments: {environments}; levels: {", ".join(LEVELS)}',
    )  # fmt: skip
    parser.add_argument(
        '--steps', type=int, default=1_000_000,
        help='of a dataset; medium-replay: the longest training, in whole segments of '
        f'{SEGMENT:,}; default: %(default)s',
    )  # fmt: skip
    parser.add_argument(
        '--robots', type=int,
        help=f'side by side; default: as many as leave episodes whole, {MOST_ROBOTS} at most',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', help='folder; default: where names are looked up')
    parser.add_argument(
        '--policy', action='append', default=[], metavar='LEVEL=FILE',
        help='a policy that acts in place of the shipped one',
    )  # fmt: skip
    parser.add_argument(
        '--level', type=between(-math.inf, math.inf), help='medium-replay: return that ends it'
    )
    parser.add_argument('--runs', default=RUNS, help='medium-replay: folder of its training')
    parser.set_defaults(run=_make)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('names', nargs='*', metavar='NAME', help='or FILE.hdf5; default: all')
    parser.add_argument('--task', help='of files whose name does not tell')
    parser.set_defaults(run=_show)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('environment', choices=tuple(ENVIRONMENTS))
    parser.add_argument(
        '--steps', type=int, default=LONGEST_TRAINING,
        help=f'control steps in all, in whole segments of {SEGMENT:,}; default: %(default)s',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--runs', default=RUNS, help='default: %(default)s')
    parser.set_defaults(run=_train)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help="main_data.hdf5, its folder, or a name of Minari's")
    parser.add_argument('--task', required=True, help='task name or path of its YAML file')
    parser.add_argument('--output', required=True, help='FILE.hdf5 to write')
    parser.set_defaults(run=_import)


def _make(options: argparse.Namespace) -> None:
    requests = [parse_name(name) for name in options.names]
    policies = dict(_policy(entry) for entry in options.policy)
    folder = Path(options.output) if options.output else dataset_folder()
    targets = [folder / f'{request.name}.hdf5' for request in requests]
    for target in targets:
        if target.exists():
            raise ConfigurationError(
                f'{target} exists already; remove it, or give --output another folder'
            )
    _check_used(options, {request.level for request in requests})
    check_policies(requests, policies)
    prepare_output_folder(folder)
    for request, target in zip(requests, targets, strict=True):
        began = time.monotonic()
        if request.level == 'medium-replay':
            usual = MEDIUM_RETURNS[request.task.name]
            level = usual if options.level is None else options.level
            with contextlib.closing(_behaviour(request.task, options)) as run:
                made, policy = make_replay(request, run, level, options.steps, _tell)
            print(f'policy of that moment: {policy}')
        else:
            _tell_of_cuts(request, options)
            made = make(request, options.steps, options.robots, options.seed, policies)
        write_d4rl(target, made.transitions, made.infos, made.metadata)
        report = report_on(made.transitions, request.task, (str(target),))
        print(f'{report}, made in {time.monotonic() - began:.0f} s', flush=True)


def _check_used(options: argparse.Namespace, levels: set[str]) -> None:
    """Refuse an option that no dataset of these levels reads."""
    if options.level is not None and 'medium-replay' not in levels:
        raise ConfigurationError('--level: only medium-replay reads it; leave it out')
    if options.robots is not None and levels == {'medium-replay'}:
        raise ConfigurationError('--robots: medium-replay has one robot; leave it out')


def _tell_of_cuts(request: Request, options: argparse.Namespace) -> None:
    """Say where episodes will be cut before their end, so that returns are of parts."""
    horizon = request.task.horizon
    robots, each = shares(options.steps, options.robots, horizon)
    cut = each % horizon or (options.steps - (robots - 1) * each) % horizon
    if cut:
        print(
            f'{request.name}: {robots} robots make {options.steps:,} steps, so that episodes are '
            f'cut after {cut} of {horizon} steps; their returns and score are not of whole ones'
        )


def _policy(entry: str) -> tuple[str, Path]:
    level, separator, file = entry.partition('=')
    if not separator or level not in ('medium', 'expert'):
        raise ConfigurationError(f'--policy {entry}: expected medium=FILE or expert=FILE')
    return level, Path(file)


def _behaviour(task: Task, options: argparse.Namespace) -> BehaviourRun:
    folder = Path(options.runs) / f'{task.name}_{options.seed}'
    return BehaviourRun(task, folder, options.seed)


def _tell(row: Progress) -> None:
    print(
        f'{row.steps:8d} steps: return {row.deterministic:8.1f} without, {row.sampled:8.1f} with '
        f'exploration, {row.seconds:.0f} s',
        flush=True,
    )


def _train(options: argparse.Namespace) -> None:
    task = load_task(ENVIRONMENTS[options.environment])
    with contextlib.closing(_behaviour(task, options)) as run:
        whole = -(-options.steps // run.segment) * run.segment
        if run.steps >= options.steps:
            print(
                f'nothing is left to do: {run.folder} has {run.steps:,} steps; give more --steps'
            )
        elif whole != options.steps:
            print(f'--steps {options.steps}: {whole:,}, in whole segments of {run.segment:,}')
        for row in run.train(options.steps):
            _tell(row)
    print(f'policies: {run.folder / "policies"}')


def _show(options: argparse.Namespace) -> int:
    """Show one after the other; 1 where one could not be shown, in a line on standard error."""
    names = options.names or dataset_names()
    if not names:
        raise BagError(
            f'{dataset_folder()}/ holds no datasets; make one: '
            'h2o dataset make halfcheetah-medium-v2'
        )
    code, given = 0, load_task(options.task) if options.task else None
    for name in names:
        try:
            _show_one(name, given)
        except H2OError as err:
            print(f'error: {err}', file=sys.stderr)
            code = 1
    return code


def _show_one(name: str, given: Task | None) -> None:
    path = find_dataset(name)
    task = _task_of(path, given)
    transitions = load_d4rl(path, task)
    returns = episode_returns(transitions)
    print(f'{path.stem}: {report_on(transitions, task, (str(path),))}')
    print(
        f'  returns from {returns.min():.1f} to {returns.max():.1f}, deviation '
        f'{returns.std():.1f}; rewards a step {_range(transitions.reward)}; actions '
        f'{_range(transitions.action)}'
    )
    for key, value in read_metadata(path).items():
        print(f'  {key}: {value}')


def _task_of(path: Path, given: Task | None) -> Task:
    """Return the task that a file's name tells, the given one where it tells none."""
    environment = path.stem.replace('_', '-').partition('-')[0]
    if environment in ENVIRONMENTS:
        return load_task(ENVIRONMENTS[environment])
    if given is None:
        raise ConfigurationError(f'{path}: its name tells no task; give --task')
    return given


def _range(values: np.ndarray) -> str:
    return f'{values.min():.2f} to {values.max():.2f}'


def _import(options: argparse.Namespace) -> None:
    task, target = load_task(options.task), Path(options.output)
    if target.suffix != '.hdf5':
        raise ConfigurationError(f'--output {target}: expected the name of a .hdf5 file')
    if target.exists():
        raise ConfigurationError(f'{target} exists already; give another --output')
    transitions = import_minari(options.source, task)
    write_d4rl(target, transitions, metadata={'imported_from': str(options.source)})
    print(report_on(transitions, task, (str(target),)))
    print(f'next: h2o train --task {options.task} --bag {target}')
