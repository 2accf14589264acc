"""The two wheel motors as the host sees them: torque out, positions and faults in.

Nothing is ever polled, and nothing is sent while there is no command: on firmware 0.5 every frame
to a motor feeds its watchdog. Errors are cleared on request alone, but for one; see `arm`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import can
import numpy as np

from h2o_ros.errors import RobotError
from h2o_ros.robot.motors.odrive.cansimple import (
    CLOSED_LOOP,
    ESTOP,
    IDLE,
    PASSTHROUGH,
    TORQUE_CONTROL,
    WATCHDOG,
)
from h2o_ros.robot.motors.odrive.link import MotorLink
from h2o_ros.robot.motors.odrive.watchdog import MotorWatchdog
from h2o_ros.robot.motors.settings import MotorSettings, check_settings


@dataclass(frozen=True)
class Statistics:
    """What diagnostics show; arrays are (2,), left and right, NaN where the motor does not say."""

    bus_load: float  # 0 to 1, an upper bound
    wrong_frames: int
    error_frames: int
    failed_sends: int
    fet_temperature: np.ndarray  # °C
    motor_temperature: np.ndarray  # °C
    voltage: np.ndarray  # V
    supply_current: np.ndarray  # A
    current: np.ndarray  # A, measured; positive drives forwards
    states: tuple[int, int]  # axis states: 1 idle, 8 closed loop
    errors: tuple[str, str]  # latched errors by name; empty for none
    watchdog: str  # how it is known that the motors' watchdogs are set; empty while it is not


class Motors:
    """Both wheel motors; `send` from one thread at a time."""

    def __init__(
        self,
        bus: can.BusABC,
        settings: MotorSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to listen; sends nothing. clock: monotonic, s."""
        check_settings(settings)
        self.settings, self._clock = settings, clock
        self.armed = self._stopped = False
        self._link = MotorLink(bus, settings, clock)
        self._watchdog = MotorWatchdog(self._link, self._refuse)

    def close(self) -> None:
        """Stop the motors where they are armed, and stop listening; the bus stays open."""
        if self.armed:
            self.disarm()
        self._link.close()

    def positions(self) -> np.ndarray:
        """Return the wheels' turn relative to the body, left and right; (2,) rad."""
        return np.array([axis.encoder.position for axis in self._link.axes])

    def velocities(self) -> np.ndarray:
        """Return the wheels' speed relative to the body; (2,) rad/s."""
        return np.array([axis.encoder.velocity for axis in self._link.axes])

    def age(self, now: float) -> float:
        """Return s since the older one of the last encoder frames of both motors."""
        return now - min(axis.encoder.time for axis in self._link.axes)

    def faults(self, now: float) -> list[str]:
        """Say in plain sentences what is wrong, or was for a moment since the last arming."""
        found = self._link.faults(now)
        if self.armed and any(axis.has_lost_its_state() for axis in self._link.axes):
            self._watchdog.invalidate()
        return found + [text for axis in self._link.axes for text in axis.faults(now, self.armed)]

    def statistics(self) -> Statistics:
        """Return what diagnostics show."""
        now, unknown, axes = self._clock(), (np.nan, np.nan), self._link.axes
        temperatures = np.array([axis.temperatures or unknown for axis in axes])
        volts = [np.nan if axis.voltage is None else axis.voltage for axis in axes]
        return Statistics(
            bus_load=self._link.received.load(now) + self._link.sent.load(now),
            wrong_frames=self._link.received.wrong_frames,
            error_frames=self._link.received.error_frames,
            failed_sends=self._link.sent.failed_sends,
            fet_temperature=temperatures[:, 0],
            motor_temperature=temperatures[:, 1],
            voltage=np.array(volts),
            supply_current=np.array([axis.supply_current for axis in axes]),
            current=np.array([axis.current for axis in axes]) * self.settings.directions,
            states=(axes[0].heartbeat.state, axes[1].heartbeat.state),
            errors=(', '.join(axes[0].errors()), ', '.join(axes[1].errors())),
            watchdog=self._watchdog.known,
        )

    def check(self, timeout: float = 1.0) -> list[str]:
        """Listen for `timeout` s and say why the motors are not fit; empty when they are."""
        link = self._link
        before = [dict(axis.heard) for axis in link.axes]
        link.unknown_node_ids.clear()
        started = self._clock()
        time.sleep(timeout)
        now = self._clock()
        found = link.faults(now)
        for axis, heard in zip(link.axes, before, strict=True):
            found += axis.unfit(heard, now - started, now)
        if link.unknown_node_ids and any('no heartbeat' in text for text in found):
            nodes = ', '.join(map(str, sorted(link.unknown_node_ids)))
            found.append(f'CAN bus: heartbeats come from node {nodes}; check the node ids')
        return found

    def configure(self) -> list[str]:
        """Set mode and limits, set or prove the watchdog; say what is not as it must be.

        The motors stay idle. CANSimple does not read mode and limits back: they are sent again at
        each arming.
        """
        try:
            self._refuse_errors()
            self._set_up()
            found = self._watchdog.verify()
            self._refuse_stop()
        except RobotError as err:
            return [str(err)]
        return found

    def arm(self) -> None:
        """Close the torque loops at zero torque; from then on `send` must follow within 100 ms.

        Blocks for up to 5 s. RobotError, and no motion, where a motor has an error, does not
        follow, or proves to have no watchdog. The one error that is cleared here is the watchdog's
        own: it is latched whenever the host was silent, as it must be after a trip.
        """
        self._refuse_errors()
        self._link.forget()
        try:
            self._watchdog.reverify()
            self._close_loop()
            if not self._watchdog.known:
                self._watchdog.prove_armed()
                self._close_loop()
        except RobotError:
            self.disarm()
            raise
        self.armed = True
        if self._stopped:
            self.disarm()
            self._refuse_stop()

    def obstacles(self) -> list[str]:
        """Say what `arm` would refuse for: silence, and errors other than the watchdog's."""
        now = self._clock()
        return [text for axis in self._link.axes for text in axis.obstacles(now)]

    def send(self, torque: np.ndarray) -> np.ndarray:
        """Command wheel torques (2,) N·m, positive forwards; return what was really sent (2,).

        Clipped to what the current limit allows. RobotError, with nothing sent, for a torque that
        is not finite or motors that are not armed; RobotError where the bus does not take it.
        """
        wanted = np.asarray(torque, np.float64)
        if wanted.shape != (2,) or not np.isfinite(wanted).all():
            raise RobotError(f'torque {wanted.tolist()} N·m refused: two finite numbers expected')
        if not self.armed:
            raise RobotError('torque refused: the motors are not armed')
        limit = self.settings.torque_limit
        return self._link.send_torque(np.clip(wanted, -limit, limit))

    def disarm(self) -> bool:
        """Zero torque, then idle; never raises. False where the bus did not take it."""
        self.armed = False
        zeroed = self._link.try_all('Set_Input_Torque')
        return self._link.try_all('Set_Axis_State', {'Axis_Requested_State': IDLE}) and zeroed

    def estop(self) -> bool:
        """Emergency stop: the motors disarm and latch an error; never raises."""
        self.armed, self._stopped = False, True
        return self._link.try_all('Estop')

    def clear_errors(self) -> None:
        """Clear the latched errors of both motors; on firmware 0.5, of the whole board."""
        self._link.send_all('Clear_Errors')
        self._link.forget()
        self._stopped = False

    def errors_beside_stop(self) -> list[str]:
        """Name latched errors other than an emergency stop's and the watchdog's."""
        found = ((axis.name, axis.errors((ESTOP, WATCHDOG))) for axis in self._link.axes)
        return [f'{name}: {", ".join(errors)}' for name, errors in found if errors]

    def forget_events(self) -> None:
        """Forget faults that have passed; what is still wrong stays among the faults."""
        self._link.forget()

    def _refuse_errors(self) -> None:
        found = self.obstacles()
        if found:
            raise RobotError('; '.join(found))

    def _refuse(self) -> None:
        self._refuse_errors()
        self._refuse_stop()

    def _refuse_stop(self) -> None:
        """Refuse after an emergency stop, also one that no heartbeat tells of yet.

        The motors hear it once more: it may have been cleared with the watchdog's error.
        """
        if self._stopped:
            self._link.try_all('Estop')
            raise RobotError('stopped for emergency; clear the errors first')

    def _set_up(self) -> None:
        """Torque mode without ramp, and the limits."""
        turns = self.settings.velocity_limit * float(abs(self.settings.revolutions_per_radian[0]))
        self._link.send_all(
            'Set_Controller_Mode', {'Control_Mode': TORQUE_CONTROL, 'Input_Mode': PASSTHROUGH}
        )
        self._link.send_all(
            'Set_Limits', {'Velocity_Limit': turns, 'Current_Limit': self.settings.current_limit}
        )

    def _close_loop(self) -> None:
        """From idle to closed loop at zero torque, fed all the way."""
        self._refuse_stop()
        self._watchdog.clear_expired()
        self._set_up()
        self._refuse_stop()
        self._link.send_all('Set_Axis_State', {'Axis_Requested_State': CLOSED_LOOP})
        self._link.feed_until(
            lambda axis: axis.heartbeat.state == CLOSED_LOOP and not axis.errors(),
            'does not close its torque loop',
        )
