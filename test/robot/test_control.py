"""The control loop: deadlines, what it serves between them, and one step of the robot."""

import collections
import dataclasses
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from h2o_ros.data.live_observation import Observer
from h2o_ros.errors import ConfigurationError, RobotError
from h2o_ros.nodes.core.sensor_messages import imu_message, joints_message
from h2o_ros.robot.control.control_step import Command, Measurement, RobotControl
from h2o_ros.robot.control.deadlines import Deadlines
from h2o_ros.robot.control.loop import ControlLoop
from h2o_ros.robot.motors.odrive.motors import Statistics
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.robot.safety.settings import SafetySettings
from h2o_ros.robot.safety.state_machine import Safety, State
from h2o_ros.robot.safety.torque_limiter import TorqueLimiter
from h2o_ros.task import load_task

TASK = load_task('standing_still')
PERIOD = TASK.period
PILOT = b'pilot'

# Deadlines


def test_deadlines_do_not_drift():
    deadlines = Deadlines(0.005, 100.0)
    generator = np.random.default_rng(0)
    for _ in range(10_000):
        deadlines.begin(deadlines.due + 0.002 * generator.random())
    assert deadlines.due == pytest.approx(100.0 + 10_001 * 0.005, abs=1e-9)
    assert deadlines.missed == 0
    p99, largest = deadlines.lateness()
    assert 0.0019 < p99 <= largest < 0.002


def test_a_late_step_misses_its_deadline_and_a_run_of_them_is_counted():
    deadlines = Deadlines(0.010, 0.0)
    runs = []
    for late in (0.001, 0.006, 0.009, 0.004, 0.0, 0.006):
        deadlines.begin(deadlines.due + late)
        runs.append(deadlines.misses_in_row)
    assert runs == [0, 1, 2, 2, 0, 1]
    assert deadlines.missed == 3


def test_a_standstill_misses_every_deadline_that_passed():
    deadlines = Deadlines(0.005, 0.0)
    assert deadlines.begin(0.0051) == pytest.approx(0.0001)
    # due at 0.010; begun at 0.0252: 0.010, 0.015 and 0.020 went by, 0.025 is kept
    assert deadlines.begin(0.0252) == pytest.approx(0.0152)
    assert (deadlines.number, deadlines.missed, deadlines.misses_in_row) == (5, 3, 3)
    assert deadlines.due == pytest.approx(0.030)
    deadlines.begin(0.030)
    assert deadlines.misses_in_row == 0


# The loop


class Steps:
    """Records what the loop calls."""

    def __init__(self):
        self.times, self.served, self.errors = [], 0, []
        self.broken = False

    def wake_at(self):
        return float('inf')

    def serve(self, now):
        self.served += 1
        if self.broken:
            raise ZeroDivisionError('on purpose')

    def step(self, now, misses_in_row):
        self.times.append(now)

    def fail(self, error):
        self.errors.append(error)


@pytest.fixture
def looped():
    steps, awake = Steps(), threading.Event()

    def wait(seconds):
        awake.wait(seconds)
        awake.clear()

    loop = ControlLoop(steps, 0.005, wait, awake.set)
    loop.start()
    yield steps, loop
    loop.end()
    assert not loop.thread.is_alive()


def test_the_loop_steps_on_its_grid_and_answers_in_between(looped, wait_until):
    steps, loop = looped
    names = [loop.call(lambda now: threading.current_thread().name) for _ in range(50)]
    assert set(names) == {'control'}
    wait_until(lambda: len(steps.times) >= 20, 10)
    grid = np.round(np.diff(steps.times[:20]) / 0.005)
    assert grid.min() >= 0
    assert loop.deadlines.number >= 20


def test_a_refusal_reaches_who_asked_and_the_loop_goes_on(looped, wait_until):
    steps, loop = looped

    def refuse(now):
        raise RobotError('no')

    with pytest.raises(RobotError, match='no'):
        loop.call(refuse)
    count = len(steps.times)
    wait_until(lambda: len(steps.times) > count, 10)


def test_an_error_ends_the_loop_safely(looped, wait_until):
    steps, loop = looped
    steps.broken = True
    wait_until(lambda: steps.errors, 10)
    assert isinstance(steps.errors[0], ZeroDivisionError)
    with pytest.raises(RobotError, match='does not answer'):
        loop.call(lambda now: None, timeout=0.05)


# One step of the robot; times are passed in, motors and graph only record


