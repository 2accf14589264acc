"""The wheel-legged comparison's folder: whole results, of one task, robot, seeds and recording."""

import json
import os

import pytest

from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core import manifest
from h2o_ros.experiments.wheel_legged import compare
from h2o_ros.report.output import FolderLock
from h2o_ros.task import find_task, share_folder


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Give the task's file, and a comparison's options; trainings are as quick as the LQR."""
    path = tmp_path / 'standing_short.yaml'
    text = find_task('standing_still').read_text(encoding='utf-8')
    path.write_text(text.replace('horizon: 6000', 'horizon: 20'), encoding='utf-8')

    def run(algorithm, task, real, options):
        lqr = compare.run_lqr(task, options.robot)
        rows = [row | {'seed': options.first_seed} for row in lqr['rows']]
        made = {'algorithm': algorithm, 'updates': options.updates, 'real_rows': len(real)}
        return lqr | made | {'rows': rows}

    monkeypatch.setattr(compare, 'run', run)
    return path


def words(small, *more, algorithms='lqr,h2o'):
    """Return a command line; what comes later wins."""
    return [
        '--task', str(small), '--seeds', '1', '--updates', '64', '--algorithms', algorithms,
        '--bag', str(share_folder('bags') / 'moving_straight_demo'),
        '--output', str(small.parent / 'runs'), *more,
    ]  # fmt: skip


def refused(command, capsys):
    """Return the line with which a command is refused."""
    capsys.readouterr()
    assert compare.main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1
    return said


def test_results_of_other_options_are_refused(small, tmp_path, capsys):
    assert compare.main(words(small)) == 0
    assert compare.main(words(small, algorithms='h2o,sac')) == 0
    for given, message in (
        (['--robot', 'hard'], 'robot standard where hard'),
        (['--seeds', '2'], 'seeds 0 where 0, 1'),
        (['--first-seed', '3'], 'seeds 0 where 3'),
        (['--environments', '8'], 'environments 32 where 8'),
        (['--updates', '32'], 'updates 64 where 32'),
        (['--task', 'moving_straight'], 'task standing_still where moving_straight'),
        (['--bag', str(share_folder('bags') / 'standing_still_demo')], 'recorded steps '),
    ):
        assert message in refused(words(small, *given), capsys)
    small.write_text(small.read_text().replace('horizon: 20', 'horizon: 21'))
    assert 'horizon 20, now 21' in refused(words(small), capsys)


def test_results_that_are_older_than_the_manifest_are_looked_at_themselves(small, capsys):
    assert compare.main(words(small)) == 0
    (small.parent / 'runs' / 'manifest.json').unlink()
    for given, message in (
        (['--robot', 'hard'], 'robot standard'),
        (['--first-seed', '3'], 'seeds 0'),
        (['--task', 'moving_straight'], 'task standing_still'),
        (['--bag', str(share_folder('bags') / 'standing_still_demo')], 'recorded steps '),
    ):
        said = refused(words(small, *given), capsys)
        assert '.json: of ' in said and message in said and 'another --output' in said
    assert compare.main(words(small)) == 0
    assert (small.parent / 'runs' / 'manifest.json').exists()


@pytest.mark.parametrize('text', ['{"algorithm": "h2o"', '[]', '{"algorithm": "h2o"}'])
def test_a_damaged_result_is_one_line(small, text, capsys):
    assert compare.main(words(small)) == 0
    path = small.parent / 'runs' / 'h2o.json'
    path.write_text(text)
    assert f'{path}: damaged' in refused(words(small), capsys)


def test_a_result_is_written_whole_or_not_at_all(small, monkeypatch):
    synced = []

    def stop(file):
        synced.append(file)
        if len(synced) > 2:  # the manifest is the first
            raise KeyboardInterrupt

    monkeypatch.setattr('h2o_ros.algorithms.files.tensor_file.os.fsync', stop)
    with pytest.raises(KeyboardInterrupt):
        compare.main(words(small, algorithms='lqr'))
    there = {path.name for path in (small.parent / 'runs').iterdir()}
    assert there == {'.lock', 'manifest.json'}


def test_algorithms_of_one_name_are_refused(small, tmp_path, capsys):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        for name in ('own', 'lqr', 'manifest'):
            (tmp_path / folder / f'{name}.yaml').write_text('beta: 0.5\n')
    names = [str(tmp_path / folder / 'own.yaml') for folder in ('a', 'b')]
    said = refused(words(small, algorithms=','.join(names)), capsys)
    assert f'--algorithms: {names[0]} and {names[1]} would both be own.json; rename one' in said
    for name in ('lqr', 'manifest'):
        path = tmp_path / 'a' / f'{name}.yaml'
        assert f'would both be {name}.json' in refused(words(small, algorithms=str(path)), capsys)
    assert compare.main(words(small, algorithms=names[0])) == 0
    (tmp_path / 'b' / 'own.yaml').write_text('beta: 0.1\n')
    assert 'algorithm own: beta' in refused(words(small, algorithms=names[1]), capsys)


def test_every_algorithm_is_known_before_one_is_trained(small, capsys):
    assert "'magic'" in refused(words(small, algorithms='lqr,magic'), capsys)
    assert not [*(small.parent / 'runs').glob('*.json')]


def test_the_table_is_of_the_results_alone(small):
    assert compare.main(words(small)) == 0
    runs = small.parent / 'runs'
    assert json.loads((runs / 'manifest.json').read_text())['settings']['seeds'] == 1
    assert 'manifest' not in (runs / 'table.md').read_text()


def test_what_was_asked_for_and_never_made_does_not_bind(tmp_path):
    settings = {'seeds': 50}
    manifest.claim(tmp_path, settings, {})
    manifest.claim(tmp_path, {'seeds': 5}, {}, empty=True)
    with pytest.raises(ConfigurationError, match='other results, with seeds 5 where 50'):
        manifest.claim(tmp_path, settings, {})


def test_two_commands_do_not_share_a_folder(small, capsys):
    folder = small.parent / 'runs'
    folder.mkdir()
    other = FolderLock(folder)
    assert f'in use by another run (process {os.getpid()})' in refused(words(small), capsys)
    assert not list(folder.glob('*.json'))
    other.close()
    assert compare.main(words(small)) == 0
