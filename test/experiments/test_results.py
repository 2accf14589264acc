"""Results files: whole runs alone, written and read back, joined, thinned, refused."""

import dataclasses
import math

import pytest
from repository import ROOT
from result_samples import CELL, row, run

from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.__main__ import main
from h2o_ros.experiments.core.results import COLUMNS, Results, RunKey, read_rows, write_rows
from h2o_ros.experiments.sweep.run_config import Cell, configuration, digest_of_recipe, recipe


def test_what_was_written_is_read(tmp_path):
    rows = [row(score=math.nan), row(seed=1, value=-1234.567)]
    write_rows(rows, tmp_path / 'a.csv')
    first, second = read_rows(tmp_path / 'a.csv')
    assert math.isnan(first.score) and first == dataclasses.replace(rows[0], score=first.score)
    assert second == dataclasses.replace(rows[1], return_mean=-1234.57)
    assert [path.name for path in tmp_path.iterdir()] == ['a.csv']


def test_a_run_counts_once_its_last_update_was_evaluated():
    results = Results([row(0, 10), *run(1)])
    assert list(results) == [RunKey(CELL, 1, 20)]
    assert results.of_cell(CELL, 20) == [RunKey(CELL, 1, 20)] and not results.of_cell(CELL, 40)
    assert [r.update for r in results.curve(RunKey(CELL, 1, 20))] == [10, 20]
    assert results.final(RunKey(CELL, 1, 20)).return_mean == 100.0


def test_the_committed_results_are_of_the_recipes_that_ship():
    path = ROOT / 'docs/results/results.csv'
    results = Results(read_rows(path))
    assert len(results) > 3
    for key in results:
        shipped = digest_of_recipe(recipe(configuration(key.cell, key.steps)))
        assert results.final(key).recipe == shipped, f'{key.cell}: its settings have changed'


def test_joining_takes_whole_runs_from_the_first():
    joined = Results(run(0, 100)).joined(Results([*run(0, 700), *run(1, 300)]))
    assert [(r.seed, r.return_mean) for r in joined.rows()] == [
        (0, 50.0), (0, 100.0), (1, 150.0), (1, 300.0)
    ]  # fmt: skip


def test_thinning_keeps_multiples_and_the_last():
    rows = [row(update=update) for update in (5, 10, 15, 20)]
    assert [r.update for r in Results(rows).thinned(10).rows()] == [10, 20]
    assert [r.update for r in Results(rows).thinned(15).rows()] == [15, 20]


def test_results_of_two_datasets_of_one_name_are_not_joined():
    with pytest.raises(ConfigurationError, match=r'two datasets named .*digests .*; keep'):
        Results(run()).joined(Results(run(1, digest='d1')))
    of_none = Cell('sac', 'half_cheetah', '-', 'gravity')
    both = Results(run(cell=of_none, digest='-')).joined(Results(run()))
    assert both.digests() == {'halfcheetah-medium-v2': 'd0'}


@pytest.mark.parametrize('change', [{'recipe': 'r1'}, {'episodes': 5}, {'robots': 2}])
def test_runs_of_a_cell_that_were_made_differently_are_not_joined(tmp_path, change, capsys):
    (name, value), usual = change.popitem(), {'robots': 1}
    write_rows(run(**usual), tmp_path / 'a.csv')
    write_rows(run(1, **(usual | {name: value})), tmp_path / 'b.csv')
    names = [str(tmp_path / file) for file in ('a.csv', 'b.csv')]
    assert main(['merge', *names, '--output', str(tmp_path / 'c.csv')]) == 2
    said = capsys.readouterr().err
    assert f'h2o half_cheetah halfcheetah-medium-v2 gravity: runs with {name} ' in said
    assert said.count('\n') == 1 and f' and with {value}; keep' in said
    assert not (tmp_path / 'c.csv').exists()


def test_runs_that_no_table_takes_together_are_joined():
    longer = [row(1, 40, steps=40, recipe='r1', episodes=5)]
    real = dataclasses.replace(CELL, algorithm='cql', gap='-')
    of_real = [*run(cell=real, robots=1), *run(1, cell=real, robots=2)]
    older = [*run(robots=0), *run(2, robots=4)]
    assert len(Results(longer).joined(Results(of_real)).joined(Results(older))) == 5


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda text: text.replace('algorithm,', 'name,', 1), 'not a file of results'),
        (lambda text: '', 'not a file of results'),
        (lambda text: text.rsplit(',', 2)[0], 'line 2: expected 21 columns'),
        (lambda text: text.replace(',100.00,', ',much,'), "return_mean: expected float, got 'm"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(tmp_path, change, message, capsys):
    path = tmp_path / 'a.csv'
    write_rows([row()], path)
    path.write_text(change(path.read_text()))
    assert main(['table2', '--known', str(path), '--show', '--output', str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and message in said and str(path) in said


def test_merge_joins_files(tmp_path, capsys):
    write_rows(run(0, 100), tmp_path / 'a.csv')
    write_rows([*run(0, 700), *run(1, 300)], tmp_path / 'b.csv')
    names = [str(tmp_path / name) for name in ('a.csv', 'b.csv')]
    assert main(['merge', *names, '--output', str(tmp_path / 'c.csv'), '--every', '20']) == 0
    said = capsys.readouterr().out
    assert 'b.csv: 2 runs, 1 of them in an earlier file' in said and 'c.csv, 2 runs' in said
    lines = (tmp_path / 'c.csv').read_text().splitlines()
    assert lines[0] == ','.join(COLUMNS) and len(lines) == 3
    assert [r.return_mean for r in read_rows(tmp_path / 'c.csv')] == [100.0, 300.0]
    older = [line.rpartition(',')[0] for line in lines]  # of before the last column
    (tmp_path / 'older.csv').write_text('\n'.join(older))
    assert [r.robots for r in read_rows(tmp_path / 'older.csv')] == [0, 0]
    assert main(['merge', str(tmp_path / 'd.csv'), '--output', str(tmp_path / 'c.csv')]) == 2
    assert 'd.csv: cannot be read' in capsys.readouterr().err
