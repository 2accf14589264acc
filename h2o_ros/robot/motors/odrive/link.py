"""Frames to and from the two wheel motors: a thread that listens, and sending that can fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import can
import numpy as np

from h2o_ros.errors import RobotError
from h2o_ros.robot.motors.bus_monitor import BusMonitor
from h2o_ros.robot.motors.odrive.axis import Axis
from h2o_ros.robot.motors.odrive.cansimple import COMMAND_BITS, Frames
from h2o_ros.robot.motors.settings import MotorSettings

SEND_TIMEOUT = 0.005  # s
FEED_PERIOD = 0.005  # s
STATE_TIMEOUT = 0.6  # s; heartbeats come every 0.1 s


class MotorLink:
    """Both motors' newest frames. One thread of its own reads; one of the caller's sends."""

    def __init__(
        self, bus: can.BusABC, settings: MotorSettings, clock: Callable[[], float]
    ) -> None:
        """Begin to listen; sends nothing. clock: monotonic, s."""
        self.settings, self.clock, self._bus = settings, clock, bus
        self.frames = Frames(settings.firmware)
        self.axes = tuple(Axis(index, settings, self.frames) for index in range(2))
        self.received = BusMonitor(settings.bitrate)
        self.sent = BusMonitor(settings.bitrate)
        self.unknown_node_ids: set[int] = set()  # other nodes that send heartbeats
        self._by_node = {axis.node_id: axis for axis in self.axes}
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, name='can_reader', daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop listening; the bus stays open."""
        self._closed.set()
        self._reader.join(timeout=1.0)

    def send(self, axis: Axis, name: str, values: Mapping[str, float] | None = None) -> None:
        """Send one frame to one motor; RobotError where the bus does not take it."""
        message = self.frames.encode(name, axis.node_id, values)
        try:
            self._bus.send(message, timeout=SEND_TIMEOUT)
        except can.CanError as err:
            self.sent.failed_sends += 1
            raise RobotError(
                f'CAN bus: does not take frames ({err}); check cable and power'
            ) from err
        self.sent.count(message, self.clock())
        if name == 'Set_Input_Torque':
            axis.torque = (values or {}).get('Input_Torque', 0.0)

    def send_all(self, name: str, values: Mapping[str, float] | None = None) -> None:
        """Send the same frame to both motors."""
        for axis in self.axes:
            self.send(axis, name, values)

    def try_all(self, name: str, values: Mapping[str, float] | None = None) -> bool:
        """Send to both motors whatever happens; False where the bus did not take it."""
        done = True
        for axis in self.axes:
            try:
                self.send(axis, name, values)
            except RobotError:
                done = False
        return done

    def send_torque(self, torque: np.ndarray) -> np.ndarray:
        """Command wheel torques (2,) N·m; return what they are in the motors' numbers (2,)."""
        scale = self.settings.directions / self.settings.gear_ratio
        motor = np.asarray(torque * scale, np.float32)
        for axis, value in zip(self.axes, motor, strict=True):
            self.send(axis, 'Set_Input_Torque', {'Input_Torque': float(value)})
        return motor / scale

    def feed_until(
        self, reached: Callable[[Axis], bool] = lambda axis: True, complaint: str = ''
    ) -> None:
        """Feed zero torque until a new heartbeat of each motor shows it; else RobotError."""
        asked = self.clock()
        news = asked + FEED_PERIOD  # what is heard before may have been under way
        late = list(self.axes)
        while self.clock() - asked < STATE_TIMEOUT:
            self.send_torque(np.zeros(2))
            time.sleep(FEED_PERIOD)
            late = [a for a in self.axes if a.heartbeat.time < news or not reached(a)]
            if not late:
                return
        if late[0].heartbeat.time < news:
            raise RobotError(f'{late[0].name}: no heartbeat for {STATE_TIMEOUT} s')
        errors = ', '.join(late[0].errors())
        raise RobotError(f'{late[0].name}: {complaint}{f" ({errors})" if errors else ""}')

    def faults(self, now: float) -> list[str]:
        """Say what is wrong with the bus, or was since it was forgotten."""
        return self.received.faults(now) + self.sent.faults(now)

    def forget(self) -> None:
        """Forget faults that have passed."""
        for events in (self.received.events, self.sent.events, *(a.events for a in self.axes)):
            events.clear()

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                message = self._bus.recv(0.1)
            except can.CanError as err:
                if not self._closed.is_set():
                    self._hear_failure(err)
                continue
            if message is not None:
                self._hear(message)

    def _hear(self, message: can.Message) -> None:
        now = self.clock()
        if message.is_error_frame:
            self.received.hear_error(message, now)
            return
        self.received.count(message, now)
        axis = self._by_node.get(message.arbitration_id >> COMMAND_BITS)
        if axis is not None and self.frames.is_command(message):
            self.received.remember(f'another host commands the {axis.name}')
            return
        frame = self.frames.decode(message)
        if frame is None:
            if axis is not None and self.frames.knows(message):
                self.received.wrong_frames += 1
                axis.reject_frame(message)
        elif axis is None:
            if frame.name == 'Heartbeat':
                self.unknown_node_ids.add(frame.node_id)
        elif not self.frames.from_host(frame.name):
            # A reader that was held up must not take an old frame for a new one.
            waited = time.time() - message.timestamp
            axis.hear(frame, now - max(0.0, waited))

    def _hear_failure(self, err: can.CanError) -> None:
        if isinstance(err.__cause__, OSError):
            self.received.remember(f'cannot be read ({err.__cause__.strerror}); is it up?')
            self._closed.wait(0.01)
        else:
            self.received.wrong_frames += 1
