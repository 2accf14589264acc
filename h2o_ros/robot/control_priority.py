"""Everything that lets a thread of Python begin on time, as far as the system allows it."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path

SWITCH_INTERVAL = 1e-4  # s; 5 ms, the default, would cost the control loop a whole step


def prefer_punctuality() -> None:
    """Hand Python's lock over quickly, and look through what exists by now for garbage no more."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()


def run_in_real_time(priority: int) -> bool:
    """Put all threads of this process under SCHED_FIFO; False where that is not allowed.

    All, because a thread that holds Python's lock must not wait for the processor either. Threads
    that begin later inherit it. priority: 1 to 99; 0 leaves everything as it is.
    """
    return priority > 0 and schedule_threads(os.SCHED_FIFO, priority)


def schedule_threads(policy: int, priority: int) -> bool:
    """Put all threads of this process under a policy of `os`; False where that is not allowed."""
    try:
        for thread in Path('/proc/self/task').iterdir():
            with contextlib.suppress(ProcessLookupError):  # one that has just ended
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))
    except OSError:
        return False
    return True
