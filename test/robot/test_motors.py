"""Motors over real CAN frames against emulated ones: found, armed, driven, watched over."""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
import time

import numpy as np
import pytest
from motor_bench import BOTH, ENDPOINTS, benches, make_settings, wait_until

from h2o_ros.errors import ConfigurationError, RobotError
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation import axis as axis_module
from h2o_ros.robot.motors.odrive.cansimple import Frames
from h2o_ros.robot.motors.odrive.motors import Motors
from h2o_ros.robot.motors.settings import MotorSettings, check_settings


@pytest.fixture
def bench():
    with benches() as make:
        yield make


# The host against the emulated motors


@pytest.mark.parametrize('firmware', BOTH)
def test_motors_are_found_armed_driven_and_disarmed(bench, firmware):
    rig = bench(firmware=firmware)
    wait_until(lambda: rig.motors.check(0.4) == [], 10.0)
    motors = rig.ready()
    rig.drive([1.0, -0.5], lambda: np.allclose(rig.torque, [1.0, -0.5]))
    assert rig.faults() == ''
    rig.drive([1.0, -0.5], lambda: np.allclose(motors.statistics().current, [2.0, -1.0]))
    statistics = motors.statistics()
    assert statistics.states == (8, 8)
    assert 0.05 < statistics.bus_load < 0.5
    assert statistics.wrong_frames == 0
    assert motors.disarm()
    wait_until(lambda: motors.statistics().states == (1, 1))
    assert not rig.torque.any()
    assert 'disarmed itself' not in rig.faults()


@pytest.mark.parametrize('firmware', BOTH)
def test_a_silent_host_stops_both_motors(bench, firmware):
    rig = bench(firmware=firmware)
    motors = rig.ready()
    rig.drive([1.0, 1.0], lambda: rig.torque.all())
    wait_until(lambda: not rig.torque.any(), 1.0)
    wait_until(lambda: rig.faults().count('WATCHDOG_TIMER_EXPIRED') == 2)
    assert rig.faults().count('has disarmed itself') == 2
    motors.disarm()
    wait_until(lambda: rig.faults() == '')
    motors.arm()  # the watchdog's error is the one that arming itself clears
    rig.drive([1.0, 1.0], lambda: rig.torque.all())


def test_directions_and_gear_hold_both_ways(bench):
    rig = bench(gear_ratio=4.0, left_direction=-1, right_direction=1)
    motors = rig.ready()
    rig.velocities = np.array([2.0, -3.0])
    rig.drive([1.0, 2.0], lambda: np.allclose(motors.velocities(), [2.0, -3.0]))
    start = motors.positions()
    rig.drive([1.0, 2.0], lambda: motors.positions()[0] > start[0] + 0.2)
    assert motors.positions()[1] < start[1] - 0.2
    assert np.allclose(rig.torque, [1.0, 2.0])
    frames, sent = Frames('0.6'), {}
    while (message := rig.spy.recv(0.0)) is not None:
        frame = frames.decode(message)
        if frame is not None and frame.name == 'Set_Input_Torque':
            sent[frame.node_id] = frame.values['Input_Torque']
    assert sent == {0: -0.25, 1: 0.5}


def test_torque_is_clipped_to_the_current_limit_and_what_was_sent_returned(bench):
    rig = bench(current_limit=4.0, torque_constant=0.5)
    motors = rig.ready()
    assert np.allclose(motors.send(np.array([1.0, -1e30])), [1.0, -2.0])
    rig.drive([1e6, -1e6], lambda: np.allclose(rig.torque, [2.0, -2.0]))


@pytest.mark.parametrize('torque', [[math.nan, 0.0], [0.0, math.inf], [1.0], [0.0, 0.0, 0.0]])
def test_torque_that_is_not_two_finite_numbers_never_reaches_the_bus(bench, torque):
    rig = bench()
    motors = rig.ready()
    rig.commands()
    with pytest.raises(RobotError, match='two finite numbers'):
        motors.send(np.array(torque))
    assert rig.commands() == []


