"""Both models of the robot: their physics against hand-worked numbers, and the episodes."""

import dataclasses
import json

import numpy as np
import pytest

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import (
    WHEEL_RADIUS,
    RobotParameters,
    load_parameters,
    model_names,
    robot_folder,
)
from h2o_ros.robot.pilot.balance_controller import linearise
from h2o_ros.sim.gaps import gap_names
from h2o_ros.sim.physics import read_model
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.sim.wheel_legged.plants import IdealPlant, VirtualPlant, issue_ages, quantise
from h2o_ros.task import ObservationField, load_task

FOLDER = robot_folder('wheel_legged')
NAMES = ('theta', 'theta_dot', 'x', 'x_dot')
MODELS = ('simulator', 'standard', 'hard')
# A virtual robot without anything that hides its mechanics.
BARE = RobotParameters(
    leg_stiffness=1e4, leg_damping=100.0, torque_lag=1e-5, theta_step=0, theta_dot_step=0,
    wheel_step=0,
)  # fmt: skip


@pytest.fixture
def task():
    return load_task('standing_still')


def start(**values):
    return {name: np.array([values.get(name, 0.0)]) for name in NAMES}


def virtual_plant(parameters, batch=1):
    generator = np.random.default_rng(0)
    return VirtualPlant(FOLDER / 'virtual_robot.xml', parameters, batch, 0.005, generator)


def play(plant, torques):
    rows = []
    for torque in torques:
        plant.advance(np.full(plant.batch, torque))
        rows.append({name: float(values[0]) for name, values in plant.sensors().items()})
    return rows


def hand_linearisation(mass, wheel_mass, height, inertia, wheel_inertia):
    """Return (pole, theta_ddot per N·m, x_ddot per N·m) of a wheeled inverted pendulum."""
    total = mass + 2 * wheel_mass + 2 * wheel_inertia / WHEEL_RADIUS**2
    moment = mass * height
    about_axle = inertia + mass * height**2
    determinant = total * about_axle - moment**2
    return (
        np.sqrt(total * moment * 9.81 / determinant),
        -(total + moment / WHEEL_RADIUS) / determinant,
        (about_axle / WHEEL_RADIUS + moment) / determinant,
    )


def test_simulator_has_the_pole_and_gains_worked_out_by_hand():
    # Centre of mass and inertia of body, thighs and shins by the parallel axis theorem.
    masses, own = np.array([7.0, 0.5, 0.7]), np.array([0.0397, 0.0005, 0.0025])
    knee = 0.205 * np.array([-np.sin(0.465), np.cos(0.465)])
    hip = knee + 0.105 * np.array([np.sin(1.062), np.cos(1.062)])
    centres = np.array([hip + [0.0081, 0.0], (knee + hip) / 2, knee / 2])
    centre = masses @ centres / masses.sum()
    inertia = (own + masses * ((centres - centre) ** 2).sum(1)).sum()
    pole, tilt, drive = hand_linearisation(8.2, 1.1, centre[1], inertia, 0.00232)
    transition, influence = linearise(FOLDER / 'simulator.xml', 0.005)
    found = np.log(np.linalg.eigvals(transition).real.max()) / 0.005
    assert found == pytest.approx(pole, rel=1e-3)
    assert influence[1, 0] / 0.005 == pytest.approx(tilt, rel=5e-3)
    assert influence[3, 0] / 0.005 == pytest.approx(drive, rel=5e-3)
    assert abs(centre[0]) < 1e-4  # the robot balances at pitch 0


def test_virtual_robot_has_the_mass_and_inertia_it_was_given():
    parameters = dataclasses.replace(BARE, com_height=0.13, pitch_inertia=0.11, torque_gain=1.5)
    _, tilt, drive = hand_linearisation(8.2, 1.1, 0.13, 0.11, 0.00232)
    pushed = play(virtual_plant(parameters), [0.4] * 12)
    still = play(virtual_plant(parameters), [0.0] * 12)
    rate = (pushed[9]['pitch_rate'] - still[9]['pitch_rate']) / 0.05
    assert rate == pytest.approx(tilt * 1.5 * 0.4, rel=0.06)
    speed = [
        WHEEL_RADIUS * (rows[9]['left_wheel_velocity'] + rows[9]['pitch_rate'])
        for rows in (pushed, still)
    ]
    assert (speed[0] - speed[1]) / 0.05 == pytest.approx(drive * 1.5 * 0.4, rel=0.08)


