"""Run the paper's experiments: what is missing is trained, then tables and figures are made.

    python -m h2o_ros.experiments table2 --seeds 2 --steps 200000
    python -m h2o_ros.experiments own --task standing_still --algorithms h2o,sac --steps 20000
    python -m h2o_ros.experiments merge A.csv B.csv --output C.csv

A command that was interrupted or killed goes on where it was; several at once share a folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path

from h2o_ros.argument_types import at_least, between
from h2o_ros.errors import ConfigurationError, exit_code_of
from h2o_ros.experiments.core.provenance import is_of_other_code, version
from h2o_ros.experiments.core.results import Results
from h2o_ros.experiments.paper.catalogue import Experiment, experiments, find_experiment, own
from h2o_ros.experiments.paper.output import write_all
from h2o_ros.experiments.sweep.folder import ResultsFolder
from h2o_ros.experiments.sweep.merge import merge
from h2o_ros.experiments.sweep.progress import GridProgress
from h2o_ros.experiments.sweep.ray_backend import import_ray, run_on_ray
from h2o_ros.experiments.sweep.run import Settings
from h2o_ros.experiments.sweep.run_config import DEMONSTRATION, Cell, Datasets, canonical
from h2o_ros.experiments.sweep.sweep import Grid, run_here
from h2o_ros.sim.gaps import NONE, canonical_gap

USUAL_TASK = 'standing_still'
LISTS = ('algorithms', 'datasets', 'gaps')
INTERRUPTED = 130  # exit code
PROGRAM = 'python -m h2o_ros.experiments'


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, number = parser.add_argument, at_least(1)
    add(
        'names', nargs='+', metavar='NAME', help=f'{", ".join(experiments())}, own; list says more'
    )
    add('--seeds', type=number, default=0, metavar='N', help='default: as many as the paper')
    add('--first-seed', type=at_least(0), default=0, metavar='N')
    add('--steps', type=number, default=1_000_000, metavar='N', help='updates of a run')
    add('--every', type=number, default=10_000, metavar='N', help='updates between evaluations')
    add('--episodes', type=number, default=10, metavar='N', help='of each evaluation')
    add('--robots', type=number, default=32, metavar='N', help='that are simulated at once')
    add('--device', default='cpu', choices=('cpu', 'cuda'))
    add('--batch-seeds', type=number, default=0, metavar='N',
        help='seeds that train together; default: all of a cell on cuda, one on cpu')  # fmt: skip
    add('--saving', type=between(0.0, math.inf), default=300.0, metavar='S',
        help='seconds between checkpoints, at least: each comes after an evaluation')  # fmt: skip
    add('--output', default='runs/paper', metavar='FOLDER', help='default: %(default)s')
    add('--known', default='', metavar='FILE', help='results made elsewhere; not made again')
    add('--task', default='', help=f'of `own`; default: {USUAL_TASK}')
    for name in LISTS:
        add(f'--{name}', default='', metavar='A,B', help=f'only these {name}; of `own`: all')
    add('--ray', action='store_true', help='train on Ray, on RAY_ADDRESS or here')
    add('--show', action='store_true', help='train nothing; write what there is')
    add('--place', default='', metavar='PAGE', help='put the tables into a Markdown page, too')
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if words is None else words
    try:
        return exit_code_of(lambda: _follow(words))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone, as in `... | head`
        return 141


def _follow(words: list[str]) -> int:
    if not words or words[0] == 'list':
        print(listing())
        return 0
    if words[0] == 'merge':
        return merge(words[1:])
    return run(parse(words))


def run(options: argparse.Namespace) -> int:
    """Train what is missing, then write tables and figures."""
    check_used(options)
    chosen = [narrowed(experiment, options) for experiment in chosen_experiments(options)]
    known = Results.read(options.known) if options.known else Results()
    if options.ray:
        import_ray()
    settings = Settings(
        options.steps, options.every, options.episodes, options.robots, options.device,
        options.saving,
    )  # fmt: skip
    folder = ResultsFolder(options.output)
    code, data = 0, Datasets()
    for experiment in chosen:
        seeds = range(options.first_seed, options.first_seed + (options.seeds or experiment.seeds))
        together = options.batch_seeds or (len(seeds) if options.device == 'cuda' else 1)
        cells = dict.fromkeys(map(canonical, experiment.cells))
        grid = Grid(tuple(cells), tuple(seeds), settings, folder, together, known)
        tell_of_other_code(experiment.name, grid)
        if options.show:
            grid.compare(data)
        else:
            code = max(code, train(grid, experiment, data, options.ray))
        write_all(experiment, grid, options.place)
        if code == INTERRUPTED:
            break
    return code


def train(grid: Grid, experiment: Experiment, data: Datasets, ray: bool) -> int:
    """Train what is missing; return 0, 1 where a run failed, or INTERRUPTED."""
    batches = grid.missing()
    grid.claim(batches, data)
    wanted, missing = len(grid.cells) * len(grid.seeds), sum(len(b.seeds) for b in batches)
    print(f'{experiment.name}: {wanted} runs, {wanted - missing} of them done', flush=True)
    progress = GridProgress(batches, grid.settings.steps)
    try:
        if ray:
            through = run_on_ray(grid, batches, progress)
        else:
            through = run_here(grid, batches, data, progress)
    finally:
        progress.close()
    if not through:
        return INTERRUPTED
    return 1 if progress.failures else 0


def check_used(options: argparse.Namespace) -> None:
    """ConfigurationError where an option would do nothing, or its page is not there."""
    if options.task and 'own' not in options.names:
        raise ConfigurationError(
            f'--task {options.task}: {", ".join(options.names)} has its own task; leave it out, '
            'or name own'
        )
    if options.place and not Path(options.place).is_file():
        raise ConfigurationError(
            f'--place {options.place}: there is no such page; check the path, or make it first'
        )


def tell_of_other_code(name: str, grid: Grid) -> None:
    """Say in one line which runs were made by other code than this: they are not made again."""
    made_by = grid.versions()
    others = [each for each in made_by if is_of_other_code(each)]
    if others:
        print(
            f'{name}: {len(others)} of the {len(made_by)} runs that there are were made by other '
            f'code ({", ".join(sorted(set(others)))}; here {version()}) and stay; to train them '
            f'anew give another --output, or remove their files from {grid.folder.path / "runs"}/'
        )


def chosen_experiments(options: argparse.Namespace) -> list[Experiment]:
    """Return what was named; `own` is made of the lists given."""
    found = []
    for name in options.names:
        if name != 'own':
            found.append(find_experiment(name))
            continue
        given = {name: _words(options, name) for name in LISTS}
        if not given['algorithms']:
            raise ConfigurationError('own: name what to compare, --algorithms A,B')
        datasets = given['datasets'] or [DEMONSTRATION]
        gaps = list(dict.fromkeys(map(canonical_gap, given['gaps']))) or [NONE]
        made = own(options.task or USUAL_TASK, given['algorithms'], datasets, gaps)
        for cell in made.cells:
            canonical(cell)
        found.append(made)
    return found


def narrowed(experiment: Experiment, options: argparse.Namespace) -> Experiment:
    """Return the experiment with the cells of --algorithms, --datasets and --gaps alone."""
    if experiment.name == 'own':
        return experiment
    wanted = {field: _words(options, field + 's') for field in ('algorithm', 'dataset', 'gap')}
    wanted['gap'] = [canonical_gap(gap) for gap in wanted['gap']]
    for field, values in wanted.items():
        known = list(dict.fromkeys(getattr(cell, field) for cell in experiment.cells))
        for value in values:
            if value not in known:
                raise ConfigurationError(
                    f'--{field}s: {experiment.name} has no {field} {value!r}; choose among '
                    f'{", ".join(known)}'
                )
    return dataclasses.replace(
        experiment, left_out=tuple(c for c in experiment.cells if not _fits(c, wanted))
    )


def listing() -> str:
    """Return what there is, a line each."""
    known = experiments()
    width = max(map(len, known))
    lines = [f'  {name:{width}}  {e.title} ({len(e.cells)} cells)' for name, e in known.items()]
    lines.append(f'  {"own":{width}}  any algorithms, datasets and gaps of a task')
    lines.append(f'  {"merge":{width}}  join results of several folders or machines')
    return '\n'.join([f'usage: {PROGRAM} NAME ...  (--help says more)', '', *lines])


def _fits(cell: Cell, wanted: dict[str, list[str]]) -> bool:
    return all(not values or getattr(cell, field) in values for field, values in wanted.items())


def _words(options: argparse.Namespace, name: str) -> list[str]:
    return [word.strip() for word in getattr(options, name).split(',') if word.strip()]


if __name__ == '__main__':
    raise SystemExit(main())
