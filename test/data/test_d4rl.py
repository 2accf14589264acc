"""Datasets as D4RL's and Minari's: read, written, refused, scored, and made again."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from h2o_ros import cli
from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.files import tensor_file
from h2o_ros.algorithms.files.policy import Policy
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.commands import dataset
from h2o_ros.data.datasets import d4rl
from h2o_ros.data.datasets.d4rl import (
    ENVIRONMENTS,
    dataset_names,
    is_dataset,
    load_d4rl,
    normalised_score,
    read_metadata,
    write_d4rl,
)
from h2o_ros.data.datasets.minari import import_minari
from h2o_ros.data.load import episode_returns, load_recorded
from h2o_ros.errors import BagError, ConfigurationError, H2OError
from h2o_ros.experiments.d4rl import behaviour_policy
from h2o_ros.experiments.d4rl import make as make_module
from h2o_ros.experiments.d4rl.behaviour_policy import BehaviourRun
from h2o_ros.experiments.d4rl.make import collect, make, make_replay, parse_name, shares
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

TASK = load_task('half_cheetah')
SHORT = dataclasses.replace(TASK, horizon=40)
SMALL = {'hidden': (8, 8), 'batch': 8, 'compile': 'off'}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Look names up in an empty folder."""
    monkeypatch.setenv('H2O_DATASETS', str(tmp_path / 'datasets'))
    monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
    return tmp_path / 'datasets'


def columns(count=6, **changes):
    """Return the columns of a dataset in which row i's numbers are i, but for the actions."""
    rows = np.arange(count, dtype=np.float64)
    values = {
        'observations': np.repeat(rows[:, None], 17, 1),
        'actions': np.full((count, 6), 0.5),
        'rewards': rows,
        'terminals': np.zeros(count, bool),
        'timeouts': np.zeros(count, bool),
        'next_observations': np.repeat(rows[:, None], 17, 1) + 0.5,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        for name, value in values.items():
            file[name] = value
    return path


def flags(count, *rows):
    return np.isin(np.arange(count), rows)


# What is read


def test_what_is_written_is_read(tmp_path):
    generator = np.random.default_rng(0)
    there = Transitions(
        generator.normal(size=(9, 17)),
        generator.uniform(-1, 1, (9, 6)),
        generator.normal(size=9),
        generator.normal(size=(9, 17)),
        flags(9, 2),
        flags(9, 5, 8),
    )
    path = tmp_path / 'new' / 'some.hdf5'
    infos = {'qpos': np.ones((9, 9))}
    write_d4rl(path, there, infos, {'seed': 3, 'policy/name': 'p', 'policy/weight': np.zeros(4)})
    read = load_d4rl(path, TASK)
    for field in dataclasses.fields(Transitions):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(there, field.name))
    with h5py.File(path) as file:
        assert set(file) == {
            'observations', 'actions', 'rewards', 'terminals', 'timeouts', 'next_observations',
            'infos', 'metadata',
        }  # fmt: skip
        assert file['observations'].dtype == np.float32
        assert file['infos/qpos'].shape == (9, 9)
    assert read_metadata(path) == {'seed': 3, 'policy/name': 'p'}
    assert [entry.name for entry in path.parent.iterdir()] == ['some.hdf5']


def test_a_write_that_fails_leaves_nothing(tmp_path):
    rows = Transitions(*(np.zeros(s) for s in ((1, 17), (1, 6), 1, (1, 17), 1, 1)))
    with pytest.raises(TypeError):
        write_d4rl(tmp_path / 'a.hdf5', rows, {'strange': np.array([object()])})
    (tmp_path / 'file').touch()
    with pytest.raises(BagError, match='cannot be written'):
        write_d4rl(tmp_path / 'file' / 'a.hdf5', rows)
    assert [entry.name for entry in tmp_path.iterdir()] == ['file']


