"""What tests of the motors share: emulated ones in real time on a virtual bus, and a listener."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from machine_watch import MACHINE

from h2o_ros.robot.control.real_time import run_in_real_time, schedule_threads
from h2o_ros.robot.motors.can_bus import open_bus
from h2o_ros.robot.motors.emulation.controllers import EmulatedMotors
from h2o_ros.robot.motors.odrive.cansimple import Frames
from h2o_ros.robot.motors.odrive.motors import Motors
from h2o_ros.robot.motors.settings import MotorSettings

BOTH = ('0.5', '0.6')
CHANNELS = itertools.count()
TREMBLING = 1e-4  # rad, of a wheel that stands: its encoder does not repeat itself
PRIORITY = 30  # under SCHED_FIFO
# Far beyond what a busy machine takes; what is asserted of times has its own bounds.
GENEROUS = {'encoder_timeout': 0.1, 'heartbeat_timeout': 1.0, 'status_timeout': 3.0}
# With these the watchdog is set over CAN, which takes less time than to see it expire.
ENDPOINTS = {'watchdog_enable_endpoint': 300, 'watchdog_timeout_endpoint': 301}


def trembling(now: float) -> float:
    """Return by how much a standing wheel is off its place, rad."""
    return TREMBLING * math.sin(100.0 * now)


class Bench:
    """Emulated motors in real time on a virtual bus, the host's motors, and a listener."""

    def __init__(self, settings: MotorSettings, watchdog: float) -> None:
        self.settings = settings
        self._buses = [open_bus(settings) for _ in range(3)]
        self.spy = self._buses[2]
        self.emulated = EmulatedMotors(self._buses[1], settings, watchdog=watchdog)
        self.torque, self.velocities = np.zeros(2), np.zeros(2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.motors = Motors(self._buses[0], settings)
        wait_until(lambda: all(self.motors.statistics().states))

    def _run(self) -> None:
        positions, last = np.zeros(2), time.monotonic()
        while not self._stopped.wait(0.001):
            now = time.monotonic()
            MACHINE.note(now - last)
            positions = positions + self.velocities * (now - last)
            last = now
            self.torque = self.emulated.step(now, positions + trembling(now), self.velocities)

    def ready(self) -> Motors:
        """Return the motors configured and armed."""
        assert self.motors.configure() == []
        self.motors.arm()
        return self.motors

    def drive(self, torque: list[float], done: Callable[[], object], limit: float = 3.0) -> None:
        """Send a torque every 5 ms until done."""
        end = time.monotonic() + limit
        while not done():
            assert time.monotonic() < end, 'not reached while driving'
            if self.motors.armed:
                self.motors.send(np.array(torque))
            time.sleep(0.005)

    def faults(self) -> str:
        return '; '.join(self.motors.faults(time.monotonic()))

    def commands(self) -> list[str]:
        """Name the frames from the host that went over the bus since the last call."""
        frames, found = Frames(self.settings.firmware), []
        while (message := self.spy.recv(0.0)) is not None:
            frame = frames.decode(message)
            if frame is not None and frames.from_host(frame.name):
                found.append(frame.name)
        return found

    def close(self) -> None:
        self.motors.close()
        self._stopped.set()
        self._thread.join()
        for bus in self._buses:
            bus.shutdown()


@contextlib.contextmanager
def punctual():
    """Keep this process ahead of others where that is allowed: a late stand is a broken robot."""
    run_in_real_time(PRIORITY)
    try:
        yield
    finally:
        schedule_threads(os.SCHED_OTHER, 0)


@contextlib.contextmanager
def benches() -> Iterator[Callable[..., Bench]]:
    """Give a function that makes a bench with changed settings; all are closed at the end."""
    opened: list[Bench] = []

    def make(watchdog: float = 0.1, **changes: object) -> Bench:
        opened.append(Bench(make_settings(**changes), watchdog))
        return opened[-1]

    with punctual():
        yield make
        for each in opened:
            each.close()


def make_settings(**changes: object) -> MotorSettings:
    channel = f'test_{next(CHANNELS)}'
    return MotorSettings(interface='virtual', channel=channel, **(GENEROUS | changes))


def wait_until(done: Callable[[], object], limit: float = 3.0) -> None:
    end = time.monotonic() + limit
    while not done():
        assert time.monotonic() < end, 'not reached in time'
        time.sleep(0.002)
