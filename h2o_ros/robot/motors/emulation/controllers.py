"""Both wheel motors' controllers on a CAN bus, for the robot that is not there.

The frames, their periods, the watchdog and the errors are those of the firmware; faults are made
on request. What drives the wheels is the caller's: wheel angles in, wheel torques out.
"""

from __future__ import annotations

import collections
import contextlib
import math
import time
from collections.abc import Callable

import can
import numpy as np

from h2o_ros.robot.motors.bus_monitor import BUS_OFF
from h2o_ros.robot.motors.emulation.axis import EmulatedAxis, Surroundings
from h2o_ros.robot.motors.emulation.faults import Fault, read_fault
from h2o_ros.robot.motors.odrive.cansimple import CLOSED_LOOP, Frames
from h2o_ros.robot.motors.settings import MotorSettings, check_settings

# Above these the firmware disarms, in °C and V.
FIRMWARE_FET_LIMIT, FIRMWARE_UNDER_VOLTAGE = 100.0, 15.0
OFF_VOLTAGE = 8.0  # the controllers' own supply ends
SILENCED = {'Get_Encoder_Estimates': 'encoder_dropout', 'Heartbeat': 'heartbeat_silence'}
MOST_FRAMES = 200  # taken in one step; on a flooded bus the rest waits


class EmulatedMotors:
    """Left and right axis. Call `step` every millisecond or so."""

    def __init__(
        self,
        bus: can.BusABC,
        settings: MotorSettings,
        clock: Callable[[], float] = time.monotonic,
        watchdog: float = 0.1,
    ) -> None:
        """Power up. watchdog: s, as saved in the controllers over USB; 0: off, as shipped."""
        check_settings(settings)
        self.settings, self._bus = settings, bus
        self._frames = Frames(settings.firmware)
        now = clock()
        self.axes = tuple(
            EmulatedAxis(node, settings, self._frames, watchdog, now) for node in settings.node_ids
        )
        self._ends: dict[tuple[str, int], float] = {}  # faults under way, by name and axis
        self._asked: collections.deque[Fault] = collections.deque()
        self._offset = np.zeros(2)  # turns
        self._now = now
        self._scale = settings.revolutions_per_radian  # motor turns per wheel radian
        self._gear = settings.directions * settings.gear_ratio

    @property
    def armed(self) -> tuple[bool, bool]:
        """Left and right: in closed loop."""
        left, right = (axis.state == CLOSED_LOOP for axis in self.axes)
        return left, right

    def step(self, now: float, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Take frames, run both axes, send what is due; return the wheel torques (2,) N·m.

        now: s, of a monotonic clock. positions, velocities: (2,) rad, rad/s of the wheels.
        """
        self._now = now
        self._begin_faults(now)
        self._end_faults(now)
        turns = np.asarray(positions) * self._scale + self._offset
        rates = np.asarray(velocities) * self._scale
        for index, axis in enumerate(self.axes):
            if ('encoder_frozen', index) not in self._ends:
                axis.world.position, axis.world.velocity = float(turns[index]), float(rates[index])
        self._receive(now)
        self._heat_and_supply()
        torque = np.array([axis.advance(now) for axis in self.axes])
        for index, axis in enumerate(self.axes):
            self._send_due(index, axis, now)
        return torque * self._gear

    def inject(self, fault: str, /, **numbers: float) -> str:
        """Begin a fault at the next step, from any thread; return what happens in a sentence.

        ValueError for an unknown fault or number; see emulated_faults.
        """
        asked = read_fault(fault, numbers)
        self._asked.append(asked)
        return asked.text

    def repair(self) -> None:
        """End every fault; what has latched stays latched."""
        self._end_faults(math.inf)

    def _begin_faults(self, now: float) -> None:
        while self._asked:
            fault = self._asked.popleft()
            if fault.name == 'bus_off':
                # What SocketCAN tells a host whose controller went off the bus.
                self._transmit(
                    can.Message(
                        arbitration_id=BUS_OFF,
                        is_error_frame=True,
                        is_extended_id=False,
                        data=bytes(8),
                    )
                )
            for index in fault.motors:
                self._ends[fault.name, index] = now + fault.seconds
                self._begin(fault.name, index, fault.value)

    def _begin(self, name: str, index: int, value: float) -> None:
        axis = self.axes[index]
        if name == 'encoder_jump':
            self._offset[index] += value * self.settings.revolutions_per_radian[index]
        elif name == 'over_temperature':
            axis.world.fet_temperature = axis.world.motor_temperature = value
        elif name == 'brown_out':
            axis.world.voltage = value
        elif name == 'spinout':
            axis.fail('spinout')

    def _end_faults(self, now: float) -> None:
        usual = Surroundings()
        for (name, index), end in list(self._ends.items()):
            if now < end:
                continue
            del self._ends[name, index]
            world = self.axes[index].world
            if name == 'over_temperature':
                world.fet_temperature = usual.fet_temperature
                world.motor_temperature = usual.motor_temperature
            elif name == 'brown_out':
                if world.voltage < OFF_VOLTAGE:
                    self.axes[index].boot(self._now)
                world.voltage = usual.voltage

    def _heat_and_supply(self) -> None:
        for axis in self.axes:
            if axis.world.fet_temperature > FIRMWARE_FET_LIMIT and axis.state == CLOSED_LOOP:
                axis.fail('over_temperature')
            if axis.world.voltage < FIRMWARE_UNDER_VOLTAGE and axis.state == CLOSED_LOOP:
                axis.fail('under_voltage')

    def _off(self, index: int) -> bool:
        """Say whether the axis neither hears nor sends."""
        dark = self.axes[index].world.voltage < OFF_VOLTAGE
        return dark or ('bus_off', index) in self._ends

    def _receive(self, now: float) -> None:
        for _ in range(MOST_FRAMES):
            try:
                message = self._bus.recv(0.0)
            except can.CanError:
                continue
            if message is None:
                return
            if message.is_error_frame or message.is_extended_id or message.is_fd:
                continue
            for index, axis in enumerate(self.axes):
                if message.arbitration_id >> 5 == axis.node_id and not self._off(index):
                    self._answer(axis, message, now)

    def _answer(self, axis: EmulatedAxis, message: can.Message, now: float) -> None:
        frame = self._frames.decode_as_firmware(message)
        for name, values in axis.receive(frame, now):
            self._transmit(self._frames.encode(name, axis.node_id, values))
        if frame is not None and frame.name == 'Clear_Errors' and axis.old:
            for other in self.axes:
                other.clear()

    def _send_due(self, index: int, axis: EmulatedAxis, now: float) -> None:
        for name in axis.due(now):
            dropped = (SILENCED.get(name, ''), index) in self._ends
            if not dropped and not self._off(index):
                self._transmit(self._frames.encode(name, axis.node_id, axis.report(name)))

    def _transmit(self, message: can.Message) -> None:
        # A bus that does not take a frame is nothing that a controller could tell.
        with contextlib.suppress(can.CanError):
            self._bus.send(message, timeout=0.002)
