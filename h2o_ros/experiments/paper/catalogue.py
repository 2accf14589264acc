"""The paper's tables and figures as data: which cells each needs, and how they stand in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.paper import published_results
from h2o_ros.experiments.paper.published_results import Number
from h2o_ros.experiments.sweep.run_config import Cell, file_name

CHEETAH, WALKER = 'half_cheetah', 'walker2d'
NAMES = {
    'sac': 'SAC',
    'cql': 'CQL',
    'darc': 'DARC',
    'darc_plus': 'DARC+',
    'h2o': 'H2O',
    'h2o_v': 'H2O(v)',
    'h2o_no_omega': 'H2O-a',
    'h2o_no_ratio': 'H2O-dr',
    'h2o_no_omega_no_ratio': 'H2O-a-dr',
    'h2o_no_regularisation': 'H2O-reg',
    'h2o_no_regularisation_no_ratio': 'H2O-reg-dr',
    'h2o_reverse_kl': 'H2O-Reverse-KL',
    'h2o_ensemble': 'H2O, ensemble',
    'h2o_expectile': 'H2O, expectile',
    'medium': 'Medium',
    'medium-replay': 'Medium Replay',
    'medium-expert': 'Medium Expert',
    'random': 'Random',
    'gravity': 'Gravity',
    'friction': 'Friction',
    'joint_noise': 'Joint Noise',
}
BASELINES = ('sac', 'cql', 'darc', 'darc_plus', 'h2o')
LEVELS = ('medium', 'medium-replay', 'medium-expert')
GAPS = ('gravity', 'friction', 'joint_noise')
# Table 7: "we halve the Min Q weight".
RANDOM_OVERRIDES = {'h2o': 'beta=0.005'}
# Figure 6: 10,000 to 100,000 real transitions, and a simulated buffer of 1,000,000 throughout.
AMOUNTS = tuple(range(10_000, 100_001, 10_000))
FIGURE_6_BUFFER = 1_000_000


@dataclass(frozen=True)
class Entry:
    """One number of a table: what is to be trained for it, and the paper's, where it has one."""

    cell: Cell
    paper: Number | None = None


Line = tuple[tuple[str, ...], tuple[Entry, ...]]  # labels of a line, and its numbers


@dataclass(frozen=True)
class Experiment:
    """A table or figure. seeds: the paper's. head: names of labels and columns.

    lines: the labels of each line and its entries; a figure has lines, too, and is drawn besides.
    left_out: cells that nobody wants trained. compared: what tells it from others of its name.
    """

    name: str
    title: str
    seeds: int
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: tuple[Cell, ...] = ()
    compared: str = ''

    @property
    def file(self) -> str:
        """The name of its files, without suffix."""
        return file_name(f'{self.name}__{self.compared}') if self.compared else self.name

    @property
    def cells(self) -> list[Cell]:
        """What is to be trained, each once, in the table's order."""
        found = dict.fromkeys(entry.cell for _, entries in self.lines for entry in entries)
        return [cell for cell in found if cell not in self.left_out]


def experiments() -> dict[str, Experiment]:
    """Return all of them by name."""
    made = (
        _table_1(), _table_2(), _table_4(), _table_5(), _table_6(), _table_7(), _figure_3(),
        _figure_6(), _figure_7(), _beyond(), _precision(),
    )  # fmt: skip
    return {experiment.name: experiment for experiment in made}


def find_experiment(name: str) -> Experiment:
    """Return one by name; ConfigurationError lists all."""
    known = experiments()
    if name not in known:
        raise ConfigurationError(
            f'experiment {name!r} is unknown; choose one of {", ".join(known)}, own'
        )
    return known[name]


def own(
    task: str, algorithms: Sequence[str], datasets: Sequence[str], gaps: Sequence[str]
) -> Experiment:
    """Return a table of any algorithms, datasets and gaps on a task; these name its files."""
    lines = tuple(
        ((dataset, gap), tuple(Entry(Cell(name, task, dataset, gap)) for name in algorithms))
        for dataset in datasets
        for gap in gaps
    )
    compared = '__'.join([task, *('_'.join(words) for words in (algorithms, datasets, gaps))])
    head = ('Dataset', 'Simulator', *algorithms)
    return Experiment('own', task, 1, head, lines, compared=compared)


def dataset_of(task: str, level: str) -> str:
    """Return D4RL's name of a dataset."""
    return f'{task.replace("_", "")}-{level}-v2'


def _cell(algorithm: str, level: str, gap: str, task: str = CHEETAH, **more) -> Cell:
    return Cell(algorithm, task, dataset_of(task, level), gap, **more)


