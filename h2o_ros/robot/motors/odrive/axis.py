"""State of one wheel motor as its frames report it, in units of the wheel, and its faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import can

from h2o_ros.robot.motors.odrive.cansimple import CLOSED_LOOP, IDLE, WATCHDOG, Frame, Frames
from h2o_ros.robot.motors.settings import MotorSettings

NEVER = -math.inf
# A longer gap between two encoder frames is a dropout, which is told as such.
LONGEST_STEP = 0.1  # s
LATENESS = 0.02  # s by which frames may come unevenly
MEMORY = 1.0  # s in which what position and velocity differed by is forgotten
PAUSE = 0.25  # s; heartbeats come every 0.1 s, and a controller takes longer to start
# What firmware 0.6 tells of itself from time to time, and the driver must know.
STATUS = {'Get_Temperature': 'temperature', 'Get_Bus_Voltage_Current': 'bus voltage'}


class Encoder(NamedTuple):
    """One encoder frame, in units of the wheel."""

    time: float = NEVER  # s, of the monotonic clock
    position: float = 0.0  # rad, forwards
    velocity: float = 0.0  # rad/s, forwards


class Heartbeat(NamedTuple):
    """One heartbeat."""

    time: float = NEVER
    state: int = 0
    errors: int = 0
    subsystem: bool = False  # firmware 0.5: motor, encoder or controller has an error of its own
    foreign: bool = False  # bytes that the other generation has there


class Axis:
    """One wheel motor as the host sees it; the reading thread alone writes."""

    def __init__(self, index: int, settings: MotorSettings, frames: Frames) -> None:
        """index: 0 left, 1 right."""
        self.side = ('left', 'right')[index]
        self.node_id = settings.node_ids[index]
        self.name = f'{self.side} motor (node {self.node_id})'
        self._turns = float(settings.revolutions_per_radian[index])
        self._settings, self._frames = settings, frames
        self.encoder, self.heartbeat = Encoder(), Heartbeat()
        self.heard: dict[str, int] = {}  # frames by name
        self.parameters: dict[int, int] = {}  # values read over CAN, by endpoint
        self.temperatures: tuple[float, float] | None = None  # °C: power stage, winding
        self.voltage: float | None = None  # V
        self._told: dict[str, float] = dict.fromkeys(STATUS, NEVER)  # s, when last heard
        self.supply_current = self.current = math.nan  # A
        self.torque = 0.0  # N·m of the motor, sent last
        self._pushed = 0.0  # s of torque since the encoder said something else
        self._drift = 0.0  # rad by which the position went on otherwise than the velocity says
        self.pauses = 0  # of the heartbeat, in which the controller may have started anew
        self.events: list[str] = []  # faults that have passed but are not forgotten

    def hear(self, frame: Frame, now: float) -> None:
        """Take one frame of this motor."""
        values = frame.values
        self.heard[frame.name] = self.heard.get(frame.name, 0) + 1
        if frame.name in STATUS:
            self._told[frame.name] = now
        if frame.name == 'Get_Encoder_Estimates':
            self._hear_encoder(values['Pos_Estimate'], values['Vel_Estimate'], now)
        elif frame.name == 'Heartbeat':
            self._hear_heartbeat(values, now)
        elif frame.name == 'Get_Temperature':
            self.temperatures = values['FET_Temperature'], values['Motor_Temperature']
        elif frame.name == 'Get_Bus_Voltage_Current':
            self.voltage, self.supply_current = values['Bus_Voltage'], values['Bus_Current']
        elif frame.name == 'Get_Iq':
            self.current = values['Iq_Measured']
        elif frame.name == 'TxSdo':
            self.parameters[int(values['Endpoint_ID'])] = int(values['Value'])

    def _hear_encoder(self, turns: float, rate: float, now: float) -> None:
        last = self.encoder
        new = Encoder(now, turns / self._turns, rate / self._turns)
        step = now - last.time
        if step < LONGEST_STEP:
            self._compare(last, new, step)
            self._look_for_frozen(new, step)
        else:
            self._drift = 0.0
        self.encoder = new

    def _compare(self, last: Encoder, new: Encoder, step: float) -> None:
        """Doubt positions that velocities do not explain: one of both is wrong."""
        jump = new.position - last.position - 0.5 * (last.velocity + new.velocity) * step
        limit = self._settings.encoder_jump + abs(last.velocity) * LATENESS
        self._drift = self._drift * math.exp(-step / MEMORY) + jump
        if abs(jump) > limit:
            self._drift = 0.0
            self.remember(f'encoder jumped by {jump:+.2f} rad')
        elif abs(self._drift) > limit:
            self.remember(
                f'encoder position and velocity differ by {abs(self._drift):.2f} rad (limit '
                f'{self._settings.encoder_jump:g}); one of them is wrong'
            )

    def _look_for_frozen(self, new: Encoder, step: float) -> None:
        """Doubt an encoder that repeats itself under torque: its wheel may have any speed."""
        same = new[1:] == self.encoder[1:]
        pushed = abs(self.torque) * self._settings.gear_ratio > self._settings.breakaway_torque
        self._pushed = self._pushed + pushed * step if same else 0.0
        if self._pushed > self._settings.encoder_frozen:
            self.remember('encoder repeats itself under torque; frozen, or the wheel blocked?')

    def _hear_heartbeat(self, values: dict[str, float], now: float) -> None:
        self.pauses += self.heartbeat.time + PAUSE < now
        flags = ('Motor_Error_Flag', 'Encoder_Error_Flag', 'Controller_Error_Flag')
        self.heartbeat = Heartbeat(
            now,
            int(values['Axis_State']),
            int(values['Axis_Error']),
            any(values.get(flag, 0) for flag in flags),
            values.get('Reserved', 0) != 0,
        )

    def reject_frame(self, message: can.Message) -> None:
        """Take a frame of this motor that is short, or holds a number that is not finite."""
        shown = self._frames.decode_as_firmware(message)
        if shown is not None and shown.name in ('Get_Encoder_Estimates', 'Heartbeat'):
            kind = 'encoder' if shown.name == 'Get_Encoder_Estimates' else 'heartbeat'
            self.remember(f'{kind} frame is short or not finite')

    def remember(self, event: str) -> None:
        """Keep a fault that may pass; the same one is kept once."""
        if not any(event.split(' by ')[0] in known for known in self.events):
            self.events.append(event)

    def errors(self, without: Sequence[str] = ()) -> list[str]:
        """Name the latched errors of the last heartbeat, but for those that are as they should be.

        While the host is silent, an expired watchdog is.
        """
        bits = self.heartbeat.errors
        for name in without:
            bits &= ~self._frames.errors[name]
        names = self._frames.error_names(bits)
        return names or (['an error of motor, encoder or controller'] * self.heartbeat.subsystem)

    def has_lost_its_state(self) -> bool:
        """Say whether the motor is not in closed loop and has no error that would explain it."""
        return self.heartbeat.state != CLOSED_LOOP and not self.errors()

    def tripped(self) -> bool:
        """Say whether the motor's watchdog has expired."""
        return bool(self.heartbeat.errors & self._frames.errors[WATCHDOG])

    def faults(self, now: float, armed: bool) -> list[str]:
        """Say in plain sentences what is wrong now, and what was since the last arming."""
        return [f'{self.name}: {text}' for text in self._silence(now) + self._troubles(now, armed)]

    def _silence(self, now: float) -> list[str]:
        """Name the cyclic messages, but for the heartbeat, that are overdue."""
        settings, found = self._settings, []
        if now - self.encoder.time > settings.encoder_timeout:
            found.append(f'no encoder frame {_since(now - self.encoder.time)}')
        if settings.firmware == '0.6':
            found += [
                f'no {what} {_since(now - self._told[name])}'
                for name, what in STATUS.items()
                if now - self._told[name] > settings.status_timeout
            ]
        return found

    def _troubles(self, now: float, armed: bool) -> list[str]:
        """Say what the motor's messages tell, and what happened since the last arming."""
        beat, found = self.heartbeat, list(self.events)
        if now - beat.time > self._settings.heartbeat_timeout:
            found.append(f'no heartbeat {_since(now - beat.time)}')
        errors = self.errors(() if armed else (WATCHDOG,))
        if errors:
            found.append(', '.join(errors))
        if armed and beat.state != CLOSED_LOOP:
            found.append('has disarmed itself')
        return found + self._supply_and_heat()

    def _supply_and_heat(self) -> list[str]:
        settings, found = self._settings, []
        if self.temperatures:
            limits = settings.fet_temperature_limit, settings.motor_temperature_limit
            for part, value, limit in zip(
                ('power stage', 'winding'), self.temperatures, limits, strict=True
            ):
                if value > limit:
                    found.append(f'{part} is at {value:.0f} °C, above {limit:.0f} °C')
        if self.voltage is not None:
            if self.voltage < settings.minimum_voltage:
                found.append(
                    f'supply is at {self.voltage:.1f} V, below {settings.minimum_voltage:.1f} V'
                )
            elif self.voltage > settings.maximum_voltage:
                found.append(
                    f'supply is at {self.voltage:.1f} V, above {settings.maximum_voltage:.1f} V'
                )
        return found

    def obstacles(self, now: float) -> list[str]:
        """Say what forbids to arm; an expired watchdog does not."""
        if now - self.heartbeat.time > self._settings.heartbeat_timeout:
            return [f'{self.name}: no heartbeat {_since(now - self.heartbeat.time)}']
        errors = self.errors((WATCHDOG,))
        return [f'{self.name}: {", ".join(errors)}'] if errors else []

    def unfit(self, heard_before: dict[str, int], duration: float, now: float) -> list[str]:
        """Say why the motor may not be armed, after it was listened to for `duration` s."""
        counts = {name: n - heard_before.get(name, 0) for name, n in self.heard.items()}
        if not counts.get('Heartbeat'):
            return [
                f'{self.name}: no heartbeat in {duration:.1f} s; check its power, node id and '
                f'cable, and the bitrate of {self._settings.bitrate} bit/s'
            ]
        found = self._wrong_generation(counts)
        rate = counts.get('Get_Encoder_Estimates', 0) / duration
        if rate < 150.0:
            found.append(
                f'{self.name}: {rate:.0f} encoder frames a second, 200 are needed; '
                "set the encoder's cyclic message to 5 ms"
            )
        if self.heartbeat.state != IDLE:
            found.append(
                f'{self.name}: is not idle (axis state {self.heartbeat.state}); '
                'stop what else drives it'
            )
        # What is silent was told above, by how often it was heard.
        return found + [f'{self.name}: {text}' for text in self._troubles(now, armed=False)]

    def _wrong_generation(self, counts: dict[str, int]) -> list[str]:
        """Find frames of the other firmware generation, or missing ones of this."""
        if self._settings.firmware == '0.6':
            if self.heartbeat.foreign:
                return [f'{self.name}: its heartbeat is one of firmware 0.5; set firmware to 0.5']
            return [
                f'{self.name}: sends no {text}; set its cyclic message to 100 ms, '
                'or firmware to 0.5 if it is that'
                for name, text in STATUS.items()
                if not counts.get(name)
            ]
        if counts.get('Get_ADC_Voltage') or counts.get('Get_Sensorless_Estimates'):
            return [f'{self.name}: sends what only firmware 0.6 does; set firmware to 0.6']
        return []


def _since(age: float) -> str:
    return 'yet' if math.isinf(age) else f'for {age:.2f} s'
