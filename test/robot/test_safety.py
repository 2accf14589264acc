"""The safety: each limit, each trip, and that nothing but `arm` lets torque flow."""

import dataclasses
import math

import numpy as np
import pytest

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.robot.safety.settings import SafetySettings, check_safety
from h2o_ros.robot.safety.state_machine import Reading, Safety, State
from h2o_ros.robot.safety.torque_limiter import TorqueLimiter
from h2o_ros.task import Termination, load_task

TASK = load_task('standing_still')
SETTINGS = SafetySettings()
STILL = (0.0, 0.0)
COOL = 60.0  # °C of headroom
ONE, OTHER = b'one', b'other'


def limiter(**changes):
    return TorqueLimiter(dataclasses.replace(SETTINGS, **changes), -3.0, 3.0, 20.0, TASK.period)


def reading(
    theta=0.0, ages=None, speeds=STILL, headroom=COOL, faults=(), observation=True, same=0.005,
    theta_dot=0.0, lean=math.nan,
):  # fmt: skip
    row = np.array([[theta, theta_dot, 0.0, 0.0]], np.float32) if observation else None
    ages = {'imu/data': 0.003} if ages is None else ages
    return Reading(row, ages, speeds, headroom, faults, {'imu/data': same}, lean)


def disarmed():
    """Return a safety that has seen a good step and a good command at 0 s."""
    safety = Safety(SETTINGS, TASK, limiter())
    safety.configured()
    safety.sense(0.0, reading())
    assert safety.accept(0.0, ONE)
    assert safety.take(0.0, 0.0, [1.0], ONE)
    return safety


def armed():
    safety = disarmed()
    assert safety.arm(0.0) == []
    return safety


# The settings


@pytest.mark.parametrize('field', dataclasses.fields(SafetySettings), ids=lambda f: f.name)
def test_no_limit_can_be_switched_off(field):
    low, high = field.metadata['minimum'], field.metadata['maximum']
    assert 0 < low <= field.default <= high <= 5 * field.default
    assert math.isfinite(high)
    assert field.metadata['text']


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'arm_tilt': 0.5, 'limit': 0.4}, 'arm_tilt'),
        ({'arm_tilt': 0.3, 'tilt_limit': 0.3}, 'tilt_limit'),
        ({'speed_limit': 40.0}, 'speed_limit'),
    ],
)
def test_limits_that_contradict_each_other_are_refused(changes, words):
    limit = changes.pop('limit', TASK.termination.limit)
    task = dataclasses.replace(
        TASK, termination=dataclasses.replace(TASK.termination, limit=limit)
    )
    with pytest.raises(ConfigurationError, match=words):
        check_safety(dataclasses.replace(SETTINGS, **changes), MotorSettings(), task)


def test_the_defaults_fit_each_other():
    check_safety(SETTINGS, MotorSettings(), TASK)


def test_a_wheel_radius_that_is_not_the_tasks_is_refused():
    for task in (TASK, load_task('moving_straight')):
        check_safety(SETTINGS, MotorSettings(wheel_radius=0.0651), task)
        with pytest.raises(ConfigurationError, match='computes x.* from the wheels with 0.065 m'):
            check_safety(SETTINGS, MotorSettings(wheel_radius=0.08), task)
        for field in task.observation:
            if field.unit.startswith('m'):
                *wheels, body = field.sources
                wrong = dataclasses.replace(body, scale=0.08)
                changed = dataclasses.replace(field, sources=(*wheels, wrong))
                observed = tuple(changed if f is field else f for f in task.observation)
                words = f'computes {field.name} from {body.field} with 0.08 m'
                with pytest.raises(ConfigurationError, match=words):
                    other = dataclasses.replace(task, observation=observed)
                    check_safety(SETTINGS, MotorSettings(), other)
    no_wheels = tuple(field for field in TASK.observation if field.unit.startswith('rad'))
    blind = dataclasses.replace(
        TASK, observation=no_wheels, training_reset={}, evaluation_reset={}
    )
    check_safety(SETTINGS, MotorSettings(wheel_radius=0.08), blind)


