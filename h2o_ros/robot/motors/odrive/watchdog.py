"""How it is known that the motors stop by themselves when the host falls silent.

Firmware 0.6 lets settings be written and read over CAN where their endpoint numbers are known;
those differ from build to build. Firmware 0.5 does not, but its watchdog runs while idle too and
shows itself in the heartbeat. What remains is proven by the first arming: zero torque, silence.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from h2o_ros.errors import RobotError
from h2o_ros.robot.motors.odrive.axis import Axis
from h2o_ros.robot.motors.odrive.cansimple import IDLE, READ, WRITE
from h2o_ros.robot.motors.odrive.link import MotorLink

# The heartbeat tells of an expiry up to 0.1 s late; the rest is for a busy host.
SEEN_WITHIN = 0.2  # s
PATIENCE = 1.0  # s
ANSWER_TIMEOUT = 0.3  # s


class MotorWatchdog:
    """Sets the motors' watchdog or proves that it is set; `known` says how, once it is.

    refuse: raises RobotError where an error must not be cleared.
    """

    def __init__(self, link: MotorLink, refuse: Callable[[], None]) -> None:
        self._link, self._refuse = link, refuse
        self.known = ''
        self._pauses = self._count_pauses()

    def verify(self) -> list[str]:
        """Do what needs no arming; return what is wrong."""
        settings = self._link.settings
        self.invalidate()
        if settings.watchdog_enable_endpoint:
            found = [text for axis in self._link.axes for text in self._write(axis)]
            self.known = '' if found else 'set and read back'
            return found
        if settings.firmware == '0.6':
            return []
        self.clear_expired()
        found = self._fall_silent(lambda axis: axis.tripped())
        self.known = '' if found else 'seen to expire while idle'
        return found

    def invalidate(self) -> None:
        """Take nothing for known: a controller that starts anew forgets what is not saved."""
        self.known, self._pauses = '', self._count_pauses()

    def reverify(self) -> None:
        """Before each arming: set what is set over CAN once more; RobotError where that fails."""
        if self._count_pauses() != self._pauses:
            self.invalidate()
        if self._link.settings.watchdog_enable_endpoint:
            found = self.verify()
            if found:
                raise RobotError('; '.join(found))

    def prove_armed(self) -> None:
        """Fall silent with closed loops at zero torque: both must disarm; RobotError where not."""
        found = self._fall_silent(lambda axis: axis.tripped() and axis.heartbeat.state == IDLE)
        if found:
            raise RobotError('; '.join(found))
        self.known = 'seen to disarm the motors'

    def clear_expired(self) -> None:
        """Feed, and clear the error of a watchdog that expired while the host was silent.

        RobotError where there is another one, which would be cleared with it.
        """
        # What came since the last heartbeat is told by the next one of a fed motor.
        self._link.feed_until()
        self._refuse()
        if any(axis.tripped() for axis in self._link.axes):
            self._link.send_all('Clear_Errors')
            self._link.feed_until(lambda axis: not axis.tripped(), 'keeps its watchdog error')

    def _count_pauses(self) -> int:
        return sum(axis.pauses for axis in self._link.axes)

    def _fall_silent(self, expired: Callable[[Axis], bool]) -> list[str]:
        """Send nothing until the watchdogs have expired; return who was late or never did."""
        link, limit = self._link, self._link.settings.watchdog_timeout
        silent_since = link.clock()
        seen: dict[str, float] = {}
        while link.clock() - silent_since < PATIENCE and len(seen) < len(link.axes):
            time.sleep(0.005)
            for axis in link.axes:
                if axis.name not in seen and expired(axis):
                    seen[axis.name] = axis.heartbeat.time - silent_since
        found = []
        for axis in link.axes:
            if axis.name not in seen:
                found.append(
                    f'{axis.name}: its watchdog is off; set watchdog_timeout to {limit} s and '
                    'enable_watchdog to true in its controller, and save'
                )
            elif seen[axis.name] > limit + SEEN_WITHIN:
                found.append(
                    f'{axis.name}: its watchdog took {seen[axis.name]:.2f} s; '
                    f'set watchdog_timeout to {limit} s in its controller, and save'
                )
        return found

    def _write(self, axis: Axis) -> list[str]:
        settings = self._link.settings
        enable, timeout = settings.watchdog_enable_endpoint, settings.watchdog_timeout_endpoint
        single = struct.unpack('<I', struct.pack('<f', settings.watchdog_timeout))[0]
        wanted = {timeout: single, enable: 1}
        axis.parameters.clear()
        for endpoint, value in wanted.items():
            for opcode in (WRITE, READ):
                self._link.send(
                    axis, 'RxSdo', {'Opcode': opcode, 'Endpoint_ID': endpoint, 'Value': value}
                )
        started = time.monotonic()
        while time.monotonic() - started < ANSWER_TIMEOUT and len(axis.parameters) < len(wanted):
            time.sleep(0.005)
        # A truth value is one byte; what follows it is not defined.
        got = {end: v & 0xFF if end == enable else v for end, v in axis.parameters.items()}
        if got == wanted:
            return []
        return [
            f'{axis.name}: its watchdog could not be set over CAN '
            f'({"other values came back" if got else "no answer"}); check both endpoint numbers '
            'against those of its firmware, or set it over USB and leave both 0'
        ]
