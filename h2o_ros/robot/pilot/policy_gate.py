"""The gate that a newly learned policy passes before it may replace the one that drives."""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.task import Task

Act = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class GateLimits:
    """How far a new policy may be from the running one."""

    gate_states: float = setting(
        60.0, 's', 'newest states at which both are compared', minimum=1.0, maximum=3600.0
    )
    gate_change: float = setting(
        0.2,
        '1',
        'largest root mean square change of action at them, in halves of the action range',
        minimum=0.001,
        maximum=1.0,
    )
    gate_return_loss: float = setting(
        0.02,
        '1',
        'largest loss of return on the virtual robot, as a share of the running return',
        minimum=0.0,
        maximum=0.5,
    )


class PolicyGate:
    """Judges candidates by the states that the robot was in lately.

    Contract and digest are checked where a policy file is read; this is about what it does.
    """

    def __init__(self, task: Task, limits: GateLimits | None = None) -> None:
        self._task, self.limits = task, limits or GateLimits()
        count = max(1, round(self.limits.gate_states * task.rate))
        self._states: collections.deque[np.ndarray] = collections.deque(maxlen=count)

    def add_state(self, observation: np.ndarray) -> None:
        """Take an observation (O,) of the robot."""
        self._states.append(np.array(observation, np.float32))

    def reasons_to_refuse(
        self, candidate: Act, running: Act, candidate_return: float, running_return: float
    ) -> list[str]:
        """Say why `candidate` must not replace `running`; empty where it may.

        candidate, running: observations (N, O) to actions (N, A). Returns: means on the virtual
        robot over the same initial states, in the task's units.
        """
        if not self._states:
            return ['the robot has not been in any state yet']
        states = np.stack(list(self._states))
        new = np.asarray(candidate(states), np.float64)
        if not np.isfinite(new).all():
            return ['it answers states that the robot was in with numbers that are not finite']
        reasons = []
        half = np.float64(self._task.action_upper - self._task.action_lower) / 2.0
        change = float(np.sqrt((((new - running(states)) / half) ** 2).mean()))
        if change > self.limits.gate_change:
            reasons.append(
                f'its actions in the last {len(states) / self._task.rate:.0f} s of states change '
                f'by {change:.2f} of half the range, {self.limits.gate_change:.2f} is allowed'
            )
        least = running_return - self.limits.gate_return_loss * abs(running_return)
        if not candidate_return >= least:
            reasons.append(
                f'its return on the virtual robot is {candidate_return:.0f}, the running policy '
                f'has {running_return:.0f}'
            )
        return reasons
