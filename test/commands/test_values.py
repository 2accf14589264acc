"""`h2o values`: returns by hand, robots placed where something was recorded, and the command."""

import re

import numpy as np
import pytest
from grid_samples import make_small

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.cli import main
from h2o_ros.commands import values
from h2o_ros.commands.values import counted, discounted
from h2o_ros.data.datasets.d4rl import write_d4rl
from h2o_ros.data.load import load_recorded
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.sweep.run import Run, Settings
from h2o_ros.experiments.sweep.run_config import Cell, Datasets
from h2o_ros.sim.gaps import find_gap, simulation
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task
from h2o_ros.transitions import concatenate

SMALL = {
    'hidden': (16, 16), 'classifier_hidden': (16, 16), 'batch': 16, 'classifier_batch': 16,
    'compile': 'off', 'warmup_steps': 20,
}  # fmt: skip


def test_returns_by_hand():
    reward = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    goes_on = np.array([[0.5, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])
    broken = np.array([[False] * 3, [False, False, True], [False] * 3])
    assert discounted(reward, goes_on, broken).tolist() == [
        [2.75, 2.0, 2.0], [3.5, 2.0, 2.0], [3.0, 3.0, 3.0],
    ]  # fmt: skip


def test_a_step_counts_where_enough_of_its_return_was_seen():
    broken = np.zeros((60, 2), bool)
    broken[39, 1] = True
    whole = counted(broken, 0.9)  # 0.9^29 < 0.05 < 0.9^28
    assert whole[:, 0].tolist() == [True] * 32 + [False] * 28
    assert whole[:, 1].tolist() == [True] * 12 + [False] * 48


@pytest.mark.parametrize('name', ['half_cheetah', 'walker2d', 'standing_still'])
def test_robots_begin_where_something_was_observed(name):
    task = load_task(name)
    robots = make_simulator(task, batch=5, seed=1)
    actions = np.random.default_rng(2).uniform(-0.05, 0.05, (21, 5, len(task.action)))
    seen = [robots.step(action) for action in actions]
    assert np.abs(seen[-1].observation).max() < 10.0, 'no velocity is cut'
    again = make_simulator(task, batch=5, seed=3)
    again.begin_at(seen[-1].observation)
    np.testing.assert_allclose(again.observation, seen[-1].observation, atol=1e-6)
    next_observation = again.step(actions[-1]).next_observation
    np.testing.assert_allclose(next_observation, seen[-1].next_observation, atol=1e-4)


def test_a_robot_that_does_not_show_its_state_cannot_be_placed():
    robots = make_simulator(load_task('standing_still'), 'standard')
    with pytest.raises(ConfigurationError, match='states that are not observed'):
        robots.begin_at(robots.observation)


def trained(tmp_path, name, algorithm, recorded):
    """Return the path of a checkpoint after a few updates."""
    task = load_task(name)
    trainer = Trainer(load_config(algorithm, task, **SMALL), task, recorded, [0])
    robots = make_simulator(task, batch=4)
    for _ in range(20):
        trainer.add_simulated(robots.step(trainer.act(robots.observation[None])[0]))
    trainer.update(5)
    path = tmp_path / 'checkpoint.safetensors'
    trainer.save(path)
    return str(path)


def test_values_stand_beside_returns(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(values, 'ROBOTS', 2)
    task, generator = load_task('half_cheetah'), np.random.default_rng(0)
    robots = make_simulator(task, 'standard', batch=4, seed=5)
    rows = [robots.step(generator.uniform(-1, 1, (4, 6))) for _ in range(60)]
    dataset = tmp_path / 'halfcheetah-small-v2.hdf5'
    write_d4rl(dataset, concatenate(rows))
    recorded = load_recorded(str(dataset), task).transitions
    checkpoint = trained(tmp_path, 'half_cheetah', 'darc_plus', recorded)
    words = ['--task', 'half_cheetah', '--dataset', str(dataset), '--gap', 'gravity']
    assert main(['values', checkpoint, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'after 5 updates' in lines[0]
    assert [line.split(':')[0] for line in lines[1:]] == [
        'simulator with gravity',
        'standard',
        'simulator with gravity, from recorded states',
        'standard, from recorded states',
    ]
    assert ['corrected' in line for line in lines[1:]] == [True, False, True, False]
    # One step in both places, from the same states: one value, other returns.
    q, earned = zip(
        *(re.findall(r'(?:\) |return )(-?[\d.]+)', line) for line in lines[3:]), strict=True
    )
    assert q[0] == q[1]
    assert earned[0] != earned[1]


def test_a_learner_of_simulated_rows_alone_is_asked_at_recorded_states_too(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(values, 'ROBOTS', 2)
    monkeypatch.setattr(values, 'STEPS', 320)
    monkeypatch.setattr(values, 'RECORDED_ROWS', 2)
    robots = make_simulator(load_task('half_cheetah'), 'standard', batch=4, seed=5)
    dataset = tmp_path / 'halfcheetah-small-v2.hdf5'
    write_d4rl(dataset, robots.step(np.zeros((4, 6))))
    checkpoint = trained(tmp_path, 'half_cheetah', 'sac', None)
    assert main(['values', checkpoint, '--task', 'half_cheetah', '--dataset', str(dataset)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_a_discount_that_looks_past_an_episode_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SMALL, 'discount', 0.9999)
    checkpoint = trained(tmp_path, 'half_cheetah', 'sac', None)
    robots = make_simulator(load_task('half_cheetah'), 'standard', batch=4, seed=5)
    dataset = tmp_path / 'halfcheetah-small-v2.hdf5'
    write_d4rl(dataset, robots.step(np.zeros((4, 6))))
    assert main(['values', checkpoint, '--task', 'half_cheetah', '--dataset', str(dataset)]) == 2
    said = capsys.readouterr().err
    assert 'a return needs 29956 steps' in said and 'half_cheetah has 1000' in said


def trained_in(tmp_path, gap):
    """Return the path of a checkpoint that was trained in a simulator with a gap."""
    task = load_task('half_cheetah')
    trainer = Trainer(load_config('sac', task, **SMALL), task, None, [0])
    trainer.add_simulated(make_simulator(task, batch=4, gap=gap).step(np.zeros((4, 6))))
    trainer.simulation = simulation(gap, 32)
    trainer.save(tmp_path / 'checkpoint.safetensors')
    return str(tmp_path / 'checkpoint.safetensors')


def judged(tmp_path, monkeypatch, *words):
    """Run `h2o values` on that checkpoint; return its code and the gaps in which it judged."""
    asked = []
    robots = make_simulator(load_task('half_cheetah'), 'standard', batch=4, seed=5)
    dataset = tmp_path / 'halfcheetah-small-v2.hdf5'
    write_d4rl(dataset, robots.step(np.zeros((4, 6))))
    monkeypatch.setattr(values, 'compare', lambda trainer, model, gap, start: asked.append(gap))
    checkpoint = str(tmp_path / 'checkpoint.safetensors')
    given = ['--task', 'half_cheetah', '--dataset', str(dataset), *words]
    return main(['values', checkpoint, *given]), asked


def test_a_checkpoint_is_judged_in_the_simulator_of_its_training(tmp_path, monkeypatch):
    trained_in(tmp_path, 'gravity:1.5+friction')
    same = (0, ['gravity:1.5+friction', 'none'] * 2)
    assert judged(tmp_path, monkeypatch) == same
    code, gaps = judged(tmp_path, monkeypatch, '--gap', 'friction+gravity:1.5')
    assert code == 0 and [find_gap(gap) for gap in gaps] == [find_gap(gap) for gap in same[1]]


@pytest.mark.parametrize('gap', ['none', 'gravity'])
def test_another_simulator_than_that_of_the_training_is_refused(
    gap, tmp_path, monkeypatch, capsys
):
    trained_in(tmp_path, 'gravity:1.5+friction')
    assert judged(tmp_path, monkeypatch, '--gap', gap) == (2, [])
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'trained in another simulator: gravity (1.5 there' in said
    assert 'give the same gap' in said and 'environments' not in said


def test_a_checkpoint_that_does_not_tell_its_simulator_says_so(tmp_path, monkeypatch, capsys):
    trained(tmp_path, 'half_cheetah', 'sac', None)
    assert judged(tmp_path, monkeypatch) == (0, ['none'] * 4)
    assert 'does not tell its gap; taken as none' in capsys.readouterr().out
    assert judged(tmp_path, monkeypatch, '--gap', 'gravity') == (0, ['gravity', 'none'] * 2)


def test_a_checkpoint_of_a_grid_tells_its_simulator(tmp_path, monkeypatch):
    small = make_small(tmp_path, monkeypatch)
    cell = Cell('sac', small, '-', 'gravity:1.5')
    settings = Settings(steps=40, every=20, episodes=2, robots=4)
    run = Run(cell, [0], settings, tmp_path / 'run', Datasets())
    assert run.trainer.simulation == simulation('gravity:1.5', 4)


def test_how_many_steps_a_return_needs():
    assert values.needed_steps(0.0) == 1
    assert values.needed_steps(0.5) == 5  # 0.5^5 < 0.05


def test_a_wheel_legged_robot_is_judged_over_whole_episodes_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(values, 'ROBOTS', 2)
    task = load_task('standing_still')
    recorded = load_recorded('', task).transitions
    checkpoint = trained(tmp_path, 'standing_still', 'h2o', recorded)
    assert main(['values', checkpoint]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in lines[2:]] == ['simulator', 'standard']
    assert 'corrected' not in ''.join(lines)
