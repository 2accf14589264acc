"""The launch that started a node, and with which the node ends.

`ros2 launch` ends its nodes at Ctrl-C, but not when it is killed itself, and a robot must not go
on without whoever would stop it. (`h2o launch` sees to it by itself.)
"""

from __future__ import annotations

from pathlib import Path

LAUNCHER = 'H2O_ROS_LAUNCHER'  # environment variable: the launch's process id


def has_ended(launcher: str) -> bool:
    """Say whether a launch has ended; False for a process that no launch started.

    launcher: its process id, as the environment variable tells it; empty: there is none.
    """
    if not launcher:
        return False
    try:
        state = Path('/proc', launcher, 'stat').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return True
    # The name before it may hold anything. Z: it was killed, and nobody has taken its exit code.
    return state.rpartition(')')[2].split()[0] == 'Z'