def test_an_imu_that_is_mounted_backwards_is_taken_as_the_task_takes_it():
    def turned(field, sign):
        sources = tuple(
            dataclasses.replace(s, scale=sign * s.scale) if s.topic == 'imu/data' else s
            for s in field.sources
        )
        return dataclasses.replace(field, sources=sources)

    backwards = tuple(turned(field, -1.0) for field in TASK.observation)
    check_safety(SETTINGS, MotorSettings(), dataclasses.replace(TASK, observation=backwards))
    half = tuple(
        turned(field, -1.0) if field.unit.startswith('rad') else field
        for field in TASK.observation
    )
    with pytest.raises(ConfigurationError, match='from orientation.pitch with -0.065 m'):
        check_safety(SETTINGS, MotorSettings(), dataclasses.replace(TASK, observation=half))


def test_a_task_without_the_tilts_rate_is_driven_without_that_check():
    fields = tuple(field for field in TASK.observation if field.name != 'theta_dot')
    task = dataclasses.replace(TASK, observation=fields, training_reset={}, evaluation_reset={})
    check_safety(SETTINGS, MotorSettings(), task)
    safety = Safety(SETTINGS, task, limiter())
    safety.configured()
    safety.sense(0.0, reading()._replace(observation=np.zeros((1, 3), np.float32)))
    assert not any('contradict' in cause for cause in safety.obstacles(0.0))


def test_a_task_that_shows_no_fall_is_refused():
    blind = dataclasses.replace(
        TASK, observation=TASK.observation[1:], training_reset={}, evaluation_reset={}
    )
    with pytest.raises(ConfigurationError, match='theta'):
        check_safety(SETTINGS, MotorSettings(), blind)


# The limits


def test_torque_is_clamped_to_the_task_and_to_the_motors():
    wide = limiter(slew_rate=3000.0)
    assert wide.apply(100.0, 1.0, STILL, COOL) == 3.0
    wide.apply(-100.0, 2.0, STILL, COOL)
    assert wide.apply(-100.0, 3.0, STILL, COOL) == -3.0
    weak = TorqueLimiter(SETTINGS, -3.0, 3.0, 0.5, TASK.period)
    assert weak.apply(100.0, 1.0, STILL, COOL) == 0.5


def test_torque_changes_no_faster_than_the_slew_rate():
    slow = limiter(slew_rate=100.0)  # N·m/s: 0.1 N·m each ms
    assert slow.apply(3.0, 0.002, STILL, COOL) == pytest.approx(0.2)
    assert slow.apply(3.0, 0.005, STILL, COOL) == pytest.approx(0.5)
    # after a long silence: one control step's credit, 5 ms
    assert slow.apply(-3.0, 1.0, STILL, COOL) == pytest.approx(0.0)
    # and none for a clock that stands
    assert slow.apply(-3.0, 1.0, STILL, COOL) == pytest.approx(0.0)


def test_heat_takes_torque_away():
    warm = limiter(slew_rate=3000.0)  # band 20 °C
    assert warm.apply(3.0, 1.0, STILL, 20.0) == pytest.approx(3.0)
    assert warm.apply(3.0, 2.0, STILL, 10.0) == pytest.approx(1.5)
    assert warm.apply(-3.0, 3.0, STILL, 5.0) == pytest.approx(-0.75)
    assert warm.apply(3.0, 4.0, STILL, -1.0) == pytest.approx(0.0)
    assert warm.apply(0.5, 5.0, STILL, 10.0) == pytest.approx(0.5)  # below what is left


def test_speed_takes_accelerating_torque_away_and_leaves_braking():
    # limit 30 rad/s, fading from 24 rad/s on; the faster wheel counts
    for speeds, command, expected in [
        ((24.0, 0.0), 2.0, 2.0),
        ((0.0, 27.0), 2.0, 1.0),
        ((30.0, 30.0), 2.0, 0.0),
        ((30.0, 30.0), -2.0, -2.0),
        ((-27.0, 5.0), -2.0, -1.0),
        ((-27.0, 5.0), 2.0, 2.0),
    ]:
        fast = limiter(slew_rate=3000.0)
        assert fast.apply(command, 1.0, speeds, COOL) == pytest.approx(expected), speeds