def test_only_failures_terminate_and_the_last_row_ends_an_episode(tmp_path):
    values = columns(terminals=flags(6, 1), timeouts=flags(6, 1, 3))
    rows = load_d4rl(write(tmp_path / 'a.hdf5', values), TASK)
    assert rows.terminated.tolist() == [False, True, False, False, False, False]
    assert rows.truncated.tolist() == [False, False, False, True, False, True]
    assert rows.next_observation[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert episode_returns(rows).tolist() == [0 + 1, 2 + 3, 4 + 5]


def test_next_observations_follow_inside_an_episode(tmp_path):
    values = columns(8, terminals=flags(8, 2), timeouts=flags(8, 5), next_observations=None)
    rows = load_d4rl(write(tmp_path / 'a.hdf5', values), TASK)
    # rows 5 and 7 end without failure, so what followed them is not known
    assert rows.observation[:, 0].tolist() == [0, 1, 2, 3, 4, 6]
    assert rows.next_observation[:, 0].tolist() == [1, 2, 2, 4, 5, 7]
    assert rows.terminated.tolist() == [False, False, True, False, False, False]
    assert rows.truncated.tolist() == [False, False, False, False, True, True]


def test_without_timeouts_episodes_end_at_the_horizon(tmp_path):
    task = dataclasses.replace(TASK, horizon=3)
    values = columns(10, terminals=flags(10, 1, 5), timeouts=None)
    rows = load_d4rl(write(tmp_path / 'a.hdf5', values), task)
    # 0 1 | 2 3 4 | 5 | 6 7 8 | 9
    assert np.flatnonzero(rows.truncated).tolist() == [4, 8, 9]
    assert np.flatnonzero(rows.terminated).tolist() == [1, 5]


def test_columns_of_one_and_numbers_for_flags_are_understood(tmp_path):
    values = columns(
        rewards=np.arange(6.0)[:, None], terminals=flags(6, 4)[:, None].astype(np.uint8)
    )
    rows = load_d4rl(write(tmp_path / 'a.hdf5', values), TASK)
    assert rows.reward.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(rows.terminated).tolist() == [4]


def with_value(value, row, name='observations'):
    changed = columns()[name]
    changed[row] = value
    return {name: changed}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'actions': None, 'rewards': None}, ['actions, rewards missing', 'observations, term']),
        (with_value(np.nan, 3), ['observations is not finite in row 3', '1 such']),
        (with_value(np.inf, slice(2, 4), 'rewards'), ['rewards is not finite in row 2', '2 such']),
        (with_value(1e60, 1, 'actions'), ['actions is not finite in row 1']),
        ({'observations': np.zeros((6, 11))}, ['(6, 11)', 'half_cheetah needs', '(6, 17)']),
        ({'actions': np.zeros((6, 3))}, ['actions has shape (6, 3)', '(6, 6)']),
        ({'next_observations': np.zeros((6, 4))}, ['next_observations has shape (6, 4)']),
        ({'rewards': np.zeros(5)}, ['differ in length', 'rewards 5', 'observations 6']),
        ({'timeouts': np.zeros(7)}, ['differ in length', 'timeouts 7']),
        ({'terminals': np.zeros((6, 2))}, ['terminals has shape (6, 2)']),
        ({'rewards': np.array([b'a'] * 6)}, ['rewards has shape (6,) of |S1', 'numbers']),
        ({'rewards': 3.0}, ['differ in length', 'rewards 0']),
        (
            {'terminals': np.array([0, 0, 0, np.nan, 0, 0])},
            ['terminals is nan in row 3', '0 or 1'],
        ),
        ({'terminals': np.array([b'False'] * 6)}, ['terminals holds |S5', 'numbers 0 and 1']),
        ({'terminals': -np.ones(6)}, ['terminals is -1.0 in row 0', '6 such', '0 or 1']),
        ({'timeouts': np.array([0, 0, 2, 0, 0, 0])}, ['timeouts is 2 in row 2', '0 or 1']),
        ({'timeouts': None, 'timeouts/a': np.zeros(6)}, ['timeouts is a group']),
        (
            {'next_observations': None, 'next_observations/a': np.zeros(6)},
            ['next_observations is a group'],
        ),
    ],
)
def test_a_wrong_file_is_refused_by_one_line(tmp_path, changes, words):
    path = write(tmp_path / 'wrong.hdf5', columns(**changes))
    with pytest.raises(BagError) as caught:
        load_d4rl(path, TASK)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    for word in words:
        assert word in text


