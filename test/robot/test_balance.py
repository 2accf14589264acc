"""The balance controller and the scripted person who uses it."""

import dataclasses

import numpy as np
import pytest

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import robot_folder
from h2o_ros.robot.operator.human_model import OperatorModelSettings
from h2o_ros.robot.operator.scripted_operator import ScriptedOperator
from h2o_ros.robot.pilot.balance_controller import BalanceController, Weights, linearise, lqr_gains
from h2o_ros.robot.pilot.excitation import DisturbanceSettings
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task

MODELS = ('simulator', 'standard', 'hard')


@pytest.fixture
def task():
    return load_task('standing_still')


def run(task, model, act, steps, seed=0, batch=1):
    simulator = make_simulator(task, model, batch=batch, seed=seed, reset='evaluation')
    rows = [simulator.step(act(simulator)) for _ in range(steps)]
    return {
        'observation': np.stack([row.observation for row in rows]),
        'action': np.stack([row.action for row in rows]),
        'falls': sum(int(row.terminated.sum()) for row in rows),
    }


def test_gains_solve_a_problem_worked_out_by_hand():
    # One unstable state s' = 2 s + u with costs s² + u²: p = 1 + 4 p - 4 p² / (1 + p), so
    # p = 2 + sqrt(5) and k = 2 p / (1 + p) = 1.618; the other three states are dead.
    transition, influence = np.diag([2.0, 0.0, 0.0, 0.0]), np.array([[1.0], [0.0], [0.0], [0.0]])
    gains = lqr_gains(transition, influence, Weights())
    assert gains == pytest.approx([(1 + np.sqrt(5)) / 2, 0.0, 0.0, 0.0], abs=1e-9)


def test_gains_make_the_idealised_model_stable():
    transition, influence = linearise(robot_folder('wheel_legged') / 'simulator.xml', 0.005)
    gains = lqr_gains(transition, influence, Weights())
    closed = np.linalg.eigvals(transition - influence @ gains[None])
    assert np.abs(np.linalg.eigvals(transition)).max() > 1.04
    assert np.abs(closed).max() < 1.0
    assert (gains < 0).all()  # a forward tilt is answered by driving forward
    patient = lqr_gains(transition, influence, Weights(), discount=0.99)
    assert abs(patient[2]) < abs(gains[2])


@pytest.mark.parametrize('model', MODELS)
def test_it_stands_for_30_seconds(model, task):
    controller = BalanceController(task, batch=5, home=0.0)
    seen = run(task, model, lambda s: controller.act(s.observation), 6000, batch=5)
    assert seen['falls'] == 0
    assert np.abs(seen['action']).mean() < 1.0
    # An 18 mm offset of the centre of mass costs a proportional controller 2 m.
    assert np.abs(seen['observation'][:, :, 2]).mean() < {'hard': 3.0}.get(model, 0.5)


def test_it_follows_a_velocity(task):
    controller = BalanceController(task)
    seen = run(task, 'simulator', lambda s: controller.act(s.observation, 0.2), 4000)
    assert seen['observation'][2000:, 0, 3].mean() == pytest.approx(0.2, abs=0.005)


def test_it_works_without_x():
    task = load_task('moving_straight')
    controller = BalanceController(task, batch=2)
    seen = run(task, 'standard', lambda s: controller.act(s.observation, 0.2), 4000, batch=2)
    assert seen['falls'] == 0
    assert seen['observation'][1000:, :, 2].mean() == pytest.approx(0.2, abs=0.03)


def test_torque_stays_within_the_tasks_limits(task):
    controller = BalanceController(task)
    assert controller.act(np.array([[0.5, 5.0, 0.0, 0.0]])) == pytest.approx(3.0)
    assert controller.act(np.array([[-0.5, -5.0, 0.0, 0.0]])) == pytest.approx(-3.0)


def test_a_task_without_tilt_is_refused(task):
    blind = dataclasses.replace(
        task, observation=task.observation[1:], training_reset={}, evaluation_reset={}
    )
    with pytest.raises(ConfigurationError, match='missing: theta'):
        BalanceController(blind)


def test_operator_wanders_like_the_recording(task):
    operator = ScriptedOperator(task, seed=1)
    seen = run(task, 'standard', lambda s: operator.act(s.observation, s.time), 8000)
    theta, x = seen['observation'][:, 0, 0], seen['observation'][:, 0, 2]
    assert seen['falls'] <= 1
    # The recording's theta has a deviation of 0.039 to 0.048 rad.
    assert 0.03 < theta.std() < 0.07
    assert np.abs(x).max() < 2.5
    assert 0.25 < seen['action'].std() < 0.8


def test_operator_drives_forward_imperfectly():
    task = load_task('moving_straight')
    operator = ScriptedOperator(task, seed=2)
    seen = run(task, 'standard', lambda s: operator.act(s.observation, s.time), 6000)
    speed = seen['observation'][1000:, 0, 2]
    assert speed.mean() == pytest.approx(0.2, abs=0.1)
    assert 0.03 < speed.std() < 0.4


def test_operator_repeats_by_seed_and_starts_afresh_after_a_jump_in_time(task):
    observation = np.array([[0.01, 0.0, 0.1, 0.0]], np.float32)
    runs = []
    for seed in (3, 3, 4):
        operator = ScriptedOperator(task, seed=seed)
        runs.append([float(operator.act(observation, 0.005 * i)[0, 0]) for i in range(50)])
    assert runs[0] == runs[1] != runs[2]
    still = OperatorModelSettings(speed=0.0, homing=0.0)
    calm = DisturbanceSettings(torque_noise=0.0, knock_torque=0.0, gain_jitter=0.0)
    operator = ScriptedOperator(task, seed=0, habits=still, unrest=calm)
    before = operator.act(np.array([[0.0, 0.0, 0.0, 0.0]]), 0.0)
    operator.act(np.array([[0.0, 0.0, 0.0, 0.0]]), 0.005)
    lifted = operator.act(np.array([[0.0, 0.0, 0.9, 0.0]]), 5.0)
    assert lifted == pytest.approx(before)  # 0.9 m is where it stands now, not an error
