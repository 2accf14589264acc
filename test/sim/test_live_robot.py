"""The virtual robot in real time, without ROS and CAN: person, floor, IMU, faults, the clock."""

import dataclasses

import mujoco
import numpy as np
import pytest

from h2o_ros.robot.description import load_parameters, robot_folder
from h2o_ros.sim.physics import Physics, read_model
from h2o_ros.sim.virtual_robot.handled_robot import (
    LIFT_SECONDS,
    LYING_PITCH,
    AttendedRobot,
    Attitude,
)
from h2o_ros.sim.virtual_robot.real_time_loop import CATCH_UP, RealTimeLoop
from h2o_ros.sim.virtual_robot.virtual_robot import LiveRobot, parse_fault
from h2o_ros.sim.wheel_legged.plants import VirtualPlant

PATH = robot_folder('wheel_legged') / 'virtual_robot.xml'
STEP = 0.001
PUSH = np.array([0.5, 0.5])
NOTHING = np.zeros(2)


def make_robot(seed=0, tilt=0.03, lift_after=0.0, noiseless=False):
    parameters = load_parameters('standard')
    if noiseless:
        names = ('torque_noise', 'theta_noise', 'theta_dot_noise', 'wheel_velocity_noise')
        parameters = dataclasses.replace(parameters, **dict.fromkeys(names, 0.0))
    noise, tilts = (np.random.default_rng([seed, k]) for k in range(2))
    plant = VirtualPlant(PATH, parameters, 1, STEP, noise)
    return AttendedRobot(plant, tilts, tilt, lift_after)


def advance_until(robot, attitude, torque=NOTHING, limit=10.0):
    """Advance until the robot is in an attitude; return the readings on the way."""
    seen = []
    while robot.attitude is not attitude:
        robot.advance(torque)
        seen.append(robot.readings())
        assert len(seen) < limit / STEP, f'never {attitude}, but {robot.attitude}'
    return seen


def fallen_robot(**options):
    robot = make_robot(**options)
    robot.advance(PUSH)
    advance_until(robot, Attitude.LYING)
    return robot


class Motors:
    """Motor controllers that make the torque they are told to."""

    def __init__(self, torque=NOTHING):
        self.torque = torque
        self.faults = []

    def step(self, now, positions, velocities):
        return self.torque

    def inject(self, fault, /, **numbers):
        if fault != 'encoder_jump':
            raise ValueError(f'fault {fault!r} is unknown')
        self.faults.append((fault, numbers))
        return 'it jumps'

    def repair(self):
        self.faults.append(('repaired', {}))


def run_live(live, seconds, start=0.0):
    """Step for so long; return every sample as (arrival, sample)."""
    steps = round(seconds / STEP)
    return [(start + k * STEP, s) for k in range(steps) for s in live.step(start + k * STEP)]


def test_one_step_of_one_robot_is_that_of_many():
    model = read_model(PATH)
    one, two = Physics(model, 1), Physics(model, 2)
    control = np.random.default_rng(0).uniform(-1, 1, (300, 1, 1, 2))
    for row in control:
        one.advance(row)
        two.advance(np.repeat(row, 2, axis=0))
    assert mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS) == one.state.shape[1]
    assert np.array_equal(one.state, two.state[:1])


def test_a_person_holds_the_robot_until_its_wheels_are_driven():
    robot = make_robot()
    held = robot.readings()['pitch']
    for _ in range(1000):
        robot.advance(NOTHING)
    assert robot.attitude is Attitude.HELD
    assert robot.readings()['pitch'] == pytest.approx(held, abs=0.001)
    robot.advance(PUSH)
    assert robot.attitude is Attitude.FREE
    for _ in range(100):
        robot.advance(PUSH)
    assert abs(robot.readings()['pitch'] - held) > 0.01


def test_tilts_differ_within_their_limit_and_come_again_with_the_seed():
    tilts = [make_robot(seed, tilt=0.05).readings()['pitch'] for seed in range(20)]
    assert max(map(abs, tilts)) < 0.051
    assert np.std(tilts) > 0.01
    assert tilts[3] == make_robot(3, tilt=0.05).readings()['pitch']


