"""Every fault of the wheel motors and their bus: told in a plain sentence, and never forgotten."""

from __future__ import annotations

import math
import threading
import time

import can
import numpy as np
import pytest
from motor_bench import BOTH, ENDPOINTS, benches, make_settings, wait_until

from h2o_ros.errors import RobotError
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation.faults import KINDS
from h2o_ros.robot.motors.odrive.cansimple import Frames
from h2o_ros.robot.motors.odrive.motors import Motors


@pytest.fixture
def bench():
    with benches() as make:
        yield make


def words_of(function):
    """Return with what words a call is refused, empty where it is not."""
    try:
        function()
    except RobotError as err:
        return str(err)
    return ''


# Errors latch


@pytest.mark.parametrize('firmware', BOTH)
def test_an_emergency_stop_latches_until_it_is_cleared_on_request(bench, firmware):
    rig = bench(firmware=firmware)
    motors = rig.ready()
    rig.drive([1.0, 1.0], lambda: rig.torque.all())
    assert motors.estop()
    wait_until(lambda: not rig.torque.any())
    wait_until(lambda: rig.faults().count('ESTOP_REQUESTED') == 2)
    rig.commands()
    with pytest.raises(RobotError, match='ESTOP_REQUESTED'):
        motors.arm()
    assert motors.check(0.3) != []
    assert rig.commands() == []
    motors.clear_errors()
    wait_until(lambda: motors.statistics().errors == ('', ''))
    motors.arm()
    rig.drive([1.0, 1.0], lambda: rig.torque.all())


@pytest.mark.parametrize('firmware', BOTH)
def test_an_emergency_stop_that_no_heartbeat_tells_of_yet_is_not_taken_back(bench, firmware):
    rig = bench(firmware=firmware)
    motors = rig.ready()
    motors.disarm()
    if firmware == '0.5':  # its watchdog expires while idle; arming clears that error
        wait_until(lambda: all(motors.statistics().errors))
    rig.commands()
    motors.estop()
    with pytest.raises(RobotError, match='stopped for emergency'):
        motors.arm()
    assert 'Clear_Errors' not in rig.commands()
    wait_until(lambda: rig.faults().count('ESTOP_REQUESTED') == 2)
    assert rig.emulated.armed == (False, False)


def test_an_emergency_stop_while_arming_ends_that(bench):
    rig = bench()
    motors = rig.ready()
    motors.disarm()
    wait_until(lambda: rig.emulated.armed == (False, False))
    arming = threading.Thread(target=lambda: said.append(words_of(motors.arm)))
    said: list[str] = []
    arming.start()
    wait_until(lambda: any(rig.emulated.armed))
    motors.estop()
    arming.join()
    assert said != ['']
    assert not motors.armed
    assert rig.emulated.armed == (False, False)


@pytest.mark.parametrize('firmware', BOTH)
def test_arming_clears_no_error_that_came_since_the_last_heartbeat(bench, firmware):
    rig = bench(firmware=firmware)
    motors = rig.ready()
    rig.drive([1.0, 1.0], lambda: rig.torque.all())
    rig.emulated.inject('heartbeat_silence', seconds=0.3)
    wait_until(lambda: all(axis.errors for axis in rig.emulated.axes))  # the watchdogs expire
    watchdogs = [axis.errors for axis in rig.emulated.axes]
    rig.emulated.inject('spinout', motor=0)
    wait_until(lambda: rig.emulated.axes[0].errors != watchdogs[0])
    motors.disarm()
    assert motors.obstacles() == []
    rig.commands()
    with pytest.raises(RobotError, match=r'left motor \(node 0\): '):
        motors.arm()
    assert 'Clear_Errors' not in rig.commands()
    assert rig.emulated.axes[0].errors & ~watchdogs[0]