def test_simulator_keeps_its_energy():
    plant = IdealPlant(FOLDER / 'simulator.xml', 1, 0.005)
    plant.reset(np.arange(1), start(theta=0.2, x_dot=0.3))
    total, height = 10.4 + 2 * 0.00232 / WHEEL_RADIUS**2, 0.2206
    inertia = 0.0589 + 8.2 * height**2

    def energy(reading):
        speed = WHEEL_RADIUS * (reading['left_wheel_velocity'] + reading['pitch_rate'])
        swing = 8.2 * height * speed * reading['pitch_rate'] * np.cos(reading['pitch'])
        motion = 0.5 * total * speed**2 + 0.5 * inertia * reading['pitch_rate'] ** 2 + swing
        return motion + 8.2 * 9.81 * height * np.cos(reading['pitch'])

    before = energy({name: float(v[0]) for name, v in plant.sensors().items()})
    # 0.3 s are enough to fall a long way.
    rows = play(plant, [0.0] * 60)
    assert rows[-1]['pitch'] > 1.0
    assert energy(rows[-1]) == pytest.approx(before, rel=2e-3)


@pytest.mark.parametrize('model', MODELS)
def test_wheels_roll_and_x_is_where_the_axle_is(model, task):
    simulator = make_simulator(task, model, batch=1, seed=1)
    physics = simulator.plant.physics
    simulator.step(np.zeros((1, 1), np.float32))
    axle = simulator.observation[0, 2]
    column = physics.position('x')
    if model == 'simulator':
        assert physics.state[0, column] == pytest.approx(axle, abs=1e-6)
    else:
        # The hip stands above the axle, turned with the pitch by the leg's length of 0.234 m.
        theta = simulator.observation[0, 0]
        assert physics.state[0, column] == pytest.approx(axle + 0.2344 * np.sin(theta), abs=2e-3)


@pytest.mark.parametrize('periods', [0, 1, 2, 3])
def test_torque_arrives_exactly_the_delay_later(periods):
    parameters = dataclasses.replace(BARE, torque_delay=0.005 * periods)
    pushed, still = (play(virtual_plant(parameters), [torque] * 6) for torque in (1.0, 0.0))
    moved = [abs(a['pitch_rate'] - b['pitch_rate']) for a, b in zip(pushed, still, strict=True)]
    assert all(value == 0.0 for value in moved[:periods])
    assert moved[periods] > 0.01


def test_issue_ages_within_a_period():
    assert issue_ages(0.0, 0.001, 5).tolist() == [0, 0, 0, 0, 0]
    assert issue_ages(0.002, 0.001, 5).tolist() == [1, 1, 0, 0, 0]
    assert issue_ages(0.005, 0.001, 5).tolist() == [1, 1, 1, 1, 1]
    assert issue_ages(0.0075, 0.0005, 10).tolist() == [2] * 5 + [1] * 5


def test_lag_follows_a_first_order_step():
    plant = virtual_plant(dataclasses.replace(BARE, torque_lag=0.015, torque_gain=1.2))
    made = []
    for _ in range(6):
        plant.advance(np.array([1.0]))
        made.append(plant.physics.state[0, -2:].sum())
    expected = 1.2 * (1 - np.exp(-0.005 * np.arange(1, 7) / 0.015))
    assert made == pytest.approx(expected, rel=1e-6)


def test_warm_leaves_delay_and_lag_as_the_commands_did():
    parameters = dataclasses.replace(BARE, torque_lag=0.01, torque_delay=0.005)
    torques = [0.5, -0.3, 0.8, 0.1, -0.6, 0.4]
    lived, warmed = virtual_plant(parameters), virtual_plant(parameters)
    for torque in torques:
        lived.advance(np.array([torque]))
    history = np.array([[0.0] * 20 + torques])
    warmed.warm(history)
    assert warmed.physics.state[0, -2:] == pytest.approx(lived.physics.state[0, -2:], rel=1e-9)
    assert warmed.commands == pytest.approx(lived.commands)


def test_readings_come_in_the_sensors_steps():
    task = load_task('standing_still')
    simulator = make_simulator(task, 'standard', batch=8, seed=0)
    chosen = load_parameters('standard')
    simulator.step(np.full((8, 1), 0.5, np.float32))
    for name, step in (
        ('pitch', chosen.theta_step),
        ('pitch_rate', chosen.theta_dot_step),
        ('left_wheel_position', chosen.wheel_step),
        ('right_wheel_velocity', chosen.wheel_velocity_step),
    ):
        counts = simulator.sensors()[name] / step
        assert counts == pytest.approx(np.round(counts), abs=1e-6)
    assert quantise(np.array([0.26, -0.26]), 0.1) == pytest.approx([0.3, -0.3])


def test_old_wheel_readings_lag_behind():
    parameters = dataclasses.replace(BARE, wheel_delay=0.005)
    late, prompt = (play(virtual_plant(p), [1.0] * 5) for p in (parameters, BARE))
    shifted = [row['left_wheel_position'] for row in late[1:]]
    assert shifted == pytest.approx([row['left_wheel_position'] for row in prompt[:-1]], abs=1e-12)