def test_a_robot_that_nobody_drives_falls_and_lies():
    robot = fallen_robot()
    for _ in range(3000):
        robot.advance(NOTHING)
    assert (robot.attitude, robot.falls) == (Attitude.LYING, 1)
    assert abs(robot.readings()['pitch']) == pytest.approx(LYING_PITCH, abs=0.002)


def test_a_lift_is_smooth_and_leaves_the_wheels_alone():
    robot = fallen_robot(noiseless=True)
    assert robot.request_lift()[0] is False  # it has only just fallen
    robot.advance(NOTHING)
    before = robot.readings()
    assert robot.request_lift() == (True, 'the robot is lifted; let go when torque flows')
    seen = advance_until(robot, Attitude.HELD)
    assert len(seen) == pytest.approx(LIFT_SECONDS / STEP, abs=2)
    pitch = np.array([row['pitch'] for row in [before, *seen]])
    rate = np.array([row['pitch_rate'] for row in seen])
    assert abs(pitch[-1]) < 0.031
    assert np.abs(np.diff(pitch)).max() < 0.002
    assert np.abs(pitch[0] + np.cumsum(rate) * STEP - pitch[1:]).max() < 0.01
    wheels = [row['left_wheel_position'] for row in [before, *seen]]
    assert np.ptp(wheels) < 0.002


def test_the_encoders_do_not_jump_in_a_fall():
    robot = make_robot(noiseless=True)
    robot.advance(PUSH)
    wheels = [row['left_wheel_position'] for row in advance_until(robot, Attitude.LYING)]
    assert np.abs(np.diff(wheels)).max() < 0.1


def test_nobody_lifts_a_robot_whose_wheels_are_driven():
    robot = fallen_robot(lift_after=0.5)
    for _ in range(1000):
        robot.advance(PUSH)
    assert robot.attitude is Attitude.LYING
    accepted, reason = robot.request_lift()
    assert not accepted
    assert 'disarm' in reason
    advance_until(robot, Attitude.HELD, limit=0.5 + LIFT_SECONDS + 0.01)


def test_without_a_wish_nobody_lifts_the_robot():
    robot = fallen_robot()
    for _ in range(5000):
        robot.advance(NOTHING)
    assert robot.attitude is Attitude.LYING


def test_the_imu_keeps_its_rate():
    samples = run_live(LiveRobot(make_robot(), Motors(), 1 / 400), 2.0)
    assert len(samples) == pytest.approx(800, abs=1)
    times = [sample.time for _, sample in samples]
    assert set(np.round(np.diff(times), 6)) <= {0.002, 0.003}


def test_imu_silence_ends_by_itself():
    live = LiveRobot(make_robot(), Motors(), 1 / 400)
    run_live(live, 0.1)
    live.inject('imu_silence', seconds=0.3)
    times = [sample.time for _, sample in run_live(live, 1.0, start=0.1)]
    assert times[0] == pytest.approx(0.4, abs=0.003)
    assert np.diff(times).max() < 0.004


def test_a_frozen_imu_repeats_itself_under_fresh_stamps():
    live = LiveRobot(make_robot(), Motors(), 1 / 400)
    before = run_live(live, 0.1)[-1][1]
    live.inject('imu_frozen', seconds=0.3)
    samples = [sample for _, sample in run_live(live, 1.0, start=0.1)]
    said = [(sample.pitch, sample.pitch_rate) for sample in samples]
    frozen = sum(sample.time < 0.4 for sample in samples)
    assert said[:frozen] == [(before.pitch, before.pitch_rate)] * frozen
    assert said[frozen] != said[0]
    assert np.diff([sample.time for sample in samples]).max() < 0.004


def test_extra_delay_holds_back_torque_and_imu():
    motors = Motors()
    live = LiveRobot(make_robot(), motors, 1 / 400)
    live.inject('extra_delay', torque=0.02, imu=0.03)
    run_live(live, 0.1)
    motors.torque = PUSH
    late = run_live(live, 0.019, start=0.1)
    assert {round(at - sample.time, 4) for at, sample in late} <= {0.030, 0.031}
    assert live.robot.attitude is Attitude.HELD
    run_live(live, 0.003, start=0.119)
    assert live.robot.attitude is Attitude.FREE
    live.inject('extra_delay')
    last = run_live(live, 0.01, start=0.122)[-1]
    assert last[0] - last[1].time < 0.001


