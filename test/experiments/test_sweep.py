"""Grids: cells and their keys, runs that resume, folders that refuse, and a whole one in small."""

import json
import os
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from grid_samples import lines_of, make_small, words
from repository import ROOT
from result_samples import row

from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.__main__ import chosen_experiments, main, narrowed, parse
from h2o_ros.experiments.core.in_process_training import evaluate
from h2o_ros.experiments.core.results import Outcome, Results, RunKey, write_rows
from h2o_ros.experiments.paper.catalogue import experiments, find_experiment
from h2o_ros.experiments.sweep import gap_samples
from h2o_ros.experiments.sweep.folder import ResultsFolder
from h2o_ros.experiments.sweep.progress import GridProgress
from h2o_ros.experiments.sweep.run import EVALUATION_SEED, REALITY, Run, Settings
from h2o_ros.experiments.sweep.run_config import Cell, Datasets, canonical, configuration, recipe
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Give the file of a small task, and a dataset of it."""
    return make_small(tmp_path, monkeypatch)


# Cells


def test_tables_share_what_an_algorithm_does_not_read():
    cells = {name: set(map(canonical, e.cells)) for name, e in experiments().items()}
    assert len(cells['table1']) == 3 + 3 + 3 * 9  # SAC by gap, CQL by dataset, the others by both
    assert len(cells['table2'] - cells['table1']) == 5  # the ablations
    assert len(cells['figure7'] - cells['table1'] - cells['table4']) == 0
    assert Cell('sac', 'half_cheetah', '-', 'gravity') in cells['table7'] & cells['table1']
    assert len(cells['figure6']) == 20 and not cells['figure6'] & cells['table2']
    h2o = [cell for cell in cells['table7'] if cell.algorithm == 'h2o']
    assert {configuration(cell).beta for cell in h2o} == {0.005}


@pytest.mark.parametrize(
    ('written', 'kept'),
    [('gravity:2', 'gravity'), ('friction+gravity:1.5', 'gravity:1.5+friction')],
)
def test_a_gap_is_one_cell_however_it_was_written(written, kept):
    cell = canonical(Cell('sac', 'half_cheetah', '-', written))
    assert cell == canonical(Cell('sac', 'half_cheetah', '-', kept))
    assert cell.gap == kept
    given = ['own', '--task', 'half_cheetah', '--algorithms', 'sac', '--gaps', f'{written},{kept}']
    (made,) = chosen_experiments(parse(given))
    assert len(made.lines) == 1 and made.lines[0][0][1] == kept


def test_a_gap_by_another_text_narrows_a_table():
    options = parse(['table1', '--gaps', 'gravity:2'])
    assert {cell.gap for cell in narrowed(find_experiment('table1'), options).cells} == {'gravity'}


def test_the_cells_of_the_results_that_there_are_keep_their_names():
    results = Results.read(ROOT / 'docs/results/results.csv')
    assert all(canonical(run.cell) == run.cell for run in results)


def test_a_gap_in_a_file_keeps_the_name_of_the_file(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('gravity: 2.0\n')
    assert canonical(Cell('sac', 'half_cheetah', '-', str(path))).gap == str(path)


def test_keys_are_unlike_and_name_files():
    cells = {canonical(cell) for e in experiments().values() for cell in e.cells}
    cells |= {
        Cell('h2o', 'half_cheetah', 'a b', 'gravity:1.5'),
        Cell('h2o', 'half_cheetah', 'a_b', 'gravity:1.5'),
        Cell('h2o', 'half_cheetah', 'a,b', 'gravity_1.5'),
        Cell('h2o', 'half_cheetah', 'x/' * 200, 'gravity'),
    }
    keys = {cell.key for cell in cells}
    assert len(keys) == len(cells)
    assert all('/' not in key and ' ' not in key and len(key) < 200 for key in keys)
    assert Cell('sac', 'walker2d', '-', 'gravity').key == 'sac__walker2d__-__gravity'


def test_an_amount_of_data_is_drawn_once_and_holds_the_smaller_ones(small):
    data, task = Datasets(), load_task(small)
    cell = Cell('h2o', small, 'halfcheetah-small-v2', 'gravity')
    few, more = (
        data.of_cell(Cell('h2o', small, cell.dataset, 'gravity', rows), task) for rows in (30, 90)
    )
    assert len(few) == 30 and len(data.of_cell(cell, task)) == 240
    assert {r.tobytes() for r in few.observation} < {r.tobytes() for r in more.observation}
    with pytest.raises(ConfigurationError, match='has 240 transitions, 241 were asked for'):
        data.of_cell(Cell('h2o', small, cell.dataset, 'gravity', 241), task)


def test_a_recipe_holds_what_its_method_reads():
    sac = recipe(configuration(Cell('sac', 'half_cheetah')))
    h2o = recipe(configuration(Cell('h2o', 'half_cheetah', overrides='beta=0.5'), 100))
    assert 'gap_spread' in h2o and 'gap_spread' not in sac and 'updates_total' not in h2o
    assert h2o['beta'] == 0.5 and sac['method'] == 'sac'


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['table9'], 'table1, table2'),
        (['own', '--algorithms', 'ppo'], 'darc_plus'),
        (['own', '--algorithms', 'h2o', '--task', 'ant'], 'half_cheetah'),
        (['own', '--algorithms', 'h2o', '--gaps', 'heavy'], 'joint_noise'),
        (['own', '--task', 'half_cheetah', '--algorithms', 'cql', '--datasets', 'halfcheetah-x'],
         'halfcheetah-small-v2'),
        (['own'], '--algorithms A,B'),
        (['table1', '--gaps', 'none'], 'gravity, friction, joint_noise'),
        (['table1', '--algorithms', 'h2o_v'], 'sac, cql, darc, darc_plus, h2o'),
        (['table1', '--task', 'walker2d'], '--task walker2d: table1 has its own task; leave it'),
        (['table1', '--show', '--place', 'no/page.md'], '--place no/page.md: there is no such'),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_those_there_are(given, message, small, tmp_path, capsys):
    assert main([*given, '--output', str(tmp_path / 'runs')]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1 and message in said


def test_lists_narrow_a_table():
    options = parse(['table1', '--algorithms', 'h2o,sac', '--gaps', 'friction'])
    cells = narrowed(find_experiment('table1'), options).cells
    assert {(cell.algorithm, cell.gap) for cell in cells} == {
        ('h2o', 'friction'), ('sac', 'friction')
    }  # fmt: skip
    assert len(cells) == 6


# Folders


def test_a_folder_of_another_grid_is_refused_and_says_in_what(tmp_path):
    folder = ResultsFolder(tmp_path)
    parts = {'dataset': {'a': 'd0'}, 'algorithm': {'h2o on x': {'beta': 0.1}}}
    folder.claim({'steps': 100, 'robots': 4}, parts)
    folder.claim({'steps': 100, 'robots': 4}, {'dataset': {'b': 'd1'}})
    for settings, parts, message in (
        ({'steps': 200}, {}, 'other results, with steps 100 where 200 is asked for'),
        ({'steps': 100}, {'dataset': {'a': 'd9'}}, 'with dataset a: d0, now d9; choose another'),
        ({'steps': 100}, {'dataset': {'b': 'd9'}}, 'with dataset b: d1, now d9; choose another'),
        (
            {'steps': 100},
            {'algorithm': {'h2o on x': {'beta': 0.2}}},
            'h2o on x: beta 0.1, now 0.2',
        ),
        ({'steps': 100}, {'algorithm': {'h2o on x': {}}}, 'h2o on x: beta 0.1, now as usual'),
    ):
        with pytest.raises(ConfigurationError, match=message):
            folder.claim(settings, parts)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(ConfigurationError, match='manifest.json: damaged'):
        folder.claim({'steps': 100}, {})


def test_a_run_belongs_to_one_process_at_a_time(tmp_path):
    folder, cell = ResultsFolder(tmp_path), Cell('sac', 'x', '-', 'gravity')
    lock = folder.lock(cell, 0)
    assert folder.lock(cell, 0) is None and folder.lock(cell, 1) is not None
    lock.close()
    assert folder.lock(cell, 0) is not None


def test_begun_batches_are_found_by_their_seeds(tmp_path):
    folder, cell = ResultsFolder(tmp_path), Cell('h2o', 'x', 'd', 'gravity')
    longer = Cell('h2o', 'x', 'd', 'gravity', 100)
    for place in (
        folder.place(cell, (3,)),
        folder.place(cell, (0, 12)),
        folder.place(longer, (1,)),
    ):
        place.mkdir()
    assert folder.begun(cell) == [(0, 12), (3,)] and folder.begun(longer) == [(1,)]
    folder.clear(cell, (3,))
    assert folder.begun(cell) == [(0, 12)]


def test_every_process_joins_what_all_have_finished(tmp_path):
    cell = Cell('sac', 'x', '-', 'gravity')
    none, policies = np.zeros((0, 5), np.float32), {0: b'zero', 1: b'one', 2: b'two'}
    folder = ResultsFolder(tmp_path)
    folder.add(Outcome([row(0, cell=cell), row(1, 10, cell=cell)], none, policies))
    ResultsFolder(tmp_path).add(Outcome([row(2, cell=cell)], none, policies))
    found = Results.read(tmp_path / 'results.csv')
    assert list(found) == [RunKey(cell, 0, 20), RunKey(cell, 2, 20)]  # seed 1 is not through
    assert folder.policy_of(cell, 2).read_bytes() == b'two'
    assert not folder.policy_of(cell, 1).exists()


# Whole grids


def test_a_grid_runs_once_and_draws_where_the_gap_is_seen(small, tmp_path, capsys):
    folder = tmp_path / 'runs'
    assert main(words(small, folder, '--seeds', '2')) == 0
    rows = lines_of(folder)
    assert [(r['algorithm'], r['dataset'], r['seed'], r['update']) for r in rows] == [
        (*cell, seed, update)
        for cell in (('h2o', 'halfcheetah-small-v2'), ('sac', '-'))
        for seed in '01' for update in ('20', '40')
    ]  # fmt: skip
    assert all(float(r['score']) == pytest.approx(
        100 * (float(r['return_mean']) + 280.178953) / 12415.178953, abs=0.01) for r in rows
    )  # fmt: skip
    table = next(folder.glob('own__*.md')).read_text()
    assert table.count('(2) |') == 2 and 'over 2 episodes' in table
    cell = canonical(Cell('h2o', small, 'halfcheetah-small-v2', 'gravity'))
    samples = gap_samples.read(ResultsFolder(folder).samples_of(cell, 1))
    seed, update, _, u, q = samples.T
    assert set(seed) == {1} and set(update) == {20, 40}
    assert (u > 0).all() and np.isfinite(q).all() and len(samples) == 2 * gap_samples.KEPT
    last = Results.read(folder / 'results.csv').final(RunKey(cell, 1, 40))
    policy = Policy.load(ResultsFolder(folder).policy_of(cell, 1))
    again = evaluate(policy, load_task(small), REALITY, 2, EVALUATION_SEED + 1)
    assert last.return_mean == pytest.approx(again.returns.mean(), abs=0.006)  # two decimals
    assert last.robots == 4

    capsys.readouterr()
    before = (folder / 'results.csv').stat().st_mtime_ns
    assert main(words(small, folder, '--seeds', '2')) == 0
    assert '4 runs, 4 of them done' in capsys.readouterr().out
    assert (folder / 'results.csv').stat().st_mtime_ns == before
    assert main(words(small, folder, '--seeds', '2', steps=60)) == 2
    assert 'other results, with steps 40 where 60' in capsys.readouterr().err


def test_known_runs_are_not_made_again_but_not_taken_from_other_data(small, tmp_path, capsys):
    assert main(words(small, tmp_path / 'a', algorithms='sac')) == 0
    known = ('--known', str(tmp_path / 'a' / 'results.csv'))
    capsys.readouterr()
    assert main(words(small, tmp_path / 'b', *known, algorithms='sac')) == 0
    assert '1 runs, 1 of them done' in capsys.readouterr().out
    assert main([*words(small, tmp_path / 'c', *known, algorithms='sac'), '--robots', '8']) == 2
    assert 'known results: made with --robots 4, here 8' in capsys.readouterr().err
    assert not (tmp_path / 'b' / 'results.csv').exists()
    cell = canonical(Cell('cql', small, 'halfcheetah-small-v2'))
    write_rows([row(0, 40, 1.0, cell, 40)], tmp_path / 'other.csv')
    other = ('--known', str(tmp_path / 'other.csv'), '--seeds', '2')
    assert main(words(small, tmp_path / 'c', *other, algorithms='cql')) == 2
    assert 'made from another halfcheetah-small-v2 (digest d0' in capsys.readouterr().err


def test_seeds_in_one_batch_give_what_they_give_alone(small, tmp_path):
    main(words(small, tmp_path / 'a', '--seeds', '2', algorithms='h2o'))
    main(words(small, tmp_path / 'b', '--seeds', '2', '--batch-seeds', '2', algorithms='h2o'))
    alone, together = lines_of(tmp_path / 'a'), lines_of(tmp_path / 'b')
    for one, other in zip(alone, together, strict=True):
        assert float(one.pop('return_mean')) == pytest.approx(
            float(other.pop('return_mean')), abs=0.05
        )
        for name in ('return_std', 'score'):
            assert float(one.pop(name)) == pytest.approx(float(other.pop(name)), abs=0.05)
        assert one == other


def test_ctrl_c_saves_and_the_same_command_goes_on(small, tmp_path, monkeypatch, capsys):
    folder, shown = tmp_path / 'runs', GridProgress.at

    def interrupt(progress, batch, updates, rows):
        shown(progress, batch, updates, rows)
        if updates >= 25:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(GridProgress, 'at', interrupt)
    assert main(words(small, folder)) == 130
    assert 'h2o' in (said := capsys.readouterr()).err and 'interrupted and saved' in said.err
    assert '| missing | missing |' in said.out
    monkeypatch.undo()
    monkeypatch.setenv('H2O_DATASETS', str(tmp_path))
    assert main(words(small, folder)) == 0
    assert 'goes on after 28 updates' in capsys.readouterr().err
    assert [r['update'] for r in lines_of(folder)] == ['20', '40', '20', '40']
    assert not list((folder / 'progress').iterdir())
    assert len(gap_samples.read(next(folder.glob('gaps/h2o*')))) == 2 * gap_samples.KEPT


def test_a_killed_run_goes_on_from_its_checkpoint(small, tmp_path, processes, wait_until, capsys):
    folder = tmp_path / 'runs'
    command = words(small, folder, '--saving', '0', algorithms='h2o', steps=4000)
    process = processes.start([sys.executable, '-m', 'h2o_ros.experiments', *command])
    wait_until(lambda: list(folder.glob('progress/*/checkpoint.safetensors')), 60, 'a checkpoint')
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / 'results.csv').exists()
    settings = Settings(4000, 20, 2, 4, saving=0.0)
    cell = canonical(Cell('h2o', small, 'halfcheetah-small-v2', 'gravity'))
    place = ResultsFolder(folder).place(cell, (0,))
    run = Run(cell, (0,), settings, place, Datasets())
    done = run.trainer.updates
    assert done >= 20 and [r.update for r in run.rows] == list(range(20, done + 1, 20))
    assert not run.train(stopping=lambda: run.trainer.updates >= done + 40)
    assert [r.update for r in run.rows][: done // 20 + 2] == list(range(20, done + 41, 20))


def test_a_run_that_fails_is_named_and_the_others_go_on(small, tmp_path, capsys):
    folder = tmp_path / 'runs'
    cell = canonical(Cell('h2o', small, 'halfcheetah-small-v2', 'gravity'))
    place = ResultsFolder(folder).place(cell, (0,))
    place.mkdir()
    (place / 'checkpoint.safetensors').write_bytes(b'torn')
    assert main(words(small, folder)) == 1
    said = capsys.readouterr()
    assert 'error: h2o' in said.err and 'checkpoint.safetensors: torn' in said.err
    assert [r['algorithm'] for r in lines_of(folder)] == ['sac', 'sac']


def test_the_time_left_counts_each_algorithm_at_its_own_speed():
    class Line:
        def __init__(self):
            self.texts = []

        def show(self, text):
            self.texts.append(text)

        message, forget, close = (lambda *_: None,) * 3

    class Part:
        def __init__(self, name, seeds):
            self.cell, self.seeds = Cell(name, 'x', '-', 'none'), seeds

    now = [0.0]
    parts = [Part('a', (0,)), Part('b', (0, 1)), Part('a', (1,))]
    line = Line()
    progress = GridProgress(parts, 1000, line, lambda: now[0])
    progress.begin(parts[0], 200)
    now[0] = 30.0  # compilation says nothing about the rate
    progress.at(parts[0], 200, [])
    assert line.texts[-1].endswith('update 200/1,000')
    now[0] = 36.0
    progress.at(parts[0], 500, [])  # 50/s: 10 s for the rest, 20 s for each of the others
    assert line.texts[-1].endswith('update 500/1,000  50/s  50 s left')
    now[0] = 46.0
    progress.done(parts[0], [row(0, 1000, 5.0)])
    progress.begin(parts[1], 0)
    progress.at(parts[1], 0, [])
    now[0] = 86.0
    progress.at(parts[1], 400, [])  # 10/s: 60 s for the rest, then a at its 20 s
    assert '2 of 3' in line.texts[-1] and line.texts[-1].endswith('2 x 10/s  1 min 20 s left')


def test_the_same_grid_on_ray(small, tmp_path):
    ray = pytest.importorskip('ray')
    main(words(small, tmp_path / 'here'))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert main(words(small, tmp_path / 'ray', '--ray')) == 0
    finally:
        ray.shutdown()
    assert lines_of(tmp_path / 'ray') == lines_of(tmp_path / 'here')


def test_without_ray_one_line_says_so(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert main(words(small, tmp_path / 'runs', '--ray')) == 2
    assert capsys.readouterr().err == (
        'error: --ray: Ray is not installed; pip install ray, or leave --ray out\n'
    )


def test_results_name_their_machine_and_version_without_commas(small, tmp_path):
    main(words(small, tmp_path / 'runs', algorithms='sac'))
    (first, *_) = lines_of(tmp_path / 'runs', without=())
    assert first['version'] and first['machine'] and ',' not in first['machine']
    manifest = json.loads((tmp_path / 'runs' / 'manifest.json').read_text())
    assert manifest['gap']['gravity']['gravity'] == 2.0
    assert time.strptime(first['date'], '%Y-%m-%d')


def test_samples_of_a_seed_that_is_a_date_keep_their_seed(monkeypatch):
    task = load_task('half_cheetah')
    ones, flags = np.ones(3, np.float32), np.zeros(3, bool)
    states, actions = np.zeros((3, len(task.observation))), np.zeros((3, len(task.action)))
    rows = Transitions(states, actions, ones, states, flags, flags)
    trainer = SimpleNamespace(
        task=task, config=SimpleNamespace(classifiers=True), seeds=[20260101], updates=7,
        dynamics_gap=lambda *_: (ones, ones), value=lambda *_: ones,
    )  # fmt: skip
    monkeypatch.setattr(gap_samples, '_explore', lambda *_: rows)
    assert set(gap_samples.sample(trainer, 'none')[:, 0]) == {20260101}