def test_what_is_no_whole_hdf5_file_is_refused(tmp_path):
    path = write(tmp_path / 'a.hdf5', columns(2000))
    torn = tmp_path / 'torn.h5'
    torn.write_bytes(path.read_bytes()[:20000])
    text = tmp_path / 'text.hdf5'
    text.write_text('observations')
    empty = write(tmp_path / 'empty.hdf5', columns(0))
    for wrong, word in ((torn, 'damaged'), (text, 'not an HDF5 file'), (empty, 'no rows')):
        with pytest.raises(BagError, match=word) as caught:
            load_d4rl(wrong, TASK)
        assert str(caught.value).startswith(str(wrong))
        assert '\n' not in str(caught.value)
    with pytest.raises(BagError, match='no such file'):
        load_d4rl(tmp_path / 'none.hdf5', TASK)


def test_an_unknown_name_lists_what_is_there(folder):
    write(folder / 'halfcheetah-medium-v2.hdf5', columns())
    assert dataset_names() == ['halfcheetah-medium-v2']
    assert len(load_d4rl('halfcheetah-medium-v2', TASK)) == 6
    with pytest.raises(BagError, match='holds halfcheetah-medium-v2; .*h2o dataset make half'):
        load_d4rl('halfcheetah-expert-v2', TASK)


def test_files_under_the_names_that_d4rl_gave_them_are_found(folder, capsys):
    write(folder / 'halfcheetah_medium_replay-v2.hdf5', columns())
    assert len(load_d4rl('halfcheetah-medium-replay-v2', TASK)) == 6
    assert cli.main(['dataset', 'show', 'halfcheetah-medium-replay-v2']) == 0
    assert 'halfcheetah_medium_replay-v2: 6 steps' in capsys.readouterr().out


def test_scores_by_hand():
    assert normalised_score('half_cheetah', -280.178953) == 0.0
    assert normalised_score('half_cheetah', 12135.0) == 100.0
    # 5050.178953 of 12415.178953
    assert normalised_score('half_cheetah', 4770.0) == pytest.approx(40.677456)
    # 2850.370992 of 4590.670992
    assert normalised_score('walker2d', 2852.0) == pytest.approx(62.090509)
    with pytest.raises(ValueError, match='standing_still.*half_cheetah, walker2d'):
        normalised_score('standing_still', 0.0)


# Wherever bags are taken


def test_datasets_are_taken_by_name_and_file_several_by_commas(folder, tmp_path):
    write(folder / 'halfcheetah-medium-v2.hdf5', columns())
    write(tmp_path / 'b.hdf5', columns(4, actions=np.full((4, 6), 1.5)))
    both = load_recorded(f'halfcheetah-medium-v2, {tmp_path / "b.hdf5"}', TASK)
    assert both.transitions.reward.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    report = both.report
    assert (report.steps, report.episodes, report.failures, report.clipped) == (10, 2, 0, 24)
    assert report.mean_return == pytest.approx((15 + 6) / 2)
    assert report.score == pytest.approx(100 * (10.5 + 280.178953) / 12415.178953)
    assert '10 steps in 2 episodes' in str(report)
    with pytest.raises(BagError, match='given twice'):
        load_recorded(f'halfcheetah-medium-v2,{folder}/halfcheetah-medium-v2.hdf5', TASK)


def test_what_makes_no_sense_is_refused(folder, tmp_path):
    path = write(tmp_path / 'a.hdf5', columns())
    standing = load_task('standing_still')
    with pytest.raises(BagError, match='either bags or datasets'):
        load_recorded(f'bags/standing_still_demo,{path}', standing)
    with pytest.raises(BagError, match='standing_still needs'):
        load_recorded(str(path), standing)
    with pytest.raises(BagError, match='no bag is of it; give --bag .* the name of a dataset'):
        load_recorded('bags/standing_still_demo', TASK)
    with pytest.raises(BagError, match='none was named.*halfcheetah-medium-replay-v2'):
        load_recorded('', TASK)


def test_a_folder_of_bags_may_be_called_like_a_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_dataset('walker2d-takes')
    (tmp_path / 'walker2d-takes').mkdir()
    assert not is_dataset('walker2d-takes')
    assert not is_dataset('runs/teleop')


def test_a_learner_learns_from_a_dataset(folder):
    generator = np.random.default_rng(0)
    made = collect(TASK, lambda rows: generator.uniform(-1, 1, (len(rows), 6)), {}, 200, 2, 0)
    write_d4rl(folder / 'halfcheetah-random-v2.hdf5', made.transitions)
    real = load_recorded('halfcheetah-random-v2', TASK).transitions
    config = load_config('h2o', TASK, **SMALL, classifier_hidden=(8,), classifier_batch=8)
    trainer = Trainer(config, TASK, real, [0])
    trainer.add_simulated(made.transitions)
    before = trainer.policy().weights[0].copy()
    trainer.update(3)
    assert (trainer.policy().weights[0] != before).any()


