"""Faults that a user can cause or meet; the message is one line that names the way out."""

from __future__ import annotations

import sys
from collections.abc import Callable


class H2OError(Exception):
    """Base of the package's own exceptions; command lines print it without a traceback."""


class ConfigurationError(H2OError):
    """A task file, a parameter or a command line argument is wrong."""


class BagError(H2OError):
    """A recording is missing, damaged, or does not hold what the task needs."""


class PolicyError(H2OError):
    """A policy file is torn, or made for another task."""


class CheckpointError(H2OError):
    """A checkpoint is torn, or made by another configuration."""


class TrainingError(H2OError):
    """The numbers of a training or of its policy are no longer finite."""


class SimulationError(H2OError):
    """A robot model is unknown or its state left the finite numbers."""


class RobotError(H2OError):
    """Motors, bus or sensors do not answer as they must."""


def exit_code_of(command: Callable[[], int | None]) -> int:
    """Run a command line; return its exit code, 2 with one line for a user's mistake."""
    try:
        return command() or 0
    except H2OError as err:
        print(f'error: {err}', file=sys.stderr)
        return 2
