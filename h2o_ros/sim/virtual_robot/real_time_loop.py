"""A thread that calls a function at a fixed rate, each call at its own absolute time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

CATCH_UP = 0.02  # s


class RealTimeLoop:
    """Calls step(due) once a period; due is the monotonic time in s that the call stands for.

    A loop that is late by CATCH_UP or less makes good by calls without a pause. One that is later
    lets that time pass: the calls go on from now, and `lost` says how much is missing.
    """

    def __init__(
        self,
        step: Callable[[float], None],
        period: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """period: s between calls."""
        self._step, self._period = step, period
        self._clock, self._sleep = clock, sleep
        self._stopping = False
        self._thread = threading.Thread(target=self._guard, name='real_time', daemon=True)
        self.lost = 0.0  # s since the start
        self.failure: Exception | None = None  # what ended the loop, if not stop()

    def start(self) -> None:
        """Begin on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the call under way; returns when the thread has ended."""
        self._stopping = True
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def run(self) -> None:
        """Call step until stop() is called, on the calling thread."""
        due = self._clock()
        while not self._stopping:
            self._step(due)
            due += self._period
            late = self._clock() - due
            if late > CATCH_UP:
                self.lost += late
                due += late
                self._sleep(self._period)  # nor may a slow machine be left without a breath
            elif late < 0.0:
                self._sleep(-late)

    def _guard(self) -> None:
        try:
            self.run()
        except Exception as err:  # the owner asks for it and raises it where people see it
            self.failure = err
