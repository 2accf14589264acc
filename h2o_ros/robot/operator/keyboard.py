"""Steering with keys. A terminal tells of no release: a key is held while it repeats."""

from __future__ import annotations

import math
from dataclasses import dataclass

from h2o_ros.configuration import setting
from h2o_ros.robot.operator.teleop import Order

REPEAT = 0.15  # s; keys that come closer than this are one that is held
DIRECTIONS = {'w': 1.0, 's': -1.0, 'up': 1.0, 'down': -1.0, 'h': 0.0}
STEPS = {'+': 0.05, '-': -0.05}  # m/s
ORDERS = {
    ' ': Order.EMERGENCY_STOP,
    'e': Order.RESET_EMERGENCY_STOP,
    'a': Order.ARM,
    'p': Order.POLICY,
    'b': Order.BALANCE,
    'r': Order.START_RECORDING,
    't': Order.STOP_RECORDING,
    'y': Order.SUCCESS,
    'n': Order.FAILURE,
}
HELP = """\
keys (hold one to drive, which takes over from a policy; release it and the robot stands)
  w, up    forward          space  EMERGENCY STOP     r  start recording
  s, down  backward         e      reset it           t  stop recording
  h        hold in place    a      arm                y  label the take a success
  + -      faster, slower   p      hand to policy     n  label the take a failure
  Ctrl-C   end              b      balance controller"""


@dataclass(frozen=True)
class KeyboardSettings:
    """How long a key counts as held."""

    first_repeat: float = setting(
        0.7, 's', 'from a key to its first repeat, at most', minimum=0.1, maximum=1.5
    )


class Keyboard:
    """Steers by keys: 'w', ' ', 'up' and the like."""

    def __init__(self, speed: float, settings: KeyboardSettings | None = None) -> None:
        """speed: m/s, the fastest; + and - change it below that."""
        self.speed, self._fastest = speed, speed
        self._settings = settings or KeyboardSettings()
        self._direction = 0.0
        self._last_key = ''
        self._pressed_at = self._held_until = -math.inf

    def press(self, key: str, now: float) -> Order | None:
        """Take one key; return what it orders. Any key that does not drive releases."""
        if key in STEPS:
            self.speed = min(max(self.speed + STEPS[key], 0.0), self._fastest)
            return None
        if key not in DIRECTIONS:
            self.release()
            return ORDERS.get(key)
        repeats = key == self._last_key and now - self._pressed_at < REPEAT
        hold = REPEAT if repeats else self._settings.first_repeat
        self._direction, self._last_key = DIRECTIONS[key], key
        self._pressed_at, self._held_until = now, now + hold
        return None

    def release(self) -> None:
        """Let go of the dead-man."""
        self._held_until, self._last_key = -math.inf, ''

    def velocity(self, now: float) -> float | None:
        """Return the speed in m/s while a key is held."""
        return self._direction * self.speed if now < self._held_until else None
