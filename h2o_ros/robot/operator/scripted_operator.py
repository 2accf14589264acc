"""A scripted person at the balance controller: makes recordings as imperfect as a real hand's.

Not one good policy but a wandering one: velocity commands of a hand on a stick, gains that change
every few seconds, torque noise that is correlated in time, and knocks. The spread of theta is held
against the real recording in docs/virtual_robot.md.
"""

from __future__ import annotations

import numpy as np

from h2o_ros.robot.operator.human_model import OperatorModel, OperatorModelSettings, cruise_speed
from h2o_ros.robot.pilot.balance_controller import SOFT, BalanceController, Weights
from h2o_ros.robot.pilot.excitation import DisturbanceSettings, Excitation
from h2o_ros.task import Task

TRIM_DOUBT = 5.0  # s of doubt in the first guess of the balance


class ScriptedOperator:
    """Drives one robot at the task's rate; call `act` once a control step.

    Time comes with each call: a jump of more than a tenth of a second means that the robot was
    lifted or placed anew, and the person starts afresh.
    """

    def __init__(
        self,
        task: Task,
        seed: int = 0,
        habits: OperatorModelSettings | None = None,
        unrest: DisturbanceSettings | None = None,
        weights: Weights = SOFT,
    ) -> None:
        """seed: of all that is random. A task that rewards 0.2 m/s is driven at about that.

        weights: the balance controller's cost, how firmly the robot is held.
        """
        self.task = task
        generator = np.random.default_rng(seed)
        self._controller = BalanceController(task, weights, leash=0.6)
        self._usual_gains = self._controller.gains.copy()
        self._hand = OperatorModel(
            habits or OperatorModelSettings(), task.period, generator, cruise_speed(task.reward)
        )
        self._excitation = Excitation(unrest or DisturbanceSettings(), task.period, generator)
        self._time: float | None = None
        self._tilt, self._seen = 0.0, 0

    def act(self, observation: np.ndarray, time: float) -> np.ndarray:
        """Return the torque (1, 1) float32 in N·m for observation (1, O) at time (s)."""
        if self._time is not None and not 0.0 <= time - self._time < 0.1:
            self._forget()
        self._time = time
        x = float(self._controller.travelled(np.asarray(observation, np.float64))[0])
        gains = self._excitation.jitter(self._usual_gains)
        if gains is not None:
            self._controller.gains = gains
        velocity = self._hand.move(x)
        torque = self._controller.act(self._trimmed(observation), velocity)
        torque = torque + self._excitation.torque()
        return np.clip(torque, self.task.action_lower, self.task.action_upper).astype(np.float32)

    def _forget(self) -> None:
        self._hand.reset()
        self._excitation.reset()
        self._controller.reset()

    def _trimmed(self, observation: np.ndarray) -> np.ndarray:
        """Take off the tilt at which this robot balances: the mean of all tilts seen so far."""
        theta = self.task.observation_names.index('theta')
        self._seen += 1
        weight = 1.0 / (self._seen + TRIM_DOUBT * self.task.rate)
        self._tilt += weight * (float(observation[0, theta]) - self._tilt)
        trimmed = np.array(observation, np.float64)
        trimmed[0, theta] -= self._tilt
        return trimmed
