"""Emulated motors alone, time passed in: they do what the firmware does, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import can
import numpy as np
import pytest
from motor_bench import BOTH, CHANNELS

from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation import axis as axis_module
from h2o_ros.robot.motors.emulation.controllers import EmulatedMotors
from h2o_ros.robot.motors.odrive.cansimple import Frames
from h2o_ros.robot.motors.settings import MotorSettings


class Alone:
    """Emulated motors whose time is the test's."""

    def __init__(self, firmware: str, watchdog: float = 0.1) -> None:
        settings = MotorSettings(
            interface='virtual', channel=f'alone_{next(CHANNELS)}', firmware=firmware
        )
        self.bus, self._own = open_bus(settings), open_bus(settings)
        self.frames, self.now = Frames(firmware), 100.0
        self.motors = EmulatedMotors(self._own, settings, lambda: self.now, watchdog)
        self.torque = np.zeros(2)

    def send(self, name: str, node: int = 0, **values: float) -> None:
        self.bus.send(self.frames.encode(name, node, values))

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.001)):
            self.now += 0.001
            self.torque = self.motors.step(self.now, np.zeros(2), np.zeros(2))

    def arm(self) -> None:
        for node in (0, 1):
            self.send('Clear_Errors', node)
            self.send('Set_Controller_Mode', node, Control_Mode=1, Input_Mode=1)
            self.send('Set_Axis_State', node, Axis_Requested_State=8)
        self.pass_time(0.001)

    def heard(self) -> list[tuple[int, str, dict[str, float]]]:
        found = []
        while (message := self.bus.recv(0.0)) is not None:
            found.append(self.frames.decode(message))
        return found

    def close(self) -> None:
        self.bus.shutdown()
        self._own.shutdown()


@pytest.fixture
def alone() -> Iterator[Callable[..., Alone]]:
    opened: list[Alone] = []

    def make(firmware: str = '0.6', **options: float) -> Alone:
        opened.append(Alone(firmware, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.mark.parametrize('firmware', BOTH)
def test_cyclic_frames_come_at_their_periods(alone, firmware):
    rig = alone(firmware)
    rig.pass_time(1.0)
    names = [name for node, name, _ in rig.heard() if node == 1]
    expected = {n: round(1.0 / p) for n, p in axis_module.PERIODS[firmware].items()}
    assert expected['Get_Encoder_Estimates'] == 200
    assert expected['Heartbeat'] == 10
    for name, count in expected.items():
        assert abs(names.count(name) - count) <= 1, name


@pytest.mark.parametrize('firmware', BOTH)
def test_the_watchdog_counts_from_the_last_command(alone, firmware):
    rig = alone(firmware)
    rig.arm()
    rig.send('Set_Input_Torque', 0, Input_Torque=1.0)
    rig.send('Set_Input_Torque', 1, Input_Torque=-1.0)
    rig.pass_time(0.099)
    assert np.allclose(rig.torque, [1.0, 1.0])
    rig.pass_time(0.004)
    assert not rig.torque.any()
    assert rig.motors.armed == (False, False)


@pytest.mark.parametrize(('firmware', 'alive'), [('0.5', True), ('0.6', False)])
def test_polls_feed_the_old_watchdog_only(alone, firmware, alive):
    rig = alone(firmware)
    rig.arm()
    rig.heard()
    for _ in range(6):
        for node in (0, 1):
            rig.bus.send(
                can.Message(
                    arbitration_id=node << 5 | 0x17,
                    is_remote_frame=True,
                    dlc=8,
                    is_extended_id=False,
                )
            )
        rig.pass_time(0.05)
    assert rig.motors.armed == (alive, alive)
    answers = [name for node, name, _ in rig.heard() if name == 'Get_Bus_Voltage_Current']
    assert len(answers) >= 12 + 4


@pytest.mark.parametrize(('firmware', 'latched'), [('0.5', True), ('0.6', False)])
def test_only_the_old_watchdog_expires_while_idle(alone, firmware, latched):
    rig = alone(firmware)
    rig.pass_time(0.5)
    errors = [v['Axis_Error'] for _, name, v in rig.heard() if name == 'Heartbeat']
    assert bool(errors[-1]) is latched
    rig.send('Set_Axis_State', 0, Axis_Requested_State=8)
    rig.pass_time(0.01)
    assert rig.motors.armed[0] is not latched


def test_clearing_one_axis_clears_the_board_on_old_firmware_only(alone):
    for firmware, others in (('0.5', 0), ('0.6', 0x02000000)):
        rig = alone(firmware, watchdog=0.0)
        rig.send('Estop', 0)
        rig.send('Estop', 1)
        rig.pass_time(0.001)
        rig.send('Clear_Errors', 0)
        rig.pass_time(0.001)
        assert [axis.errors for axis in rig.motors.axes] == [0, others]


@pytest.mark.parametrize('firmware', BOTH)
def test_wrong_frames_do_to_the_motor_what_they_do_to_its_firmware(alone, firmware):
    rig = alone(firmware, watchdog=0.0)
    rig.arm()
    torque = bytes.fromhex('0000803f00000000')
    for ignored in (
        can.Message(arbitration_id=0x00E, data=torque, is_extended_id=True),
        can.Message(arbitration_id=0x04E, data=torque, is_extended_id=False),
        can.Message(arbitration_id=0x01F, data=torque, is_extended_id=False),
        can.Message(arbitration_id=0x00E, data=torque, is_extended_id=False, is_error_frame=True),
    ):
        rig.bus.send(ignored)
    rig.pass_time(0.002)
    assert not rig.torque.any()
    short = can.Message(arbitration_id=0x00E, data=torque[:4], is_extended_id=False)
    rig.bus.send(short)
    rig.pass_time(0.002)
    assert np.allclose(rig.torque, [1.0, 0.0])
    rig.bus.send(can.Message(arbitration_id=0x00E, data=b'\0\0\xc0\x7f', is_extended_id=False))
    rig.pass_time(0.002)
    assert rig.motors.armed == (False, True)
    assert rig.motors.axes[0].errors == 0x40


def test_without_torque_mode_or_with_its_ramp_there_is_no_torque_to_speak_of(alone):
    rig = alone(watchdog=0.0)
    rig.send('Set_Axis_State', 0, Axis_Requested_State=8)
    rig.send('Set_Input_Torque', 0, Input_Torque=1.0)
    rig.pass_time(0.1)
    assert rig.motors.armed[0]
    assert rig.torque[0] == 0.0
    rig.send('Set_Controller_Mode', 0, Control_Mode=1, Input_Mode=6)
    rig.pass_time(0.1)
    assert 0.0 < rig.torque[0] < 0.01


def test_power_that_fails_is_a_new_start(alone):
    rig = alone(watchdog=0.0)
    rig.arm()
    rig.motors.inject('brown_out', volts=2.0, seconds=0.5)
    rig.pass_time(0.4)
    rig.heard()
    rig.pass_time(0.05)
    assert rig.heard() == []
    rig.pass_time(0.2)
    beats = [v for _, name, v in rig.heard() if name == 'Heartbeat']
    assert beats
    assert {(v['Axis_State'], v['Axis_Error']) for v in beats} == {(1, 0)}
    assert rig.motors.axes[0].control_mode == 3
