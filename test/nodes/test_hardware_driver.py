"""The hardware driver over DDS and CAN frames: what it does, what stops it, what it refuses."""

import math
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from driver_bench import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    listening,
    stand_and_client,
    words,
)
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu
from std_msgs.msg import Bool

from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.cdr.decode import quaternion_from_angles
from h2o_ros.msg import Action, DriverStatus
from h2o_ros.nodes.core.base_node import LATEST, to_floats
from h2o_ros.nodes.driver.topics import DriverTopics, largest_lean
from h2o_ros.task import load_task

TASK = load_task('standing_still')
UNRELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def driver(processes, node_environment):
    """Give a function that starts the driver, and end it by SIGINT where it still runs."""
    started = []

    def start(*changes, **parameters):
        node = processes.start_node(
            'hardware_driver', node_environment, *words(**parameters), *changes
        )
        started.append(node)
        return node

    yield start
    for node in started:
        if node.poll() is None:
            node.send_signal(signal.SIGINT)
            assert node.wait(timeout=15) == 0


def test_from_configuration_to_torque_and_back(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        driver()
        client.answers = lambda observation: None
        assert client.transition(CONFIGURE)
        wait_until(lambda: client.observations and client.joints, 10, 'observations')
        np.testing.assert_allclose(
            client.observations[-1].data, [0.02, 0.0, 0.065 * 0.37, 0.0], atol=0.011
        )
        assert not client.transition(ACTIVATE), 'nobody answers the observations'
        assert 'no fresh command' in client.status.reason
        assert client.status.contract_hash == TASK.contract_hash

        client.answers = lambda observation: [0.5]
        client.await_ready()
        client.activate()
        wait_until(lambda: np.allclose(stand.last_torque(), 0.25), 5, 'half to each wheel')
        wait_until(lambda: client.applied and client.applied[-1].data[0] == 0.5, 5, 'applied')
        applied = client.applied[-1]
        assert (applied.policy_version, applied.source) == (7, Action.SOURCE_BALANCE_CONTROLLER)
        assert any(
            o.step == applied.step and o.header.stamp == applied.header.stamp
            for o in client.observations
        )
        client.answers = lambda observation: [1e30]
        wait_until(lambda: np.allclose(stand.last_torque(), 1.5), 5, 'clamped')

        assert client.transition(DEACTIVATE)
        client.await_state(DriverStatus.DISARMED)
        wait_until(lambda: stand.motors.armed == (False, False), 5, 'idle')
        assert not stand.last_torque().any()
        fading = {round(float(torque[0]), 1) for _, torque in stand.torques[-1500:]}
        assert len(fading) > 5, 'the torque faded'
        assert client.transition(CLEANUP)
        client.await_state(DriverStatus.UNCONFIGURED)
        assert client.transition(CONFIGURE), 'and once more'


def test_an_impossible_transition_is_refused_and_the_torque_goes_on(
    driver, ros_domain, wait_until
):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        node = driver()
        assert client.transition(CONFIGURE)
        client.answers = lambda observation: [0.5]
        client.await_ready()
        client.activate()
        for impossible in (CONFIGURE, ACTIVATE, CLEANUP, 99):
            assert not client.transition(impossible)
        wait_until(lambda: np.allclose(stand.last_torque(), 0.25), 5, 'half to each wheel')
        assert client.status.state == DriverStatus.ARMED
        assert client.transition(DEACTIVATE)
        assert not client.transition(DEACTIVATE)
        node.send_signal(signal.SIGINT)
        text, _ = node.communicate(timeout=15)
    assert node.returncode == 0 and 'Traceback' not in text
    refused = [line for line in text.splitlines() if 'refused: the node is active' in line]
    assert len(refused) == 4 and 'possible: deactivate (4), shutdown (7)' in refused[0], text


@pytest.mark.parametrize(
    ('roll', 'pitch', 'yaw', 'lean'),
    [
        (0.0, 0.3, 0.0, 0.3),
        (0.0, -0.3, 2.0, 0.3),
        (0.4, 0.0, 0.0, 0.4),
        (math.pi / 2, 0.0, 1.0, math.pi / 2),
        (math.pi, 0.0, 0.0, math.pi),
        (0.0, 3.05, 0.0, 3.05),
    ],
)
def test_the_lean_is_the_angle_of_the_imus_z_axis_to_any_side(roll, pitch, yaw, lean):
    x, y, z, w = quaternion_from_angles(*np.array([[roll], [pitch], [yaw]]))[0]
    message = Imu()
    message.orientation.x, message.orientation.y = float(x), float(y)
    message.orientation.z, message.orientation.w = float(z), float(w)
    without = Imu()
    without.orientation.w = 0.0
    assert math.isnan(largest_lean([without]))
    assert largest_lean([without, message]) == pytest.approx(lean)
    assert largest_lean([message, Imu()]) == pytest.approx(lean)


def test_one_driver_a_domain_and_no_training_or_recording_beside_it(
    tmp_path, processes, node_environment, ros_domain, wait_until
):
    environment = node_environment | {'TMPDIR': str(tmp_path)}
    launch_command = [str(Path(sys.executable).with_name('h2o')), 'launch']
    lock = tmp_path / f'h2o_ros_domain_{ros_domain}.action.lock'
    first = processes.start_node('hardware_driver', environment, *words())
    wait_until(lambda: lock.exists() and lock.read_text() == f'{first.pid}\n', 30, 'the lock')
    second = processes.start_node('hardware_driver', environment, *words())
    file, output = tmp_path / 'x.safetensors', tmp_path / 'run'
    others = [second] + [
        processes.start([*launch_command, f'{name}.launch.py', *more], env=environment)
        for name, *more in (
            ('train_sim', f'output:={output}'),
            ('record_demo', f'output:={output}'),
            ('record_teleop', f'output:={output}'),
            ('deploy_robot', f'policy:={file}'),
        )
    ]
    for other in others:
        text, _ = other.communicate(timeout=60)
        assert other.returncode == 2, text
        assert len(text.splitlines()) == 1, text
        assert f'another run (process {first.pid}) drives a robot in ROS domain' in text
        assert 'on /action; set ROS_DOMAIN_ID' in text
    assert first.poll() is None and not output.exists()
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=15) == 0