class RecordedMotors:
    """Motors that take everything; `broken`: the bus takes nothing."""

    def __init__(self):
        self.settings = MotorSettings()
        self.armed, self.broken = False, False
        self.sent, self.said = [], []
        self.events, self.others = [], []
        self.temperature = 35.0

    def positions(self):
        return np.zeros(2)

    def velocities(self):
        return np.zeros(2)

    def age(self, now):
        return 0.0

    def faults(self, now):
        return list(self.events)

    def errors_beside_stop(self):
        return self.others

    def forget_events(self):
        self.events = []

    def arm(self):
        self.armed = True

    def send(self, torque):
        if self.broken:
            raise RobotError('CAN bus: does not take frames')
        self.sent.append(torque.copy())
        return torque

    def disarm(self):
        self.armed = False
        self.said.append('disarm')
        return True

    def estop(self):
        self.said.append('estop')
        return True

    def clear_errors(self):
        self.said.append('clear_errors')

    def statistics(self):
        hot, nothing = np.full(2, self.temperature), np.full(2, np.nan)
        return Statistics(
            bus_load=0.2,
            wrong_frames=0,
            error_frames=0,
            failed_sends=0,
            fet_temperature=hot,
            motor_temperature=nothing,
            voltage=np.full(2, 25.0),
            supply_current=nothing,
            current=nothing,
            states=(8, 8),
            errors=('', ''),
            watchdog='set and read back',
        )


class RecordedGraph:
    """The topics as lists."""

    def __init__(self):
        self.theta, self.age, self.fault = 0.0, 0.003, ''
        self.commands = collections.deque()
        self.stopped, self.told = False, 0
        self.observed, self.applied = [], []

    def measure(self, now, positions, velocities):
        row = np.array([[self.theta, 0.0, 0.0, 0.0]], np.float32)
        return Measurement(None if self.fault else row, {'imu/data': self.age}, self.fault)

    def publish_observation(self, step, observation):
        self.observed.append(step)

    def publish_applied(self, command, torque):
        self.applied.append((command.step, torque))

    def take_command(self):
        return self.commands.popleft() if self.commands else None

    def take_stop(self):
        asked, self.stopped = self.stopped, False
        return asked

    def tell(self):
        self.told += 1


class Bench:
    """A robot control whose time a test moves on; the loop's `call` runs at once."""

    def __init__(self, **settings):
        self.now, self.motors, self.graph = 100.0, RecordedMotors(), RecordedGraph()
        limits = SafetySettings(**settings)
        limiter = TorqueLimiter(limits, -3.0, 3.0, 20.0, PERIOD)
        self.safety = Safety(limits, TASK, limiter)
        self.safety.configured()
        self.control = RobotControl(self.safety, self.motors, self.graph)

    def call(self, function):
        return function(self.now)

    def step(self, count=1, torque=None, after=0.0005):
        """Run steps; each is answered by `torque`, `after` s later, where one is given."""
        for _ in range(count):
            self.control.step(self.now, 0)
            if torque is not None:
                self.answer(torque, after)
            self.now += PERIOD - (after if torque is not None else 0.0)

    def answer(self, torque, after=0.0005, step=None, sender=PILOT):
        self.now += after
        number = self.control.number if step is None else step
        self.graph.commands.append(Command(number, [torque], sender, 1, None))
        self.control.serve(self.now)

    def armed(self):
        self.step(3, torque=0.0)
        assert self.control.arm(self) == []
        return self


def test_a_command_is_on_the_bus_as_soon_as_it_comes_half_to_each_wheel():
    bench = Bench().armed()
    bench.control.step(bench.now, 0)
    sent = len(bench.motors.sent)
    bench.answer(1.0, after=0.003)
    assert len(bench.motors.sent) == sent + 1
    assert bench.motors.sent[-1].tolist() == [0.5, 0.5]
    assert bench.graph.applied[-1] == (bench.control.number, 1.0)


def test_what_is_told_is_what_was_sent_not_what_was_asked():
    bench = Bench(slew_rate=100.0).armed()
    bench.step(1, torque=3.0, after=0.002)
    assert bench.graph.applied[-1][1] == pytest.approx(2 * bench.motors.sent[-1][0])
    assert bench.graph.applied[-1][1] < 1.0