# Minari


def episode(length, start=0.0, terminated=False, truncated=False):
    """Return an episode's columns; the observation of step i is start + i."""
    end = flags(length, length - 1)
    return {
        'observations': np.repeat(start + np.arange(length + 1.0)[:, None], 17, 1),
        'actions': np.full((length, 6), 0.25),
        'rewards': np.ones(length),
        'terminations': end & terminated,
        'truncations': end & truncated,
    }


def write_minari(path, *episodes):
    named = {
        f'episode_{i}/{name}': values
        for i, columns_of_one in enumerate(episodes)
        for name, values in columns_of_one.items()
    }
    return write(path, named)


def test_episodes_of_minari_become_transitions(tmp_path):
    file = tmp_path / 'minari' / 'mujoco' / 'some-v0' / 'data' / 'main_data.hdf5'
    # twelve episodes, since episode_10 sorts before episode_2 as text
    middle = [episode(1, 10.0 * i, truncated=True) for i in range(2, 12)]
    write_minari(
        file, episode(3, terminated=True, truncated=True), episode(2, 10.0), *middle, episode(0)
    )
    for source in ('mujoco/some-v0', file, file.parent, file.parent.parent):
        rows = import_minari(source, TASK)
        assert rows.observation[:, 5].tolist() == [0, 1, 2, 10, 11, *range(20, 120, 10)]
        assert rows.next_observation[:, 5].tolist() == [1, 2, 3, 11, 12, *range(21, 121, 10)]
        assert np.flatnonzero(rows.terminated).tolist() == [2]
        assert np.flatnonzero(rows.truncated).tolist() == [4, *range(5, 15)]


def test_wrong_files_of_minari_are_refused(tmp_path):
    whole = episode(4, truncated=True)
    cases = {
        'truncations missing': {k: v for k, v in whole.items() if k != 'truncations'},
        r'observations has shape \(4, 17\), expected \(5, 17\)': {
            **whole, 'observations': whole['observations'][:4],
        },
        r'expected \(4, 6\) for task half_cheetah': {**whole, 'actions': np.zeros((4, 2))},
        'observations in parts': {
            **{k: v for k, v in whole.items() if k != 'observations'},
            'observations/place': np.zeros(5),
        },
        'not finite': {**whole, 'rewards': np.full(4, np.nan)},
        'terminations is 2 in row 0': {**whole, 'terminations': np.full(4, 2)},
    }  # fmt: skip
    for words, wrong in cases.items():
        path = write_minari(tmp_path / 'wrong.hdf5', episode(2), wrong)
        with pytest.raises(BagError, match=words):
            import_minari(path, TASK)
    with pytest.raises(BagError, match='no groups episode_0'):
        import_minari(write(tmp_path / 'd4rl.hdf5', columns()), TASK)
    with pytest.raises(BagError, match='which holds mujoco/known-v0;'):
        write_minari(tmp_path / 'minari/mujoco/known-v0/data/main_data.hdf5', whole)
        import_minari('mujoco/unknown-v0', TASK)
    arrow = tmp_path / 'minari' / 'arrow-v0' / 'data'
    arrow.mkdir(parents=True)
    (arrow / 'metadata.json').write_text('{"data_format": "arrow"}')
    with pytest.raises(BagError, match="data format is 'arrow'"):
        import_minari('arrow-v0', TASK)


# Made again