@pytest.mark.parametrize('firmware', BOTH)
@pytest.mark.parametrize('after', [0.0, 0.03, 0.1, 0.15])
def test_a_stop_while_a_watchdogs_error_is_cleared_stays_with_the_motors(bench, firmware, after):
    rig = bench(firmware=firmware)
    motors = rig.ready()
    wait_until(lambda: all(axis.errors for axis in rig.emulated.axes))
    motors.disarm()
    arming = threading.Thread(target=lambda: said.append(words_of(motors.arm)))
    said: list[str] = []
    arming.start()
    time.sleep(after)
    motors.estop()
    arming.join()
    assert not motors.armed
    wait_until(lambda: rig.faults().count('ESTOP_REQUESTED') == 2)
    assert rig.emulated.armed == (False, False)


@pytest.mark.parametrize('firmware', BOTH)
def test_a_wheel_beyond_its_speed_limit_disarms(bench, firmware):
    rig = bench(firmware=firmware, velocity_limit=10.0)
    motors = rig.ready()
    rig.velocities = np.array([0.0, 11.9])
    rig.drive([0.1, 0.1], lambda: motors.velocities()[1] > 11.0)
    assert rig.emulated.armed == (True, True)
    rig.velocities = np.array([0.0, 12.1])
    rig.drive([0.1, 0.1], lambda: 'right motor (node 1)' in rig.faults())
    assert ('CONTROLLER_FAILED' if firmware == '0.5' else 'VELOCITY_LIMIT') in rig.faults()
    assert rig.emulated.armed == (True, False)


# Every fault: what the host says of it, and whether the motor has stopped by itself
FAULTS = [
    ('encoder_dropout', {'motor': 0}, 'left motor (node 0): no encoder frame for', False),
    ('heartbeat_silence', {'motor': 1, 'seconds': 3.0}, 'right motor (node 1): no heartbeat for',
     False),
    ('bus_off', {}, 'CAN bus: the CAN controller is off the bus', True),
    ('encoder_jump', {'motor': 1, 'radians': -2.0}, 'right motor (node 1): encoder jumped by -2.',
     False),
    ('encoder_frozen', {'motor': 0, 'seconds': 9.0},
     'left motor (node 0): encoder repeats itself under torque', False),
    ('over_temperature', {'celsius': 90.0}, 'power stage is at 90 °C, above 85 °C', False),
    ('over_temperature', {'motor': 0}, 'left motor (node 0): ', True),
    ('brown_out', {'volts': 16.0}, 'supply is at 16.0 V, below 18.0 V', False),
    ('brown_out', {'volts': 12.0}, 'has disarmed itself', True),
    ('brown_out', {'volts': 2.0}, 'no encoder frame', True),
    ('spinout', {'motor': 0}, 'left motor (node 0): ', True),
]  # fmt: skip


@pytest.mark.parametrize(
    ('firmware', 'name', 'numbers', 'words', 'stops'),
    [('0.6', *fault) for fault in FAULTS]
    + [('0.5', *fault) for fault in FAULTS if fault[-1] and fault[0] != 'bus_off'],
)
def test_every_fault_is_told_in_a_plain_sentence(bench, firmware, name, numbers, words, stops):
    rig = bench(firmware=firmware, **(ENDPOINTS if firmware == '0.6' else {}))
    motors = rig.ready()
    rig.drive([0.3, 0.3], lambda: rig.torque.all())
    assert rig.faults() == ''
    assert rig.emulated.inject(name, **numbers)
    rig.drive([0.3, 0.3], lambda: words in rig.faults())
    if stops:
        rig.drive([0.3, 0.3], lambda: not all(rig.emulated.armed))
    else:
        assert rig.emulated.armed == (True, True)
    motors.disarm()
    rig.emulated.repair()
    wait_until(lambda: motors.age(time.monotonic()) < 0.05)
    motors.clear_errors()  # a person's decision
    wait_until(lambda: not motors.obstacles())
    motors.arm()
    rig.drive([0.3, 0.3], lambda: np.allclose(rig.torque, 0.3))


def test_every_kind_of_fault_has_its_test():
    assert {name for name, *_ in FAULTS} == set(KINDS)


