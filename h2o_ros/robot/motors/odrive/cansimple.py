"""CANSimple frames: names and numbers to bytes and back, as config/motors/odrive_*.dbc has them.

Classic CAN, 11-bit identifiers: node id << 5 | command; everything little-endian.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import can
import cantools
from cantools.database.can import Database, Message

from h2o_ros.errors import RobotError
from h2o_ros.task import share_folder

COMMAND_BITS = 5
LAST_NODE = 63
LARGEST = 3.4e38  # in single precision, what is larger is infinite

IDLE, CLOSED_LOOP = 1, 8  # axis states
TORQUE_CONTROL, PASSTHROUGH = 1, 1  # control mode, input mode
READ, WRITE = 0, 1  # opcodes of a parameter access
WATCHDOG, ESTOP = 'WATCHDOG_TIMER_EXPIRED', 'ESTOP_REQUESTED'
# Commands of hosts that we never send: inputs for position and velocity (which set a torque, too),
# trajectories, gains, counts, calibration, reboot, node id.
OF_OTHER_HOSTS = frozenset({0x0C, 0x0D, 0x10, 0x11, 0x12, 0x13, 0x16, 0x19, 0x1A, 0x1B})
OF_OTHER_HOSTS_BY_FIRMWARE = {'0.5': frozenset({0x06, 0x08}), '0.6': frozenset({0x1F})}


class Frame(NamedTuple):
    """One frame, understood."""

    node_id: int
    name: str
    values: dict[str, float]


class Frames:
    """The frames of one firmware generation."""

    def __init__(self, firmware: str) -> None:
        """firmware: '0.5' or '0.6'."""
        name = f'odrive_{firmware.replace(".", "_")}.dbc'
        path = share_folder('config/motors') / name
        try:
            database = Database()
            database.add_dbc_file(str(path))
        except (OSError, cantools.Error) as err:
            raise RobotError(f'{path}: cannot be read; restore the file') from err
        self.firmware = firmware
        self._by_name = {message.name: message for message in database.messages}
        self._by_command = {message.frame_id: message for message in database.messages}
        named = self._by_name['Heartbeat'].get_signal_by_name('Axis_Error').choices
        self.errors = {str(name): int(bit) for bit, name in (named or {}).items() if bit}

    def encode(
        self, name: str, node_id: int, values: Mapping[str, float] | None = None
    ) -> can.Message:
        """Make one frame; ValueError for an unknown name, node or signal, or a non-finite number.

        values: by signal; what is not given is zero.
        """
        if name not in self._by_name:
            raise ValueError(f'frame {name!r} is unknown to firmware {self.firmware}')
        if not 0 <= node_id <= LAST_NODE:
            raise ValueError(f'node id: expected 0 to {LAST_NODE}, got {node_id}')
        message, given = self._by_name[name], dict(values or {})
        complete = {signal.name: given.pop(signal.name, 0) for signal in message.signals}
        if given:
            raise ValueError(f'{name}: unknown signal {next(iter(given))!r}')
        if not all(abs(value) <= LARGEST for value in complete.values()):
            raise ValueError(f'{name}: expected finite numbers, got {complete}')
        data = message.encode(complete, strict=False) if complete else b''
        return can.Message(
            arbitration_id=node_id << COMMAND_BITS | message.frame_id,
            data=data,
            is_extended_id=False,
        )

    def decode(self, message: can.Message) -> Frame | None:
        """Understand one frame; None for anything that is not wholly right.

        That is: extended, remote, FD or error frames, an unknown command, another length, a number
        that is not finite.
        """
        if message.is_extended_id or message.is_remote_frame or message.is_fd:
            return None
        if message.is_error_frame:
            return None
        known = self._by_command.get(message.arbitration_id & 0x1F)
        if known is None or message.dlc != known.length or len(message.data) != known.length:
            return None
        frame = self._values(known, message.arbitration_id, bytes(message.data))
        return frame if all(map(math.isfinite, frame.values.values())) else None

    def decode_as_firmware(self, message: can.Message) -> Frame | None:
        """Understand one frame as a motor controller does: neither length nor NaN is looked at.

        A short frame is read as if zeros followed. A remote or empty frame of the kind that motors
        send is a request for it: no values.
        """
        if message.is_extended_id or message.is_fd or message.is_error_frame:
            return None
        known = self._by_command.get(message.arbitration_id & 0x1F)
        if known is None:
            return None
        asks = message.is_remote_frame or message.dlc == 0
        if asks and not self.from_host(known.name):
            return Frame(message.arbitration_id >> COMMAND_BITS, known.name, {})
        data = bytes(message.data or b'')[: known.length].ljust(known.length, b'\0')
        return self._values(known, message.arbitration_id, data)

    def knows(self, message: can.Message) -> bool:
        """Say whether a frame's identifier is one of these, whatever it carries."""
        command = message.arbitration_id & 0x1F
        return not (message.is_extended_id or message.is_error_frame) and (
            command in self._by_command
        )

    def is_command(self, message: can.Message) -> bool:
        """Say whether a host sends this frame to a motor; an emergency stop does not count.

        On firmware 0.5 a request for a value does, known or not: it feeds the watchdog.
        """
        if message.is_extended_id or message.is_error_frame:
            return False
        command = message.arbitration_id & 0x1F
        known = self._by_command.get(command)
        estop = known is not None and known.name == 'Estop'
        if self.firmware == '0.5' and (message.is_remote_frame or message.dlc == 0):
            return not estop
        if known is None:
            return command in OF_OTHER_HOSTS | OF_OTHER_HOSTS_BY_FIRMWARE[self.firmware]
        return self.from_host(known.name) and not estop

    def from_host(self, name: str) -> bool:
        """Say whether a frame goes from the host to a motor."""
        return self._by_name[name].senders == ['Host']

    def error_names(self, bits: int) -> list[str]:
        """Name the axis errors in a heartbeat; a bit without a name as a number."""
        names = [name for name, bit in self.errors.items() if bits & bit]
        rest = bits & ~sum(self.errors.values())
        return names + ([f'unknown error {rest:#x}'] if rest else [])

    def _values(self, known: Message, identifier: int, data: bytes) -> Frame:
        values = known.decode(data, decode_choices=False, scaling=False) if known.signals else {}
        return Frame(identifier >> COMMAND_BITS, known.name, values)  # type: ignore[arg-type]


def most_bits(message: can.Message) -> int:
    """Return the bits that a classic frame takes on the wire at most, stuffing and gap included.

    47 of frame and gap, 8 a byte, and one stuffed bit after every four of the 34 and the data.
    """
    data = 0 if message.is_remote_frame else 8 * message.dlc
    header, stuffed = (67, 54) if message.is_extended_id else (47, 34)
    return header + data + (stuffed + data - 1) // 4
