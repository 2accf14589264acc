"""One axis of a motor controller as its firmware behaves: modes, watchdog, errors that latch.

In the motor's own units: turns, turns/s, N·m at the shaft. It trusts its input as the firmware
does, which looks at neither the length of a frame nor at NaN.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from h2o_ros.robot.motors.odrive.cansimple import (
    CLOSED_LOOP,
    IDLE,
    PASSTHROUGH,
    TORQUE_CONTROL,
    WATCHDOG,
    WRITE,
    Frame,
    Frames,
)
from h2o_ros.robot.motors.settings import MotorSettings

UNDEFINED = 0  # as an axis state: no request
POSITION_CONTROL = 3  # the mode at power-up
TORQUE_RAMP = 6
RAMP_RATE = 0.01  # N·m/s, as shipped
OVERSPEED = 1.2  # times the velocity limit
# Periods of the cyclic frames in s, by firmware generation; encoders every 5 ms as docs/motors.md
# asks, what else is sent ten times a second.
PERIODS = {
    '0.5': {'Heartbeat': 0.1, 'Get_Encoder_Estimates': 0.005, 'Get_Iq': 0.1,
            'Get_Bus_Voltage_Current': 0.1},
    '0.6': {'Heartbeat': 0.1, 'Get_Encoder_Estimates': 0.005, 'Get_Iq': 0.1,
            'Get_Temperature': 0.1, 'Get_Bus_Voltage_Current': 0.1, 'Get_Torques': 0.1},
}  # fmt: skip
# What each generation calls an error, and the bit that its motor, encoder or controller shows.
CAUSES = {
    '0.5': {
        'velocity': ('CONTROLLER_FAILED', 'Controller_Error_Flag'),
        'spinout': ('CONTROLLER_FAILED', 'Controller_Error_Flag'),
        'not_finite': ('MOTOR_FAILED', 'Motor_Error_Flag'),
        'under_voltage': ('MOTOR_FAILED', 'Motor_Error_Flag'),
        'over_temperature': ('OVER_TEMP', ''),
        'state': ('INVALID_STATE', ''),
        'estop': ('ESTOP_REQUESTED', ''),
        'watchdog': (WATCHDOG, ''),
    },
    '0.6': {
        'velocity': ('VELOCITY_LIMIT_VIOLATION', ''),
        'spinout': ('SPINOUT_DETECTED', ''),
        'not_finite': ('MISSING_INPUT', ''),
        'under_voltage': ('DC_BUS_UNDER_VOLTAGE', ''),
        'over_temperature': ('INVERTER_OVER_TEMP', ''),
        'estop': ('ESTOP_REQUESTED', ''),
        'watchdog': (WATCHDOG, ''),
    },
}


@dataclass
class Surroundings:
    """What the axis measures of the world."""

    position: float = 0.0  # turns
    velocity: float = 0.0  # turns/s
    voltage: float = 25.0  # V
    fet_temperature: float = 35.0  # °C
    motor_temperature: float = 30.0  # °C


class EmulatedAxis:
    """One axis. Time is passed in; nothing happens between two calls of `advance`."""

    def __init__(
        self, node_id: int, settings: MotorSettings, frames: Frames, watchdog: float, now: float
    ) -> None:
        """watchdog: s, as saved in the controller over USB; 0: off, as shipped."""
        self.node_id, self._settings, self._frames = node_id, settings, frames
        self._saved_watchdog = watchdog
        self.world = Surroundings()
        self.boot(now)

    def boot(self, now: float) -> None:
        """Begin as after power-up: idle, no errors, what was not saved forgotten."""
        self.state, self.errors, self.result = IDLE, 0, 0
        self.flags: set[str] = set()
        self.control_mode, self.input_mode = POSITION_CONTROL, PASSTHROUGH
        self.velocity_limit, self.current_limit = 2.0, 10.0  # turns/s, A: as shipped
        self.input_torque = self.torque = 0.0
        self.watchdog, self.watchdog_on = self._saved_watchdog, self._saved_watchdog > 0.0
        self._fed = self._advanced = now
        self._due = dict.fromkeys(PERIODS[self._frames.firmware], now)

    @property
    def old(self) -> bool:
        """Firmware 0.5."""
        return self._frames.firmware == '0.5'

    def receive(self, frame: Frame | None, now: float) -> list[tuple[str, dict[str, float]]]:
        """Take a frame that carries this node's id, None for one without meaning; return answers.

        Firmware 0.5 feeds its watchdog with every frame, whatever it is.
        """
        if self.old or (frame is not None and frame.name == 'Set_Input_Torque'):
            self._fed = now
        if frame is None:
            return []
        if frame.name in self._due and not frame.values:
            return [(frame.name, self.report(frame.name))]
        if frame.name == 'RxSdo':
            return self._access(frame.values)
        self._command(frame.name, frame.values, now)
        return []

    def _command(self, name: str, values: dict[str, float], now: float) -> None:
        if name == 'Set_Axis_State':
            self._request(int(values['Axis_Requested_State']), now)
        elif name == 'Set_Controller_Mode':
            self.control_mode = int(values['Control_Mode'])
            self.input_mode = int(values['Input_Mode'])
        elif name == 'Set_Input_Torque':
            self.input_torque = values['Input_Torque']
        elif name == 'Set_Limits':
            self.velocity_limit = values['Velocity_Limit']
            self.current_limit = values['Current_Limit']
        elif name == 'Estop':
            self.fail('estop')
        elif name == 'Clear_Errors':
            self.clear()

    def clear(self) -> None:
        """Forget the errors."""
        self.errors = 0
        self.flags.clear()

    def fail(self, cause: str) -> None:
        """Latch an error and disarm."""
        name, flag = CAUSES[self._frames.firmware].get(cause, ('', ''))
        if name:
            self.errors |= self._frames.errors[name]
        if flag:
            self.flags.add(flag)
        self._disarm()

    def advance(self, now: float) -> float:
        """Return the torque in N·m that the motor makes from now on."""
        step, self._advanced = now - self._advanced, now
        armed = self.state == CLOSED_LOOP
        # The old firmware counts while idle too.
        if self.watchdog_on and (armed or self.old) and now - self._fed > self.watchdog:
            self.fail('watchdog')
        if self.state != CLOSED_LOOP:
            return 0.0
        if abs(self.world.velocity) > OVERSPEED * self.velocity_limit:
            self.fail('velocity')
        elif not math.isfinite(self.input_torque):
            self.fail('not_finite')
        else:
            self._make_torque(step)
        return self.torque

    def due(self, now: float) -> list[str]:
        """Name the cyclic frames that are to be sent now."""
        found = []
        for name, time in self._due.items():
            if now >= time:
                found.append(name)
                period = PERIODS[self._frames.firmware][name]
                # After a hold-up the frames that were missed are not sent after.
                self._due[name] = max(time + period, now)
        return found

    def report(self, name: str) -> dict[str, float]:
        """Return the values of one cyclic frame."""
        world = self.world
        amperes = self.torque / self._settings.torque_constant
        if name == 'Heartbeat':
            beat = {'Axis_Error': self.errors, 'Axis_State': self.state}
            if self.old:
                return {**beat, **dict.fromkeys(self.flags, 1), 'Trajectory_Done_Flag': 1}
            return {**beat, 'Procedure_Result': self.result}
        return {
            'Get_Encoder_Estimates': {
                'Pos_Estimate': world.position, 'Vel_Estimate': world.velocity
            },
            'Get_Iq': {'Iq_Setpoint': amperes, 'Iq_Measured': amperes},
            'Get_Temperature': {
                'FET_Temperature': world.fet_temperature,
                'Motor_Temperature': world.motor_temperature,
            },
            'Get_Bus_Voltage_Current': {
                'Bus_Voltage': world.voltage,
                'Bus_Current': 2 * math.pi * world.velocity * self.torque / max(world.voltage, 1),
            },
            'Get_Torques': {'Torque_Target': self.torque, 'Torque_Estimate': self.torque},
        }[name]  # fmt: skip

    def _request(self, state: int, now: float) -> None:
        if state == CLOSED_LOOP:
            # Not refused, but the checks that follow disarm at once.
            self._fed = now
            if not self.errors:
                self.state, self.result = CLOSED_LOOP, 1
            else:
                self.result = 3
        elif state == IDLE:
            self._disarm()
        elif state != UNDEFINED:
            self.fail('state')

    def _disarm(self) -> None:
        self.state, self.torque = IDLE, 0.0

    def _make_torque(self, step: float) -> None:
        """Torque control alone is emulated; in any other mode the motor makes none."""
        limit = self.current_limit * self._settings.torque_constant
        wanted = self.input_torque if self.control_mode == TORQUE_CONTROL else 0.0
        if self.input_mode == TORQUE_RAMP:
            change = RAMP_RATE * step
            wanted = min(max(wanted, self.torque - change), self.torque + change)
        self.torque = min(max(wanted, -limit), limit)

    def _access(self, values: dict[str, float]) -> list[tuple[str, dict[str, float]]]:
        """Write or read a setting by its endpoint; unknown endpoints get no answer."""
        endpoint, content = int(values['Endpoint_ID']), int(values['Value'])
        settings = self._settings
        if endpoint == 0 or endpoint not in (
            settings.watchdog_enable_endpoint, settings.watchdog_timeout_endpoint
        ):  # fmt: skip
            return []
        enable = endpoint == settings.watchdog_enable_endpoint
        if int(values['Opcode']) == WRITE:
            if enable:
                self.watchdog_on = bool(content & 0xFF)
            else:
                self.watchdog = struct.unpack('<f', struct.pack('<I', content))[0]
            return []
        single = struct.unpack('<I', struct.pack('<f', self.watchdog))[0]
        return [('TxSdo', {'Endpoint_ID': endpoint,
                           'Value': int(self.watchdog_on) if enable else single})]  # fmt: skip
