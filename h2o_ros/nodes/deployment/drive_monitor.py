"""A supervisor's record of a drive: figures, and whether the policy that drove was approved."""

from __future__ import annotations

import sys
import time

import numpy as np

from h2o_ros.report.drive import DriveFigures, DriveTotals
from h2o_ros.robot.transition_assembler import LiveSteps
from h2o_ros.task import Task

LAG = 20_000  # control steps that one topic may be behind the other on a busy machine
CAUGHT_UP = 0.3  # s without a message of a step, after which none is waiting any more
CATCH_UP = 3.0  # s for that at most, where a robot goes on being observed
POLL_PERIOD = 0.1  # s between two checks


class DriveWatch:
    """Counts driven steps, those of a policy that had not passed its shadow phase apart.

    judged: SHA-256 of the policy in shadow. unjudged: steps that a policy drove beside those that
    were released. lost: how the policy lost the robot, unasked by the supervisor.
    """

    def __init__(self, task: Task) -> None:
        self._steps, self._totals = LiveSteps(task, remembered=LAG), DriveTotals(task)
        self._counted = self._came = 0  # steps to be in the figures; messages of any step
        self._newest = 0  # step of the newest applied action
        self._released: list[range] = []
        self.judged = ''
        self.unjudged = 0
        self.lost: list[str] = []

    @property
    def seconds(self) -> float:
        """Driven so far."""
        return self._totals.seconds

    @property
    def figures(self) -> DriveFigures | None:
        """Of all whole steps; None without one."""
        return self._totals.figures()

    @property
    def missing(self) -> int:
        """Steps that were driven and never became whole."""
        figures = self.figures
        return self._counted - (figures.steps if figures else 0)

    def judge(self, policy_hash: str) -> None:
        """Keep which policy is in shadow from now on; what was released is not any more."""
        self.judged = policy_hash
        end = self._newest + 1
        self._released = [range(each.start, min(each.stop, end)) for each in self._released]

    def release(self, step: int) -> None:
        """Let the policy that was judged drive every control step after `step`."""
        self._released.append(range(step + 1, sys.maxsize))

    def add_observation(self, step: int, observation: np.ndarray) -> None:
        """Take what the robot saw at a control step, (O,)."""
        self._came += 1
        self._steps.add_observation(step, observation)
        self._sum_up()

    def note_action(self, step: int) -> None:
        """Take notice of an applied action, whosever it is."""
        self._came += 1
        self._newest = step

    def add_action(self, step: int, action: np.ndarray) -> None:
        """Take an action (A,) that belongs to the drive."""
        self._counted += 1
        self._steps.add_action(step, action)
        self._sum_up()

    def count_if_unapproved(self, step: int) -> bool:
        """Say whether a policy that drove this step had passed its shadow phase; else count it."""
        judged = any(step in steps for steps in self._released)
        self.unjudged += not judged
        return judged

    def catch_up(self) -> None:
        """Wait until another thread has brought what still waits of the drive."""
        came, since = self._came, time.monotonic()
        end = since + CATCH_UP
        while time.monotonic() < min(end, since + CAUGHT_UP):
            time.sleep(POLL_PERIOD)
            if self._came != came:
                came, since = self._came, time.monotonic()

    def _sum_up(self) -> None:
        """Add the steps that have become whole to the drive."""
        rows = self._steps.take()
        if rows is not None:
            self._totals.add(rows)