@pytest.mark.parametrize('command', [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_never_becomes_torque(command):
    with pytest.raises(ValueError, match='finite'):
        limiter().apply(command, 1.0, STILL, COOL)


def test_no_sequence_of_commands_leaves_the_limits():
    generator = np.random.default_rng(0)
    rows = 30_000
    extremes = np.array([3.4e38, -3.4e38, 1e-45, 3.0000002, -0.0])
    commands = np.where(
        generator.random(rows) < 0.5,
        generator.choice(extremes, rows),
        10.0 ** generator.uniform(-6, 30, rows) * generator.choice([-1.0, 1.0], rows),
    )
    steps, speeds = generator.exponential(0.005, rows), generator.normal(0.0, 30.0, (rows, 2))
    headrooms = generator.uniform(-5.0, 30.0, rows)
    limits, now, last = limiter(), 0.0, 0.0
    for command, step, speed, headroom in zip(commands, steps, speeds, headrooms, strict=True):
        now += step
        torque = limits.apply(float(command), now, tuple(speed), float(headroom))
        assert -3.0 <= torque <= 3.0
        assert abs(torque - last) <= SETTINGS.slew_rate * min(step, TASK.period) + 1e-9
        last = torque


# The trips

CAUSES = {
    'old sensor': ({'ages': {'imu/data': 0.021}}, 'imu/data: 21 ms old'),
    'no sensor': ({'ages': {'imu/data': math.inf}}, 'no message so far'),
    'sensor of no age': ({'ages': {'imu/data': math.nan}}, 'imu/data'),
    'frozen sensor': ({'same': 0.101}, 'imu/data: the same numbers for 101 ms'),
    'frozen for an unknown time': ({'same': math.nan}, 'the same numbers'),
    'fall': ({'theta': 0.53}, 'the robot has fallen: tilt 0.53 rad'),
    'fall backwards': ({'theta': -0.53}, 'fallen'),
    'fall to the side': ({'lean': 0.71}, 'fallen: it leans by 0.71 rad (limit 0.7)'),
    'upside down': ({'theta': 0.01, 'lean': math.pi}, 'z axis must point up'),
    'not finite': ({'theta': math.nan}, 'not finite'),
    'motors': ({'faults': ['left motor: watchdog']}, 'left motor: watchdog'),
    'overspeed': ({'speeds': (0.0, -36.1)}, '36.1 rad/s (limit 36)'),
    'speed unknown': ({'speeds': (math.nan, 0.0)}, 'rad/s'),
    'heat': ({'headroom': 0.0}, 'temperature limit'),
}


@pytest.mark.parametrize(('change', 'words'), CAUSES.values(), ids=CAUSES)
def test_each_cause_trips_and_stands_against_arming(change, words):
    safety = armed()
    safety.sense(0.005, reading(**change))
    assert safety.state == State.TRIPPED
    assert words in safety.reason
    assert safety.torque(0.005) == 0.0
    assert words in '; '.join(safety.arm(0.006))
    assert safety.state == State.TRIPPED

    safety.sense(0.010, reading())
    assert safety.state == State.TRIPPED, 'the cause is gone, and nobody has armed'
    assert safety.arm(0.011) == []
    assert safety.trips == 1


def test_a_good_step_trips_nothing():
    safety = armed()
    extreme = {'ages': {'imu/data': 0.02}, 'speeds': (36.0, -36.0), 'same': 0.1}
    safety.sense(0.005, reading(theta=0.5, theta_dot=200.0, **extreme))
    assert safety.state == State.ARMED


def test_a_tilt_that_its_rate_does_not_explain_trips():
    safety = armed()
    safety.sense(0.005, reading(theta=0.19))
    assert safety.moving
    safety.sense(0.010, reading(theta=0.21))
    assert 'tilt and tilt rate contradict each other by 0.21 rad' in safety.reason
    assert 'contradict' in '; '.join(safety.arm(0.015))


@pytest.mark.parametrize(
    'termination',
    [
        Termination('never'),
        Termination('fallen', limit=1e9),
        Termination('outside', bounds={'x': (-100.0, 100.0)}),
    ],
    ids=lambda termination: termination.name,
)
def test_no_task_can_switch_the_fall_off(termination):
    task = dataclasses.replace(TASK, termination=termination)
    check_safety(SETTINGS, MotorSettings(), task)
    safety = Safety(SETTINGS, task, limiter())
    safety.configured()
    safety.sense(0.0, reading(theta=0.65))
    safety.take(0.0, 0.0, [1.0], ONE)
    assert 'fallen' not in '; '.join(safety.obstacles(0.0))
    safety.sense(0.005, reading(theta=0.71))
    assert 'fallen: tilt 0.71 rad (limit 0.7)' in '; '.join(safety.obstacles(0.005))


def test_torque_limits_without_zero_are_refused():
    for lower, upper in ((0.5, 3.0), (-3.0, -0.5), (0.0, 3.0)):
        action = dataclasses.replace(TASK.action[0], lower=lower, upper=upper)
        with pytest.raises(ConfigurationError, match='leave no zero torque'):
            check_safety(SETTINGS, MotorSettings(), dataclasses.replace(TASK, action=(action,)))


def test_silence_of_the_commands_trips_in_time():
    safety = armed()
    assert safety.cut_at == pytest.approx(0.045)
    safety.expire(0.0449)
    assert safety.moving
    assert safety.torque(0.0449) == 1.0, 'the last command is held until then'
    safety.expire(0.0451)
    assert safety.state == State.TRIPPED
    assert 'no fresh command for 45 ms' in safety.reason
    assert 'no fresh command' in '; '.join(safety.arm(0.05))


def test_an_answer_to_an_old_observation_is_not_fresh():
    safety = armed()
    assert not safety.take(0.030, 0.0099, [0.5], ONE)
    assert (safety.refused, safety.state) == (1, State.ARMED)
    assert safety.cut_at == pytest.approx(0.045)
    assert safety.take(0.030, 0.011, [0.5], ONE)
    assert safety.cut_at == pytest.approx(0.075)


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        ([math.nan], 'not finite'),
        ([math.inf], 'not finite'),
        ([], '0 numbers'),
        ([0.1, 0.1], '2 numbers'),
    ],
)
def test_a_command_without_sense_trips(data, words):
    safety = armed()
    assert not safety.take(0.005, 0.0, data, ONE)
    assert safety.state == State.TRIPPED
    assert words in safety.reason
    safety.take(0.006, 0.005, [0.0], ONE)
    safety.sense(0.006, reading())
    assert words in '; '.join(safety.arm(0.007)), 'so soon after'
    safety.take(1.1, 1.1, [0.0], ONE)
    assert safety.arm(1.1) == []


