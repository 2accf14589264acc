"""Whether the machine stood still: what a test of moments says nothing about where it did.

A robot whose processor is away for 0.1 s switches its motors off, as it must, and what a test
waited for does not come. Shared machines go away like that; so a process of its own, under
real-time priority where that is allowed, notes by how much it woke late.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time

PERIOD = 0.005  # s between two checks
PAUSE = 0.05  # s, half of the least time after which a part gives another up


class MachineWatch:
    """Asked after a test has failed, of the time since its beginning."""

    def __init__(self) -> None:
        self._begun, self._noted = time.monotonic(), 0.0
        self._output = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as this
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Begin to watch."""
        self.process = subprocess.Popen([sys.executable, __file__], stdout=self._output)

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def begin(self) -> None:
        """A test begins."""
        self._begun, self._noted = time.monotonic(), 0.0

    def note(self, pause: float) -> None:
        """A part of the test saw that it was late itself, by so many s."""
        self._noted = max(self._noted, pause)

    def stood_still(self) -> bool:
        """Say whether the machine did, since the test began."""
        return self._noted > PAUSE or self.pauses() != []

    def pauses(self) -> list[float]:
        """Return the pauses since the test began, s."""
        *lines, _ = os.pread(self._output.fileno(), 1 << 24, 0).split(b'\n')  # the whole ones
        ends_and_lengths = [tuple(map(float, line.split())) for line in lines]
        return [length for end, length in ends_and_lengths if end > self._begun]


def watch(parent: int) -> None:
    """Print the end and length of each pause, s of the monotonic clock, while the parent lives."""
    # Where that is not allowed, it waits for the processor as everything does.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    before = time.monotonic()
    while os.getppid() == parent:
        time.sleep(PERIOD)
        now = time.monotonic()
        if now - before > PERIOD + PAUSE:
            print(now, now - before - PERIOD, flush=True)
        before = now


MACHINE = MachineWatch()

if __name__ == '__main__':
    watch(os.getppid())
