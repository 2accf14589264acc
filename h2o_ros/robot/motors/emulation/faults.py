"""The faults that emulated motors have on request: their names, numbers and what they mean."""

from __future__ import annotations

import math
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of fault: a sentence, and its own number with default and limits, if it has one."""

    text: str
    number: str = ''
    default: float = 0.0
    low: float = 0.0
    high: float = 0.0
    seconds: float = 0.5  # how long it lasts; infinite: until repaired


KINDS = {
    'encoder_dropout': Kind('no encoder frames'),
    'heartbeat_silence': Kind('no heartbeats', seconds=1.0),
    'bus_off': Kind('off the CAN bus, deaf and mute'),
    'encoder_jump': Kind(
        'the position jumps by {} rad', 'radians', 1.0, -100.0, 100.0, seconds=math.inf
    ),
    'encoder_frozen': Kind('the encoder repeats the last numbers', seconds=1.0),
    'over_temperature': Kind(
        'power stage and winding at {} °C', 'celsius', 110.0, 0.0, 200.0, seconds=5.0
    ),
    'brown_out': Kind('the supply sags to {} V', 'volts', 12.0, 0.0, 100.0),
    'spinout': Kind('the controller believes that the motor spins out'),
}
BOTH = (0, 1)
SIDES = ('left', 'right')


class Fault(NamedTuple):
    """One fault that was asked for."""

    name: str
    motors: tuple[int, ...]  # 0 left, 1 right
    seconds: float
    value: float
    text: str


def read_fault(name: str, numbers: dict[str, float]) -> Fault:
    """Understand a request; ValueError says in one line what there is instead.

    numbers: `motor` 0 left or 1 right, else both; `seconds`; and the fault's own.
    """
    if name not in KINDS:
        raise ValueError(f'fault {name!r} is unknown; choose one of {", ".join(KINDS)}')
    kind, given = KINDS[name], dict(numbers)
    seconds, value = given.pop('seconds', kind.seconds), kind.default
    motor = given.pop('motor', None)
    if kind.number:
        value = given.pop(kind.number, value)
    if given:
        known = ', '.join(filter(None, ('motor', 'seconds', kind.number)))
        raise ValueError(f'fault {name}: unknown number {next(iter(given))!r}; known: {known}')
    if motor not in (None, 0, 1):
        raise ValueError(f'fault {name}: motor: expected 0 (left) or 1 (right), got {motor}')
    if not seconds > 0.0:
        raise ValueError(f'fault {name}: seconds: expected more than 0, got {seconds}')
    if not kind.low <= value <= kind.high:
        raise ValueError(
            f'fault {name}: {kind.number}: expected {kind.low} to {kind.high}, got {value}'
        )
    motors = BOTH if motor is None else (int(motor),)
    who = 'both motors' if motor is None else f'{SIDES[int(motor)]} motor'
    lasting = '' if math.isinf(seconds) else f', for {seconds} s'
    return Fault(name, motors, seconds, value, f'{who}: {kind.text.format(value)}{lasting}')