def test_a_second_sender_trips():
    safety = armed()
    assert not safety.accept(0.005, OTHER)
    assert safety.state == State.TRIPPED
    assert 'second publisher' in safety.reason
    safety.sense(0.5, reading())
    safety.take(0.5, 0.5, [0.0], ONE)
    assert 'second publisher' in '; '.join(safety.arm(0.5))


def test_another_sender_may_take_over_from_one_that_ended():
    safety = disarmed()
    assert not safety.accept(0.9, OTHER)
    assert safety.accept(1.1, OTHER)
    assert safety.take(1.1, 1.1, [0.0], OTHER)
    assert not safety.accept(1.2, ONE)


def test_a_second_publisher_in_the_graph_trips():
    safety = armed()
    safety.publishers = 2
    safety.sense(0.005, reading())
    assert safety.state == State.TRIPPED
    assert '2 publishers' in safety.reason
    safety.publishers = 1
    safety.sense(0.010, reading())
    assert safety.arm(0.010) == []


def test_a_second_publisher_of_a_sensor_trips():
    safety = armed()
    safety.crowded_sensors = ('imu/data',)
    safety.sense(0.005, reading())
    assert safety.state == State.TRIPPED
    assert safety.reason == ("imu/data: has more than one publisher; end all but the robot's own")


def test_the_fourth_missed_deadline_in_a_row_trips():
    safety = armed()
    safety.misses_in_row = 3
    safety.sense(0.005, reading())
    assert safety.state == State.ARMED
    safety.misses_in_row = 4
    safety.sense(0.010, reading())
    assert safety.state == State.TRIPPED
    assert '4 control steps in a row' in safety.reason


def test_the_first_reason_stays():
    safety = armed()
    safety.sense(0.005, reading(theta=1.0))
    safety.trip('something later')
    assert 'fallen' in safety.reason
    assert safety.trips == 1


