"""What is believed of a motor's frames, with the time passed in: encoder and status."""

import numpy as np
import pytest

from h2o_ros.robot.description import WHEEL_RADIUS
from h2o_ros.robot.motors.odrive.axis import Axis
from h2o_ros.robot.motors.odrive.cansimple import Frame, Frames
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.robot.pilot.balance_controller import SOFT, BalanceController, Weights
from h2o_ros.robot.safety.settings import SafetySettings
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task

PERIOD = 0.005  # s
FRAMES = Frames('0.6')


def turning(positions, velocities, **changes):
    """Return an axis that heard so many encoder frames; rad and rad/s of the wheel."""
    axis = Axis(0, MotorSettings(**changes), FRAMES)
    turns = axis._turns
    for step, (position, velocity) in enumerate(zip(positions, velocities, strict=True)):
        values = {'Pos_Estimate': position * turns, 'Vel_Estimate': velocity * turns}
        axis.hear(Frame(0, 'Get_Encoder_Estimates', values), 1.0 + PERIOD * step)
    return axis


@pytest.mark.parametrize(
    ('speed', 'told'), [(60.0, 0.0), (95.0, 0.0), (0.0, 25.0), (30.0, -30.0), (2.0, 1.0)]
)
def test_positions_and_velocities_that_contradict_each_other_are_a_fault(speed, told):
    steps = np.arange(400)
    axis = turning(speed * PERIOD * steps, np.full(400, told))
    assert any('encoder position and velocity differ by' in event for event in axis.events)


@pytest.mark.parametrize('hertz', [0.3, 1.0, 5.0])
def test_wheels_that_turn_to_and_fro_are_none(hertz):
    generator, turn = np.random.default_rng(0), 2.0 * np.pi * hertz
    times = PERIOD * np.arange(4000)
    late = times + generator.uniform(0.0, 0.004, len(times))  # measured when, heard on time
    positions = 30.0 / turn * np.sin(turn * late)
    velocities = 30.0 * np.cos(turn * late) + generator.normal(0.0, 0.3, len(times))
    assert turning(np.round(positions, 3), velocities).events == []


def test_a_jump_is_told_once_and_not_as_a_drift():
    positions = np.where(np.arange(400) < 200, 0.0, 2.0)
    assert turning(positions, np.zeros(400)).events == ['encoder jumped by +2.00 rad']


@pytest.mark.parametrize('weights', [Weights(), SOFT], ids=['usual', 'soft'])
@pytest.mark.parametrize('model', ['standard', 'hard'])
def test_frozen_encoders_are_found_before_the_robot_runs_away(model, weights):
    task, frozen_at = load_task('standing_still'), 400
    names, axis = task.observation_names, Axis(0, MotorSettings(), FRAMES)
    robot = make_simulator(task, model, seed=0)
    balance, held, speeds, found = BalanceController(task, weights), {}, [], None
    for step in range(frozen_at + 4000):  # 20 s
        observation = robot.observation.copy()
        speed = float(observation[0, names.index('x_dot')])
        if step < frozen_at:
            held = {'x': observation[0, names.index('x')], 'x_dot': 0.0}
        else:
            speeds.append(abs(speed))
            for name, value in held.items():
                observation[0, names.index(name)] = value
        encoder = {'Pos_Estimate': 1e-5 * (min(step, frozen_at) % 2), 'Vel_Estimate': 0.0}
        axis.hear(Frame(0, 'Get_Encoder_Estimates', encoder), 1.0 + PERIOD * step)
        if axis.events and found is None:
            assert 'repeats itself under torque' in axis.events[0]
            found = abs(speed)
        action = balance.act(observation)
        axis.torque = 0.5 * float(action[0, 0])
        if robot.step(action).terminated[0]:
            break
    limit = SafetySettings().speed_limit * WHEEL_RADIUS
    assert max(speeds) > 2.0 * limit, 'nothing would have been to be found'
    assert found is not None and found < limit


def heard(axis, now, **left_out):
    """Hear everything that firmware 0.6 sends, but what is left out."""
    for name, values in {
        'Heartbeat': {'Axis_Error': 0, 'Axis_State': 1, 'Procedure_Result': 0},
        'Get_Encoder_Estimates': {'Pos_Estimate': now, 'Vel_Estimate': 1.0},
        'Get_Temperature': {'FET_Temperature': 40.0, 'Motor_Temperature': 40.0},
        'Get_Bus_Voltage_Current': {'Bus_Voltage': 24.0, 'Bus_Current': 0.0},
    }.items():
        if name not in left_out:
            axis.hear(Frame(0, name, values), now)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('Get_Temperature', 'no temperature for 1.'),
        ('Get_Bus_Voltage_Current', 'no bus voltage for 1.'),
    ],
)
def test_a_motor_that_no_longer_tells_its_temperature_or_voltage_is_lost(name, words):
    axis = Axis(0, MotorSettings(), FRAMES)
    heard(axis, 1.0)
    heard(axis, 1.9, **{name: True})
    assert axis.faults(1.9, armed=False) == []
    heard(axis, 2.1, **{name: True})
    assert [words in fault for fault in axis.faults(2.1, armed=False)] == [True]
    heard(axis, 2.2)
    assert axis.faults(2.2, armed=False) == []


def test_old_firmware_does_not_tell_them():
    axis = Axis(0, MotorSettings(firmware='0.5'), Frames('0.5'))
    for now in (1.0, 9.0):
        heard(axis, now, Get_Temperature=True, Get_Bus_Voltage_Current=True)
    assert axis.faults(9.0, armed=False) == []
