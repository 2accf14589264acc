"""A thread that runs control steps on time and serves, between them, what arrives.

It alone touches the motors and the safety once it runs; other threads ask it to.
"""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from h2o_ros.errors import RobotError
from h2o_ros.robot.control.deadlines import Deadlines

T = TypeVar('T')


class Steps(Protocol):
    """What the loop runs; all times are of the loop's clock, s."""

    def wake_at(self) -> float:
        """Say when to be served at the latest, besides the control steps."""

    def serve(self, now: float) -> None:
        """Handle what has arrived, and what is over."""

    def step(self, now: float, misses_in_row: int) -> None:
        """Run one control step."""

    def fail(self, error: Exception) -> None:
        """Make the robot safe: the loop ends by an error of its own."""


class ControlLoop:
    """Runs `steps` every `period` s.

    wait: waits up to so many seconds and returns at once when something arrives or `wake`, which
    any thread may call, was called.
    """

    def __init__(
        self,
        steps: Steps,
        period: float,
        wait: Callable[[float], None],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps, self._wait, self._wake, self._clock = steps, wait, wake, clock
        self._asked: collections.deque[tuple[Callable[[float], Any], Any]] = collections.deque()
        self._ending = threading.Event()
        self.deadlines = Deadlines(period, clock())
        self.thread = threading.Thread(target=self._run, name='control', daemon=True)

    def start(self) -> None:
        """Begin; the first step is due one period from now."""
        self.deadlines = Deadlines(self.deadlines.period, self._clock())
        self.thread.start()

    def end(self) -> None:
        """End after the step that runs, and wait for it."""
        self._ending.set()
        self._wake()
        self.thread.join()

    def call(self, function: Callable[[float], T], timeout: float = 1.0) -> T:
        """Run function(now) in the loop's thread, between two steps, and return its result."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._asked.append((function, future))
        self._wake()
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError as err:
            raise RobotError('the control loop does not answer; start the driver again') from err

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._turn()
        except Exception as err:
            # Whatever it is, the motors must not be left as they are.
            self._steps.fail(err)

    def _turn(self) -> None:
        until = min(self.deadlines.due, self._steps.wake_at())
        left = until - self._clock()
        if left > 0 and not self._asked:
            self._wait(left)
        self._answer()
        self._steps.serve(self._clock())
        now = self._clock()
        if now >= self.deadlines.due:
            self.deadlines.begin(now)
            self._steps.step(now, self.deadlines.misses_in_row)

    def _answer(self) -> None:
        while self._asked:
            function, future = self._asked.popleft()
            try:
                future.set_result(function(self._clock()))
            except RobotError as err:
                future.set_exception(err)