@pytest.mark.parametrize(
    ('name', 'numbers', 'words'),
    [
        ('gremlins', {}, "'gremlins' is unknown; choose one of encoder_dropout"),
        ('bus_off', {'radians': 1.0}, "unknown number 'radians'"),
        ('encoder_jump', {'radians': math.nan}, 'expected -100.0 to 100.0'),
        ('encoder_jump', {'motor': 2}, r'expected 0 \(left\) or 1'),
        ('spinout', {'seconds': -1.0}, 'expected more than 0'),
    ],
)
def test_faults_that_do_not_exist_are_refused(bench, name, numbers, words):
    with pytest.raises(ValueError, match=words):
        bench().emulated.inject(name, **numbers)


def test_only_torque_that_surely_turns_a_wheel_makes_a_still_encoder_suspicious(bench):
    rig = bench(breakaway_torque=0.5, encoder_frozen=0.02)
    motors = rig.ready()
    rig.emulated.inject('encoder_frozen', seconds=60.0)
    rig.drive([0.0, 0.0], both_have_sent(motors, 40))
    rig.drive([0.4, -0.4], both_have_sent(motors, 40))
    assert rig.faults() == ''
    rig.drive([0.0, -0.6], lambda: rig.faults())
    assert 'right motor (node 1): encoder repeats itself under torque' in rig.faults()
    assert 'left motor' not in rig.faults()
    rig.emulated.repair()
    rig.drive([0.6, 0.6], both_have_sent(motors, 5))
    motors.forget_events()
    rig.drive([0.6, 0.6], both_have_sent(motors, 40))
    assert rig.faults() == ''


def both_have_sent(motors, frames):
    """Return a condition: so many encoder frames that say something came from each motor."""
    axes = motors._link.axes
    start = [axis.heard['Get_Encoder_Estimates'] for axis in axes]

    def done():
        now = [axis.heard['Get_Encoder_Estimates'] for axis in axes]
        return all(b - a >= frames for a, b in zip(start, now, strict=True))

    return done


def test_another_host_on_the_bus_is_a_fault(bench):
    rig = bench()
    rig.ready()
    rig.spy.send(Frames('0.6').encode('Set_Input_Torque', 1, {'Input_Torque': 0.5}))
    rig.drive([0.0, 0.0], lambda: 'another host commands the right motor' in rig.faults())
    rig.motors.disarm()
    rig.motors.forget_events()
    assert 'another host' not in rig.faults()


@pytest.mark.parametrize(
    'data', [bytes(7), b'\0\0\xc0\x7f' + bytes(4), b'\0\0\x80\x7f' + bytes(4)]
)
def test_broken_encoder_frames_change_nothing_and_are_a_fault(bench, data):
    rig = bench()
    motors = rig.motors
    wait_until(lambda: motors.age(time.monotonic()) < 1.0)
    rig.spy.send(can.Message(arbitration_id=0x029, data=data, is_extended_id=False))
    wait_until(lambda: 'right motor (node 1): encoder frame is short or' in rig.faults())
    assert np.isfinite(motors.positions()).all()
    assert motors.statistics().wrong_frames == 1


def test_frames_of_others_are_nobodys_fault(bench):
    rig = bench()
    for message in (
        can.Message(arbitration_id=0x18FF1234, data=bytes(8)),
        can.Message(arbitration_id=0x700, data=bytes(3), is_extended_id=False),
        can.Message(arbitration_id=0x026, data=bytes(8), is_extended_id=False),
    ):
        rig.spy.send(message)
    assert rig.faults() == ''
    rig.spy.send(can.Message(arbitration_id=0x029, data=bytes(3), is_extended_id=False))
    wait_until(lambda: 'encoder frame is short' in rig.faults())  # so the others were read
    assert rig.motors.statistics().wrong_frames == 1