def test_coulomb_friction_holds_against_a_smaller_torque():
    sticky = dataclasses.replace(BARE, coulomb_friction=0.3)

    def speed(parameters, torque):
        return play(virtual_plant(parameters), [torque] * 10)[-1]['left_wheel_velocity']

    assert abs(speed(sticky, 0.2)) < 0.1 * speed(BARE, 0.2)
    assert speed(sticky, 0.8) == pytest.approx(speed(BARE, 0.5), rel=0.1)


def test_slippery_floor_lets_the_wheels_spin():
    grip, ice = (dataclasses.replace(BARE, sliding_friction=value) for value in (1.0, 0.05))
    held, spun = (
        play(virtual_plant(p), [3.0] * 10)[-1]['left_wheel_velocity'] for p in (grip, ice)
    )
    assert spun > 2 * held


@pytest.mark.parametrize('model', MODELS)
def test_resets_fill_the_tasks_box_and_repeat_by_seed(model, task):
    first = make_simulator(task, model, batch=256, seed=3)
    again = make_simulator(task, model, batch=256, seed=3)
    other = make_simulator(task, model, batch=256, seed=4)
    assert np.array_equal(first.observation, again.observation)
    assert not np.array_equal(first.observation, other.observation)
    for column, name in enumerate(NAMES):
        width = task.training_reset[name]
        values = first.observation[:, column]
        # Noise of the sensors comes on top; theta_dot also shakes x_dot.
        assert np.abs(values).max() < width * 1.02 + 0.07
        assert values.std() == pytest.approx(width / np.sqrt(3), rel=0.15)
    gentle = make_simulator(task, model, batch=64, seed=0, reset='evaluation')
    assert np.abs(gentle.observation[:, 0]).max() < 0.101
    assert np.abs(gentle.observation[:, 2]).max() < 0.001


@pytest.mark.parametrize('model', MODELS)
def test_episodes_repeat_bit_by_bit(model, task):
    runs = []
    for _ in range(2):
        simulator = make_simulator(task, model, batch=4, seed=5, gap='joint_noise')
        actions = np.random.default_rng(0).normal(size=(40, 4, 1)).astype(np.float32)
        runs.append(np.stack([simulator.step(action).next_observation for action in actions]))
    assert np.array_equal(*runs)
    simulator.reset(seed=9)
    seen = simulator.observation
    simulator.step(actions[0])
    simulator.reset(seed=9)
    assert np.array_equal(seen, simulator.observation)


@pytest.mark.parametrize('model', MODELS)
def test_a_fall_terminates_and_the_row_keeps_the_true_next_observation(model, task):
    simulator = make_simulator(task, model, batch=2, seed=0)
    for _ in range(2000):
        before = simulator.observation
        rows = simulator.step(np.full((2, 1), -3.0, np.float32))
        assert np.array_equal(rows.observation, before)
        if rows.terminated.any():
            break
    fallen = rows.terminated
    assert fallen.any() and not rows.truncated[fallen].any()
    assert (np.abs(rows.next_observation[fallen, 0]) > np.pi / 6).all()
    assert (np.abs(simulator.observation[:, 0]) < 0.53).all()
    assert np.array_equal(simulator.observation[~fallen], rows.next_observation[~fallen])


def test_the_horizon_truncates(task):
    short = dataclasses.replace(task, horizon=5, training_reset={})
    simulator = make_simulator(short, 'simulator', batch=3)
    flags = [simulator.step(np.zeros((3, 1), np.float32)) for _ in range(10)]
    assert [rows.truncated.tolist() for rows in flags] == [
        [step in (4, 9)] * 3 for step in range(10)
    ]
    assert not any(rows.terminated.any() for rows in flags)
    assert simulator.time == pytest.approx(0.05)


def test_reward_counts_what_was_seen_and_the_clipped_command(task):
    simulator = make_simulator(task, 'simulator', batch=1, seed=2)
    theta, rate, x, speed = simulator.observation[0].astype(float)
    rows = simulator.step(np.array([[8.0]], np.float32))
    assert rows.action[0, 0] == 3.0
    expected = 30.0 - theta**2 - rate**2 - x**2 - speed**2 - 9.0
    assert rows.reward[0] == pytest.approx(expected, rel=1e-6)


def test_moving_straight_leaves_x_out():
    task = load_task('moving_straight')
    simulator = make_simulator(task, 'simulator', batch=2, seed=0)
    assert simulator.observation.shape == (2, 3)
    speed = WHEEL_RADIUS * (
        simulator.sensors()['left_wheel_velocity'] + simulator.sensors()['pitch_rate']
    )
    assert simulator.observation[:, 2] == pytest.approx(speed, abs=1e-6)


