"""Steering by keys, gamepad and script, and the node over DDS with a terminal of its own."""

import itertools
import math
import os
import pty
import signal
import termios
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from ros_client import collect, listening
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from h2o_ros.msg import Observation
from h2o_ros.nodes.core.base_node import LATCHED, LATEST, to_floats
from h2o_ros.robot.operator.joystick import Joystick
from h2o_ros.robot.operator.keyboard import HELP, ORDERS, Keyboard
from h2o_ros.robot.operator.teleop import STICK_PERIOD, Order, ScriptedStick
from h2o_ros.robot.operator.terminal import split_keys
from h2o_ros.task import load_task

SERVICES = [order.value for order in Order if order is not Order.EMERGENCY_STOP]


def buttons(*pressed):
    return [int(i in pressed) for i in range(11)]


def axes(stick):
    return [0.0, stick, 0.0, 0.0]


def test_a_key_is_held_while_it_repeats():
    keyboard = Keyboard(speed=0.3)
    assert keyboard.velocity(0.0) is None
    keyboard.press('w', 0.0)
    assert keyboard.velocity(0.65) == pytest.approx(0.3)  # the first repeat may take that long
    for repeat in range(10):
        keyboard.press('w', 0.66 + 0.04 * repeat)
    keyboard.press('w', 1.10)
    assert keyboard.velocity(1.2) == pytest.approx(0.3)
    assert keyboard.velocity(1.26) is None  # repeats have ended: released
    keyboard.press('down', 2.0)
    assert keyboard.velocity(2.1) == pytest.approx(-0.3)
    keyboard.press('h', 2.2)
    assert keyboard.velocity(2.3) == 0.0
    keyboard.press('p', 2.4)
    assert keyboard.velocity(2.4) is None  # any other key releases


def test_keys_order_and_change_the_speed_within_its_limit():
    keyboard = Keyboard(speed=0.3)
    assert keyboard.press(' ', 0.0) is Order.EMERGENCY_STOP
    assert {keyboard.press(key, 0.0) for key in ORDERS} == set(Order)
    assert keyboard.press('x', 0.0) is None
    for _ in range(3):
        keyboard.press('-', 0.0)
    assert keyboard.speed == pytest.approx(0.15)
    for _ in range(9):
        keyboard.press('+', 0.0)
    assert keyboard.speed == pytest.approx(0.3)
    for key in ORDERS:
        assert f' {key.strip() or "space"} ' in HELP


@pytest.mark.parametrize(
    ('data', 'keys', 'rest'),
    [
        (b'wW +', ['w', 'w', ' ', '+'], b''),
        (b'\x1b[A\x1b[Bs\x1bOA', ['up', 'down', 's', 'up'], b''),
        (b'\x1b[3~a', ['?', 'a'], b''),
        (b'w\x1b[', ['w'], b'\x1b['),  # a code that is not whole: its A must not arm
        (b'\x1b', [], b'\x1b'),
        (b'\xc3\xa4', ['?', '?'], b''),
    ],
)
def test_codes_of_terminals_are_keys_or_nothing(data, keys, rest):
    assert split_keys(data) == (keys, rest)


def test_the_stick_counts_while_the_dead_man_is_held():
    joystick = Joystick(speed=0.3)
    assert joystick.take(axes(1.0), buttons(), 0.0) == []
    assert joystick.velocity(0.0) is None
    joystick.take(axes(0.5), buttons(4), 0.1)
    assert joystick.velocity(0.2) == pytest.approx(0.15)
    assert joystick.velocity(0.36) is None  # no message for a quarter of a second
    joystick.take(axes(-7.0), buttons(4), 0.4)
    assert joystick.velocity(0.4) == pytest.approx(-0.3)
    joystick.take(axes(math.nan), buttons(4), 0.5)
    assert joystick.velocity(0.5) is None
    joystick.take(axes(1.0), buttons(), 0.6)
    assert joystick.velocity(0.6) is None


