"""Dynamics gaps: how they are written, and what they do to a model and to an action."""

import numpy as np
import pytest

from h2o_ros.errors import ConfigurationError
from h2o_ros.sim.gaps import NO_GAP, Gap, find_gap, gap_names, gap_text
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task


@pytest.mark.parametrize(
    ('text', 'gap'),
    [
        ('none', Gap()),
        ('gravity', Gap(gravity=2.0)),
        ('friction', Gap(friction=0.3)),
        ('joint_noise', Gap(joint_noise=1.0)),
        ('velocity_offset', Gap(velocity_offset=0.05)),
        ('gravity+friction', Gap(gravity=2.0, friction=0.3)),
        ('gravity:1.5', Gap(gravity=1.5)),
        ('joint_noise:0.2+gravity', Gap(gravity=2.0, joint_noise=0.2)),
        ('velocity_offset:-0.1', Gap(velocity_offset=-0.1)),
    ],
)
def test_a_text_states_a_gap(text, gap):
    assert find_gap(text) == gap


@pytest.mark.parametrize(
    ('text', 'kept'),
    [
        ('none', 'none'),
        ('gravity:1', 'none'),
        ('gravity:2.0', 'gravity'),
        ('gravity:2', 'gravity'),
        ('friction+gravity:1.50', 'gravity:1.5+friction'),
        ('gravity:3', 'gravity:3'),
        ('velocity_offset:-1e-5+friction:0.3', 'friction+velocity_offset:-1e-05'),
    ],
)
def test_a_gap_has_one_text_which_states_it(text, kept):
    assert gap_text(find_gap(text)) == kept
    assert find_gap(kept) == find_gap(text)


def test_a_file_states_a_gap(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('gravity: 1.2\nvelocity_offset: 0.1\n')
    assert find_gap(str(path)) == Gap(gravity=1.2, velocity_offset=0.1)
    path.write_text('gravitation: 1.2\n')
    with pytest.raises(ConfigurationError, match="mine.yaml: unknown field 'gravitation'; known"):
        find_gap(str(path))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('wind', ["'wind' is unknown", ', '.join(gap_names()), '.yaml']),
        ('gravity+wind', ["'wind' is unknown"]),
        ('gravity+', ["'' is unknown"]),
        ('none+gravity', ["'none' is unknown", 'none stands alone']),
        ('none:2', ["'none' is unknown"]),
        ('gravity+gravity:3', ['gravity is given twice']),
        ('gravity:', ['expected a number after the colon', "got ''"]),
        ('gravity:much', ["got 'much'"]),
        ('gravity:nan', ['gravity', 'finite']),
        ('friction:-1', ['friction', '0.0 to 100.0', '-1']),
        ('/nowhere/gap.yaml', ['/nowhere/gap.yaml', 'cannot be read']),
    ],
)
def test_a_mistake_is_named_in_one_line(text, words):
    with pytest.raises(ConfigurationError) as caught:
        find_gap(text)
    assert '\n' not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_what_acts_is_the_action_and_its_disturbances():
    action = np.array([[0.5, -1.0], [0.0, 1.0], [0.2, 0.2]])
    speed = np.array([4.0, 0.0, -3.0])
    generator = np.random.default_rng(0)
    assert NO_GAP.disturb(action, speed, generator) is action
    # 0.1 s/m at 4 m/s forward is 0.4 on every field; at rest or backward there is none.
    pushed = Gap(velocity_offset=0.1).disturb(action, speed, generator)
    assert pushed == pytest.approx(np.array([[0.9, -0.6], [0.0, 1.0], [0.2, 0.2]]))
    many = np.tile([[0.5, -1.0]], (20000, 1))
    noise = Gap(joint_noise=0.7).disturb(many, None, generator) - many
    assert noise.std(0) == pytest.approx([0.7, 0.7], rel=0.03)
    assert np.abs(noise.mean(0)).max() < 0.02
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03  # each field has a draw of its own


@pytest.mark.parametrize('name', ['half_cheetah', 'walker2d', 'standing_still'])
def test_a_model_is_changed_in_memory_and_for_one_simulator_alone(name):
    task = load_task(name)
    changed = make_simulator(task, gap='gravity:1.5+friction').plant.model
    plain = make_simulator(task).plant.model
    assert plain.opt.gravity == pytest.approx([0.0, 0.0, -9.81])
    assert changed.opt.gravity == pytest.approx([0.0, 0.0, -14.715])
    assert plain.geom_friction.max() > 0.0
    assert changed.geom_friction == pytest.approx(0.3 * plain.geom_friction)
    assert changed.body_mass == pytest.approx(plain.body_mass)


def test_gravity_doubles_how_fast_a_cheetah_falls():
    # In the air for one period of 0.05 s: the velocity gained is g times 0.05 s.
    falls = []
    for gap in ('none', 'gravity'):
        robots = make_simulator(load_task('half_cheetah'), gap=gap).plant
        position = robots.model.qpos0.copy()
        position[1] = 5.0
        robots.place(np.arange(1), position[None], np.zeros((1, 9)))
        robots.advance(np.zeros((1, 6)))
        falls.append(robots.sensors()['z_dot'][0])
    assert falls == pytest.approx([-0.4905, -0.981], rel=1e-6)


def test_noise_reaches_the_motors_but_not_the_transition():
    task = load_task('half_cheetah')
    quiet, noisy = (
        make_simulator(task, batch=64, seed=1, gap=gap) for gap in ('none', 'joint_noise')
    )
    assert np.array_equal(quiet.observation, noisy.observation)
    action, start = np.full((64, 6), 0.3, np.float32), quiet.plant.position_x()
    rows, disturbed = quiet.step(action), noisy.step(action)
    assert np.array_equal(disturbed.action, action)
    assert np.abs(rows.next_observation - disturbed.next_observation).max(1).min() > 1e-3
    # The cost is that of the action that was sent: 0.1 x 6 x 0.3².
    velocity = (noisy.plant.position_x() - start) / 0.05
    assert disturbed.reward == pytest.approx(velocity - 0.054, abs=1e-5)


def test_the_offset_follows_the_speed_of_each_robot():
    task = load_task('half_cheetah')
    pushed = make_simulator(task, batch=3, gap='velocity_offset:0.1')
    plain = make_simulator(task, batch=3).plant
    position, velocity = plain.pose()
    velocity[:, 0] = [4.0, -4.0, 2.0]  # m/s along x
    for robots in (plain, pushed.plant):
        robots.place(np.arange(3), position, velocity)
    pushed.step(np.full((3, 6), 0.1, np.float32))
    plain.advance(np.float32(0.1) + np.array([[0.4], [0.0], [0.2]]) * np.ones((3, 6)))
    assert pushed.plant.observe() == pytest.approx(plain.observe(), abs=1e-6)


def test_motors_keep_their_own_limits_whatever_a_gap_adds():
    robots = make_simulator(load_task('half_cheetah')).plant
    position, velocity = robots.pose()
    ended = []
    for size in (1.0, 50.0):
        robots.place(np.arange(1), position, velocity)
        robots.advance(np.full((1, 6), size))
        ended.append(robots.observe())
    assert np.array_equal(*ended)
