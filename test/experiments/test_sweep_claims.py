"""What a grid's results rest on: changed data, settings or tasks are refused, also once done."""

import json

import pytest
import yaml
from grid_samples import DATASET, make_small, words, write_dataset
from result_samples import row

from h2o_ros.experiments import __main__ as grid_command
from h2o_ros.experiments.__main__ import main
from h2o_ros.experiments.core import provenance
from h2o_ros.experiments.core.results import write_rows
from h2o_ros.experiments.sweep.run_config import (
    Cell,
    Datasets,
    canonical,
    configuration,
    digest_of_recipe,
    recipe,
)
from h2o_ros.task import load_task


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Give the file of a small task, and a dataset of it; a command reads the file anew."""
    configuration.cache_clear()
    return make_small(tmp_path, monkeypatch)


def change(path, **fields):
    """Change a task's file; fields of `learning` by its name."""
    configuration.cache_clear()
    content = yaml.safe_load(path.read_text())
    content['learning'] |= fields.pop('learning', {})
    path.write_text(yaml.safe_dump(content | fields))


def refused(command, capsys):
    """Return the line with which a command is refused."""
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1
    return said


@pytest.mark.parametrize(
    ('here', 'said'),
    [
        ('v1', ''),
        ('v2', '1 of the 1 runs that there are were made by other code (v1; here v2) and stay'),
        ('v1-dirty', '(v1; here v1-dirty)'),
    ],
)
def test_runs_of_other_code_are_told_of(here, said, small, tmp_path, monkeypatch, capsys):
    write_finished(tmp_path / 'runs', small, 'v1')
    monkeypatch.setattr(provenance, 'version', lambda: here)
    monkeypatch.setattr(grid_command, 'version', lambda: here)
    assert main(words(small, tmp_path / 'runs', '--show', algorithms='sac')) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if 'other code' in line]
    assert len(told) == bool(said) and said in ''.join(told)
    assert not said or f'another --output, or remove their files from {tmp_path}' in told[0]


def test_a_run_from_a_tree_with_changes_is_of_other_code(small, tmp_path, monkeypatch, capsys):
    write_finished(tmp_path / 'runs', small, 'v1-dirty')
    monkeypatch.setattr(provenance, 'version', lambda: 'v1-dirty')
    assert main(words(small, tmp_path / 'runs', '--show', algorithms='sac')) == 0
    assert '1 of the 1 runs' in capsys.readouterr().out


def write_finished(folder, small, version):
    """Write a finished run of SAC, as a version of the code left it."""
    cell = canonical(Cell('sac', small, DATASET, 'gravity'))
    (folder / 'runs').mkdir(parents=True)
    made = [row(0, update, cell=cell, steps=40, version=version) for update in (20, 40)]
    write_rows(made, folder / 'runs' / 'one.csv')


@pytest.mark.parametrize('more', [(), ('--show',)])
def test_a_finished_grid_still_refuses_what_has_changed(small, tmp_path, more, capsys):
    command, task = words(small, tmp_path / 'runs', *more), tmp_path / 'small.yaml'
    assert main(words(small, tmp_path / 'runs')) == 0
    manifest = (tmp_path / 'runs' / 'manifest.json').read_text()
    assert main(command) == 0

    write_dataset(tmp_path, load_task(small), seed=6)
    assert f'with dataset {DATASET}: ' in refused(command, capsys)
    write_dataset(tmp_path, load_task(small), seed=5)
    before = task.read_text()
    change(task, learning={'beta': 0.5})
    assert 'beta as usual, now 0.5; choose another --output' in refused(command, capsys)
    task.write_text(before)
    change(task, horizon=40)
    assert 'small.yaml: horizon 30, now 40; choose another --output' in refused(command, capsys)
    task.write_text(before)
    configuration.cache_clear()
    assert main(command) == 0
    assert (tmp_path / 'runs' / 'manifest.json').read_text() == manifest


def test_a_dataset_that_is_away_stops_only_what_needs_it(small, tmp_path, capsys):
    assert main(words(small, tmp_path / 'runs')) == 0
    known = ('--known', str(tmp_path / 'runs' / 'results.csv'))
    (tmp_path / f'{DATASET}.hdf5').unlink()
    assert main(words(small, tmp_path / 'runs', '--show')) == 0
    assert main(words(small, tmp_path / 'runs')) == 0
    assert main(words(small, tmp_path / 'new', *known)) == 0
    assert DATASET in refused(words(small, tmp_path / 'runs', '--seeds', '2'), capsys)
    change(tmp_path / 'small.yaml', learning={'beta': 0.5})
    assert 'beta' in refused(words(small, tmp_path / 'runs', '--show'), capsys)


def test_an_older_folder_takes_what_it_has_not_noted(small, tmp_path, capsys):
    path = tmp_path / 'runs' / 'manifest.json'
    assert main(words(small, tmp_path / 'runs', algorithms='sac')) == 0
    older = json.loads(path.read_text())
    del older['task']
    path.write_text(json.dumps(older))
    assert main(words(small, tmp_path / 'runs', '--seeds', '2', algorithms='sac')) == 0
    assert small in json.loads(path.read_text())['task']
    path.write_text('[]')
    assert 'manifest.json: damaged' in refused(words(small, tmp_path / 'runs', '--show'), capsys)


def test_showing_an_empty_folder_claims_nothing(small, tmp_path):
    assert main(words(small, tmp_path / 'runs', '--show', steps=60)) == 0
    assert not (tmp_path / 'runs' / 'manifest.json').exists()
    assert main(words(small, tmp_path / 'runs', algorithms='sac')) == 0


def test_known_runs_are_of_the_same_settings_and_episodes(small, tmp_path, capsys):
    cell = canonical(Cell('h2o', small, DATASET, 'gravity'))
    usual = {
        'digest': Datasets().digest(DATASET, load_task(small)),
        'recipe': digest_of_recipe(recipe(configuration(cell, 40))),
        'episodes': 2,
    }

    def command(*more, **changed):
        write_rows([row(0, 40, 1.0, cell, 40, **(usual | changed))], tmp_path / 'known.csv')
        known = ('--known', str(tmp_path / 'known.csv'), *more)
        return words(small, tmp_path / 'runs', *known, algorithms='h2o')

    assert main(command()) == 0
    for more in ((), ('--show',)):
        said = refused(command(*more, recipe='r0'), capsys)
        assert 'known results: h2o' in said and 'other settings (recipe r0, here ' in said
        said = refused(command(*more, digest='d0'), capsys)
        assert f'known results: made from another {DATASET} (digest d0' in said
    said = refused(command(episodes=5), capsys)
    assert 'known results: made with --episodes 5, here 2 (h2o ' in said
    assert main(command('--show', episodes=5)) == 0  # the table says over how many
