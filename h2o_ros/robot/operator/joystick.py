"""Steering with a gamepad: a stick for the speed, a button to be held as dead-man."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from h2o_ros.configuration import setting
from h2o_ros.robot.operator.teleop import Order


@dataclass(frozen=True)
class JoystickSettings:
    """Which axis and buttons; the defaults are an Xbox gamepad's under joy's joy_node."""

    axis: int = setting(1, '', 'of the speed; forward is positive', minimum=0, maximum=63)
    dead_man: int = setting(4, '', 'button to hold, left shoulder', minimum=0, maximum=63)
    emergency_stop_button: int = setting(1, '', 'button B', minimum=0, maximum=63)
    policy_button: int = setting(0, '', 'button A, hand to the policy', minimum=0, maximum=63)
    success_button: int = setting(3, '', 'button Y', minimum=0, maximum=63)
    failure_button: int = setting(2, '', 'button X', minimum=0, maximum=63)
    start_button: int = setting(7, '', 'menu, start recording', minimum=0, maximum=63)
    stop_button: int = setting(6, '', 'view, stop recording', minimum=0, maximum=63)
    joy_timeout: float = setting(
        0.25, 's', 'age at which joy counts as lost', minimum=0.05, maximum=1.0
    )


class Joystick:
    """Steers by the axes and buttons of sensor_msgs/Joy."""

    def __init__(self, speed: float, settings: JoystickSettings | None = None) -> None:
        """speed: m/s at full stick."""
        self._speed, self._settings = speed, settings or JoystickSettings()
        chosen = self._settings
        self._orders = {
            chosen.policy_button: Order.POLICY,
            chosen.success_button: Order.SUCCESS,
            chosen.failure_button: Order.FAILURE,
            chosen.start_button: Order.START_RECORDING,
            chosen.stop_button: Order.STOP_RECORDING,
        }
        self._before: list[int] | None = None
        self._free = False
        self._stick = 0.0
        self._held_at = -math.inf

    def take(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> list[Order]:
        """Take a message; return what its newly pressed buttons order.

        The emergency stop orders as long as it is pressed. A dead-man that was held from the
        start, a stuck one for instance, counts only after it was seen released. ValueError where
        the gamepad lacks an axis or button.
        """
        chosen = self._settings
        needed = 1 + max(chosen.dead_man, chosen.emergency_stop_button, *self._orders)
        if len(axes) <= chosen.axis or len(buttons) < needed:
            self._held_at = -math.inf
            raise ValueError(
                f'expected axis {chosen.axis} and {needed} buttons, got {len(axes)} axes and '
                f'{len(buttons)} buttons; set the button parameters for this gamepad'
            )
        before = self._before or list(buttons)
        orders = [o for i, o in self._orders.items() if buttons[i] and not before[i]]
        self._before = list(buttons)
        held, stick = bool(buttons[chosen.dead_man]), float(axes[chosen.axis])
        self._free = self._free or not held
        valid = held and self._free and math.isfinite(stick)
        self._stick = min(max(stick, -1.0), 1.0) if valid else 0.0
        self._held_at = now if valid else -math.inf
        if buttons[chosen.emergency_stop_button]:
            self._held_at = -math.inf
            orders.insert(0, Order.EMERGENCY_STOP)
        return orders

    def velocity(self, now: float) -> float | None:
        """Return the speed in m/s while the dead-man is held and messages come."""
        if now - self._held_at > self._settings.joy_timeout:
            return None
        return self._speed * self._stick

    def help(self) -> str:
        """Say which button does what."""
        chosen = self._settings
        return (
            f'joystick: hold button {chosen.dead_man} and move axis {chosen.axis} to drive; '
            f'{chosen.emergency_stop_button} EMERGENCY STOP, {chosen.policy_button} hand to the '
            f'policy, {chosen.start_button} and {chosen.stop_button} start and stop recording, '
            f'{chosen.success_button} success, {chosen.failure_button} failure'
        )
