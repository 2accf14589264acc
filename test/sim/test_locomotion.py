"""HalfCheetah and Walker2d: the same numbers as Gymnasium's own environments, and the gaps."""

import dataclasses
import warnings

import gymnasium
import mujoco
import numpy as np
import pytest

from h2o_ros.errors import ConfigurationError, SimulationError
from h2o_ros.robot.description import model_names, robot_folder
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import ActionField, ObservationField, load_task

ENVIRONMENTS = {'half_cheetah': 'HalfCheetah-v4', 'walker2d': 'Walker2d-v4'}
HOPPER = ('z', 'pitch', 'thigh', 'leg', 'foot')


def environment(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        made = gymnasium.make(ENVIRONMENTS.get(name, name)).unwrapped
    made.reset(seed=0)
    return made


def place(made, position, velocity):
    mujoco.mj_resetData(made.model, made.data)
    made.set_state(position, velocity)


@pytest.mark.parametrize('model', ['simulator', 'standard'])
@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_steps_are_those_of_gymnasium(name, model):
    simulator, made = make_simulator(load_task(name), model, seed=3), environment(name)
    generator, ended, began = np.random.default_rng(0), 0, True
    for _ in range(400):
        if began:
            place(made, *(rows[0] for rows in simulator.plant.pose()))
        action = generator.uniform(-1.0, 1.0, (1, 6)).astype(np.float32)
        rows = simulator.step(action)
        observation, reward, terminated, _, _ = made.step(action[0])
        assert np.array_equal(rows.next_observation[0], observation.astype(np.float32))
        assert rows.reward[0] == pytest.approx(reward, rel=1e-6, abs=1e-6)
        assert rows.terminated[0] == terminated and not rows.truncated[0]
        began = bool(terminated)
        ended += began
    assert ended > 3 if name == 'walker2d' else ended == 0


@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_the_model_is_gymnasiums(name):
    ours, theirs = make_simulator(load_task(name)).plant.model, environment(name).model
    for field in ('body_mass', 'body_inertia', 'geom_friction', 'dof_damping', 'jnt_range'):
        assert np.array_equal(getattr(ours, field), getattr(theirs, field))
    assert environment(name).dt == load_task(name).period


def test_a_batch_is_its_robots_one_by_one():
    task, generator = load_task('walker2d'), np.random.default_rng(1)
    batch, alone = make_simulator(task, batch=3, seed=1).plant, make_simulator(task).plant
    position, velocity = batch.pose()
    actions = generator.uniform(-1.0, 1.0, (20, 3, 6))
    for action in actions:
        batch.advance(action)
    for row in range(3):
        alone.place(np.arange(1), position[row : row + 1], velocity[row : row + 1])
        for action in actions:
            alone.advance(action[row : row + 1])
        assert np.array_equal(alone.observe()[0], batch.observe()[row])


@pytest.mark.parametrize(
    ('name', 'width', 'velocity_deviation', 'largest'),
    [('half_cheetah', 0.1, 0.1, 0.6), ('walker2d', 0.005, 0.005 / np.sqrt(3), 0.005)],
)
def test_episodes_begin_as_gymnasiums_do(name, width, velocity_deviation, largest):
    simulator = make_simulator(load_task(name), batch=400, seed=2)
    position, velocity = simulator.plant.pose()
    position = position - simulator.plant.model.qpos0
    assert np.abs(position).max() <= width
    assert position.std() == pytest.approx(width / np.sqrt(3), rel=0.05)
    assert velocity.std() == pytest.approx(velocity_deviation, rel=0.05)
    assert np.abs(velocity).max() <= largest
    assert np.abs(velocity).max() > 0.95 * largest or name == 'half_cheetah'
    again = make_simulator(load_task(name), batch=400, seed=2)
    assert np.array_equal(simulator.observation, again.observation)


def test_episodes_repeat_bit_by_bit_after_a_reset():
    simulator = make_simulator(load_task('half_cheetah'), batch=2, seed=5, gap='joint_noise')
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 2, 6)).astype(np.float32)
    runs = []
    for _ in range(2):
        simulator.reset(seed=7)
        runs.append([simulator.step(action).next_observation for action in actions])
    assert np.array_equal(*runs)


def test_the_horizon_truncates_and_a_new_episode_begins():
    short = dataclasses.replace(load_task('half_cheetah'), horizon=3)
    simulator = make_simulator(short, batch=2)
    rows = [simulator.step(np.ones((2, 6), np.float32)) for _ in range(6)]
    assert [step.truncated.tolist() for step in rows] == [[k in (2, 5)] * 2 for k in range(6)]
    assert not any(step.terminated.any() for step in rows)
    assert not np.array_equal(rows[2].next_observation, rows[3].observation)
    assert np.abs(rows[3].observation).max() < 0.6