# name: (what is done, what the reason says, how it is undone)
FAULTS = {
    'imu silent': (
        lambda s, c: setattr(s, 'imu_on', False),
        'imu/data: ',
        lambda s, c: setattr(s, 'imu_on', True),
    ),
    'fall': (
        lambda s, c: setattr(s, 'pitch', 0.7),
        'fallen: tilt 0.70',
        lambda s, c: setattr(s, 'pitch', 0.02),
    ),
    'encoder silent': (
        lambda s, c: s.motors.inject('encoder_dropout', motor=1, seconds=0.4),
        'right motor (node 1): no encoder frame',
        lambda s, c: None,
    ),
    'encoder jump': (
        lambda s, c: s.motors.inject('encoder_jump', motor=0, radians=2.0),
        'encoder jumped',
        lambda s, c: None,
    ),
    'brown out': (
        lambda s, c: s.motors.inject('brown_out', volts=16.0, seconds=0.4),
        'supply is at 16.0 V',
        lambda s, c: None,
    ),
    'heat': (
        lambda s, c: s.motors.inject('over_temperature', celsius=97.0, seconds=0.4),
        '97 °C',
        lambda s, c: None,
    ),
    'spinout': (
        lambda s, c: s.motors.inject('spinout', motor=0),
        'SPINOUT_DETECTED',
        lambda s, c: c.call('clear_errors'),
    ),
    'bus off': (
        lambda s, c: s.motors.inject('bus_off', seconds=1.2),
        'CAN bus: the CAN controller is off the bus',
        lambda s, c: None,
    ),
    'pilot silent': (
        lambda s, c: setattr(c, 'answers', lambda o: None),
        'no fresh command',
        lambda s, c: setattr(c, 'answers', lambda o: [0.5]),
    ),
    'not finite': (
        lambda s, c: setattr(c, 'answers', lambda o: [math.nan]),
        'not finite',
        lambda s, c: setattr(c, 'answers', lambda o: [0.5]),
    ),
    'another task': (
        lambda s, c: setattr(c, 'answers', lambda o: [0.1, 0.1]),
        '2 numbers, expected one',
        lambda s, c: setattr(c, 'answers', lambda o: [0.5]),
    ),
    'old answers': (
        lambda s, c: setattr(c, 'answers', lambda o: setattr(o, 'step', 1) or [0.5]),
        'no fresh command',
        lambda s, c: setattr(c, 'answers', lambda o: [0.5]),
    ),
}


