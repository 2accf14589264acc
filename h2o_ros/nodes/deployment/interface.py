"""Plan of a robot's run, and the other nodes as the sequence sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from h2o_ros.errors import RobotError

BRING_UP = 20.0  # s in which every node must be there


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    seconds: to drive, 0 until stopped. settle: s of balancing before anything else. policy: hand
    the robot over to it after the shadow phase. record: a take of the whole run. persist: after a
    trip wait until a person has armed the robot again, and go on, rather than end. patience: s in
    which every node must be there.
    """

    seconds: float
    settle: float
    policy: bool
    record: bool
    persist: bool
    patience: float = BRING_UP


class Refused(RobotError):
    """The driver answered that it does not make a transition."""


class Tripped(RobotError):
    """The driver cut the motors out."""


class Deactivated(RobotError):
    """Somebody else ended the torque, without a trip."""


class Stopped(Exception):
    """A person ended the run."""


class Robot(Protocol):
    """What the sequence needs of the other nodes; the supervisor gives it."""

    def missing_nodes(self) -> list[str]:
        """Name the nodes that have not been heard yet."""

    def contract_faults(self) -> list[str]:
        """Say where the policy, the policy server and the driver disagree on the task."""

    def change_state(self, transition: str, timeout: float) -> None:
        """Make a transition of the driver's lifecycle if it is needed.

        Refused, with the driver's reason, if it does not; RobotError if it does not answer.
        """

    def call(self, service: str, timeout: float) -> str:
        """Call a Trigger and return its message; RobotError where it fails."""

    def release_policy(self, timeout: float) -> None:
        """Let the policy that was in shadow drive; RobotError where it may not."""

    def trip(self) -> str:
        """Return why the driver tripped, empty where it did not."""

    def obstacles(self) -> str:
        """Return what stands against arming now, empty where nothing does."""

    def is_armed(self) -> bool:
        """Say whether the motors are armed."""

    def is_stopped_for_emergency(self) -> bool:
        """Say whether an emergency stop must be reset before anything moves."""

    def is_driven_by_operator(self) -> bool:
        """Say whether a person holds the dead-man."""

    def ended_nodes(self) -> list[str]:
        """Name those who, told to end, would still be heard, and are not."""

    def say(self, line: str) -> None:
        """Tell a person."""