def test_a_late_pilot_has_its_last_command_repeated_and_then_cut():
    bench = Bench().armed()
    bench.step(3, torque=1.0)
    fresh_at, count = bench.now - PERIOD + 0.0005, len(bench.motors.sent)
    while bench.safety.moving:
        until = min(bench.control.wake_at(), bench.now)
        if until < bench.now:
            bench.now = until
        bench.control.serve(bench.now)
        if bench.safety.moving:
            bench.control.step(bench.now, 0)
            bench.now += PERIOD
    assert 0.044 < bench.now - fresh_at <= 0.0451
    repeated = bench.motors.sent[count:]
    assert 6 <= len(repeated) <= 9
    assert all(torque.tolist() == [0.5, 0.5] for torque in repeated)
    assert bench.control.missing == len(repeated)
    assert bench.motors.said == ['disarm']
    assert 'no fresh command' in bench.safety.reason


def test_an_old_or_repeated_answer_does_not_keep_the_robot_alive():
    bench = Bench().armed()
    bench.step(1, torque=1.0)
    answered = bench.control.number
    for _ in range(12):
        bench.step(1)
        bench.answer(1.0, after=0.0, step=answered)
    assert bench.safety.state == State.TRIPPED
    assert bench.safety.refused == 12


def test_an_answer_to_what_was_never_asked_is_refused():
    bench = Bench().armed()
    bench.step(3, torque=1.0)
    bench.answer(2.0, step=10_000)
    assert bench.safety.refused == 1
    assert bench.graph.applied[-1][1] == pytest.approx(1.0)


def test_a_trip_disarms_the_motors_once_and_is_told():
    bench = Bench().armed()
    told = bench.graph.told
    bench.graph.theta = 0.6
    bench.step(5)
    assert bench.motors.said == ['disarm']
    assert bench.graph.told == told + 1
    assert bench.control.torque == 0.0
    sent = len(bench.motors.sent)
    bench.graph.theta = 0.0
    bench.step(100, torque=1.0)
    assert len(bench.motors.sent) == sent, 'nothing is sent after a trip'


def test_a_bus_that_takes_nothing_trips():
    bench = Bench().armed()
    bench.motors.broken = True
    bench.step(1, torque=1.0)
    assert bench.safety.reason == 'CAN bus: does not take frames'
    assert bench.motors.said == ['disarm']


def test_a_fault_that_passed_trips_but_does_not_stand_against_arming():
    bench = Bench().armed()
    bench.motors.events = ['left motor: encoder jumped by +1.00 rad']
    bench.step(1, torque=0.0)
    assert 'encoder jumped' in bench.safety.reason
    bench.step(2, torque=0.0)
    assert bench.control.arm(bench) == []


def test_an_emergency_stop_reaches_the_motors_and_a_reset_clears_theirs():
    bench = Bench().armed()
    bench.graph.stopped = True
    bench.control.serve(bench.now)
    assert bench.motors.said == ['disarm', 'estop']
    assert bench.safety.state == State.EMERGENCY_STOPPED
    bench.control.reset_emergency_stop(bench.now)
    assert bench.motors.said == ['disarm', 'estop', 'clear_errors']
    assert not bench.motors.armed


def test_a_reset_clears_no_other_error():
    bench = Bench().armed()
    bench.graph.stopped = True
    bench.control.serve(bench.now)
    bench.motors.others = ['left motor: SPINOUT_DETECTED']
    with pytest.raises(RobotError, match='SPINOUT_DETECTED; look at it, and call clear_errors'):
        bench.control.reset_emergency_stop(bench.now)
    assert bench.motors.said == ['disarm', 'estop']
    assert bench.safety.state == State.EMERGENCY_STOPPED


def test_an_observation_that_is_not_finite_trips_and_goes_no_further():
    bench = Bench().armed()
    observed = list(bench.graph.observed)
    bench.graph.theta = np.nan
    bench.step(1, torque=0.0)
    assert bench.safety.reason == 'the observation is not finite'
    assert bench.graph.observed == observed


def test_an_emergency_stop_while_arming_wins():
    bench = Bench()
    bench.step(3, torque=0.0)
    close = bench.motors.arm

    def arm_and_stop():
        bench.graph.stopped = True
        bench.control.serve(bench.now)
        close()

    bench.motors.arm = arm_and_stop
    assert 'emergency stop' in '; '.join(bench.control.arm(bench))
    assert not bench.motors.armed
    assert bench.motors.sent == []


def test_arming_that_was_given_up_does_not_happen_later():
    bench = Bench()
    bench.step(3, torque=0.0)
    late = []

    def busy(function):
        if function.__name__ == '_begin':
            late.append(function)
            raise RobotError('the control loop does not answer')
        return function(bench.now)

    bench.call, usual = busy, bench.call
    assert bench.control.arm(bench) == ['the control loop does not answer']
    bench.call = usual
    assert late[0](bench.now) == ['arming was given up']
    assert bench.safety.state == State.DISARMED
    assert bench.motors.sent == [] and not bench.motors.armed