@pytest.mark.parametrize('late', [0.5, 5.0])
def test_a_late_reader_does_not_take_an_old_frame_for_a_new_one(late):
    settings = make_settings()
    bus = open_bus(settings)
    old = can.Bus(interface='virtual', channel=settings.channel, preserve_timestamps=True)
    motors = Motors(bus, settings)
    try:
        for node in settings.node_ids:
            message = Frames('0.6').encode('Get_Encoder_Estimates', node)
            message.timestamp = time.time() - late
            old.send(message)
        wait_until(lambda: math.isfinite(motors.age(time.monotonic())))
        assert late <= motors.age(time.monotonic()) < late + 2.0
    finally:
        motors.close()
        bus.shutdown()
        old.shutdown()


def test_a_bus_that_takes_no_frames_is_one_line_and_never_stops_a_stop(bench):
    rig = bench()
    motors = rig.ready()

    def refuse(message: can.Message, timeout: float | None = None) -> None:
        raise can.CanOperationError('No buffer space available')

    motors._link._bus.send = refuse
    with pytest.raises(RobotError, match='does not take frames'):
        motors.send(np.zeros(2))
    assert motors.estop() is False
    assert motors.disarm() is False
    assert motors.statistics().failed_sends >= 5


def restart(rig):
    """Take the controllers' power away for as long as one takes to start."""
    rig.emulated.inject('brown_out', volts=2.0)
    rig.drive([0.2, 0.2], lambda: rig.faults())
    rig.motors.disarm()
    beats = [axis.heartbeat.time for axis in rig.motors._link.axes]
    wait_until(lambda: time.monotonic() - max(beats) > 0.4)
    rig.emulated.repair()
    wait_until(lambda: rig.motors.age(time.monotonic()) < 0.05)
    assert not any(axis.watchdog_on for axis in rig.emulated.axes)
    wait_until(lambda: not rig.motors.obstacles())


def test_a_controller_that_started_anew_has_its_watchdog_again(bench):
    rig = bench(firmware='0.6', watchdog=0.0, **ENDPOINTS)  # nothing is saved over USB
    motors = rig.ready()
    rig.drive([0.2, 0.2], lambda: rig.torque.all())
    restart(rig)
    motors.arm()
    assert all(axis.watchdog_on for axis in rig.emulated.axes)
    rig.drive([0.2, 0.2], lambda: rig.torque.all())
    wait_until(lambda: not any(rig.emulated.armed))  # the host is silent


def test_a_watchdog_that_was_proven_is_proven_again_after_a_restart(bench):
    rig = bench(firmware='0.6')
    motors = rig.ready()
    assert motors.statistics().watchdog == 'seen to disarm the motors'
    for axis in rig.emulated.axes:
        axis._saved_watchdog = 0.0  # it was set over USB and not saved
    restart(rig)
    with pytest.raises(RobotError, match='its watchdog is off'):
        motors.arm()
    wait_until(lambda: not any(rig.emulated.armed))


@pytest.mark.parametrize('firmware', BOTH)
@pytest.mark.parametrize('command', [0x0C, 0x0D, 0x18])
def test_another_host_is_seen_by_commands_that_we_never_send(bench, firmware, command):
    rig = bench(firmware=firmware, **(ENDPOINTS if firmware == '0.6' else {}))
    rig.ready()
    node = rig.settings.node_ids[0]
    rig.spy.send(can.Message(arbitration_id=node << 5 | command, is_extended_id=False))
    rig.drive([0.0, 0.0], lambda: 'another host commands the left motor' in rig.faults())


@pytest.mark.parametrize('firmware', BOTH)
def test_a_request_counts_as_a_command_where_it_feeds_the_watchdog(bench, firmware):
    rig = bench(firmware=firmware, **(ENDPOINTS if firmware == '0.6' else {}))
    rig.ready()
    node = rig.settings.node_ids[0]
    for _ in range(3):
        for command in (0x14, 0x0A):  # one that we read, and one that we do not know
            identifier = node << 5 | command
            rig.spy.send(
                can.Message(arbitration_id=identifier, is_remote_frame=True, is_extended_id=False)
            )
    beats = rig.motors._link.axes[0].heartbeat.time
    rig.drive([0.0, 0.0], lambda: rig.motors._link.axes[0].heartbeat.time > beats + 0.05)
    assert ('another host commands the left motor' in rig.faults()) == (firmware == '0.5')