def test_a_walker_out_of_its_bounds_has_ended():
    task = load_task('walker2d')
    rows = np.zeros((6, 17), np.float32)
    rows[:, 0], rows[:, 1] = [1.2, 0.8, 0.79, 2.0, 1.2, 1.2], [0.0, 0.0, 0.0, 0.0, 1.01, -0.99]
    assert task.compute_terminated(rows).tolist() == [False, True, True, True, True, False]
    assert not load_task('half_cheetah').compute_terminated(rows * 100.0).any()


def test_rewards_by_hand():
    observation, action = np.zeros((1, 17), np.float32), np.full((1, 6), 0.5, np.float32)
    progress = np.array([2.0])
    # 2 - 0.1 x 6 x 0.25 = 1.85, and 2 + 1 - 0.001 x 6 x 0.25 = 2.9985
    for name, expected in (('half_cheetah', 1.85), ('walker2d', 2.9985)):
        task = load_task(name)
        assert task.compute_reward(observation, action, progress) == pytest.approx([expected])
        assert task.largest_reward is None
        with pytest.raises(ConfigurationError, match='do not tell its reward'):
            task.compute_reward(observation, action)


def test_what_runs_away_is_an_error_and_no_transition():
    simulator = make_simulator(load_task('half_cheetah'))
    position, velocity = simulator.plant.pose()
    simulator.plant.place(np.arange(1), position, velocity + 1e7)
    with pytest.raises(SimulationError, match='robot 0 left the finite numbers'):
        for _ in range(5):
            simulator.step(np.zeros((1, 6), np.float32))


def test_a_task_may_order_and_leave_out_fields():
    task = load_task('half_cheetah')
    part = dataclasses.replace(
        task, observation=task.observation[8:3:-1], action=tuple(reversed(task.action))
    )
    whole, chosen = make_simulator(task, seed=1), make_simulator(part, seed=1)
    action = np.linspace(-1.0, 1.0, 6, dtype=np.float32)[None]
    rows, turned = whole.step(action), chosen.step(action[:, ::-1])
    assert np.array_equal(rows.next_observation[:, 8:3:-1], turned.next_observation)
    assert rows.reward == pytest.approx(turned.reward)


def test_names_that_a_model_does_not_have_are_refused():
    task = load_task('half_cheetah')
    colour = dataclasses.replace(task, observation=(*task.observation, ObservationField('tail')))
    with pytest.raises(
        ConfigurationError, match="'tail' is not simulated; the model gives x, x_d"
    ):
        make_simulator(colour)
    with pytest.raises(ConfigurationError, match='the model has the motors bthigh, bshin'):
        make_simulator(dataclasses.replace(task, action=task.action[:5]))
    with pytest.raises(ConfigurationError, match='choose one of simulator, standard'):
        make_simulator(task, 'hard')
    with pytest.raises(ConfigurationError, match='rate'):
        make_simulator(dataclasses.replace(task, rate=30.0))
    with pytest.raises(ConfigurationError, match='belong to .*standard.yaml'):
        make_simulator(dataclasses.replace(task, training_reset={'z': 0.1}))
    assert model_names('walker2d') == ['simulator', 'standard']


def test_a_robot_of_ones_own_lies_beside_its_file(tmp_path):
    text = (robot_folder('half_cheetah') / 'standard.yaml').read_text()
    path = tmp_path / 'mine.yaml'
    path.write_text(text.replace('xml: half_cheetah.xml', 'xml: mine.xml'))
    with pytest.raises(
        ConfigurationError, match="no 'mine.xml' beside it nor in Gymnasium, which"
    ):
        make_simulator(load_task('half_cheetah'), str(path))
    (tmp_path / 'mine.xml').write_text('<mujoco><worldbody/></mujoco')
    with pytest.raises(SimulationError, match='mine.xml: '):
        make_simulator(load_task('half_cheetah'), str(path))
    path.write_text(text.replace('reset_position: 0.1', 'reset_position: 0.0'))
    still = make_simulator(load_task('half_cheetah'), str(path))
    assert (still.plant.pose()[0] == 0.0).all()


def test_another_model_of_gymnasiums_needs_a_file_and_no_code(tmp_path):
    path = tmp_path / 'hopper.yaml'
    path.write_text('xml: hopper.xml\nreset_position: 0.005\nlargest_velocity: 10.0\n')
    names = (*HOPPER, 'x_dot', *(f'{name}_dot' for name in HOPPER))
    task = dataclasses.replace(
        load_task('walker2d'),
        observation=tuple(ObservationField(name) for name in names),
        action=tuple(ActionField(name, -1.0, 1.0, '1') for name in HOPPER[2:]),
    )
    simulator, made = make_simulator(task, str(path)), environment('Hopper-v4')
    place(made, *(rows[0] for rows in simulator.plant.pose()))
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (10, 1, 3)).astype(np.float32):
        rows = simulator.step(action)
        observation = made.step(action[0])[0]
        assert np.array_equal(rows.next_observation[0], observation.astype(np.float32))