def test_a_bus_that_takes_nothing_while_arming_is_what_stands_against_it():
    bench = Bench()
    bench.step(3, torque=0.0)
    bench.motors.broken = True
    assert bench.control.arm(bench) == ['CAN bus: does not take frames']
    assert not bench.motors.armed


def test_errors_are_not_cleared_while_torque_flows():
    bench = Bench().armed()
    with pytest.raises(RobotError, match='armed'):
        bench.control.clear_errors(bench.now)
    assert bench.motors.said == []


def test_hot_motors_get_less_torque():
    bench = Bench(slew_rate=3000.0).armed()
    bench.motors.temperature = bench.motors.settings.fet_temperature_limit - 5.0
    bench.step(25, torque=3.0)
    assert bench.control.torque == pytest.approx(0.75)


def test_motors_are_looked_at_while_no_observation_can_be_computed():
    bench = Bench()
    bench.step(3)
    bench.graph.fault = 'imu/data: no message'
    bench.motors.temperature = 60.0
    bench.step(21)
    assert bench.graph.observed == [1, 2, 3]
    assert bench.control.statistics.fet_temperature.tolist() == [60.0, 60.0]


def test_nobody_is_asked_to_act_on_an_old_observation():
    bench = Bench()
    bench.step(2)
    bench.graph.age = 0.5
    bench.step(2)
    bench.graph.age, bench.graph.fault = 0.003, 'imu/data: orientation is not a unit quaternion'
    bench.step(2)
    assert bench.graph.observed == [1, 2]
    assert 'unit quaternion' in '; '.join(bench.control.arm(bench))


def test_a_failed_loop_leaves_the_motors_off():
    bench = Bench().armed()
    bench.control.fail(ZeroDivisionError('on purpose'))
    assert bench.motors.said == ['disarm']
    assert 'on purpose' in bench.safety.reason


# The observation


def messages(pitch=0.1, rate=0.2):
    readings = {
        'left_wheel_position': 1.0,
        'right_wheel_position': 2.0,
        'left_wheel_velocity': 3.0,
        'right_wheel_velocity': 5.0,
    }
    return {
        'imu/data': imu_message(pitch, rate, Time()),
        'joint_states': joints_message(readings, Time()),
    }


def test_the_observation_is_the_sum_of_its_sources():
    # x = 0.065 ((1 + 2) / 2 + 0.1), x_dot = 0.065 ((3 + 5) / 2 + 0.2)
    row = Observer(TASK).observe(messages())
    assert row.dtype == np.float32
    np.testing.assert_allclose(row, [[0.1, 0.2, 0.104, 0.273]], rtol=1e-6)


def test_a_message_without_orientation_gives_no_observation():
    wrong = messages()
    wrong['imu/data'].orientation.w = 0.0
    with pytest.raises(ValueError, match='imu/data: orientation is not a unit quaternion'):
        Observer(TASK).observe(wrong)


def test_a_joint_that_is_missing_is_named():
    wrong = messages()
    wrong['joint_states'].name = ['left_wheel', 'tail']
    with pytest.raises(ValueError, match="joint_states: .*'right_wheel'"):
        Observer(TASK).observe(wrong)


def test_a_field_without_sources_is_refused():
    blind = dataclasses.replace(TASK.observation[0], sources=())
    task = dataclasses.replace(TASK, observation=(blind, *TASK.observation[1:]))
    with pytest.raises(ConfigurationError, match='theta'):
        Observer(task)


def test_an_observation_is_computed_well_within_a_control_step():
    observer, given = Observer(TASK), messages()
    observer.observe(given)
    start = time.perf_counter()
    for _ in range(100):
        observer.observe(given)
    assert (time.perf_counter() - start) / 100 < PERIOD


def test_a_process_in_real_time_keeps_its_memory():
    code = (
        'from h2o_ros.robot.control.real_time import run_in_real_time\n'
        'allowed = run_in_real_time(5)\n'
        "locked = [l.split()[1] for l in open('/proc/self/status') if l.startswith('VmLck')]\n"
        'print(allowed, int(locked[0]) > 1000)'
    )
    output = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    ).stdout.split()
    if output[0] == 'False':
        pytest.skip('no right to real-time priorities here')
    assert output[1] == 'True'
