"""Every fault of a launched robot: the motors are off, it is told why, and a person must arm."""

import contextlib
import functools
import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from driver_bench import PATIENT
from ros_client import ask, call, listening
from std_msgs.msg import Bool

from h2o_ros.msg import Action, DriverStatus
from h2o_ros.nodes.core.base_node import LATCHED, LATEST, to_floats
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.odrive.cansimple import CLOSED_LOOP, IDLE, Frames
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.srv import InjectFault

# What is tested is that each fault stops the robot, on machines that may be busy; how soon it does
# is measured by bench/cutout.py with the limits as they are.
LIMITS = {
    **PATIENT,
    'watchdog_timeout': 0.5,
    'watchdog_enable_endpoint': 300,
    'watchdog_timeout_endpoint': 301,
    'ramp_time': 0.35,  # longer than the driver waits for a command
}
WATCHDOG_ERROR = 0x01000000


class Bus(threading.Thread):
    """What the host sent to the motors, in order: (name, value)."""

    def __init__(self, domain):
        super().__init__(daemon=True)
        channel = f'239.74.163.{1 + domain % 250}'
        self._bus = open_bus(MotorSettings(interface='udp_multicast', channel=channel))
        self._frames = Frames('0.6')
        self._ending = threading.Event()
        self.sent = []
        self.motors = {}  # axis state and errors by node id
        self.start()

    def run(self):
        while not self._ending.is_set():
            message = self._bus.recv(0.1)
            if message is None or message.arbitration_id & 0x1F not in (0x01, 0x07, 0x0E):
                continue
            frame = self._frames.decode(message)
            values = frame.values
            if frame.name == 'Heartbeat':
                self.motors[frame.node_id] = int(values['Axis_State']), int(values['Axis_Error'])
            else:
                self.sent.append((frame.name, next(iter(values.values()))))

    def is_off(self):
        """Say whether the last that was sent is zero torque, then idle, to both motors."""
        idle, zero = ('Set_Axis_State', IDLE), ('Set_Input_Torque', 0.0)
        return self.sent[-4:] == [zero, zero, idle, idle]

    def moves_since(self, mark):
        return [
            (name, value)
            for name, value in self.sent[mark:]
            if value == CLOSED_LOOP or (name == 'Set_Input_Torque' and value != 0.0)
        ]

    def close(self):
        self._ending.set()
        self.join()
        self._bus.shutdown()


class Person:
    """What a person at the robot can do, and what the robot says."""

    def __init__(self, node, launch, wait_until):
        self.node, self._launch, self._wait_until = node, launch, wait_until
        self.statuses, self.diagnoses = [DriverStatus()], []
        node.create_subscription(DriverStatus, 'driver_status', self.statuses.append, LATCHED)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.stop = node.create_publisher(Bool, 'emergency_stop', LATCHED)
        self._inject = node.create_client(InjectFault, 'inject_fault')
        self._refusal = ''

    @property
    def status(self):
        return self.statuses[-1]

    def call(self, service):
        answer = call(self.node, service, self._wait_until)
        return answer.success, answer.message

    def inject(self, fault):
        request = InjectFault.Request(fault=fault)
        answer = ask(self.node, self._inject, request, self._wait_until)
        assert answer.success, answer.message

    def signal(self, name, number):
        """Send a signal to one node of the launch."""
        os.kill(process_of(self._launch.pid, name), number)

    def await_state(self, state):
        self._wait_until(lambda: self.status.state == state, 30.0, f'state {state}')

    def await_ready(self):
        """Wait until nothing stands against arming, and has not for some messages."""
        begun = len(self.statuses)
        self._wait_until(
            lambda: [s.obstacles for s in self.statuses[begun:][-4:]] == [''] * 4,
            30.0,
            'no obstacles',
        )

    def was_told(self, words):
        return any(re.search(words, text) for text in self.diagnoses)

    def make_stand(self, bus):
        """Have the robot balance; where a busy machine has tripped it, lift and arm it."""
        if self.status.state == DriverStatus.TRIPPED:
            self.lift()
            self.await_ready()
            self.arm()
        self._wait_until(lambda: bus.moves_since(-4), 20.0, 'torque')

    def arm(self):
        """Arm as soon as the robot is held still."""
        self._wait_until(self._is_armed, 40.0, lambda: f'arming: {self._refusal}')
        self.await_state(DriverStatus.ARMED)

    def _is_armed(self):
        """Ask for torque; lift the robot again where it fell when it was let go too early."""
        armed, self._refusal = self.call('arm')
        if re.search('has fallen|not upright', self._refusal):
            self.lift()
        return armed

    def lift(self):
        self._wait_until(lambda: self.call('lift')[0], 20.0, 'a lift')

    def _on_diagnostics(self, message):
        self.diagnoses += [status.message for status in message.status]


def process_of(root, name):
    """Return the id of the process among the descendants of `root` that runs a node."""
    parents = {}
    for path in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            after_name = (path / 'stat').read_text().rsplit(')')[-1]
            parents[int(path.name)] = int(after_name.split()[1])
    for process in parents:
        above = process
        while above in parents and above != root:
            above = parents[above]
        with contextlib.suppress(OSError):
            words = Path(f'/proc/{process}/cmdline').read_text().split('\0')
            if above == root and any(word.endswith(f'/{name}') for word in words):
                return process
    raise AssertionError(f'{name} does not run')