def test_other_faults_are_the_motors():
    live = LiveRobot(make_robot(), motors := Motors(), 1 / 400)
    name, numbers = parse_fault('encoder_jump radians=1.5 motor=0')
    assert live.inject(name, **numbers) == 'it jumps'
    assert motors.faults == [('encoder_jump', {'radians': 1.5, 'motor': 0.0})]


def test_a_frozen_orientation_keeps_its_pitch_alone():
    live = LiveRobot(make_robot(), Motors(PUSH), 1 / 400)
    run_live(live, 0.1)
    live.inject('orientation_frozen', seconds=0.3)
    said = [sample for _, sample in run_live(live, 0.2)]
    assert len({sample.pitch for sample in said}) == 1
    assert len({sample.pitch_rate for sample in said}) > 10


def test_a_repair_ends_every_fault():
    live = LiveRobot(make_robot(), motors := Motors(PUSH), 1 / 400)
    live.inject('imu_silence', seconds=60.0)
    live.inject('extra_delay', torque=0.2, imu=0.2)
    live.inject('repair')
    assert motors.faults == [('repaired', {})]
    samples = run_live(live, 0.1)
    assert samples[0][0] == samples[0][1].time == 0.0
    assert live.robot.attitude is Attitude.FREE


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'no fault is named'),
        ('imu_silence seconds', 'expected key=number'),
        ('imu_silence 3s=1', 'expected key=number'),
        ('imu_silence seconds=long', 'expected key=number'),
        ('imu_silence minutes=1', "has no 'minutes'; it takes seconds"),
        ('imu_silence seconds=nan', 'must be 0 to 60'),
        ('imu_silence seconds=-1', 'must be 0 to 60'),
        ('extra_delay torque=2', 'must be 0 to 0.2'),
        ('repair now=1', "has no 'now'; it takes nothing"),
        (
            'gremlins',
            "'gremlins' is unknown; the robot itself has imu_silence, imu_frozen, orient",
        ),
    ],
)
def test_a_wrong_fault_is_refused_in_one_line(text, message):
    live = LiveRobot(make_robot(), Motors(), 1 / 400)
    with pytest.raises(ValueError, match=message) as caught:
        name, numbers = parse_fault(text)
        live.inject(name, **numbers)
    assert '\n' not in str(caught.value)


class Clock:
    """A clock on which only sleeping and explicit work take time."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds + 2e-5  # a machine always oversleeps


def run_loop(calls, work):
    """Run a loop for so many calls, call k working work[k] s; return (loop, due, started)."""
    clock, due, started = Clock(), [], []

    def step(now):
        due.append(now)
        started.append(clock.now)
        clock.now += work.get(len(due) - 1, 1e-4)
        if len(due) == calls:
            loop.stop()

    loop = RealTimeLoop(step, STEP, clock, clock.sleep)
    loop.run()
    return loop, np.array(due), np.array(started)


def test_the_loop_does_not_drift():
    loop, due, started = run_loop(5000, {})
    assert due == pytest.approx(due[0] + STEP * np.arange(5000), abs=1e-9)
    assert (started - due).max() < 1e-4
    assert loop.lost == 0.0


def test_the_loop_catches_up_with_what_is_short():
    loop, due, started = run_loop(200, {50: 0.9 * CATCH_UP})
    assert due == pytest.approx(due[0] + STEP * np.arange(200), abs=1e-9)
    assert (started - due)[51] > 0.8 * CATCH_UP
    assert (started - due)[-1] < 1e-4
    assert loop.lost == 0.0


def test_the_loop_lets_pass_what_is_long_and_says_how_much():
    loop, due, started = run_loop(200, {50: 0.5})
    assert loop.lost == pytest.approx(0.499, abs=1e-4)
    assert np.diff(due)[50] == pytest.approx(0.5, abs=1e-4)
    assert np.abs((started - due)[52:]).max() < 1e-3


def test_a_failing_step_ends_the_loop_and_is_kept():
    def step(now):
        raise RuntimeError('broken')

    loop = RealTimeLoop(step, STEP)
    loop.start()
    loop.stop()
    assert str(loop.failure) == 'broken'
