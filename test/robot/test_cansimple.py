"""CAN frames: bytes worked out by hand, for both firmware generations, and everything wrong."""

import math
import struct

import can
import pytest
from motor_bench import BOTH

from h2o_ros.robot.motors.odrive.cansimple import Frames, most_bits

SHARED = {
    'Heartbeat': 0x01, 'Estop': 0x02, 'Set_Axis_State': 0x07, 'Get_Encoder_Estimates': 0x09,
    'Set_Controller_Mode': 0x0B, 'Set_Input_Torque': 0x0E, 'Set_Limits': 0x0F, 'Get_Iq': 0x14,
    'Get_Bus_Voltage_Current': 0x17, 'Clear_Errors': 0x18,
}  # fmt: skip
COMMANDS = {
    '0.5': SHARED
    | {
        'Get_Motor_Error': 0x03,
        'Get_Encoder_Error': 0x04,
        'Get_Sensorless_Estimates': 0x15,
        'Get_ADC_Voltage': 0x1C,
        'Get_Controller_Error': 0x1D,
    },
    '0.6': SHARED
    | {
        'Get_Error': 0x03,
        'RxSdo': 0x04,
        'TxSdo': 0x05,
        'Get_Temperature': 0x15,
        'Get_Torques': 0x1C,
    },
}
# name, node, values, identifier, bytes
SENT = [
    ('Set_Input_Torque', 1, {'Input_Torque': 1.5}, 0x02E, '0000c03f00000000'),
    ('Set_Input_Torque', 0, {'Input_Torque': -0.1}, 0x00E, 'cdccccbd00000000'),
    ('Set_Axis_State', 3, {'Axis_Requested_State': 8}, 0x067, '0800000000000000'),
    ('Set_Axis_State', 62, {'Axis_Requested_State': 1}, 0x7C7, '0100000000000000'),
    ('Set_Controller_Mode', 0, {'Control_Mode': 1, 'Input_Mode': 1}, 0x00B, '0100000001000000'),
    ('Set_Limits', 2, {'Velocity_Limit': 2.5, 'Current_Limit': 20.0}, 0x04F, '000020400000a041'),
    ('Clear_Errors', 1, {}, 0x038, '0000000000000000'),
    ('Estop', 1, {}, 0x022, ''),
]


def frame(identifier: int, data: str, **options: object) -> can.Message:
    options = {'is_extended_id': False} | options
    return can.Message(arbitration_id=identifier, data=bytes.fromhex(data), **options)


@pytest.mark.parametrize('firmware', BOTH)
@pytest.mark.parametrize(('name', 'node', 'values', 'identifier', 'data'), SENT)
def test_commands_have_the_bytes_worked_out_by_hand(
    firmware, name, node, values, identifier, data
):
    message = Frames(firmware).encode(name, node, values)
    assert (message.arbitration_id, bytes(message.data).hex()) == (identifier, data)
    assert not message.is_extended_id
    assert message.dlc == len(data) // 2


@pytest.mark.parametrize('firmware', BOTH)
def test_every_command_has_the_number_of_its_generation(firmware):
    frames = Frames(firmware)
    for name, command in COMMANDS[firmware].items():
        assert frames.encode(name, 5).arbitration_id == 5 << 5 | command, name


def test_new_firmware_reads_and_writes_parameters():
    values = {'Opcode': 1, 'Endpoint_ID': 0x0123, 'Value': 0x3DCCCCCD}
    message = Frames('0.6').encode('RxSdo', 2, values)
    assert (message.arbitration_id, bytes(message.data).hex()) == (0x044, '01230100cdcccc3d')
    answer = Frames('0.6').decode(frame(0x045, '00230100cdcccc3d'))
    assert (answer.values['Endpoint_ID'], answer.values['Value']) == (0x0123, 0x3DCCCCCD)


@pytest.mark.parametrize('firmware', BOTH)
def test_encoder_frames_are_turns(firmware):
    message = frame(0x029, '0000c03f000000c0')
    values = {'Pos_Estimate': 1.5, 'Vel_Estimate': -2.0}
    assert Frames(firmware).decode(message) == (1, 'Get_Encoder_Estimates', values)