def test_a_dead_man_that_is_stuck_from_the_start_does_not_count():
    joystick = Joystick(speed=0.3)
    joystick.take(axes(1.0), buttons(4), 0.0)
    assert joystick.velocity(0.0) is None
    joystick.take(axes(1.0), buttons(), 0.1)
    joystick.take(axes(1.0), buttons(4), 0.2)
    assert joystick.velocity(0.2) == pytest.approx(0.3)


def test_buttons_order_once_but_the_emergency_stop_goes_on():
    joystick = Joystick(speed=0.3)
    assert joystick.take(axes(0.0), buttons(0), 0.0) == []  # held from the start
    joystick.take(axes(0.0), buttons(), 0.1)
    assert joystick.take(axes(0.0), buttons(0, 7), 0.2) == [Order.POLICY, Order.START_RECORDING]
    assert joystick.take(axes(0.0), buttons(0, 7), 0.3) == []
    for now in (0.4, 0.5):
        assert joystick.take(axes(1.0), buttons(1, 4), now) == [Order.EMERGENCY_STOP]
        assert joystick.velocity(now) is None
    with pytest.raises(ValueError, match='8 buttons, got 4 axes and 2 buttons'):
        joystick.take(axes(1.0), [0, 0], 0.6)
    assert joystick.velocity(0.6) is None


@pytest.mark.parametrize(('name', 'speed'), [('standing_still', 0.0), ('moving_straight', 0.2)])
def test_the_script_drives_for_the_task_and_lets_go_of_a_robot_it_does_not_see(name, speed):
    task = load_task(name)
    stick = ScriptedStick(task, speed=0.3, seed=4)
    assert stick.velocity(0.0) is None
    seen = []
    for step in range(6000):
        now = step * STICK_PERIOD
        stick.see(np.zeros(len(task.observation)), now)
        seen.append(stick.velocity(now))
    assert np.mean(seen) == pytest.approx(speed, abs=0.05)
    assert np.std(seen) > 0.05 and np.abs(seen).max() <= 0.3
    assert stick.velocity(now + 0.3) is None


def test_the_script_steers_home():
    task = load_task('standing_still')
    stick = ScriptedStick(task, speed=0.3, seed=4)
    away = []
    for step in range(3000):
        stick.see(np.array([0.0, 0.0, 1.0 + (step > 0) * 1.0, 0.0]), step * STICK_PERIOD)
        away.append(stick.velocity(step * STICK_PERIOD))
    assert np.mean(away) < -0.1  # home is where it saw the robot first


@pytest.fixture
def robot(ros_domain):
    """Give a node that hears what teleop sends and offers every service that it may call."""
    with listening(ros_domain, 'robot') as node:
        node.called = []

        def answer(name, response):
            node.called.append(name)
            response.success, response.message = True, f'{name} heard'
            return response

        for name in SERVICES:
            node.create_service(Trigger, name, lambda _, r, name=name: answer(name, r))
        yield node


def test_keys_of_a_terminal_drive_stop_and_call(processes, node_environment, robot, wait_until):
    velocities = collect(robot, TwistStamped, 'cmd_vel')
    stops = collect(robot, Bool, 'emergency_stop', LATCHED)
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    teleop = processes.start_node('teleop', node_environment, stdin=slave)
    wait_until(lambda: robot.count_publishers('cmd_vel') == 1, 20, 'the node')
    wait_until(lambda: not termios.tcgetattr(slave)[3] & termios.ICANON, 20, 'single keys')
    assert velocities == []

    def press(key):
        os.write(master, key)
        return bool(velocities)

    wait_until(lambda: press(b'\x1b[A'), 10, 'driving')
    assert velocities[-1].twist.linear.x == pytest.approx(0.3)
    assert velocities[-1].header.stamp.sec > 0
    os.write(master, b' ')
    wait_until(lambda: stops and stops[-1].data, 10, 'the emergency stop')
    for key, order in ORDERS.items():
        if order is Order.EMERGENCY_STOP:
            continue
        wait_until(lambda order=order: robot.count_clients(order.value) == 1, 10, 'discovery')
        wait_until(
            lambda key=key, order=order: press(key.encode()) and order.value in robot.called,
            10,
            order.value,
        )
    wait_until(lambda: not stops[-1].data, 10, 'no stop is left for who joins later')
    teleop.send_signal(signal.SIGINT)
    text, _ = teleop.communicate(timeout=20)
    assert teleop.returncode == 0, text
    assert 'EMERGENCY STOP' in text and 'drive_by_policy: drive_by_policy heard' in text
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_the_node_ends_with_its_terminal(processes, node_environment):
    master, slave = pty.openpty()
    teleop = processes.start_node('teleop', node_environment, stdin=slave)
    while 'forward' not in teleop.stdout.readline():
        assert teleop.poll() is None
    os.close(slave)
    os.close(master)
    text, _ = teleop.communicate(timeout=20)
    assert teleop.returncode == 0 and 'Traceback' not in text, text