def test_each_fault_trips_and_says_why_and_nothing_re_arms(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        driver()
        client.configure()
        client.activate()
        for trips, (name, (begin, reason, undo)) in enumerate(FAULTS.items(), 1):
            wait_until(lambda: np.allclose(stand.last_torque(), 0.25), 5, f'torque before {name}')
            client.diagnostics.clear()
            begin(stand, client)
            client.await_state(DriverStatus.TRIPPED)
            assert reason in client.status.reason, name
            assert client.status.trips == trips
            client.await_diagnosis(reason)
            wait_until(lambda: stand.motors.armed == (False, False), 5, f'idle after {name}')
            undo(stand, client)
            calm = time.monotonic()
            client.await_ready()
            time.sleep(0.1)
            assert stand.largest_torque(since=calm) == 0.0, f're-armed by itself after {name}'
            assert client.status.state == DriverStatus.TRIPPED
            client.arm()
            client.await_state(DriverStatus.ARMED)
        sent = np.array([torque for _, torque in stand.torques])
        assert np.isfinite(sent).all()
        assert np.abs(sent).max() <= 1.5


def test_the_cause_stands_against_arming(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        driver()
        assert client.transition(CONFIGURE)
        assert client.call('arm')[1] == 'not armed: the node is not active; activate it'
        client.await_ready()
        client.activate()
        stand.pitch = 0.4  # not a fall, but no posture to arm in either
        stand.motors.inject('encoder_jump', radians=2.0)
        client.await_state(DriverStatus.TRIPPED)
        success, message = client.call('arm')
        assert not success
        assert 'not upright: tilt 0.40 rad' in message
        stand.pitch = 0.02
        stand.velocities = np.array([2.0, 0.0])
        wait_until(lambda: 'hold it still' in client.status.obstacles, 5, 'a turning wheel')
        assert not client.call('arm')[0]
        stand.velocities = np.zeros(2)
        stand.motors.inject('spinout', motor=1)
        wait_until(lambda: 'SPINOUT' in client.status.obstacles, 5, 'an error')
        message = client.call('arm')[1]
        assert message == (
            'not armed: right motor (node 1): SPINOUT_DETECTED; '
            'find out why, then call clear_errors'
        )


@pytest.mark.parametrize('firmware', ['0.6', '0.5'])
def test_emergency_stop_by_topic_and_service(driver, ros_domain, wait_until, firmware):
    with stand_and_client(ros_domain, wait_until, firmware=firmware) as (stand, client):
        driver(firmware=f'"{firmware}"')
        client.configure()
        client.activate()
        plain = client.node.create_publisher(Bool, 'emergency_stop', UNRELIABLE)
        wait_until(lambda: plain.get_subscription_count() > 0, 10, 'the driver')
        for press in (
            lambda: client.stop_topic.publish(Bool(data=True)),
            lambda: plain.publish(Bool(data=True)),
            lambda: client.call('emergency_stop_now'),
        ):
            press()
            client.await_state(DriverStatus.EMERGENCY_STOPPED)
            wait_until(lambda: stand.motors.armed == (False, False), 5, 'idle')
            client.stop_topic.publish(Bool(data=False))
            assert 'reset_emergency_stop' in client.call('arm')[1]
            assert client.call('reset_emergency_stop')[0]
            assert client.status.state != DriverStatus.ARMED
            client.await_ready()
            client.arm()
        assert not client.call('reset_emergency_stop')[0]


def test_an_emergency_stop_counts_before_configure_too(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        driver()
        client.await_state(DriverStatus.UNCONFIGURED)
        client.stop_topic.publish(Bool(data=True))
        client.await_state(DriverStatus.EMERGENCY_STOPPED)
        client.stop_topic.publish(Bool(data=False))
        assert client.transition(CONFIGURE)
        assert not client.transition(ACTIVATE)
        assert client.status.state == DriverStatus.EMERGENCY_STOPPED
        assert stand.motors.armed == (False, False)


def test_a_second_publisher_of_a_sensor_trips(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (_, client):
        driver()
        client.configure()
        client.activate()
        with listening(ros_domain) as intruder:
            intruder.create_publisher(Imu, 'imu/data', 10)
            client.await_state(DriverStatus.TRIPPED)
            # On a busy machine the newcomer may first be what makes the IMU late.
            complaint = 'imu/data: has more than one publisher'
            wait_until(lambda: complaint in client.status.obstacles, 10, 'the obstacle')
            assert not client.call('arm')[0]
        client.await_ready()
        client.arm()


def test_publishers_are_counted_where_the_topics_were_remapped_to(ros_domain, wait_until):
    remaps = ['-r', 'action:=commands', '-r', 'imu/data:=imu']
    with listening(ros_domain) as other:
        node = rclpy.create_node('driver', context=other.context, cli_args=['--ros-args', *remaps])
        topics = DriverTopics(node, TASK, lambda: None)
        for _ in range(2):
            other.create_publisher(Action, 'commands', LATEST)
            other.create_publisher(Imu, 'imu', 10)
        wait_until(lambda: topics.publishers() == 2, 5, 'two who send commands')
        wait_until(lambda: topics.crowded_sensors() == ('imu/data',), 5, 'two IMUs')
        node.destroy_node()


def test_a_second_publisher_of_commands_trips(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        driver()
        # A node takes this process up to 100 ms to make, in which the stand's IMU is silent.
        with listening(ros_domain) as intruder:
            client.configure()
            client.activate()
            publisher = intruder.create_publisher(Action, 'action', LATEST)
            wait_until(lambda: publisher.get_subscription_count() > 0, 10, 'the driver')
            command = Action(step=1, data=to_floats(np.array([3.0])))

            def tripped() -> bool:
                publisher.publish(command)  # best effort: the first may come before it is known
                return client.status.state == DriverStatus.TRIPPED

            wait_until(tripped, 10, 'the trip')
            assert 'publisher' in client.status.reason
            assert not client.call('arm')[0]
        client.await_ready()
        assert client.call('arm')[0]


def test_a_killed_driver_is_stopped_by_the_motors_and_a_new_one_begins_disarmed(
    driver, ros_domain, wait_until
):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        node = driver()
        client.configure()
        client.activate()
        wait_until(lambda: np.allclose(stand.last_torque(), 0.25), 5, 'torque')
        node.kill()
        node.wait()
        killed = time.monotonic()
        wait_until(lambda: stand.motors.armed == (False, False), 5, 'the watchdog')
        moved = [at for at, torque in stand.torques if torque.any()]
        assert moved[-1] - killed < 0.5
        driver()
        client.states.clear()
        client.configure()
        assert DriverStatus.DISARMED in client.states
        assert client.states[-1] != DriverStatus.ARMED
        assert not stand.last_torque().any()


def test_motors_that_do_not_answer_and_an_imu_that_is_missing_are_named(
    driver, ros_domain, wait_until
):
    with stand_and_client(ros_domain, wait_until) as (stand, client):
        driver(left_node_id=5)
        stand.imu_on = False
        assert not client.transition(CONFIGURE)
        reason = client.status.reason
        assert 'left motor (node 5): no heartbeat' in reason
        assert 'imu/data: no message' in reason
        assert '\n' not in reason
        assert not client.transition(ACTIVATE)
        assert client.status.state == DriverStatus.UNCONFIGURED


def test_a_bus_that_does_not_exist_is_named(driver, ros_domain, wait_until):
    with stand_and_client(ros_domain, wait_until) as (_, client):
        driver(interface='socketcan', channel='can77')
        assert not client.transition(CONFIGURE)
        wait_until(lambda: client.status.reason, 5, 'a reason')
        assert client.status.reason.startswith(
            'not configured: CAN bus socketcan can77: cannot be opened'
        )


@pytest.mark.parametrize(
    ('parameters', 'expected'),
    [
        ({'sensor_timeout': 0.5}, 'parameter sensor_timeout: expected 0.005 to 0.1 s'),
        ({'slew_rate': 0.0}, 'parameter slew_rate: expected 30.0 to 3000.0 N·m/s'),
        ({'firmware': '0.7'}, 'firmware'),
        ({'left_node_id': 1}, 'node'),
        ({'speed_limit': 50.0}, 'speed_limit'),
        ({'task': 'flying'}, "task 'flying' is unknown"),
    ],
)
def test_a_bad_parameter_is_one_line_and_no_motion(
    processes, node_environment, parameters, expected
):
    if 'firmware' in parameters:
        parameters = {'firmware': '"0.7"'}
    node = processes.start_node('hardware_driver', node_environment, *words(**parameters))
    text = node.communicate(timeout=20)[0]
    assert node.returncode == 2
    lines = [line for line in text.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith('error: ')
    assert expected in lines[0]


def test_a_recording_gives_back_what_was_seen_and_what_was_sent(
    driver, processes, node_environment, ros_domain, wait_until, tmp_path
):
    with stand_and_client(ros_domain, wait_until) as (_, client):
        driver()
        client.configure()
        recorder = processes.start_node(
            'bag_recorder', node_environment, *f'-p output:={tmp_path}/take -p takes:=true'.split()
        )
        wait_until(lambda: client.node.count_subscribers('applied_action') > 1, 10, 'recorder')
        client.answers = lambda observation: [10.0 * math.sin(0.05 * observation.step)]
        client.await_ready()
        client.activate()
        wait_until(
            lambda: len(client.applied) > 300,
            10,
            lambda: f'300 steps of torque, but {len(client.applied)}: {client.status.reason}',
        )
        assert client.transition(DEACTIVATE)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(timeout=15) == 0

    seen = {_nanoseconds(o): np.array(o.data) for o in client.observations}
    sent = {_nanoseconds(a): a.data[0] for a in client.applied}
    found = load_bags(next((tmp_path / 'take').glob('take_*')), TASK)
    rows = found.transitions
    assert len(found.stamps) > 200
    assert rows.action[:, 0].tolist() == [sent[stamp] for stamp in found.stamps]
    there = np.array([seen[stamp] for stamp in found.stamps])
    # What was under way from the sensor at the stamp of a step was not seen by it, and is newer.
    np.testing.assert_allclose(rows.observation, there, atol=2e-3)
    assert (rows.observation == there).all(axis=1).mean() > 0.5


def _nanoseconds(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