def test_steps_are_those_of_the_physics():
    walker = load_task('walker2d')
    request = parse_name('walker2d-random-v2')
    made = make(request, steps=1000, robots=4, seed=0, policies={})
    rows = made.transitions
    assert len(rows) == 1000
    np.testing.assert_array_equal(
        rows.observation[:, :8], made.infos['qpos'][:, 1:].astype(np.float32)
    )
    velocity = np.clip(made.infos['qvel'], -10, 10).astype(np.float32)
    np.testing.assert_array_equal(rows.observation[:, 8:], velocity)
    ended = rows.terminated | rows.truncated
    inside = ~ended[:-1]
    np.testing.assert_array_equal(rows.next_observation[:-1][inside], rows.observation[1:][inside])
    np.testing.assert_array_equal(
        rows.terminated, walker.compute_terminated(rows.next_observation)
    )
    assert ended[249::250].all()  # each robot's last step
    assert rows.terminated.sum() > 20  # random actions fell it within some 20 steps
    assert np.abs(rows.action).max() > 0.9
    again = make(request, steps=1000, robots=4, seed=0, policies={})
    np.testing.assert_array_equal(again.transitions.observation, rows.observation)
    other = make(request, steps=1000, robots=4, seed=1, policies={})
    assert (other.transitions.action != rows.action).any()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Train a little: three segments, the first of random actions."""
    folder = tmp_path_factory.mktemp('run')
    run = BehaviourRun(SHORT, folder, 0, warmup=40, segment=40, **SMALL)
    return run, list(run.train(120))


def test_a_run_that_was_interrupted_goes_on_as_if_not(trained, tmp_path):
    whole, progress = trained
    assert [row.steps for row in progress] == [40, 80, 120]
    first = BehaviourRun(SHORT, tmp_path, 0, warmup=40, segment=40, **SMALL)
    next(first.train(120))
    half = first.train(120)
    next(half)
    first.close()
    # a segment that was cut short, after its measurement, is made again
    with (tmp_path / 'progress.csv').open('a') as file:
        file.write('120,9999.0,9999.0,1.0\n')
    second = BehaviourRun(SHORT, tmp_path, 0, warmup=40, segment=40, **SMALL)
    assert second.steps == 80
    assert [row.steps for row in second.history()] == [40, 80]
    list(second.train(120))
    assert second.policy_file(120).read_bytes() == whole.policy_file(120).read_bytes()
    assert whole.policy_file(120).read_bytes() != whole.policy_file(40).read_bytes()
    kept = [(row.steps, row.deterministic, row.sampled) for row in second.history()]
    assert kept == [(row.steps, row.deterministic, row.sampled) for row in progress]
    rows = whole.buffer(120)
    np.testing.assert_array_equal(second.buffer(120).action, rows.action)
    starts = rows.observation[[0, 40, 80], 0]
    assert len(set(starts.tolist())) == 3


class Killed(BaseException):
    pass


@pytest.mark.parametrize('step', ['segment', 'policy', 'note', 'checkpoint'])
def test_a_kill_between_two_files_of_a_segment_loses_nothing(step, trained, tmp_path, monkeypatch):
    whole, _ = trained
    first = BehaviourRun(SHORT, tmp_path, 0, warmup=40, segment=40, **SMALL)
    next(first.train(120))

    def killed(*_arguments):
        raise Killed

    target, name = {
        'segment': (behaviour_policy, 'write_d4rl'),
        'policy': (Policy, 'save'),
        'note': (BehaviourRun, '_note'),
        'checkpoint': (Trainer, 'save'),
    }[step]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(target, name, killed)
        next(first.train(120))
    first.close()
    second = BehaviourRun(SHORT, tmp_path, 0, warmup=40, segment=40, **SMALL)
    assert second.steps == 40
    list(second.train(120))
    assert [row.sampled for row in second.history()] == [row.sampled for row in whole.history()]
    np.testing.assert_array_equal(second.buffer(120).action, whole.buffer(120).action)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('steps,deterministic,sampled,seconds\n40,1.0', 'line 2'),
        ('steps,deterministic,sampled,seconds\n40,1.0,2.0,3.0,4.0\n', 'line 2'),
        ('steps,deterministic,sampled,seconds\n40,1.0,2.0,x\n', 'line 2'),
        ('steps,deterministic\n40,1.0\n', 'line 2'),
        ('', 'no line for step 40'),
        ('steps,deterministic,sampled,seconds\n', 'no line for step 40'),
    ],
)
def test_a_torn_progress_file_is_one_line(text, words, tmp_path):
    run = BehaviourRun(SHORT, tmp_path, 0, warmup=40, segment=40, **SMALL)
    next(run.train(40))
    (tmp_path / 'progress.csv').write_text(text)
    with pytest.raises(BagError, match=words) as caught:
        run.history()
    assert str(tmp_path / 'progress.csv') in str(caught.value) and '\n' not in str(caught.value)


def test_a_full_disk_leaves_the_progress_as_it_was(tmp_path, monkeypatch):
    run = BehaviourRun(SHORT, tmp_path, 0, warmup=40, segment=40, **SMALL)
    next(run.train(40))
    before = (tmp_path / 'progress.csv').read_bytes()

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(tensor_file.os, 'fsync', full)
    with pytest.raises(H2OError, match='No space left'):
        run._note(behaviour_policy.Progress(80, 0.0, 0.0, 0.0))
    assert (tmp_path / 'progress.csv').read_bytes() == before


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    words = ['dataset', 'train', 'halfcheetah', '--steps', '1', '--runs', str(tmp_path)]
    run = BehaviourRun(SHORT, tmp_path / 'half_cheetah_0', **SMALL)
    program = f'from h2o_ros import cli; raise SystemExit(cli.main({words}))'
    command = [sys.executable, '-c', program]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert other.returncode == 2, other.stderr
    assert other.stderr.startswith('error: ') and other.stderr.count('\n') == 1
    assert str(os.getpid()) in other.stderr and 'half_cheetah_0' in other.stderr
    run.close()
    BehaviourRun(SHORT, tmp_path / 'half_cheetah_0', **SMALL).close()


def test_two_processes_that_write_one_dataset_do_not_meet(tmp_path, monkeypatch):
    rows = Transitions(*(np.zeros(s) for s in ((1, 17), (1, 6), 1, (1, 17), 1, 1)))
    path = tmp_path / 'a.hdf5'
    opened, opening = [], h5py.File

    def open_both(name, mode):
        if mode == 'w' and not opened:
            opened.append(name)
            write_d4rl(path, rows)  # the other one, which ends first
        return opening(name, mode)

    monkeypatch.setattr(h5py, 'File', open_both)
    write_d4rl(path, rows)
    monkeypatch.undo()
    assert len(load_d4rl(path, TASK)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.hdf5']
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_replay_holds_all_steps_until_the_return_is_reached(trained):
    run, progress = trained
    request = parse_name('halfcheetah-medium-replay-v2')
    made, _ = make_replay(request, run, -1e9, 120, tell=lambda row: None)
    assert len(made.transitions) == 40
    level = max(row.sampled for row in progress)
    at = next(row for row in progress if row.sampled >= level)
    made, policy = make_replay(request, run, level, 120, tell=lambda row: None)
    assert len(made.transitions) == at.steps
    assert made.metadata['sampled_return'] == at.sampled
    assert Policy.load(policy).update == at.steps - 40
    trainer_rows = run.trainer.simulated.rows[0, : at.steps, : 17 + 6].numpy()
    np.testing.assert_array_equal(made.transitions.observation, trainer_rows[:, :17])
    np.testing.assert_array_equal(made.transitions.action, trainer_rows[:, 17:])
    with pytest.raises(ConfigurationError, match='no return of 100000 within 120 steps'):
        make_replay(request, run, 1e5, 120, tell=lambda row: None)


def test_medium_expert_is_both_halves(trained, folder):
    run, _ = trained
    words = ['--steps', '60', '--robots', '3']
    policies = [
        f'--policy=medium={run.policy_file(80)}',
        f'--policy=expert={run.policy_file(120)}',
    ]
    names = [f'halfcheetah-{level}-v2' for level in ('medium', 'expert', 'medium-expert')]
    assert cli.main(['dataset', 'make', *names, *words, *policies]) == 0
    medium, expert, both = (load_d4rl(name, TASK) for name in names)
    assert (len(medium), len(expert), len(both)) == (60, 60, 120)
    for name in ('observation', 'action', 'reward', 'truncated'):
        halves = np.concatenate([getattr(medium, name), getattr(expert, name)])
        np.testing.assert_array_equal(getattr(both, name), halves)
    assert np.flatnonzero(medium.truncated).tolist() == [19, 39, 59]
    metadata = read_metadata(folder / f'{names[2]}.hdf5')
    assert metadata['expert/policy'] == '00000120.safetensors'
    # half of it with the same policy is no copy of the other half
    twice = dict.fromkeys(('medium', 'expert'), run.policy_file(80))
    same = make(parse_name(names[2]), 50, 3, 0, twice).transitions
    assert (same.observation[:50] != same.observation[50:]).any(1).all()
    assert np.flatnonzero(same.truncated).tolist() == [16, 33, 49, 66, 83, 99]
    # drawn from the policy, not its mode
    mode = Policy.load(run.policy_file(80)).act(medium.observation)
    assert np.abs(medium.action - mode).mean() > 0.1


@pytest.mark.parametrize(
    ('names', 'policies', 'said'),
    [
        (['random', 'medium-expert'], ['expert=no.safetensors'], 'no.safetensors: cannot be read'),
        (['random', 'medium-expert'], ['expert=torn'], 'torn: torn, or not a file of'),
        (['random', 'medium'], ['expert=x'], '--policy expert=x: no expert policy acts in half'),
        (['random', 'medium-replay'], ['medium=x'], '--policy medium=x: no medium policy acts in'),
    ],
)
def test_policies_are_read_before_the_first_step(
    names, policies, said, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'torn').write_bytes(b'torn')
    asked = [f'halfcheetah-{name}-v2' for name in names]
    given = [f'--policy={policy}' for policy in policies]
    assert cli.main(['dataset', 'make', *asked, '--steps', '20', *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count('\n') == 1
    assert not dataset_names(), 'nothing was made'


def test_a_policy_that_is_not_shipped_is_asked_for(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(d4rl, 'share_folder', lambda name: tmp_path / 'none')
    names = ['halfcheetah-random-v2', 'halfcheetah-medium-expert-v2']
    assert cli.main(['dataset', 'make', *names, '--steps', '20']) == 2
    error = capsys.readouterr().err
    assert 'no medium policy of halfcheetah is shipped' in error and error.count('\n') == 1
    assert not dataset_names(), 'nothing was made'
    for name, policies in (
        ('walker2d-expert-v2', ['expert']),
        ('halfcheetah-medium-expert-v2', ['medium', 'expert']),
    ):
        with pytest.raises(BagError) as caught:
            load_d4rl(name, TASK)
        given = ' '.join(f'--policy {level}=FILE' for level in policies)
        assert str(caught.value).endswith(
            f'or make it: h2o dataset train {name.partition("-")[0]}, then '
            f'h2o dataset make {name} {given}'
        )


@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_policies_of_every_level_are_shipped(name, folder):
    made = f'{name}-medium-expert-v2'
    assert cli.main(['dataset', 'make', made, '--steps', '200', '--robots', '2']) == 0
    metadata = read_metadata(folder / f'{made}.hdf5')
    assert metadata['medium/policy'] == f'{name}-medium.safetensors'
    assert metadata['expert/policy'] == f'{name}-expert.safetensors'
    half = load_d4rl(made, load_task(ENVIRONMENTS[name])).reward.reshape(2, 200)
    assert half[1].mean() > half[0].mean()  # an expert begins to run sooner, too


def test_the_command_shows_and_refuses(folder, capsys):
    make_one = ['dataset', 'make', 'halfcheetah-random-v2', '--steps', '50', '--robots', '1']
    assert cli.main(make_one) == 0
    assert cli.main(['dataset', 'show']) == 0
    shown = capsys.readouterr().out
    assert 'halfcheetah-random-v2: 50 steps in 1 episodes' in shown
    assert 'made_by: h2o_ros' in shown
    for words, said in (
        (make_one, 'exists already'),
        (['dataset', 'make', 'halfcheetah-medium-v9'], 'choose one of halfcheetah-LEVEL-v2'),
        (['dataset', 'make', 'hopper-medium-v2'], 'choose one of halfcheetah-LEVEL-v2'),
        (['dataset', 'make', 'walker2d-expert-v2', '--policy', 'x'], 'expected medium=FILE'),
        (['dataset', 'show', 'walker2d-medium-v2'], 'which holds halfcheetah-random-v2'),
        (['dataset', 'show', str(folder / 'no.hdf5')], 'no such file'),
    ):
        assert cli.main(words) == (1 if 'show' in words else 2), words
        error = capsys.readouterr().err
        assert error.startswith('error: ')
        assert error.count('\n') == 1
        assert said in error


def test_a_folder_that_cannot_be_written_is_told_of_before_the_first_step(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(dataset, 'make', lambda *_: pytest.fail('steps were taken'))
    (tmp_path / 'file').touch()
    for words in (
        ['make', 'halfcheetah-random-v2', '--output', str(tmp_path / 'file')],
        ['make', 'halfcheetah-medium-replay-v2', '--runs', str(tmp_path / 'file')],
        ['train', 'halfcheetah', '--runs', str(tmp_path / 'file')],
    ):
        assert cli.main(['dataset', *words]) == 2, words
        error = capsys.readouterr().err
        assert error.count('\n') == 1
        assert f'{tmp_path}/file is a file; choose another output folder' in error


def test_what_cannot_be_shown_hides_no_other_dataset(folder, capsys):
    make_one = ['dataset', 'make', 'halfcheetah-random-v2', '--steps', '50', '--robots', '1']
    assert cli.main(make_one) == 0
    (folder / 'halfcheetah-a-v2.hdf5').write_bytes(b'torn')
    shutil.copy(folder / 'halfcheetah-random-v2.hdf5', folder / 'a_mine.hdf5')
    capsys.readouterr()
    assert cli.main(['dataset', 'show']) == 1
    shown = capsys.readouterr()
    assert 'halfcheetah-random-v2: 50 steps' in shown.out
    unnamed, torn = shown.err.splitlines()
    assert 'a_mine.hdf5: its name tells no task; give --task' in unnamed
    assert torn.startswith('error: ') and 'halfcheetah-a-v2.hdf5' in torn

    (folder / 'halfcheetah-a-v2.hdf5').unlink()
    assert cli.main(['dataset', 'make', 'walker2d-random-v2', *make_one[3:]]) == 0
    capsys.readouterr()
    assert cli.main(['dataset', 'show', '--task', 'half_cheetah']) == 0
    shown = capsys.readouterr().out
    assert 'a_mine: 50 steps' in shown and 'walker2d-random-v2: 50 steps' in shown


@pytest.mark.parametrize(
    ('steps', 'robots', 'expected'),
    [
        (1_000_000, None, (100, 10_000)),
        (20_000, None, (20, 1000)),
        (101_000, None, (51, 2000)),
        (20_500, None, (21, 1000)),
        (50, None, (1, 50)),
        (20_000, 100, (100, 200)),
    ],
)
def test_so_many_robots_that_episodes_are_whole(steps, robots, expected):
    assert shares(steps, robots, 1000) == expected


@pytest.mark.parametrize(
    ('steps', 'robots', 'said'),
    [(80, [], ''), (80, ['--robots', '4'], 'cut after 20 of 40'), (90, [], 'cut after 10 of 40')],
)
def test_episodes_that_are_cut_are_told_of(steps, robots, said, folder, monkeypatch, capsys):
    monkeypatch.setattr(make_module, 'load_task', lambda name: SHORT)
    words = ['make', 'halfcheetah-random-v2', '--steps', str(steps), *robots]
    assert cli.main(['dataset', *words]) == 0
    out = capsys.readouterr().out
    assert ('cut after' in out) == bool(said) and said in out
    made = load_d4rl('halfcheetah-random-v2', SHORT)
    assert len(made) == steps
    if not robots:
        assert np.flatnonzero(made.truncated).tolist()[:2] == [39, 79]


def test_what_a_training_makes_of_its_steps_is_said(tmp_path, monkeypatch, capsys):
    def small(task, options):
        return BehaviourRun(SHORT, tmp_path / 'run', 0, warmup=40, segment=40, **SMALL)

    monkeypatch.setattr(dataset, '_behaviour', small)
    assert cli.main(['dataset', 'train', 'halfcheetah', '--steps', '5']) == 0
    assert '--steps 5: 40, in whole segments of 40' in capsys.readouterr().out
    assert cli.main(['dataset', 'train', 'halfcheetah', '--steps', '5']) == 0
    said = capsys.readouterr().out
    assert f'nothing is left to do: {tmp_path}/run has 40 steps; give more --steps' in said


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['halfcheetah-random-v2', '--level', '5'], '--level: only medium-replay reads it'),
        (['halfcheetah-medium-replay-v2', '--robots', '5'], '--robots: medium-replay has one'),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words, said, capsys):
    assert cli.main(['dataset', 'make', *words, '--steps', '20']) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'commands'),
    [
        ('halfcheetah-medium-v2', 'h2o dataset make halfcheetah-medium-v2'),
        ('walker2d-medium-replay-v2', 'h2o dataset make walker2d-medium-replay-v2'),
        ('walker2d-medium-v2', 'h2o dataset make walker2d-medium-v2'),
        ('halfcheetah-medium-expert-v2', 'h2o dataset make halfcheetah-medium-expert-v2'),
    ],
)
def test_a_missing_dataset_names_the_commands_that_make_it(name, commands):
    with pytest.raises(BagError) as caught:
        load_d4rl(name, TASK)
    assert str(caught.value).endswith(f'or make it: {commands}')