def test_gaps_change_what_they_say(task):
    plain, heavy, slippery = (
        make_simulator(task, gap=name).plant.physics.model
        for name in ('none', 'gravity', 'friction')
    )
    assert heavy.opt.gravity == pytest.approx(2 * plain.opt.gravity)
    assert slippery.tendon_frictionloss == pytest.approx(0.3 * plain.tendon_frictionloss)
    noisy = make_simulator(task, batch=2000, gap='joint_noise', reset='evaluation', seed=1)
    quiet = make_simulator(task, batch=2000, reset='evaluation', seed=1)
    still = np.zeros((2000, 1), np.float32)
    spread = noisy.step(still).next_observation[:, 1] - quiet.step(still).next_observation[:, 1]
    _, influence = linearise(FOLDER / 'simulator.xml', 0.005)
    assert spread.std() == pytest.approx(abs(influence[1, 0]), rel=0.05)


def test_less_traction_slips_where_full_traction_holds(task):
    def slip(gap):
        simulator = make_simulator(task, gap=gap, reset='evaluation')
        for _ in range(10):
            simulator.step(np.full((1, 1), 3.0, np.float32))
        way = simulator.plant.physics.state[0, simulator.plant.physics.position('x')]
        return abs(way - simulator.observation[0, 2])

    assert slip('none') < 1e-4
    assert slip('friction') > 1e-3


def test_hard_robot_is_what_its_file_says():
    standard, hard = load_parameters('standard'), load_parameters('hard')
    assert hard.com_offset == 0.018 and hard.torque_delay == 0.01 and hard.torque_lag == 0.015
    assert hard.sliding_friction == 0.45
    for name in ('coulomb_friction', 'viscous_friction', 'rolling_resistance'):
        assert getattr(hard, name) == pytest.approx(2 * getattr(standard, name))
    assert hard.com_height == standard.com_height


def test_models_and_tasks_agree_on_the_wheel_radius():
    for name in ('simulator.xml', 'virtual_robot.xml'):
        model = read_model(FOLDER / name)
        assert set(model.geom_size[model.geom_size[:, 0] == WHEEL_RADIUS][:, 0]) == {WHEEL_RADIUS}
    sources = load_task('standing_still').observation[2].sources
    assert sum(source.scale for source in sources if source.joint) == pytest.approx(WHEEL_RADIUS)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'model': 'nosuch'}, "model 'nosuch'"),
        ({'gap': 'wind'}, "gap 'wind'"),
        ({'reset': 'later'}, 'training or evaluation'),
        ({'batch': 0}, 'batch'),
    ],
)
def test_wrong_names_give_one_clear_line(task, arguments, words):
    with pytest.raises(ConfigurationError) as caught:
        make_simulator(task, **arguments)
    assert words in str(caught.value) and '\n' not in str(caught.value)


def test_unknown_fields_and_rates_are_refused(task):
    colour = dataclasses.replace(
        task, observation=(*task.observation, ObservationField('colour')), training_reset={}
    )
    with pytest.raises(ConfigurationError, match="'colour' is not simulated"):
        make_simulator(colour)
    with pytest.raises(ConfigurationError, match='rate'):
        make_simulator(dataclasses.replace(task, rate=300.0))
    with pytest.raises(ConfigurationError, match='robot'):
        make_simulator(dataclasses.replace(task, robot='submarine'))


def test_parameter_files_are_checked(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('torque_gian: 1.0\n')
    with pytest.raises(ConfigurationError, match='torque_gian'):
        load_parameters(path)
    path.write_text(json.dumps({'torque_delay': 2.0}))
    with pytest.raises(ConfigurationError, match='torque_delay'):
        load_parameters(path)
    path.write_text('pitch_inertia: 0.004\n')
    with pytest.raises(ConfigurationError, match='raise body_mass or pitch_inertia'):
        make_simulator(load_task('standing_still'), str(path))
    path.write_text('base: mine\n')
    with pytest.raises(ConfigurationError, match='its own base'):
        load_parameters(path)


def test_wrong_actions_are_refused(task):
    simulator = make_simulator(task, batch=2)
    with pytest.raises(ValueError, match='expected shape'):
        simulator.step(np.zeros((3, 1)))
    with pytest.raises(ValueError, match='NaN'):
        simulator.step(np.array([[np.nan], [0.0]]))


def test_every_name_is_listed():
    assert set(MODELS) <= set(model_names('wheel_legged'))
    assert gap_names() == ['none', 'gravity', 'friction', 'joint_noise', 'velocity_offset']