def _names(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(NAMES[word] for word in words)


def _by_level_and_gap(algorithms: Sequence[str], numbers: dict) -> tuple:
    return tuple(
        (
            (NAMES[level], NAMES[gap]),
            tuple(Entry(_cell(a, level, gap), numbers.get((level, gap, a))) for a in algorithms),
        )
        for level in LEVELS
        for gap in GAPS
    )


def _table_1() -> Experiment:
    head = ('Dataset', 'Simulator', *_names(BASELINES))
    lines = _by_level_and_gap(BASELINES, published_results.TABLE_1)
    return Experiment('table1', 'Table 1: HalfCheetah', 5, head, lines)


def _table_2() -> Experiment:
    algorithms = tuple(published_results.TABLE_2)
    entries = tuple(
        Entry(_cell(a, 'medium-replay', 'gravity'), published_results.TABLE_2[a])
        for a in algorithms
    )
    title = 'Table 2: ablations of H2O, HalfCheetah Medium Replay, Gravity'
    return Experiment('table2', title, 5, _names(algorithms), (((), entries),))


def _table_4() -> Experiment:
    algorithms = ('h2o_v', 'h2o')
    head = ('Dataset', 'Simulator', *_names(algorithms))
    lines = _by_level_and_gap(algorithms, published_results.TABLE_4)
    return Experiment('table4', 'Table 4: H2O(v), HalfCheetah', 3, head, lines)


def _table_5() -> Experiment:
    lines = tuple(
        (
            (label,),
            tuple(
                Entry(_cell(name, level, 'gravity'), published_results.TABLE_5[level, name])
                for level in LEVELS
            ),
        )
        for name, label in (('h2o', 'H2O-KL'), ('h2o_reverse_kl', 'H2O-Reverse-KL'))
    )
    title = 'Table 5: reverse KL, HalfCheetah, Gravity'
    return Experiment('table5', title, 3, ('Algorithm', *_names(LEVELS)), lines)


def _table_6() -> Experiment:
    lines = tuple(
        (
            (NAMES[gap],),
            tuple(
                Entry(_cell(a, 'medium-replay', gap, WALKER), published_results.TABLE_6[gap, a])
                for a in BASELINES
            ),
        )
        for gap in GAPS
    )
    title = 'Table 6: Walker2d Medium Replay'
    return Experiment('table6', title, 3, ('Simulator', *_names(BASELINES)), lines)


def _table_7() -> Experiment:
    lines = tuple(
        (
            (NAMES[gap],),
            tuple(
                Entry(
                    _cell(a, 'random', gap, overrides=RANDOM_OVERRIDES.get(a, '')),
                    published_results.TABLE_7[gap, a],
                )
                for a in BASELINES
            ),
        )
        for gap in ('gravity', 'friction')
    )
    title = 'Table 7: HalfCheetah Random'
    return Experiment('table7', title, 3, ('Simulator', *_names(BASELINES)), lines)


def _figure_3() -> Experiment:
    line = (('Offset by velocity',), (Entry(_cell('h2o', 'medium-replay', 'velocity_offset')),))
    title = 'Figure 3: where H2O sees the gap, HalfCheetah Medium Replay'
    return Experiment('figure3', title, 1, ('Simulator', 'H2O'), (line,))


def _figure_6() -> Experiment:
    def h2o(rows: int) -> Cell:
        buffer = f'sim_buffer_ratio={FIGURE_6_BUFFER / rows:g}'
        return _cell('h2o', 'medium-replay', 'gravity', rows=rows, overrides=buffer)

    lines = tuple(
        (
            (f'{rows:,}',),
            (Entry(_cell('cql', 'medium-replay', 'gravity', rows=rows)), Entry(h2o(rows))),
        )
        for rows in AMOUNTS
    )
    title = 'Figure 6: amount of real data, HalfCheetah Medium Replay, Gravity'
    return Experiment('figure6', title, 3, ('Real transitions', 'CQL', 'H2O'), lines)


def _figure_7() -> Experiment:
    algorithms = (*BASELINES, 'h2o_v')
    numbers = published_results.TABLE_1 | published_results.TABLE_4
    head = ('Dataset', 'Simulator', *_names(algorithms))
    lines = _by_level_and_gap(algorithms, numbers)
    return Experiment('figure7', 'Figure 7: learning curves, HalfCheetah', 5, head, lines)


def _beyond() -> Experiment:
    algorithms = ('h2o', 'h2o_ensemble', 'h2o_expectile')
    lines = tuple(
        ((NAMES[gap],), tuple(Entry(_cell(a, 'medium-replay', gap)) for a in algorithms))
        for gap in GAPS
    )
    title = 'Beyond the paper: HalfCheetah Medium Replay'
    return Experiment('beyond', title, 5, ('Simulator', *_names(algorithms)), lines)


def _precision() -> Experiment:
    """Return what rounding to bfloat16 costs: everything else is H2O's line of table 1."""
    cells = [
        _cell('h2o', 'medium-replay', 'gravity', overrides=overrides)
        for overrides in ('', 'matmul_precision="medium"')
    ]
    title = 'Precision of products: H2O, HalfCheetah Medium Replay'
    line = ((NAMES['gravity'],), tuple(Entry(cell) for cell in cells))
    return Experiment('precision', title, 5, ('Simulator', 'float32', 'bfloat16'), (line,))
