"""The virtual robot, the floor it falls on and the person who attends it.

The person holds the robot upright until its wheels are driven, lets go, and puts it upright again
after a fall when asked to. The model has no body that could touch the floor, so where it would,
the robot lies still.
"""

from __future__ import annotations

import enum
import math

import numpy as np

from h2o_ros.robot.description import WHEEL_RADIUS
from h2o_ros.sim.wheel_legged.plants import WHEELS, VirtualPlant

LYING_PITCH = 1.3  # rad; the edge of the body's box touches the floor
LIFT_SECONDS = 1.5  # that it takes to put a fallen robot upright


class Attitude(enum.Enum):
    """What carries the robot."""

    HELD = 'held upright'
    FREE = 'on its own wheels'
    LYING = 'lying'
    LIFTED = 'being lifted'


class AttendedRobot:
    """One virtual robot between hands, wheels and floor."""

    def __init__(
        self,
        plant: VirtualPlant,
        generator: np.random.Generator,
        tilt: float = 0.0,
        lift_after: float = 0.0,
    ) -> None:
        """tilt: rad from upright within which a person holds it, drawn anew each time.

        lift_after: s without torque after which a person lifts a fallen robot; 0: when asked to.
        """
        self.plant, self._generator = plant, generator
        self._tilt, self._lift_after = tilt, lift_after
        self.falls = 0
        self._pitch_column = plant.physics.position('pitch')
        self._wheel_columns = [plant.physics.position(name) for name in WHEELS]
        self._idle = 0.0  # s since the wheels were last driven
        self._lifted = 0.0  # s since the lift began
        self._from = self._upright = 0.0  # rad, pitch at its beginning and end
        self._lift_wanted = False
        self.attitude = Attitude.HELD
        self._place(self._draw_tilt(), 0.0)

    def request_lift(self) -> tuple[bool, str]:
        """Have the robot put upright, from any thread; say whether the person does, and why."""
        if self.attitude in (Attitude.HELD, Attitude.LIFTED):
            return True, f'the robot is {self.attitude.value}'
        if self._idle == 0.0:
            return False, 'the wheels are driven: nobody reaches in; disarm the motors first'
        self._lift_wanted = True
        return True, 'the robot is lifted; let go when torque flows'

    def readings(self) -> dict[str, float]:
        """Return what the sensors read, by the names of h2o_ros.sim.wheel_legged.plants."""
        return {name: float(values[0]) for name, values in self.plant.sensors().items()}

    def advance(self, torque: np.ndarray) -> None:
        """Pass one period under the wheels' torques (2,) N·m."""
        driven = bool(torque.any())
        self._idle = 0.0 if driven else self._idle + self.plant.period
        if self.attitude is Attitude.HELD and driven:
            self.attitude = Attitude.FREE
        if self._lift_wanted or self._is_lift_due():
            self._begin_lift()
        if self.attitude is Attitude.FREE:
            self.plant.advance(torque.sum(keepdims=True))
            if abs(self._pitch()) >= LYING_PITCH:
                self._fall()
        elif self.attitude is Attitude.LIFTED:
            self._lift()
        else:
            self.plant.measure()

    def _is_lift_due(self) -> bool:
        lying = self.attitude is Attitude.LYING
        return lying and 0.0 < self._lift_after <= self._idle

    def _fall(self) -> None:
        self._place(math.copysign(LYING_PITCH, self._pitch()), 0.0)
        self.attitude = Attitude.LYING
        self.falls += 1
        self._idle = 0.0

    def _begin_lift(self) -> None:
        self._lift_wanted = False
        self.attitude = Attitude.LIFTED
        self._lifted, self._from, self._upright = 0.0, self._pitch(), self._draw_tilt()

    def _lift(self) -> None:
        """Turn the body smoothly; the hands that turn it leave the wheels as they are."""
        self._lifted += self.plant.period
        if self._lifted >= LIFT_SECONDS:
            self.attitude = Attitude.HELD
            self._place(self._upright, 0.0)
            return
        phase, way = math.pi * self._lifted / LIFT_SECONDS, self._upright - self._from
        rate = way * 0.5 * math.sin(phase) * math.pi / LIFT_SECONDS
        self._place(self._from + way * 0.5 * (1.0 - math.cos(phase)), rate)

    def _place(self, theta: float, theta_dot: float) -> None:
        """Set the body's pitch; the wheels keep their angles to it, as the encoders would see."""
        wheel = float(self.plant.physics.state[0, self._wheel_columns].mean())
        start = {
            'theta': theta,
            'theta_dot': theta_dot,
            'x': WHEEL_RADIUS * (wheel + theta),
            'x_dot': WHEEL_RADIUS * theta_dot,
        }
        rows = np.zeros(1, int)
        self.plant.reset(rows, {name: np.array([value]) for name, value in start.items()})

    def _pitch(self) -> float:
        return float(self.plant.physics.state[0, self._pitch_column])

    def _draw_tilt(self) -> float:
        return self._tilt * float(self._generator.uniform(-1.0, 1.0))