def test_heartbeats_differ_in_bytes_5_to_7():
    new = Frames('0.6').decode(frame(0x021, '0080000108030100'))
    assert new.values == {
        'Axis_Error': 0x01008000,
        'Axis_State': 8,
        'Procedure_Result': 3,
        'Trajectory_Done_Flag': 1,
        'Reserved': 0,
    }
    old = Frames('0.5').decode(frame(0x021, '0008000001010081'))
    assert old.values == {
        'Axis_Error': 0x800,
        'Axis_State': 1,
        'Motor_Error_Flag': 1,
        'Encoder_Error_Flag': 0,
        'Controller_Error_Flag': 1,
        'Trajectory_Done_Flag': 1,
    }


def test_the_same_bit_means_another_error_in_each_generation():
    assert Frames('0.5').error_names(0x800) == ['WATCHDOG_TIMER_EXPIRED']
    assert Frames('0.6').error_names(0x800) == ['DC_BUS_OVER_REGEN_CURRENT']
    assert Frames('0.5').error_names(0x4000) == ['ESTOP_REQUESTED']
    for bit, name in {
        0x8000: 'VELOCITY_LIMIT_VIOLATION',
        0x01000000: 'WATCHDOG_TIMER_EXPIRED',
        0x02000000: 'ESTOP_REQUESTED',
        0x04000000: 'SPINOUT_DETECTED',
    }.items():
        assert Frames('0.6').error_names(bit) == [name]
    assert Frames('0.6').error_names(0x8000 | 0x80) == [
        'VELOCITY_LIMIT_VIOLATION',
        'unknown error 0x80',
    ]
    assert Frames('0.6').error_names(0) == []


WRONG = {
    'short': frame(0x029, '0000c03f0000c0'),
    'empty': frame(0x029, ''),
    'extended': frame(0x029, '0000c03f000000c0', is_extended_id=True),
    'remote': can.Message(arbitration_id=0x029, is_remote_frame=True, dlc=8, is_extended_id=False),
    'error': frame(0x029, '0000c03f000000c0', is_error_frame=True),
    'FD': frame(0x029, '0000c03f000000c0', is_fd=True),
    'unknown command': frame(0x03F, '0000c03f000000c0'),
    'NaN': frame(0x029, struct.pack('<ff', math.nan, 0.0).hex()),
    'infinite': frame(0x029, struct.pack('<ff', 0.0, -math.inf).hex()),
    'torque that is NaN': frame(0x02E, struct.pack('<ff', math.nan, 0.0).hex()),
}


@pytest.mark.parametrize('firmware', BOTH)
@pytest.mark.parametrize('kind', WRONG)
def test_wrong_frames_are_none(firmware, kind):
    assert Frames(firmware).decode(WRONG[kind]) is None


@pytest.mark.parametrize('firmware', BOTH)
def test_the_motors_firmware_looks_at_neither_length_nor_nan(firmware):
    frames = Frames(firmware)
    short = frames.decode_as_firmware(frame(0x02E, '00c0'))
    assert short.values['Input_Torque'] == struct.unpack('<f', b'\x00\xc0\x00\x00')[0]
    strange = frames.decode_as_firmware(WRONG['torque that is NaN'])
    assert math.isnan(strange.values['Input_Torque'])
    assert frames.decode_as_firmware(WRONG['remote']) == (1, 'Get_Encoder_Estimates', {})
    for kind in ('extended', 'error', 'FD', 'unknown command'):
        assert frames.decode_as_firmware(WRONG[kind]) is None


@pytest.mark.parametrize(
    ('name', 'node', 'values', 'words'),
    [
        ('Set_Torque', 0, {}, "'Set_Torque' is unknown"),
        ('Set_Input_Torque', 64, {}, 'expected 0 to 63, got 64'),
        ('Set_Input_Torque', 0, {'Torque': 1.0}, "unknown signal 'Torque'"),
        ('Set_Input_Torque', 0, {'Input_Torque': math.nan}, 'expected finite'),
        ('Set_Input_Torque', 0, {'Input_Torque': math.inf}, 'expected finite'),
        ('Set_Input_Torque', 0, {'Input_Torque': 1e39}, 'expected finite'),
    ],
)
def test_nothing_wrong_is_encoded(name, node, values, words):
    with pytest.raises(ValueError, match=words):
        Frames('0.6').encode(name, node, values)


def test_bits_on_the_wire_are_the_most_that_stuffing_makes():
    # 44 bits and a gap of 3 around the data; at most one stuffed bit after each further 4.
    assert most_bits(frame(0x001, '00' * 8)) == 44 + 3 + 64 + 24
    assert most_bits(frame(0x002, '')) == 44 + 3 + 8
    assert most_bits(WRONG['remote']) == 44 + 3 + 8
