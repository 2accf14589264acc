"""One process of a launch: in a group of its own, and it does not outlive the launcher."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from typing import Any

import honcho.process

from h2o_ros.launching.description import STOP_TIMEOUT

TERMINATE_TIMEOUT = 3.0  # s from SIGTERM to SIGKILL
ESCALATION = (
    (signal.SIGINT, STOP_TIMEOUT),
    (signal.SIGTERM, TERMINATE_TIMEOUT),
    (signal.SIGKILL, 1.0),
)
ABANDON = signal.SIGUSR1  # has honcho's monitoring process end its command by itself
LINGER_TIMEOUT = 0.5  # s that a process's own children have after it
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class Process(honcho.process.Process):
    """A process whose end is sure: it does not outlive this program, however that ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._launcher = os.getpid()
        self._child_ctor = self._start

    @staticmethod
    def _start(command: list[str], **options: Any) -> subprocess.Popen:
        child = honcho.process.Popen(
            command,
            shell=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=_begin_child,
            **options,
        )
        threading.Thread(target=_end_group_with, args=(child,), daemon=True).start()
        return child

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Run the command in honcho's monitoring process, which watches the launcher too."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(ABANDON, lambda *_: self._abandon())
        _signal_at_death_of_parent(ABANDON)
        if os.getppid() != self._launcher:
            return
        super().run(events, ignore_signals)

    def _abandon(self) -> None:
        """End the command after the launcher was killed."""
        if self._child is not None:
            # A full pipe would keep the command from ending.
            output = self._child.stdout.fileno()
            threading.Thread(target=_drain, args=(output,), daemon=True).start()
            for number, timeout in ESCALATION:
                send_signal(number, self._child.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(timeout)
                    break
        os._exit(1)


def send_signal(number: int, leader: int | None) -> None:
    """Send a signal to a process group; one that has ended is fine."""
    if leader is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, number)


def _end_group_with(leader: subprocess.Popen) -> None:
    """End what a process leaves behind, which would hold its output open."""
    leader.wait()
    time.sleep(LINGER_TIMEOUT)
    send_signal(signal.SIGKILL, leader.pid)


def _drain(descriptor: int) -> None:
    while os.read(descriptor, 65536):
        pass


def _begin_child() -> None:
    """Undo what the monitor ignores, and end where the monitor is killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _signal_at_death_of_parent(signal.SIGINT)


def _signal_at_death_of_parent(number: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