@pytest.fixture
def launch(tmp_path, node_environment, processes):
    """Start the shipped launch file of a robot that a person drives, and give its process."""
    (tmp_path / 'driver.yaml').write_text(yaml.safe_dump(LIMITS))
    words = (
        'record_teleop.launch.py', 'operator:=keyboard', 'seconds:=0.0', 'excitation:=0.0',
        f'driver:={tmp_path / "driver.yaml"}', f'output:={tmp_path / "teleop"}',
    )  # fmt: skip
    command = [str(Path(sys.executable).with_name('h2o')), 'launch', *words]
    with (tmp_path / 'output').open('w') as output:
        process = processes.start(command, env=node_environment, stdout=output)
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
        process.wait(timeout=40)


@pytest.fixture
def robot(launch, tmp_path, ros_domain, wait_until):
    """Give a robot that stands by itself: (the bus, the person)."""
    launched = (DriverStatus.ARMED, DriverStatus.TRIPPED)
    with contextlib.closing(Bus(ros_domain)) as bus, listening(ros_domain) as node:
        person = Person(node, launch, wait_until)
        wait_until(
            lambda: person.status.state in launched or launch.poll() is not None, 40.0, 'arming'
        )
        assert launch.poll() is None, (tmp_path / 'output').read_text()
        person.make_stand(bus)
        yield bus, person


@contextlib.contextmanager
def second_publisher(person, wait_until):
    """Publish on `action` for a while, as a node that was left running does."""
    publisher = person.node.create_publisher(Action, 'action', LATEST)
    wait_until(lambda: publisher.get_subscription_count() > 0, 20.0, 'the driver')
    publisher.publish(Action(step=1, data=to_floats([3.0])))
    yield
    person.node.destroy_publisher(publisher)


def injected(text, undo=''):
    """Have a fault of the virtual robot, which ends by itself or is undone by another."""

    @contextlib.contextmanager
    def fault(person, _wait_until):
        person.inject(text)
        yield
        if undo:
            person.inject(undo)

    return fault


@contextlib.contextmanager
def paused(person, _wait_until):
    person.signal('policy_server', signal.SIGSTOP)
    yield
    person.signal('policy_server', signal.SIGCONT)


# name: (fault, pattern of the reason, whether the motors keep an error until it is cleared)
FAULTS = {
    'encoder dropout': (
        injected('encoder_dropout motor=1'),
        'right motor .* no encoder',
        0,
    ),
    'bus off': (injected('bus_off'), 'off the bus', 0),
    'encoder jump': (injected('encoder_jump motor=0 radians=5'), 'encoder jumped', 0),
    'encoder frozen': (injected('encoder_frozen seconds=30', 'repair'), 'repeats itself', 0),
    'heat': (injected('over_temperature celsius=90 seconds=0.5'), 'is at 90 °C, above', 0),
    'great heat': (injected('over_temperature seconds=0.5'), 'INVERTER_OVER_TEMP', 1),
    'brown out': (injected('brown_out volts=16'), 'supply is at 16.0 V', 0),
    'collapse': (injected('brown_out volts=12'), 'DC_BUS_UNDER_VOLTAGE', 1),
    'IMU silence': (injected('imu_silence seconds=0.5'), 'imu/data: ', 0),
    'IMU frozen': (injected('imu_frozen seconds=1'), 'the same numbers for', 0),
    'orientation frozen': (injected('orientation_frozen seconds=3'), 'contradict each other', 0),
    'late IMU': (injected('extra_delay imu=0.15', 'repair'), 'imu/data: ', 0),
    'late torque': (injected('extra_delay torque=0.2', 'repair'), 'fallen|a wheel turns', 0),
    # so hot that next to no torque is left to balance with
    'fall': (injected('over_temperature celsius=84.5', 'repair'), 'the robot has fallen', 0),
    'pilot paused': (paused, 'no fresh command for', 0),
    'second publisher': (second_publisher, 'publisher', 0),
}


def test_each_fault_switches_off_is_told_and_waits_for_a_person(robot, wait_until):
    bus, person = robot
    for name, (fault, words, latched) in FAULTS.items():
        person.make_stand(bus)
        person.diagnoses.clear()
        trips = person.status.trips
        with fault(person, wait_until):
            person.await_state(DriverStatus.TRIPPED)
            wait_until(bus.is_off, 20.0, f'{name}: zero torque and idle')
            mark = len(bus.sent)
            assert re.search(words, person.status.reason), f'{name}: {person.status.reason}'
            assert person.status.trips == trips + 1, name
            wait_until(functools.partial(person.was_told, words), 20.0, name)
        person.lift()
        if latched:
            wait_until(lambda: 'clear_errors' in person.call('arm')[1], 20.0, f'{name}: refused')
            wait_until(lambda: person.call('clear_errors')[0], 20.0, f'{name}: cleared')
        person.await_ready()
        assert bus.moves_since(mark) == [], f'{name}: armed by itself'
        assert person.status.state == DriverStatus.TRIPPED, name
        person.arm()


