"""`h2o gap`: numbers by hand, a simulator held against itself and against another, the command."""

import numpy as np
import pytest

from h2o_ros.cli import main
from h2o_ros.data.d4rl import write_d4rl
from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.gap_report import gap_text
from h2o_ros.sim.disagreement import (
    LAGS,
    Disagreement,
    disagreement,
    effects,
    worst_regions,
)
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions, concatenate

TASK = load_task('moving_straight')  # theta, theta_dot, x_dot; torque
FIELDS = TASK.observation_names


def recorded(task, model='simulator', steps=60, batch=4, seed=1):
    """Return rows of robots under random actions, one robot after the other."""
    robots = make_simulator(task, model, batch, seed)
    generator = np.random.default_rng(seed)
    size = 0.3 * (task.action_upper - task.action_lower)
    rows = [robots.step(size * generator.uniform(-1, 1, (batch, len(size)))) for _ in range(steps)]
    return concatenate([concatenate([r.select([i]) for r in rows]) for i in range(batch)])


def made(rows=500, lag=2):
    """Return steps in a row in which theta_dot changes by 0.5 times an action `lag` steps ago."""
    generator = np.random.default_rng(0)
    action = generator.uniform(-1.0, 1.0, rows)
    change = np.zeros((rows, len(FIELDS)))
    change[lag:, 1] = 0.5 * action[: rows - lag]
    change[:, 0] = 0.1 * generator.normal(size=rows)
    state = np.vstack([np.zeros(len(FIELDS)), np.cumsum(change, 0)])
    nothing = np.zeros(rows, bool)
    return Transitions(
        state[:-1], action[:, None], np.zeros(rows), state[1:], nothing, nothing.copy()
    )


@pytest.mark.parametrize('name', ['standing_still', 'moving_straight', 'half_cheetah', 'walker2d'])
def test_a_simulator_agrees_with_itself(name):
    task = load_task(name)
    found = disagreement(task, recorded(task))
    assert len(found.rows) > 100
    # Not all of a contact is observed: single steps differ.
    assert np.median(np.abs(found.error) / found.change.std(0), 0).max() < 1e-3


def test_steps_from_velocities_that_were_cut_are_left_out():
    task = load_task('walker2d')
    rows = recorded(task)
    cut = (np.abs(rows.observation) >= 10.0).any(1)  # Walker2d's observation ends there
    assert 0 < cut.sum() < len(rows) - 100
    found = disagreement(task, rows)
    np.testing.assert_array_equal(found.rows.observation, rows.observation[~cut])


def test_numbers_by_hand():
    rows = made()
    change = rows.next_observation.astype(float) - rows.observation
    error = np.zeros_like(change)
    error[:, 1] = 0.3 * rows.action[:, 0] + 0.2  # linear, so wholly explained
    error[:, 0] = np.where(np.arange(len(rows)) % 2, 0.1, -0.1)  # of nothing that is seen
    found = Disagreement(TASK, rows, error)
    assert found.size[1] == pytest.approx(
        np.sqrt((error[:, 1] ** 2).mean()) / change[:, 1].std(), rel=1e-9
    )
    assert found.linear_share[1] == pytest.approx(1.0, abs=1e-9)
    assert found.linear_share[0] < 0.05
    assert found.size[2] == 0.0 and found.linear_share[2] == 1.0  # a field that never changes
    parts = error[:, :2] / change[:, :2].std(0)
    expected = np.sqrt((parts**2).sum(1) / len(FIELDS))
    np.testing.assert_allclose(found.score, expected)


@pytest.mark.parametrize('lag', range(LAGS))
def test_when_an_action_acts(lag):
    rows = made(lag=lag)
    change = rows.next_observation.astype(float) - rows.observation
    error = -change
    error[:, 1] += 0.4 * rows.action[:, 0]  # the simulator: at once, and weaker
    (effect,) = effects(Disagreement(TASK, rows, error), rows)
    assert (effect.action, FIELDS[effect.observation]) == (0, 'theta_dot')
    assert effect.simulated == pytest.approx(0.4, abs=1e-6)
    np.testing.assert_allclose(effect.recorded, 0.5 * np.eye(LAGS)[lag], atol=1e-5)


