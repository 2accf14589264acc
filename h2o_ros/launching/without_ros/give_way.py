"""Run a command that gives way to others on the processor: `python give_way.py NICE COMMAND ...`.

A process of `h2o launch` has a session of its own. Linux shares the processor out among sessions
first (man 7 sched, autogroups); niceness then counts among the processes of one session alone. So
the session gives way, too.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

SESSION = Path('/proc/self/autogroup')
ATTEMPTS, PAUSE = 50, 0.11  # the kernel takes one such change in 0.1 s from all users together


def give_way(nice: int) -> None:
    """Raise the niceness of this process by `nice`, and set that of its session to it."""
    os.nice(nice)
    for _ in range(ATTEMPTS):
        try:
            SESSION.write_text(str(nice), encoding='ascii')
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError:  # this kernel shares out among processes
            return
        else:
            return


if __name__ == '__main__':
    give_way(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
