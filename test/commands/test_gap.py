"""`h2o gap`: numbers by hand, a simulator held against itself and against another, the command."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from h2o_ros.cli import main
from h2o_ros.commands.gap_report import _draw_fields, draw_gap, gap_text
from h2o_ros.data.datasets.d4rl import write_d4rl
from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.pilot.balance_controller import BalanceController
from h2o_ros.sim.gap_analysis.errors import (
    LAGS,
    FieldErrors,
    effects,
    field_errors,
    scores,
    worst_regions,
)
from h2o_ros.sim.gap_analysis.one_step import Remade, remake
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions, concatenate

TASK = load_task('moving_straight')  # theta, theta_dot, x_dot; torque
FIELDS = TASK.observation_names
ALL = 10**6


def recorded(task, model='simulator', steps=60, batch=4, seed=1):
    """Return rows of robots under random actions, one robot after the other."""
    robots = make_simulator(task, model, batch, seed)
    generator = np.random.default_rng(seed)
    size = 0.3 * (task.action_upper - task.action_lower)
    rows = [robots.step(size * generator.uniform(-1, 1, (batch, len(size)))) for _ in range(steps)]
    return concatenate([concatenate([r.select([i]) for r in rows]) for i in range(batch)])


def made(rows=2000, lag=2, smooth=0.0, effect=0.5):
    """Return steps in a row in which theta_dot changes by 0.5 times an action `lag` steps ago.

    In the simulator it changes by `effect` times this step's action, and nothing else does.
    smooth: how much of an action the next one keeps.
    """
    generator = np.random.default_rng(0)
    action = generator.uniform(-1.0, 1.0, rows)
    for step in range(1, rows):
        action[step] = smooth * action[step - 1] + (1.0 - smooth) * action[step]
    change = np.zeros((rows, len(FIELDS)))
    change[lag:, 1] = 0.5 * action[: rows - lag]
    change[:, 0] = 0.1 * generator.normal(size=rows)
    state = np.vstack([np.zeros(len(FIELDS)), np.cumsum(change, 0)])
    flags = np.zeros((2, rows), bool)
    steps = Transitions(state[:-1], action[:, None], np.zeros(rows), state[1:], *flags)
    error = -change
    error[:, 1] += effect * action
    error[:, 0] = 0.0
    return Remade(TASK, steps, np.arange(rows), 0, error, np.array([[0.0, effect, 0.0]]))


@pytest.mark.parametrize('name', ['standing_still', 'moving_straight', 'half_cheetah', 'walker2d'])
def test_a_simulator_agrees_with_itself(name):
    task = load_task(name)
    found = remake(task, recorded(task), ALL)
    assert len(found.rows) > 100
    # Not all of a contact is observed: single steps differ.
    assert np.median(np.abs(found.error) / found.spread, 0).max() < 1e-3


def test_an_exact_simulator_is_said_to_be_one(tmp_path):
    found = remake(TASK, recorded(TASK), ALL)
    errors = field_errors(found)
    assert errors.agree and np.isnan(errors.by_state_and_action).all()
    text = gap_text(found, errors, effects(found))
    assert 'does what was recorded, but for rounding' in text and 'Most off' not in text
    path = draw_gap(found, errors, effects(found), tmp_path / 'gap.png')
    assert path.stat().st_size > 10_000


def test_steps_that_cannot_be_made_again_are_left_out_before_some_are_drawn():
    task = load_task('walker2d')
    rows = recorded(task)
    cut = (np.abs(rows.observation) >= 10.0).any(1)  # Walker2d's observation ends there
    assert 0 < cut.sum() < len(rows) - 110
    lost = np.flatnonzero(~cut)[5]  # a failure whose next observation a dataset does not hold
    rows.terminated[lost], rows.next_observation[lost] = True, rows.observation[lost]
    usable = ~cut & (np.arange(len(rows)) != lost)
    found = remake(task, rows, 100)
    assert found.left_out == len(rows) - usable.sum() and len(found.index) == 100
    np.testing.assert_array_equal(found.recorded.observation, rows.observation[usable])
    assert f'{found.left_out} left out' in gap_text(found, field_errors(found), effects(found))


def test_numbers_by_hand():
    found = made()
    found.error[:, 1] = 0.3 * found.rows.action[:, 0] + 0.2  # linear, so wholly explained
    found.error[:, 0] = np.where(np.arange(2000) % 2, 0.1, -0.1)  # of nothing that is seen
    errors = field_errors(found)
    change = found.rows.next_observation.astype(float) - found.rows.observation
    root = np.sqrt((found.error[:, 1] ** 2).mean())
    assert errors.size[1] == pytest.approx(root / change[:, 1].std(), rel=1e-6)
    assert errors.mean[1] == pytest.approx(0.2 + 0.3 * found.rows.action.mean(), abs=1e-6)
    assert errors.by_state_and_action[1] == pytest.approx(1.0, abs=1e-6)
    assert errors.by_state_and_action[0] < 0.02 and abs(errors.by_earlier[0]) < 0.02
    parts = found.error[:, :2] / change[:, :2].std(0)  # x_dot never changes
    np.testing.assert_allclose(scores(found), np.sqrt((parts**2).mean(1)), rtol=1e-6)


def test_delay_is_told_from_what_is_linear_in_state_and_action():
    errors = field_errors(made(lag=2))  # simulated 0.5 a[t], recorded 0.5 a[t - 2]
    assert errors.by_state_and_action[1] == pytest.approx(0.5, abs=0.05)
    assert errors.by_earlier[1] == pytest.approx(0.5, abs=0.05)


def test_the_picture_says_what_the_table_says():
    found = made(lag=2)
    nan, size = np.full_like(found.spread, np.nan), np.full_like(found.spread, np.nan)
    size[1], first, besides = 1.02, nan.copy(), nan.copy()
    first[1], besides[1] = 0.37, 0.38
    errors = FieldErrors(nan, nan, size, first, besides)
    axes = Figure().subplots()
    _draw_fields(axes, found, errors)
    widths = [[bar.get_width() for bar in bars] for bars in axes.containers]
    np.testing.assert_allclose(widths, [[37.74], [38.76], [25.5]])
    assert axes.get_legend().get_title().get_text() == 'share of the squared error'
    table = gap_text(found, errors, effects(found)).partition('|')[2]
    assert table.splitlines()[0].count('of the squared error: ') == 2


def test_a_field_that_never_changes_has_no_size(tmp_path):
    found = made()
    found.error[:, 2] = 0.02
    errors = field_errors(found)
    assert np.isnan(errors.size[2]) and errors.root[2] == pytest.approx(0.02)
    row = next(
        line for line in gap_text(found, errors, effects(found)).split('\n') if 'x_dot' in line
    )
    assert row.endswith('| 0.02 | - | - | - |')
    found.error[:, :2] = 0.0
    assert not field_errors(found).agree, 'what moves in the simulator alone is a difference'
    draw_gap(found, errors, effects(found), tmp_path / 'gap.png')


@pytest.mark.parametrize('smooth', [0.0, 0.9])
@pytest.mark.parametrize('lag', [0, 1, 5, LAGS - 1])
def test_when_an_action_acts(lag, smooth):
    (effect,) = effects(made(lag=lag, smooth=smooth, effect=0.4))
    assert (effect.action, FIELDS[effect.observation]) == (0, 'theta_dot')
    assert effect.simulated == pytest.approx(0.4)
    np.testing.assert_allclose(effect.recorded, 0.5 * np.eye(LAGS)[lag], atol=1e-4)


def test_what_is_not_linear_is_no_delay():
    task = load_task('half_cheetah')
    robots, generator = make_simulator(task, batch=30), np.random.default_rng(0)
    action, rows = np.zeros((30, 6)), []
    for _ in range(60):  # smooth actions tell of the past
        action = 0.8 * action + 0.4 * generator.normal(size=(30, 6))
        rows.append(robots.step(action))
    one_by_one = [concatenate([row.select([i]) for row in rows]) for i in range(30)]
    found = effects(remake(task, concatenate(one_by_one), ALL))
    assert len(found) == 6
    for effect in found:
        told = effect.recorded / effect.simulated
        np.testing.assert_allclose(told, np.eye(LAGS)[0], atol=0.01)


def test_the_simulated_effect_is_that_of_the_action_alone():
    robots = make_simulator(TASK, batch=200)
    balance = BalanceController(TASK)
    rows = [robots.step(balance.act(robots.observation)) for _ in range(20)]
    robots.begin_at(rows[10].observation)
    more = robots.step(rows[10].action + 0.1)
    inside = np.abs(rows[10].action[:, 0]) < TASK.action_upper[0] - 0.2
    rise = (more.next_observation - rows[10].next_observation)[inside].mean(0) / 0.1
    np.testing.assert_allclose(
        remake(TASK, rows[10].select(inside), ALL).effect[0], rise, atol=1e-3
    )
    (effect,) = effects(remake(TASK, concatenate(rows), ALL))
    assert FIELDS[effect.observation] == 'theta_dot'
    assert effect.simulated == pytest.approx(rise[1], rel=0.1)
    # The action follows from the state alone: what it does by itself cannot be seen.
    assert np.isnan(effect.recorded).all()


@pytest.mark.parametrize('action', [0.0, 0.5])
def test_an_action_that_never_changes_tells_nothing(action, tmp_path):
    found = made()
    found.recorded.action[:] = action
    (effect,) = effects(found)
    assert np.isnan(effect.recorded).all()
    text = gap_text(found, field_errors(found), [effect])
    assert text.count('| - ') >= 8
    draw_gap(found, field_errors(found), [effect], tmp_path / 'gap.png')


def test_an_effect_within_its_own_doubt_is_not_told():
    found = made(rows=150)
    noise = 3.0 * np.random.default_rng(1).normal(size=150)
    (effect,) = effects(replace(found, error=found.error - np.outer(noise, [0.0, 1.0, 0.0])))
    assert np.isnan(effect.recorded).any()


def test_steps_that_are_not_in_a_row_do_not_say_when_an_action_acts():
    found = made()
    order = np.random.default_rng(1).permutation(len(found.recorded))
    shuffled = replace(found, recorded=found.recorded.select(order))
    assert np.isnan(effects(shuffled)[0].recorded).all()
    assert np.isnan(field_errors(shuffled).by_earlier).all()
    found.recorded.truncated[::3] = True  # nor do short episodes
    assert np.isnan(effects(found)[0].recorded).all()


def test_actions_count_as_far_as_the_task_allows_them():
    rows = recorded(TASK)
    rows.action[::2] = 9.0
    found = remake(TASK, rows, ALL)
    assert found.recorded.action.max() == TASK.action_upper[0] and rows.action.max() == 9.0


def test_the_worst_region_comes_first():
    found = made()
    found.error[:] = 1e-3
    found.error[found.rows.action[:, 0] > 0.8] = 1.0
    regions = worst_regions(found)
    assert regions[0].name == 'action torque' and regions[0].ratio > 5.0
    assert 0.7 < regions[0].low < regions[0].high < 1.01
    assert [r.ratio for r in regions] == sorted((r.ratio for r in regions), reverse=True)
    assert 'x_dot' not in {region.name for region in regions}  # it never changes


def test_an_action_at_its_limit_is_a_region_of_its_own():
    found = made()
    action = found.recorded.action
    action[:] = np.clip(2.0 * action, -1.0, 1.0)  # half of them at a limit
    found.error[:] = 1e-3
    found.error[action[:, 0] == 1.0] = 1.0
    worst = worst_regions(found)[0]
    assert worst.name == 'action torque' and worst.low == 1.0 and worst.high < 1.001


def test_chance_is_no_region():
    found = made()
    found.error[:] = np.random.default_rng(2).normal(size=found.error.shape)
    assert all(region.ratio < 1.2 for region in worst_regions(found))
    assert 'about as far off everywhere' in gap_text(found, field_errors(found), effects(found))
    few = replace(found, index=found.index[:200], error=found.error[:200])
    assert worst_regions(few) is None
    assert 'Too few steps' in gap_text(few, field_errors(few), effects(few))


def test_too_strong_gravity_shows_in_the_vertical_velocity():
    task = load_task('half_cheetah')
    found = remake(task, recorded(task, 'standard', 100), ALL, 'gravity')
    errors = field_errors(found)
    assert {task.observation_names[i] for i in np.argsort(-errors.size)[:2]} == {'z', 'z_dot'}
    z_dot = task.observation_names.index('z_dot')
    # 9.81 m/s² more for a control step of 0.05 s, less what the ground takes
    assert -9.81 * task.period - 0.01 < errors.mean[z_dot] < -0.1
    assert errors.by_state_and_action[z_dot] > 0.5


def test_noise_on_the_joints_does_not_hide_what_an_action_does():
    task = load_task('half_cheetah')
    rows = recorded(task, steps=100)
    rows.action[:] *= 0.5  # far from the limits, where noise would be cut
    quiet, noisy = remake(task, rows, ALL).effect, remake(task, rows, ALL, 'joint_noise').effect
    pose = [task.observation_names.index(name) for name in task.action_names]
    own = np.arange(len(pose)), pose
    np.testing.assert_allclose(noisy[own], quiet[own], rtol=0.5)


def test_more_steps_than_robots_are_all_made(monkeypatch):
    rows = recorded(TASK)
    whole = remake(TASK, rows, ALL).error
    monkeypatch.setattr('h2o_ros.sim.gap_analysis.one_step.BATCH', 50)
    assert len(rows) % 50 != 0
    np.testing.assert_allclose(remake(TASK, rows, ALL).error, whole, atol=1e-12)


def test_the_command_names_field_and_effect_and_draws(tmp_path, capsys):
    picture = tmp_path / 'new' / 'gap.png'
    assert main(['gap', '--steps', '2000', '--picture', str(picture)]) == 0
    said = capsys.readouterr().out
    assert '2,000 of 99,999 recorded control steps' in said
    assert '| theta_dot (rad/s) |' in said and '| torque (N·m) |' in said
    assert f'picture: {picture}' in said and picture.stat().st_size > 20_000


def test_the_shipped_demonstration_shows_the_robots_delay():
    from h2o_ros.data.load import load_recorded

    task = load_task('standing_still')
    found = remake(task, load_recorded('', task).transitions, 2000)
    (effect,) = effects(found)
    of_all = np.abs(np.nan_to_num(effect.recorded))
    assert of_all[:2].max() < 0.1 * abs(effect.simulated)  # delay and lag: 2 to 6 steps later
    assert of_all[2:7].sum() > 0.8 * abs(effect.simulated)


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
        (['--picture', '/proc/gap.png'], '/proc'),
        (['--picture', 'gap.xyz'], '--picture'),
        (['--picture', 'gap'], '--picture'),
        (['--picture', ''], '--picture'),
        (['--picture', 'folder.png'], '--picture'),
    ],
)
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.png').mkdir()
    assert main(['gap', '--steps', '200', *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and message in said and said.count('\n') == 1


def test_too_short_a_recording_is_refused():
    with pytest.raises(ConfigurationError, match='60 usable of 60 recorded control steps'):
        remake(TASK, recorded(TASK, batch=1), ALL)


def test_a_recording_of_nothing_is_refused():
    rows = recorded(TASK)
    rows.next_observation[:] = rows.observation
    with pytest.raises(ConfigurationError, match='never change'):
        remake(TASK, rows, ALL)


def test_many_inputs_explain_nothing_by_chance():
    task = load_task('half_cheetah')  # 23 inputs, 66 more with earlier actions
    found = remake(task, recorded(task, 'standard', steps=150), ALL)
    found.error[:] = np.random.default_rng(0).normal(size=found.error.shape)
    errors = field_errors(found)
    assert np.abs(errors.by_state_and_action).max() < 0.1
    assert np.abs(errors.by_earlier).max() < 0.15
    few = replace(found, index=found.index[:150], error=found.error[:150])
    assert np.isnan(field_errors(few).by_earlier).all()


def test_what_is_not_observed_is_named():
    robots = make_simulator(TASK, 'standard')
    with pytest.raises(ConfigurationError, match='not observed .commands under way'):
        robots.begin_at(robots.observation)
    for name, missing in (('half_cheetah', 'bshin_dot'), ('moving_straight', 'theta_dot')):
        task = load_task(name)
        fields = tuple(field for field in task.observation if field.name != missing)
        robots = make_simulator(
            replace(task, observation=fields, training_reset={}, evaluation_reset={})
        )
        with pytest.raises(ConfigurationError, match=rf'not observed \({missing}\)'):
            robots.placeable(robots.observation)