def test_a_gamepad_drives_and_stops(processes, node_environment, robot, wait_until):
    velocities = collect(robot, Twist, 'cmd_vel')
    stops = collect(robot, Bool, 'emergency_stop', LATCHED)
    joy = robot.create_publisher(Joy, 'joy', LATEST)
    teleop = processes.start_node(
        'teleop', node_environment, '-p', 'operator:=joystick', '-p', 'stamped_cmd_vel:=false'
    )
    wait_until(lambda: joy.get_subscription_count() == 1, 20, 'the node')

    def send(stick, *pressed):
        joy.publish(Joy(axes=axes(stick), buttons=buttons(*pressed)))

    sent = itertools.count()

    def hold():
        # Apart in time: of two that come at once the node sees the second alone.
        if next(sent) % 10 == 0:
            send(0.0)
        else:
            send(0.5, 4)
        return velocities and velocities[-1].linear.x != 0.0

    wait_until(hold, 10, 'driving')
    assert velocities[-1].linear.x == pytest.approx(0.15)
    joy.publish(Joy(axes=[0.0], buttons=[1]))
    send(0.0, 1)
    wait_until(lambda: stops and stops[-1].data, 10, 'the emergency stop')
    teleop.send_signal(signal.SIGINT)
    text, _ = teleop.communicate(timeout=20)
    assert teleop.returncode == 0, text
    assert 'hold button 4 and move axis 1' in text


def test_the_script_needs_no_person(processes, node_environment, robot, wait_until):
    velocities = collect(robot, TwistStamped, 'cmd_vel')
    observations = robot.create_publisher(Observation, 'observation', LATEST)
    teleop = processes.start_node('teleop', node_environment, '-p', 'operator:=scripted')
    wait_until(lambda: observations.get_subscription_count() == 1, 20, 'the node')
    assert velocities == []
    sizes = itertools.cycle((0, 4))  # one is no robot's

    def see():
        observations.publish(Observation(batch=1, data=to_floats(np.zeros(next(sizes)))))
        return len(velocities) > 20

    wait_until(see, 20, 'driving')
    assert np.abs([v.twist.linear.x for v in velocities]).max() <= 0.3
    teleop.send_signal(signal.SIGINT)
    assert teleop.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ([], ['needs a terminal', 'h2o run teleop']),
        (['-p', 'operator:=parrot'], ['parrot', 'joystick']),
        (['-p', 'speed:=9.0'], ['speed: expected 0.0 to 1.0 m/s, got 9']),
        (['-p', 'operator:=scripted', '-p', 'task:=dancing'], ['dancing']),
    ],
)
def test_a_mistake_is_one_line(processes, node_environment, words, expected):
    with Path(os.devnull).open() as nowhere:
        teleop = processes.start_node('teleop', node_environment, *words, stdin=nowhere)
        text, _ = teleop.communicate(timeout=30)
    assert teleop.returncode == 2, text
    assert len(text.splitlines()) == 1 and 'Traceback' not in text
    for word in expected:
        assert word in text
