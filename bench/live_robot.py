"""A robot that is driven, for measurements: its processes, a listener on the bus, and a person."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from std_srvs.srv import Trigger

from h2o_ros.launching.without_ros.installation import built_prefix, environment_of_nodes
from h2o_ros.msg import Action, DriverStatus
from h2o_ros.nodes.core.base_node import LATCHED, STREAM_NEWEST
from h2o_ros.nodes.core.manual_subscription import OwnSubscription
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.odrive.cansimple import Frames
from h2o_ros.robot.motors.settings import MotorSettings

PATIENCE = 40.0  # s; machines are busy
POLL_PERIOD = 0.01  # s between two checks
HEARD = {0x02: '', 0x07: 'Axis_Requested_State', 0x0E: 'Input_Torque', 0x1C: 'Torque_Estimate'}


class Heard(NamedTuple):
    """One frame of the bus: s of the system's clock, as the kernel received it; its one number."""

    time: float
    node_id: int
    name: str
    value: float


class BusListener(threading.Thread):
    """Hears the bus on a socket of its own and keeps commands and torques; commands nothing."""

    def __init__(self) -> None:
        super().__init__(name='listener', daemon=True)
        settings = MotorSettings(interface='udp_multicast')
        self._bus, self._frames = open_bus(settings), Frames(settings.firmware)
        self.nodes = settings.node_ids
        self.heard: list[Heard] = []
        self.broken = 0  # commands that are short or not finite
        self._closed = threading.Event()
        self.start()

    def run(self) -> None:
        """Listen until closed."""
        while not self._closed.is_set():
            message = self._bus.recv(0.1)
            if message is None or message.arbitration_id & 0x1F not in HEARD:
                continue
            frame = self._frames.decode(message)
            if frame is None:
                self.broken += 1
                continue
            value = frame.values.get(HEARD[message.arbitration_id & 0x1F], 0.0)
            self.heard.append(Heard(message.timestamp, frame.node_id, frame.name, value))

    def ask_torque(self) -> None:
        """Ask both motors for their torque, by remote frames, which feed no watchdog."""
        for node in self.nodes:
            request = self._frames.encode('Get_Torques', node)
            request.is_remote_frame, request.data = True, bytearray()
            self._bus.send(request)

    def close(self) -> None:
        """Leave the bus."""
        self._closed.set()
        self.join()
        self._bus.shutdown()


class Processes:
    """The nodes' processes, by name."""

    def __init__(self, environment: Mapping[str, str] = {}) -> None:
        self._environment = environment_of_nodes(built_prefix(os.environ), os.environ)
        self._environment |= environment
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *words: str, inside: list[str] | None = None) -> None:
        """Start a node with parameters as 'mode:=balance'. inside: a command to run it by."""
        executable = built_prefix(os.environ) / 'lib' / 'h2o_ros' / name
        command = [*(inside or []), sys.executable, str(executable), '--ros-args']
        for word in words:
            command += ['-p', word]
        self._running[name] = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def send(self, name: str, number: signal.Signals) -> float:
        """Send a signal; return when, s of the system's clock."""
        at = time.time()
        self._running[name].send_signal(number)
        if number == signal.SIGKILL:
            self._running.pop(name).wait()
        return at

    def end(self) -> None:
        """End all, whatever state they are in."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Person:
    """Calls the services and hears driver_status; a thread of its own listens.

    status: the driver's newest; None until a driver, or its successor, is heard.
    """

    def __init__(self) -> None:
        rclpy.init()
        self._node = rclpy.create_node('person')
        self.status: DriverStatus | None = None
        self._ready_since = float('inf')
        self._node.create_subscription(DriverStatus, 'driver_status', self._hear, LATCHED)
        self._applied = OwnSubscription(self._node, Action, 'applied_action', STREAM_NEWEST)
        self._triggers = {
            name: self._node.create_client(Trigger, name) for name in ('arm', 'lift')
        }
        self._state = self._node.create_client(ChangeState, 'hardware_driver/change_state')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def wait(self, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait until done; TimeoutError with the driver's last words."""
        end = time.monotonic() + patience
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f'{what}: {self.last_words()}')
            time.sleep(POLL_PERIOD)

    def is_in(self, state: int) -> bool:
        """Say whether the driver is in a state."""
        return self.status is not None and self.status.state == state

    def last_words(self) -> str:
        """Return what the driver said last."""
        status = self.status
        return f'{status.reason}; {status.obstacles}' if status else 'no driver was heard'

    def is_ready(self) -> bool:
        """Say whether nothing has stood against arming for half a second."""
        return time.monotonic() - self._ready_since > 0.5

    def call(self, name: str) -> bool:
        """Call a Trigger; True where it did what was asked."""
        client = self._triggers[name]
        self.wait(client.service_is_ready, f'service {name}')
        future = client.call_async(Trigger.Request())
        self.wait(future.done, name)
        return future.result().success

    def change(self, transition: str) -> bool:
        """Make a transition of the driver's lifecycle, as 'CONFIGURE'; True where it was made."""
        request = ChangeState.Request()
        request.transition.id = getattr(Transition, f'TRANSITION_{transition}')
        self.wait(self._state.service_is_ready, 'hardware_driver')
        future = self._state.call_async(request)
        try:
            self.wait(future.done, transition, 10.0)
        except TimeoutError:
            return False  # asked of a driver that was killed and that DDS still believes in
        return future.result().success

    def applied(self) -> float:
        """Return the newest of what the driver says it sent, N·m at both wheels."""
        taken = self._applied.take_newest()
        return float(taken[0].data[0]) if taken else float('nan')

    def close(self) -> None:
        """Leave the graph."""
        rclpy.try_shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _hear(self, status: DriverStatus) -> None:
        self.status = status
        waits = status.state in (DriverStatus.DISARMED, DriverStatus.TRIPPED)
        if not waits or status.obstacles:
            self._ready_since = float('inf')
        else:
            self._ready_since = min(self._ready_since, time.monotonic())

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()
