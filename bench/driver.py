"""How punctually driver and policy server run at 200 Hz: idle, and with every core loaded.

Usage: python bench/driver.py [--seconds 60] [--only idle,loaded,unprivileged]. The virtual robot
stands by the balance controller through CAN frames; no other process should run meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor

from h2o_ros.msg import DriverStatus
from h2o_ros.nodes.core.base_node import LATCHED

WORDS = {
    'virtual_robot': ['-p', 'lift_after:=0.0'],
    'policy_server': ['-p', 'mode:=balance'],
    'hardware_driver': ['-p', 'interface:=udp_multicast'],
}
# What each case changes: processes that only compute on every core, and no right to real time for
# driver and policy server.
CASES = {
    'idle': (False, True),
    'loaded': (True, True),
    'unprivileged': (True, False),
}
TITLES = {
    'idle': 'idle machine',
    'loaded': 'every core loaded, SCHED_FIFO allowed',
    'unprivileged': 'every core loaded, SCHED_FIFO refused',
}
PATIENCE = 30.0  # s


@contextlib.contextmanager
def processes(real_time: bool) -> Iterator[None]:
    """Run the three nodes of a robot that stands."""
    started = []
    # elsewhere than in the source folder, which would hide the built messages
    with tempfile.TemporaryDirectory() as folder:
        for name, words in WORDS.items():
            if not real_time and name != 'virtual_robot':
                words = [*words, '-p', 'real_time_priority:=0']
            command = [sys.executable, '-m', f'h2o_ros.nodes.{name}', '--ros-args', *words]
            started.append(subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL))
        try:
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Keep every core busy."""
    busy = []
    for core in os.sched_getaffinity(0):
        busy.append(subprocess.Popen([sys.executable, '-c', 'while True: pass']))
        os.sched_setaffinity(busy[-1].pid, {core})
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


class Watcher:
    """Brings the driver up and hears what it says."""

    def __init__(self) -> None:
        self._node = rclpy.create_node('driver_benchmark')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self.status = DriverStatus()
        self._node.create_subscription(DriverStatus, 'driver_status', self._on_status, LATCHED)
        self._transitions = self._node.create_client(ChangeState, 'hardware_driver/change_state')

    def wait(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Listen for so many seconds or until done; say whether it was."""
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)
        return done()

    def change(self, transition: int) -> None:
        """Make a transition of the driver's lifecycle."""
        request = ChangeState.Request()
        request.transition.id = transition
        future = self._transitions.call_async(request)
        self.wait(PATIENCE, future.done)
        if not future.done() or not future.result().success:
            raise SystemExit(f'driver: {self.status.reason or "no answer"}')

    def stand(self) -> None:
        """Bring the robot up; it stands when this returns."""
        if not self.wait(PATIENCE, self._transitions.service_is_ready):
            raise SystemExit('driver: not there')
        self.wait(PATIENCE, lambda: self._node.count_publishers('imu/data') > 0)
        self.change(Transition.TRANSITION_CONFIGURE)
        self.wait(PATIENCE, lambda: self.status.step > 0 and not self.status.obstacles)
        self.change(Transition.TRANSITION_ACTIVATE)
        self.wait(PATIENCE, lambda: self.status.state != DriverStatus.DISARMED)

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()

    def _on_status(self, status: DriverStatus) -> None:
        self.status = status


def measure(case: str, seconds: float) -> str:
    """Run one case and return its line."""
    loaded, real_time = CASES[case]
    with processes(real_time):
        watcher = Watcher()
        try:
            watcher.stand()
            with load() if loaded else contextlib.nullcontext():
                begun = watcher.status
                watcher.wait(seconds, lambda: watcher.status.state != DriverStatus.ARMED)
                ended = watcher.status
        finally:
            watcher.close()
    steps = ended.deadlines - begun.deadlines
    missed = ended.deadlines_missed - begun.deadlines_missed
    silent = ended.commands_missing - begun.commands_missing
    line = (
        f'{TITLES[case]}: {steps} control steps, lateness p99 {1e3 * ended.lateness_p99:.2f} ms '
        f'(goal 1), worst {1e3 * ended.largest_lateness:.1f} ms, missed '
        f'{100.0 * missed / max(1, steps):.3f} % (goal 0.1), policy server late for '
        f'{100.0 * silent / max(1, steps):.3f} %; SCHED_FIFO: {ended.real_time}; '
    )
    if ended.state == DriverStatus.ARMED:
        return f'{line}armed to the end'
    return f'{line}motors off after {steps / 200.0:.1f} s: {ended.reason}'


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument('--only', default=','.join(CASES))
    options = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', '96')
    rclpy.init()
    for case in options.only.split(','):
        print(measure(case, options.seconds), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
