"""From an open bus to a running control loop, and back."""

from __future__ import annotations

import time
from collections.abc import Callable

from h2o_ros.errors import RobotError
from h2o_ros.robot.control.control_step import Graph, RobotControl
from h2o_ros.robot.control.loop import ControlLoop
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.odrive.motors import Motors
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.robot.safety.state_machine import Safety

CLEARED_WITHIN = 1.0  # s until the heartbeats show that errors were cleared
LOOK_AGAIN = 0.15  # s, more than a heartbeat, which alone tells


class Connection:
    """The bus and both motors on it; RobotError where the bus cannot be opened."""

    def __init__(self, settings: MotorSettings) -> None:
        self._bus = open_bus(settings)
        self.motors = Motors(self._bus, settings)

    def check(self, listen: float) -> list[str]:
        """Listen to the motors for so many s, set them up, and say what is not fit."""
        # Motors that were switched on while they were listened to get a second chance.
        faults = self.motors.check(listen) and self.motors.check(listen)
        return with_way_out(faults or self.motors.configure(), self.motors)

    def await_cleared(self) -> None:
        """Wait until the motors show no error; RobotError where they keep one."""
        end = time.monotonic() + CLEARED_WITHIN
        while True:
            time.sleep(LOOK_AGAIN)
            obstacles = self.motors.obstacles()
            if not obstacles:
                return
            if time.monotonic() > end:
                raise RobotError(f'errors remain: {"; ".join(obstacles)}')

    def close(self) -> None:
        """Disarm the motors where they are armed, and leave the bus."""
        self.motors.close()
        self._bus.shutdown()


class Running:
    """A control loop that runs until `end`."""

    def __init__(
        self,
        safety: Safety,
        motors: Motors,
        graph: Graph,
        period: float,
        wait: Callable[[float], None],
        wake: Callable[[], None],
    ) -> None:
        safety.configured()
        self._safety, self._motors = safety, motors
        self.control = RobotControl(safety, motors, graph)
        self.loop = ControlLoop(self.control, period, wait, wake)
        self.loop.start()

    def arm(self) -> str:
        """Arm; return in one line what stands against it, empty when armed."""
        try:
            return '; '.join(with_way_out(self.control.arm(self.loop), self._motors))
        except RobotError as err:
            return str(err)

    def ramp_down(self) -> None:
        """Begin to let the torque fade; returns at once."""
        if self.control.error is None:
            self.loop.call(self._safety.ramp_down)

    def end(self) -> None:
        """End the loop; the motors are left as they are."""
        self.loop.end()


def with_way_out(faults: list[str], motors: Motors) -> list[str]:
    """Return faults, and what to do where motors have latched an error: nobody else clears it."""
    latched = [text for text in motors.obstacles() if 'no heartbeat' not in text]
    if any(text in latched for text in faults):
        return [*faults, 'find out why, then call clear_errors']
    return faults