# Arming


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'theta': 0.21}, 'not upright'),
        ({'theta': -0.21}, 'not upright'),
        ({'speeds': (0.0, 1.1)}, 'hold it still'),
        ({'observation': False}, 'no observation'),
    ],
)
def test_arming_wants_more_than_running_does(change, words):
    safety = disarmed()
    safety.sense(0.0, reading(**change))
    assert words in '; '.join(safety.arm(0.0))
    assert safety.state == State.DISARMED


def test_arming_begins_at_zero_torque():
    safety = disarmed()
    safety.take(0.0, 0.0, [3.0], ONE)
    safety.arm(0.0)
    assert safety.torque(0.0) == 0.0
    assert safety.torque(0.001) == pytest.approx(0.6)


def test_nothing_is_armed_twice_or_unconfigured():
    assert armed().arm(0.001) == ['armed already']
    fresh = Safety(SETTINGS, TASK, limiter())
    assert fresh.arm(0.0) == ['not configured']
    fresh.configured()
    assert fresh.arm(0.0) == ['no control step has run yet', 'no observation yet']


def test_no_torque_flows_unless_armed():
    assert disarmed().torque(0.001) == 0.0


@pytest.mark.parametrize(('wish', 'full'), [(1.0, 1.0), (1e30, 3.0)])
def test_deactivation_fades_the_torque(wish, full):
    safety = armed()
    for tick in range(1, 21):
        now = 0.005 * tick
        safety.take(now, now, [wish], ONE)
        safety.torque(now)
    safety.ramp_down(0.1)
    shown = {}
    for tick in range(1, 42):
        now = 0.1 + 0.005 * tick
        safety.take(now, now, [wish], ONE)
        safety.sense(now, reading())
        shown[tick] = safety.torque(now)
    assert shown[10] == pytest.approx(0.75 * full)
    assert shown[20] == pytest.approx(0.5 * full)
    assert safety.state == State.DISARMED
    assert shown[41] == 0.0


def test_a_fault_while_fading_still_trips():
    safety = armed()
    safety.ramp_down(0.0)
    safety.sense(0.005, reading(theta=1.0))
    assert safety.state == State.TRIPPED


# Emergency stop


def test_an_emergency_stop_needs_a_reset_and_then_an_arm():
    safety = armed()
    safety.stop_for_emergency('emergency stop by somebody')
    assert safety.state == State.EMERGENCY_STOPPED
    assert safety.torque(0.001) == 0.0
    assert 'reset_emergency_stop' in '; '.join(safety.arm(0.001))
    safety.reset_emergency_stop(configured=True)
    assert safety.state == State.DISARMED
    assert safety.torque(0.001) == 0.0
    assert safety.arm(0.001) == []


def test_what_an_emergency_stop_was_is_said_once_however_often_arming_is_refused():
    safety = armed()
    safety.stop_for_emergency('emergency stop by somebody')
    for _ in range(3):
        safety.reason = f'not armed: {"; ".join(safety.obstacles(0.001))}'  # as the driver does
    assert safety.reason == (
        'not armed: emergency stop by somebody; call reset_emergency_stop first'
    )


def test_an_emergency_stop_outlives_cleaning_up_and_configuring():
    safety = armed()
    safety.stop_for_emergency('emergency stop by somebody')
    safety.cleaned_up()
    safety.configured()
    assert safety.state == State.EMERGENCY_STOPPED


def test_nothing_re_arms_by_itself():
    generator = np.random.default_rng(1)
    safety, now, may_move, moved = disarmed(), 0.0, False, 0
    for _ in range(20_000):
        now += generator.exponential(0.005)
        act = generator.integers(12)
        if act < 6:
            safety.take(now, now, [generator.normal()], ONE)
        elif act < 9:
            safety.sense(now, reading(theta=generator.normal(0.0, 0.2)))
        elif act == 9:
            safety.expire(now)
        elif act == 10:
            choices = [safety.ramp_down, lambda _: safety.stop_for_emergency('stop')]
            generator.choice(choices)(now)
        elif generator.random() < 0.5:
            safety.reset_emergency_stop(configured=True)
        else:
            may_move |= safety.arm(now) == []
        stopped = not safety.moving
        may_move = may_move and not stopped
        torque = safety.torque(now)
        assert may_move or torque == 0.0
        moved += torque != 0.0
    assert moved > 500, 'the walk must have armed now and then'