def test_a_recorder_that_is_killed_is_started_again_and_does_not_drop_the_robot(
    robot, launch, wait_until
):
    bus, person = robot
    person.make_stand(bus)
    assert person.call('start_recording')[0]
    first = process_of(launch.pid, 'bag_recorder')
    stops = person.status.trips
    person.signal('bag_recorder', signal.SIGKILL)
    wait_until(lambda: runs_anew(launch.pid, 'bag_recorder', first), 30.0, 'another recorder')
    wait_until(lambda: begins_a_take(person), 60.0, 'another take')
    person.make_stand(bus)
    assert person.call('stop_recording')[0]
    assert launch.poll() is None and person.status.trips == stops


LISTEN = """
import rclpy
from h2o_ros.msg import Action, Observation
from h2o_ros.nodes.core.base_node import STREAM
rclpy.init()
node = rclpy.create_node('person')
topics = (Observation, 'observation'), (Action, 'action'), (Action, 'applied_action')
heard = [[] for _ in topics]
for (kind, topic), messages in zip(topics, heard):
    node.create_subscription(kind, topic, messages.append, STREAM)
while not all(len(messages) > 200 for messages in heard):
    rclpy.spin_once(node)
"""


def test_who_begins_to_listen_does_not_stop_the_robot(
    robot, node_environment, processes, wait_until, tmp_path
):
    bus, person = robot
    person.make_stand(bus)
    stops = person.status.trips
    for _ in range(4):  # as by `ros2 topic echo`, which knows nothing of how our nodes speak
        command = [sys.executable, '-c', LISTEN]
        listener = processes.start(command, env=node_environment, cwd=tmp_path)
        wait_until(lambda p=listener: p.poll() is not None or person.status.trips > stops, 30.0)
        assert person.status.trips == stops, person.status.reason
        assert listener.communicate(timeout=30)[0] == ''
    assert person.status.state == DriverStatus.ARMED


def begins_a_take(person):
    with contextlib.suppress(AssertionError):  # the dead recorder is still in the graph
        begun, said = person.call('start_recording')
        return begun or 'is being recorded' in said  # an answer may be lost, the take is not


def runs_anew(root, name, first):
    with contextlib.suppress(AssertionError):
        return process_of(root, name) != first


def test_an_emergency_stop_holds_until_it_is_reset_and_armed(robot, wait_until):
    bus, person = robot
    for press in (
        lambda: person.stop.publish(Bool(data=True)),
        lambda: person.call('emergency_stop_now'),
    ):
        person.make_stand(bus)
        press()
        person.await_state(DriverStatus.EMERGENCY_STOPPED)
        wait_until(lambda: person.was_told('emergency stop'), 20.0)
        wait_until(bus.is_off, 20.0, lambda: f'zero torque and idle, but {bus.sent[-8:]}')
        mark = len(bus.sent)
        person.stop.publish(Bool(data=False))
        assert 'reset_emergency_stop' in person.call('arm')[1]
        assert person.call('reset_emergency_stop')[0]
        person.lift()
        person.await_ready()
        assert bus.moves_since(mark) == []
        person.arm()


def test_ctrl_c_lets_the_torque_fade(robot, launch, tmp_path):
    bus, person = robot
    begun, mark, output = len(person.statuses), len(bus.sent), tmp_path / 'output'
    before = output.read_text()
    launch.send_signal(signal.SIGINT)
    code = launch.wait(timeout=40)
    said = output.read_text().removeprefix(before)
    assert DriverStatus.TRIPPED not in [status.state for status in person.statuses[begun:]], said
    assert 'motors off' not in said and code == 0
    assert bus.is_off()
    torques = [abs(value) for name, value in bus.sent[mark:] if name == 'Set_Input_Torque']
    assert len(torques) > 80  # 0.35 s of both motors, at 200 Hz


@pytest.mark.parametrize('name', ['policy_server', 'hardware_driver'])
def test_a_killed_node_leaves_the_motors_off_and_ends_the_run(robot, launch, wait_until, name):
    bus, person = robot
    # A launch that takes notice ends everything at once; until it does, the others must cope.
    launch.send_signal(signal.SIGSTOP)
    person.signal(name, signal.SIGKILL)
    if name == 'policy_server':
        person.await_state(DriverStatus.TRIPPED)
        assert 'no fresh command for' in person.status.reason
        wait_until(lambda: person.was_told('no fresh command for'), 20.0)
        wait_until(bus.is_off, 20.0, 'zero torque and idle')
    watchdog = 0 if name == 'policy_server' else WATCHDOG_ERROR
    expected = {0: (IDLE, watchdog), 1: (IDLE, watchdog)}
    wait_until(lambda: bus.motors == expected, 20.0, 'idle motors')
    mark = len(bus.sent)
    launch.send_signal(signal.SIGCONT)
    assert launch.wait(timeout=40) != 0
    assert bus.moves_since(mark) == []
