"""The fit finds what it should on data whose truth is known, and on the real recording."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from h2o_ros.commands.identify import main, parse, read
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.errors import BagError, SimulationError
from h2o_ros.robot.description import load_parameters, robot_folder
from h2o_ros.robot.pilot.balance_controller import BalanceController
from h2o_ros.sim.identification.fit import BOUNDS, fit, sensor_noise, sensor_steps, torque_noise
from h2o_ros.sim.identification.open_loop import measured, predict_ideal, predict_virtual
from h2o_ros.sim.identification.recording import from_transitions, read_text
from h2o_ros.sim.identification.validation import (
    compare_closed_loop,
    compare_open_loop,
    recorded_hand,
)
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task, share_folder
from h2o_ros.transitions import concatenate

FOLDER = robot_folder('wheel_legged')
VIRTUAL = FOLDER / 'virtual_robot.xml'
REAL = Path(
    os.environ.get(
        'H2O_REAL_RECORDING',
        ROOT.parent / 'shared' / 'real_robot' / 'standing_60s.txt',
    )
)
REAL_COLUMNS = ['x', 'x_dot', 'theta', 'theta_dot', 'torque', 'done']


def record(model, steps, seed=0, noise=0.4):
    """Return a recording of a virtual robot, kept up by soft gains and shaken by torque noise."""
    task = load_task('standing_still')
    simulator = make_simulator(task, model, seed=seed, reset='evaluation')
    controller = BalanceController(task, home=0.0)
    generator, push, rows = np.random.default_rng(seed), 0.0, []
    for _ in range(steps):
        push = 0.95 * push + noise * 0.3 * generator.standard_normal()
        rows.append(simulator.step(controller.act(simulator.observation) + push))
    return from_transitions(concatenate(rows), task)


@pytest.fixture(scope='module')
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp('robot') / 'known.yaml'
    path.write_text(
        'com_height: 0.16\ntorque_gain: 1.2\ncoulomb_friction: 0.2\ntorque_delay: 0.010\n'
        'torque_lag: 0.006\ncom_offset: 0.004\npitch_inertia: 0.09\nviscous_friction: 0.005\n'
        'rolling_resistance: 0.03\ntheta_noise: 1.0e-4\ntheta_dot_noise: 0.01\n'
        'wheel_velocity_noise: 0.05\nwheel_velocity_step: 0.022\ntorque_noise: 0.05\n'
    )
    return str(path)


def test_fit_finds_the_parameters_of_a_known_robot(truth):
    known, start = load_parameters(truth), load_parameters('nominal')
    recording = record(truth, 2500)
    start = dataclasses.replace(start, leg_stiffness=2000.0, leg_damping=10.0)
    bounds = {name: BOUNDS[name] for name in list(BOUNDS)[:6]}
    found = fit(recording, VIRTUAL, start, bounds, delays=(0.005, 0.01), steps=20, windows=60)
    assert found.parameters.torque_delay == known.torque_delay
    for name, near in (
        ('com_height', 0.1), ('torque_gain', 0.1), ('coulomb_friction', 0.1),
        ('com_offset', 0.1), ('pitch_inertia', 0.15), ('torque_lag', 0.2),
    ):  # fmt: skip
        got = getattr(found.parameters, name)
        assert got == pytest.approx(getattr(known, name), rel=near), name
    assert found.costs[0.01] == min(found.costs.values())


def test_noise_and_resolution_are_read_off_the_recording(truth):
    known, recording = load_parameters(truth), record(truth, 6000)
    noise, steps = sensor_noise(recording), sensor_steps(recording)
    assert noise['theta_dot_noise'] == pytest.approx(known.theta_dot_noise, rel=0.3)
    assert steps['theta_step'] == pytest.approx(known.theta_step, rel=0.01)
    assert steps['theta_dot_step'] == pytest.approx(known.theta_dot_step, rel=0.01)
    found = torque_noise(recording, VIRTUAL, known)
    assert found['torque_noise'] == pytest.approx(known.torque_noise, rel=0.4)


def test_the_true_model_predicts_what_it_made(truth):
    quiet = load_parameters(truth)
    recording = record(truth, 1500)
    starts = recording.windows(10, 20, 20, 3.0)
    real = measured(recording, starts, 20)
    good = predict_virtual(VIRTUAL, quiet, recording, starts, 20) - real
    poor = predict_ideal(FOLDER / 'simulator.xml', recording, starts, 20) - real
    wrong = dataclasses.replace(quiet, torque_gain=2 * quiet.torque_gain)
    worse = predict_virtual(VIRTUAL, wrong, recording, starts, 20) - real
    sizes = [np.sqrt((error[:, -1, 0] ** 2).mean()) for error in (good, poor, worse)]
    assert sizes[0] < 0.3 * sizes[1]
    assert sizes[0] < 0.3 * sizes[2]


def test_windows_never_span_a_break(truth):
    recording = record(truth, 400)
    unbroken = recording.unbroken.copy()
    unbroken[200] = False
    broken = dataclasses.replace(recording, unbroken=unbroken)
    starts = broken.windows(10, 20, 1, 3.0)
    assert len(starts) and not ((starts - 10 <= 200) & (starts + 20 > 200)).any()
    assert 181 not in starts and 211 in starts and 180 in starts
    with pytest.raises(SimulationError, match='60 rows kept out of the fit'):
        compare_open_loop(FOLDER, load_parameters('nominal'), broken.part(0, 60))
    with pytest.raises(SimulationError, match='record longer'):
        fit(broken.part(0, 60), VIRTUAL, load_parameters('nominal'))


def test_a_jump_of_the_pitch_breaks_a_recording(tmp_path):
    rows = np.zeros((50, 6))
    rows[30:, 2] = 0.05
    path = tmp_path / 'jump.txt'
    np.savetxt(path, rows)
    recording = read_text(path, REAL_COLUMNS, 0.005, False)
    assert np.flatnonzero(~recording.unbroken).tolist() == [29]


def test_the_hand_is_recognised(truth):
    # Without a push of its own the law is exact; noise inside the loop would bias it.
    recording = record(truth, 1000, noise=0.0)
    controller = BalanceController(load_task('standing_still'))
    hand = recorded_hand(recording)
    assert hand.late == 0
    assert hand.gains == pytest.approx(-controller.gains, rel=1e-3)
    assert np.abs(hand.rest).max() < 1e-3


@pytest.mark.parametrize(
    ('content', 'words'),
    [('1 2 3\n4 5 6\n', 'got 3 columns'), ('a b c\n', 'not columns of numbers'),
     ('1 2 3 4 nan 0\n' * 2, 'line 1')],
)  # fmt: skip
def test_bad_recordings_give_one_line(tmp_path, capsys, content, words):
    path = tmp_path / 'bad.txt'
    path.write_text(content)
    assert main(['--recording', str(path)]) == 2
    line = capsys.readouterr().err
    assert words in line and 'bad.txt' in line and line.count('\n') == 1
    with pytest.raises(BagError):
        read_text(tmp_path / 'absent.txt', REAL_COLUMNS, 0.005, True)


def test_a_bag_is_read_as_its_transitions_with_breaks_where_they_end():
    bags = [
        share_folder('bags') / f'{name}_demo' for name in ('standing_still', 'moving_straight')
    ]
    task = load_task('standing_still')
    recording = read(parse(['--bag', ','.join(map(str, bags))]))
    dataset = load_bags(bags, task)
    rows, report = dataset.transitions, dataset.report
    assert len(recording) == report.steps
    assert recording.wheel_to_floor and recording.period == task.period
    column = task.observation_names.index('theta_dot')
    np.testing.assert_array_equal(recording.theta_dot, rows.observation[:, column])
    np.testing.assert_array_equal(recording.torque, rows.action[:, 0])
    first = load_bags(bags[:1], task).report.steps
    assert not recording.unbroken[first - 1]
    assert recording.unbroken[first - 2] and recording.unbroken[first]


@pytest.mark.parametrize(
    ('words', 'said'),
    [(['--bag', 'absent'], 'no such bag'),
     (['--bag', 'any', '--task', 'half_cheetah'], 'has no theta'),
     (['--bag', 'any', '--task', 'moving_straight'], 'has no x; give one that has'),
     (['--bag', '', '--output', '/dev/null/robot.yaml'], '/dev/null is a file'),
     (['--bag', '', '--output', 'robot'], 'the name of a .yaml file'),
     (['--recording', ''], ': cannot be read'),
     (['--bag', 'any', '--task', 'dancing'], "'dancing' is unknown")],
)  # fmt: skip
def test_bags_that_cannot_be_fitted_give_one_line(capsys, words, said):
    assert main(words) == 2
    line = capsys.readouterr().err
    assert said in line and line.count('\n') == 1


def test_a_command_line_that_says_too_little_or_too_much_is_refused(capsys):
    for words in ([], ['--bag', 'a', '--recording', 'b'], ['--recording', 'b', '--rate', '60']):
        with pytest.raises(SystemExit) as raised:
            main(words)
        assert raised.value.code == 2
        assert '--r' in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_file(), reason='the real recording is not on this machine')
def test_standard_robot_predicts_the_real_one_and_is_what_the_fit_gives(tmp_path):
    recording = read_text(REAL, REAL_COLUMNS, 0.005, wheel_to_floor=False)
    standard = load_parameters('standard')
    opened = compare_open_loop(FOLDER, standard, recording.part(8000, 12000))
    steps = opened.truth.shape[1]
    for column in (0, 1, 3):
        error = opened.root_mean_square('virtual robot', steps)[column]
        assert error < 0.25 * opened.root_mean_square('idealised simulator', steps)[column]
        assert error < 0.9 * opened.root_mean_square('rates held', steps)[column]
    closed = compare_closed_loop(VIRTUAL, standard, recording.part(0, 4000), robots=4)
    spread = closed.virtual.std(0).mean(0) / closed.real.std(0)
    assert closed.falls == 0
    assert ((spread > 0.5) & (spread < 2.0)).all()
    # A fit from another start, on fewer windows, must come out near the file that is shipped.
    start = dataclasses.replace(standard, torque_gain=1.2, com_height=0.2, coulomb_friction=0.1)
    again = fit(recording.part(0, 8000), VIRTUAL, start, delays=(0.005,), windows=80).parameters
    assert again.torque_gain / again.com_height == pytest.approx(
        standard.torque_gain / standard.com_height, rel=0.15
    )
    assert again.coulomb_friction == pytest.approx(standard.coulomb_friction, rel=0.15)
