"""Everything that lets a thread of Python begin on time, as far as the system allows it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # of linux/mman.h
SWITCH_INTERVAL = 1e-4  # s; 5 ms, the default, would cost the control loop a whole step


def prefer_punctuality() -> None:
    """Hand Python's lock over quickly, and look through what exists by now for garbage no more."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()


def run_in_real_time(priority: int) -> bool:
    """Put all threads of this process under SCHED_FIFO, its memory kept; False if not allowed.

    All, because a thread that holds Python's lock must not wait for the processor either. Threads
    that begin later inherit it. priority: 1 to 99; 0 leaves everything as it is.
    """
    if priority <= 0 or not schedule_threads(os.SCHED_FIFO, priority):
        return False
    keep_memory()
    return True


def keep_memory() -> bool:
    """Let no page that this process has used be taken from it; False where that is not allowed.

    A system short of memory drops pages of programs that it can read again from the disk, which
    takes longer than a control step.
    """
    flags = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
    return ctypes.CDLL(None, use_errno=True).mlockall(flags) == 0


def schedule_threads(policy: int, priority: int) -> bool:
    """Put all threads of this process under a policy of `os`; False where that is not allowed."""
    try:
        for thread in Path('/proc/self/task').iterdir():
            with contextlib.suppress(ProcessLookupError):  # one that has just ended
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))
    except OSError:
        return False
    return True