def test_nothing_is_sent_before_arming(bench):
    rig = bench(firmware='0.6')
    rig.motors.check(0.3)
    rig.motors.faults(time.monotonic())
    rig.motors.statistics()
    assert rig.commands() == []
    assert rig.motors.configure() == []
    with pytest.raises(RobotError, match='not armed'):
        rig.motors.send(np.zeros(2))
    assert set(rig.commands()) == {'Set_Controller_Mode', 'Set_Limits'}
    assert rig.motors.statistics().states == (1, 1)


# The watchdog


def test_new_firmware_has_its_watchdog_set_and_read_back(bench):
    rig = bench(watchdog=0.0, **ENDPOINTS)
    motors = rig.ready()
    assert motors.statistics().watchdog == 'set and read back'
    rig.drive([1.0, 1.0], lambda: rig.torque.all())
    wait_until(lambda: not rig.torque.any(), 1.0)


def test_wrong_endpoint_numbers_are_found(bench):
    rig = bench(**ENDPOINTS)
    rig.emulated.axes[1]._settings = dataclasses.replace(
        rig.settings, watchdog_enable_endpoint=7, watchdog_timeout_endpoint=8
    )
    (reason,) = rig.motors.configure()
    assert 'right motor (node 1)' in reason
    assert 'no answer' in reason
    assert 'endpoint numbers' in reason


def test_old_firmware_without_watchdog_is_refused_while_idle(bench):
    rig = bench(firmware='0.5', watchdog=0.0)
    reasons = rig.motors.configure()
    assert len(reasons) == 2
    assert all('its watchdog is off' in reason for reason in reasons)


def test_new_firmware_without_watchdog_is_refused_at_zero_torque(bench):
    rig = bench(firmware='0.6', watchdog=0.0)
    assert rig.motors.configure() == []
    with pytest.raises(RobotError, match='its watchdog is off'):
        rig.motors.arm()
    assert not rig.motors.armed
    assert not rig.torque.any()
    wait_until(lambda: rig.emulated.armed == (False, False))


@pytest.mark.parametrize('firmware', BOTH)
def test_a_slow_watchdog_is_refused(bench, firmware):
    rig = bench(firmware=firmware, watchdog=0.6)
    reasons = rig.motors.configure()
    if firmware == '0.6':
        with pytest.raises(RobotError) as raised:
            rig.motors.arm()
        reasons = [str(raised.value)]
    assert 'its watchdog took 0.' in reasons[0]


@pytest.mark.parametrize('firmware', BOTH)
def test_a_watchdog_that_has_expired_since_the_last_heartbeat_does_not_forbid_to_arm(
    bench, firmware
):
    rig = bench(firmware=firmware)
    motors = rig.ready()
    rig.drive([1.0, 1.0], lambda: rig.torque.all() and not rig.faults())
    assert rig.emulated.inject('heartbeat_silence', seconds=0.3)
    wait_until(lambda: all(axis.errors for axis in rig.emulated.axes))  # no command: it expires
    motors.disarm()
    assert motors.statistics().errors == ('', '')
    motors.arm()
    rig.drive([1.0, 1.0], lambda: rig.torque.all())


# What check finds


def test_no_motors_are_one_clear_line_each():
    settings = make_settings(left_node_id=3)
    bus = open_bus(settings)
    motors = Motors(bus, settings)
    try:
        reasons = motors.check(0.2)
        assert len(reasons) == 2
        assert reasons[0].startswith('left motor (node 3): no heartbeat in 0.2 s; check its power')
        with pytest.raises(RobotError, match='no heartbeat yet'):
            motors.arm()
    finally:
        motors.close()
        bus.shutdown()


def test_wrong_node_ids_are_named(bench):
    rig = bench(left_node_id=5, right_node_id=6)
    bus = open_bus(rig.settings)
    motors = Motors(bus, dataclasses.replace(rig.settings, left_node_id=2))
    try:
        reasons = motors.check(0.4)
        assert 'left motor (node 2): no heartbeat' in reasons[0]
        assert any('heartbeats come from node 5' in reason for reason in reasons)
    finally:
        motors.close()
        bus.shutdown()


