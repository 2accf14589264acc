"""The way of a torque command through the limits: clamp, heat, speed, slew, in this order."""

from __future__ import annotations

import math

from h2o_ros.robot.safety.settings import SafetySettings

FADE_FROM = 0.8  # of the speed limit


class TorqueLimiter:
    """Holds the sum of both wheel torques within the limits; remembers what was sent last.

    lower, upper: N·m, the task's limits, cut to what the motors can give. period: s, the control
    step, the longest time for which the slew limit gives credit.
    """

    def __init__(
        self,
        settings: SafetySettings,
        lower: float,
        upper: float,
        motor_limit: float,
        period: float,
    ) -> None:
        self.lower, self.upper = max(lower, -motor_limit), min(upper, motor_limit)
        self._settings, self._period = settings, period
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """Begin again from zero torque."""
        self.torque, self._sent_at = 0.0, now

    def apply(
        self,
        command: float,
        now: float,
        speeds: tuple[float, float],
        headroom: float,
        share: float = 1.0,
    ) -> float:
        """Return the torque to send now, in N·m.

        command: N·m, finite. speeds: rad/s, of both wheels, positive where a positive torque
        drives them. headroom: °C, from the hottest part's temperature to its limit.
        share: 0 to 1, of the torque that is left so far.
        """
        if not math.isfinite(command):
            raise ValueError(f'expected a finite torque, got {command}')
        cool = min(1.0, max(0.0, headroom / self._settings.derating_band))
        torque = min(self.upper * cool, max(self.lower * cool, command))
        torque *= share * self._share_at_speed(torque, speeds)
        most = self._settings.slew_rate * min(self._period, max(0.0, now - self._sent_at))
        torque = self.torque + min(most, max(-most, torque - self.torque))
        self.torque = min(self.upper, max(self.lower, torque))
        self._sent_at = now
        return self.torque

    def _share_at_speed(self, torque: float, speeds: tuple[float, float]) -> float:
        """Return the share of a torque that the faster wheel may be driven with; braking: all."""
        fastest = max(speeds) if torque > 0.0 else -min(speeds)
        limit = self._settings.speed_limit
        return min(1.0, max(0.0, (limit - fastest) / ((1.0 - FADE_FROM) * limit)))
