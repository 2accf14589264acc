"""The node virtual_robot over DDS and CAN frames: what a driver finds, and what a person does."""

import contextlib
import signal
import time

import can
import numpy as np
import pytest
from ros_client import ask, listening
from sensor_msgs.msg import Imu
from std_srvs.srv import Trigger

from h2o_ros.nodes.core.base_node import STREAM
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.odrive.motors import Motors
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.srv import InjectFault

UDP = 'udp_multicast'


class Host:
    """What a driver has of the robot: its bus and its IMU; and a person's two services."""

    def __init__(self, node, motors, wait_until):
        self.motors = motors
        self._node, self._wait_until = node, wait_until
        self.imu = []
        node.create_subscription(Imu, 'imu/data', self._hear, STREAM)
        self._lift = node.create_client(Trigger, 'lift')
        self._inject = node.create_client(InjectFault, 'inject_fault')

    def _hear(self, message):
        age = time.time() - message.header.stamp.sec - 1e-9 * message.header.stamp.nanosec
        self.imu.append((time.monotonic(), 2 * np.arcsin(message.orientation.y), age))

    def lift(self):
        return self._call(self._lift, Trigger.Request())

    def inject(self, fault):
        return self._call(self._inject, InjectFault.Request(fault=fault))

    def _call(self, client, request):
        return ask(self._node, client, request, self._wait_until)

    @property
    def pitch(self):
        return self.imu[-1][1]

    def drive(self, torque, done, timeout=5.0):
        """Send torque (2,) at 200 Hz until done() or a fault; return the faults."""
        end = time.monotonic() + timeout
        while not (done() or (faults := self.motors.faults(time.monotonic()))):
            assert time.monotonic() < end, 'neither done nor a fault'
            self.motors.send(np.asarray(torque))
            time.sleep(0.005)
        return [] if done() else faults


@contextlib.contextmanager
def host_on(domain, wait_until):
    """Give a host in the test's domain, on the bus of that domain."""
    # A machine that runs other tests besides holds frames up.
    settings = MotorSettings(interface=UDP, encoder_timeout=0.1, heartbeat_timeout=1.5)
    with listening(domain, 'host') as node, open_bus(settings) as bus:
        motors = Motors(bus, settings)
        try:
            yield Host(node, motors, wait_until)
        finally:
            motors.close()


@pytest.fixture
def robot(processes, node_environment, ros_domain, monkeypatch, wait_until):
    """Start a robot and give (its process, a host that hears it)."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(ros_domain))
    process = processes.start_node('virtual_robot', node_environment, '-p', 'tilt:=0.0')
    with host_on(ros_domain, wait_until) as host:
        wait_until(lambda: len(host.imu) > 10, what='IMU messages')
        yield process, host
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == 0, output
    assert 'Traceback' not in output


def test_no_frame_waits_behind_a_controllers_own():
    settings = MotorSettings(interface=UDP, channel='239.74.163.252')
    with open_bus(settings) as controller, open_bus(settings) as host:
        for _ in range(5):
            controller.send(can.Message(arbitration_id=0x09, data=bytes(8), is_extended_id=False))
        host.send(can.Message(arbitration_id=0x0E, data=bytes(8), is_extended_id=False))
        assert [host.recv(1.0).arbitration_id for _ in range(5)] == [0x09] * 5
        heard = controller.recv(0.0)
        assert heard is not None
        assert heard.arbitration_id == 0x0E


def test_a_driver_finds_a_robot_that_is_fit(robot):
    _, host = robot
    before, started = len(host.imu), time.monotonic()
    assert host.motors.check(1.0) == []
    rate = (len(host.imu) - before) / (time.monotonic() - started)
    assert 300 < rate < 500
    assert np.median([age for *_, age in host.imu]) < 0.02
    assert abs(host.pitch) < 0.01
    assert host.motors.statistics().bus_load < 0.5


def test_the_robot_is_held_let_go_and_lifted(robot, wait_until):
    _, host = robot
    assert host.motors.check(0.5) == []
    assert host.motors.configure() == []
    host.motors.arm()
    assert host.drive([0.0, 0.0], lambda: len(host.imu) > 300) == []
    assert abs(host.pitch) < 0.01
    wheel = host.motors.positions().mean()
    host.drive([0.5, 0.5], lambda: host.pitch < -0.5)
    assert host.motors.positions().mean() > wheel + 0.5
    host.motors.disarm()
    wait_until(lambda: host.pitch < -1.2, what='the fall')
    wait_until(lambda: host.lift().success, what='the lift')
    wait_until(lambda: abs(host.pitch) < 0.01, what='the robot upright')
    time.sleep(0.2)
    assert host.motors.statistics().states == (1, 1)
    assert abs(host.pitch) < 0.01


def test_a_robot_whose_driver_is_gone_stops_its_wheels(robot, wait_until):
    _, host = robot
    assert host.motors.check(0.5) == []
    assert host.motors.configure() == []
    host.motors.arm()
    host.drive([0.05, 0.05], lambda: len(host.imu) > 300)
    wait_until(lambda: host.motors.statistics().states == (1, 1), 2.0, 'the watchdog')
    assert any('watchdog' in text.lower() for text in host.motors.faults(time.monotonic()))


def test_faults_come_when_asked_for_by_name(robot, wait_until):
    _, host = robot
    answer = host.inject('imu_silence seconds=0.5')
    assert answer.success, answer.message
    wait_until(lambda: time.monotonic() - host.imu[-1][0] > 0.25, 2.0, 'silence')
    wait_until(lambda: time.monotonic() - host.imu[-1][0] < 0.1, 2.0, 'its end')
    answer = host.inject('gremlins number=3')
    assert not answer.success
    assert 'gremlins' in answer.message
    assert '\n' not in answer.message


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['-p', 'model:=soft'], 'model'),
        (['-p', 'channel:=10.0.0.1'], '10.0.0.1'),
        (['-p', 'interface:=socketcan', '-p', 'channel:=can_that_is_not'], 'can_that_is_not'),
    ],
)
def test_a_wrong_parameter_is_one_line(processes, node_environment, words, message):
    process = processes.start_node('virtual_robot', node_environment, *words)
    output, _ = process.communicate(timeout=20)
    lines = [line for line in output.splitlines() if line.startswith('error: ')]
    assert process.returncode == 2, output
    assert len(lines) == 1
    assert message in lines[0]
    assert 'Traceback' not in output