@pytest.mark.parametrize(('real', 'said'), [('0.5', '0.6'), ('0.6', '0.5')])
def test_the_wrong_firmware_generation_is_found(bench, real, said):
    rig = bench(firmware=real)
    bus = open_bus(rig.settings)
    motors = Motors(bus, dataclasses.replace(rig.settings, firmware=said))
    try:
        reasons = motors.check(0.4)
        assert sum(f'set firmware to {real}' in reason for reason in reasons) == 2
    finally:
        motors.close()
        bus.shutdown()


def test_slow_encoder_frames_are_found(bench, monkeypatch):
    periods = {**axis_module.PERIODS['0.6'], 'Get_Encoder_Estimates': 0.01}
    monkeypatch.setitem(axis_module.PERIODS, '0.6', periods)
    reasons = bench().motors.check(0.4)
    assert sum('200 are needed' in reason for reason in reasons) == 2


def test_missing_temperatures_are_found(bench, monkeypatch):
    periods = {k: v for k, v in axis_module.PERIODS['0.6'].items() if k != 'Get_Temperature'}
    monkeypatch.setitem(axis_module.PERIODS, '0.6', periods)
    reasons = bench().motors.check(0.4)
    assert sum('sends no temperature' in reason for reason in reasons) == 2


def test_motors_that_another_host_has_armed_are_found(bench):
    rig = bench()
    rig.ready()
    keep = threading.Event()

    def feed() -> None:
        while not keep.wait(0.01):
            rig.motors.send(np.zeros(2))

    feeder = threading.Thread(target=feed)
    feeder.start()
    bus = open_bus(rig.settings)
    second = Motors(bus, rig.settings)
    try:
        reasons = second.check(0.4)
        assert any('is not idle' in reason for reason in reasons), reasons
        assert any('another host commands' in reason for reason in reasons), reasons
    finally:
        keep.set()
        feeder.join()
        second.close()
        bus.shutdown()


# The bus and the settings


def test_a_bus_that_does_not_exist_is_one_line():
    for settings in (
        MotorSettings(channel='nope0'),
        MotorSettings(interface='udp_multicast', channel='10.0.0.1'),
        MotorSettings(interface='udp_multicast', channel='nowhere'),
    ):
        with pytest.raises(RobotError, match='cannot be opened') as raised:
            open_bus(settings)
        assert '\n' not in str(raised.value)


def test_multicast_buses_of_two_domains_are_apart_and_nobody_hears_himself():
    first, second = (f'239.74.163.{254 - n}' for n in range(2))
    buses = [
        open_bus(MotorSettings(interface='udp_multicast', channel=channel))
        for channel in (first, first, second)
    ]
    try:
        message = Frames('0.6').encode('Estop', 1)
        buses[0].send(message)
        assert buses[1].recv(2.0).arbitration_id == 0x022
        assert buses[0].recv(0.05) is None
        assert buses[2].recv(0.05) is None
        buses[1].send(message)  # the same bytes from another are heard
        assert buses[0].recv(2.0).arbitration_id == 0x022
    finally:
        for bus in buses:
            bus.shutdown()


FLOOD = """
import can
bus = can.Bus(interface='udp_multicast', channel='239.74.163.252', hop_limit=0)
message = can.Message(arbitration_id=0x042, is_extended_id=False)
print('sending', flush=True)
while True:
    bus.send(message)
"""


def test_a_bus_that_opens_amid_anothers_traffic_hears_none_of_it(processes):
    flood = processes.start([sys.executable, '-c', FLOOD])
    assert flood.stdout.readline() == 'sending\n'
    for _ in range(40):
        bus = open_bus(MotorSettings(interface='udp_multicast', channel='239.74.163.251'))
        heard = bus.recv(0.0)
        bus.shutdown()
        assert heard is None
    flood.kill()
    flood.wait()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'right_node_id': 0}, 'both 0'),
        ({'minimum_voltage': 60.0}, 'not below'),
        ({'watchdog_enable_endpoint': 3}, 'both or none'),
        (
            {
                'firmware': '0.5',
                'watchdog_enable_endpoint': 3,
                'watchdog_timeout_endpoint': 4,
            },
            'takes no settings over CAN',
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, words):
    with pytest.raises(ConfigurationError, match=words):
        check_settings(MotorSettings(**changes))
