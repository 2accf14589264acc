"""A training whose numbers are lost ends with one line, and the grid around it goes on."""

import math

import numpy as np
import pytest
from grid_samples import lines_of, make_small, words

from h2o_ros import cli
from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.errors import TrainingError
from h2o_ros.experiments.__main__ import main
from h2o_ros.experiments.core.in_process_training import evaluate_controller, train
from h2o_ros.task import load_task, share_folder

LOST = 24  # updates after which the numbers are lost


@pytest.fixture(params=['actor/', 'critics/', 'temperature/'])
def lost(request, monkeypatch):
    """Lose a number of H2O's in the middle of its training."""
    update = Trainer.update

    def losing(trainer, count):
        update(trainer, count)
        if trainer.updates >= LOST and trainer.config.method == 'h2o':
            views = trainer.state.agent_parameters.views
            name = next(name for name in views if name.startswith(request.param))
            views[name].view(-1)[0] = math.inf if request.param == 'actor/' else math.nan

    monkeypatch.setattr(Trainer, 'update', losing)


def test_a_diverged_run_is_named_and_the_others_go_on(lost, tmp_path, monkeypatch, capsys):
    small = make_small(tmp_path, monkeypatch)
    assert main(words(small, tmp_path / 'runs')) == 1
    said = capsys.readouterr().err
    assert 'error: h2o' in said and 'Traceback' not in said
    assert f'diverged after update {LOST}; lower learning_rate' in said
    assert [row['algorithm'] for row in lines_of(tmp_path / 'runs')] == ['sac', 'sac']
    assert not list((tmp_path / 'runs' / 'policies').glob('h2o*'))


def test_h2o_train_leaves_no_policy_that_nobody_can_read(lost, tmp_path, capsys):
    bag = share_folder('bags') / 'moving_straight_demo'
    given = ['--bag', str(bag), '--updates', '96', '--output', str(tmp_path)]
    assert cli.main(['train', *given]) == 2
    said = capsys.readouterr().err
    assert 'error: diverged after update ' in said and 'Traceback' not in said
    assert not list(tmp_path.glob('*.safetensors'))


def test_what_learns_without_a_simulator_is_looked_at_too(monkeypatch):
    task = load_task('standing_still')
    config = load_config('sac', task, hidden=(8, 8), compile='off')
    trainer = Trainer(config, task, None, [0])
    trainer.state.agent_parameters.value[0] = math.nan
    with pytest.raises(TrainingError, match='^diverged after update 0; lower learning_rate$'):
        trainer.check()


def test_actions_that_are_no_numbers_are_one_line():
    task = load_task('standing_still')
    with pytest.raises(TrainingError, match='actions are not finite; lower learning_rate'):
        evaluate_controller(lambda rows: np.full((2, 1), np.nan, np.float32), task, 'standard', 2)


def test_a_training_that_goes_well_is_not_stopped():
    task = load_task('standing_still')
    config = load_config('sac', task, hidden=(8, 8), compile='off', updates_total=64)
    trainer = Trainer(config, task, None, [0])
    train(trainer, task, [0], environments=4)
    assert trainer.updates == 64
