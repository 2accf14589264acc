"""Transitions of a robot that is running: observations and actions paired as they come."""

from __future__ import annotations

import numpy as np

from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

REMEMBERED = 200  # control steps that may wait for their other half


class LiveSteps:
    """Pairs what a robot saw at a step, what was sent to its motors, and what it saw next.

    The two arrive on two topics, so in any order. A step whose action or successor never comes
    gives no transition, so none spans a gap, a trip or a person lifting the robot.
    """

    def __init__(self, task: Task, remembered: int = REMEMBERED) -> None:
        """remembered: control steps by which one topic may lag behind the other."""
        self._task, self._remembered = task, remembered
        self._observations: dict[int, np.ndarray] = {}
        self._actions: dict[int, np.ndarray] = {}
        self._newest = 0
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add_observation(self, step: int, observation: np.ndarray) -> None:
        """Take what the robot saw at control step `step`, (O,)."""
        if step < self._newest:
            self.forget()  # the driver was configured or started again and counts anew
        self._newest = step
        self._observations[step] = np.array(observation, np.float32)
        self._pair(step - 1)
        self._pair(step)
        self._drop_before(step - self._remembered)

    def add_action(self, step: int, action: np.ndarray) -> None:
        """Take what was sent to the motors in answer to the observation of `step`, (A,)."""
        self._actions[step] = np.array(action, np.float32)
        self._pair(step)

    def forget(self) -> None:
        """Drop steps that are not whole yet."""
        self._observations.clear()
        self._actions.clear()
        self._newest = 0

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> Transitions | None:
        """Return the transitions since the last call, None where there are none."""
        if not self._rows:
            return None
        observation, action, following = (
            np.stack(column) for column in zip(*self._rows, strict=True)
        )
        self._rows.clear()
        return Transitions(
            observation=observation,
            action=action,
            reward=self._task.compute_reward(observation, action),
            next_observation=following,
            terminated=self._task.compute_terminated(following),
            truncated=np.zeros(len(observation), bool),
        )

    def _pair(self, step: int) -> None:
        parts = (
            self._observations.get(step),
            self._actions.get(step),
            self._observations.get(step + 1),
        )
        if parts[0] is not None and parts[1] is not None and parts[2] is not None:
            del self._actions[step]
            self._rows.append((parts[0], parts[1], parts[2]))

    def _drop_before(self, step: int) -> None:
        """Forget what is older; what came first stands first."""
        for waiting in (self._observations, self._actions):
            while waiting and (oldest := next(iter(waiting))) < step:
                del waiting[oldest]