def test_steps_that_are_not_in_a_row_do_not_say_when_an_action_acts():
    rows = made()
    shuffled = rows.select(np.random.default_rng(1).permutation(len(rows)))
    (effect,) = effects(Disagreement(TASK, shuffled, np.zeros((len(rows), 3))), shuffled)
    assert np.isnan(effect.recorded).all()


def test_the_end_of_an_episode_parts_the_steps():
    rows = made()
    rows.truncated[::3] = True
    (effect,) = effects(Disagreement(TASK, rows, np.zeros((len(rows), 3))), rows)
    assert np.isnan(effect.recorded).all()


def test_the_worst_region_comes_first():
    rows = made()
    error = np.full(rows.observation.shape, 1e-3)
    error[rows.action[:, 0] > 0.8] = 1.0
    regions = worst_regions(Disagreement(TASK, rows, error))
    assert regions[0].name == 'torque' and regions[0].ratio > 5.0
    assert 0.7 < regions[0].low < regions[0].high <= 1.0
    assert [r.ratio for r in regions] == sorted((r.ratio for r in regions), reverse=True)
    assert 'x_dot' not in {region.name for region in regions}  # it never changes


def test_nothing_is_said_of_regions_where_the_error_is_the_same_everywhere():
    found = Disagreement(TASK, made(), np.ones((500, 3)))
    assert 'about as far off everywhere' in gap_text(found, [], worst_regions(found))
    exact = Disagreement(TASK, made(), np.zeros((500, 3)))
    assert worst_regions(exact) == []


def test_too_strong_gravity_shows_in_the_vertical_velocity():
    task = load_task('half_cheetah')
    found = disagreement(task, recorded(task, 'standard', 100), 'gravity')
    worst = [task.observation_names[i] for i in np.argsort(-found.size)[:2]]
    assert set(worst) == {'z', 'z_dot'}
    z_dot = task.observation_names.index('z_dot')
    # 9.81 m/s² more for a control step of 0.05 s, less what the ground takes
    assert -9.81 * task.period - 0.01 < found.error[:, z_dot].mean() < -0.1
    assert found.linear_share[z_dot] > 0.5


def test_more_steps_than_robots_are_all_made(monkeypatch):
    monkeypatch.setattr('h2o_ros.sim.disagreement.BATCH', 50)
    rows = recorded(TASK)
    assert len(rows) % 50 != 0
    whole = disagreement(TASK, rows).error
    monkeypatch.undo()
    np.testing.assert_allclose(whole, disagreement(TASK, rows).error, atol=1e-12)


def test_the_command_names_field_and_effect_and_draws(tmp_path, capsys):
    picture = tmp_path / 'new' / 'gap.png'
    assert main(['gap', '--steps', '2000', '--picture', str(picture)]) == 0
    said = capsys.readouterr().out
    assert '2,000 recorded control steps' in said
    assert '| theta_dot (rad/s) |' in said and '| torque (N·m) |' in said
    assert f'picture: {picture}' in said and picture.stat().st_size > 20_000


def test_a_dataset_in_a_wrong_simulator(tmp_path, capsys):
    task = load_task('half_cheetah')
    dataset = tmp_path / 'halfcheetah-small-v2.hdf5'
    write_d4rl(dataset, recorded(task, 'standard'))
    words = ['--task', 'half_cheetah', '--bag', str(dataset), '--gap', 'gravity']
    assert main(['gap', *words, '--picture', str(tmp_path / 'gap.png')]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    assert rows[1].startswith(('| z_dot (m/s)', '| z (m)')) and len(rows) == 2 + 17 + 6


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--task', 'nothing'], 'nothing'),
        (['--bag', 'no/such/bag'], 'no/such/bag'),
        (['--gap', 'nothing'], 'nothing'),
        (['--picture', '/proc/gap.png'], '--picture'),
        (['--picture', 'gap.xyz'], '--picture'),
    ],
)
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['gap', '--steps', '200', *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and message in said and said.count('\n') == 1


def test_too_short_a_recording_and_a_robot_with_hidden_states_are_refused():
    with pytest.raises(ConfigurationError, match='30 recorded control steps'):
        disagreement(TASK, made(30))
    robots = make_simulator(TASK, 'standard')
    with pytest.raises(ConfigurationError, match='states that are not observed'):
        robots.begin_at(robots.observation)
