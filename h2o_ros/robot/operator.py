"""A scripted person at the balance controller: makes recordings as imperfect as a real hand's.

Not one good policy but a wandering one: velocity commands of a hand on a stick (late, smooth,
overshooting, with pauses), gains that change every few seconds, torque noise that is correlated in
time, and knocks. The spread of theta is held against the real recording in docs/virtual_robot.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.robot.balance import BalanceController, Weights
from h2o_ros.task import Task

# An expensive torque gives the softest gains that balance: those of a hand, not of a machine.
SOFT = Weights(theta=1.0, theta_dot=0.05, x=0.2, x_dot=0.2, torque=1.0)


@dataclass(frozen=True)
class Habits:
    """How the person drives."""

    reaction: float = setting(0.2, 's', 'from seeing to moving the stick', minimum=0.0)
    stick_frequency: float = setting(5.0, 'rad/s', 'of the hand', minimum=0.1)
    stick_damping: float = setting(0.5, '1', 'below 1 overshoots', minimum=0.05)
    speed: float = setting(0.25, 'm/s', 'deviation of the speeds wished for', minimum=0.0)
    hold: float = setting(1.5, 's', 'mean time that a wish lasts', minimum=0.05)
    pause: float = setting(0.3, '1', 'share of wishes that are to stand', minimum=0.0, maximum=1.0)
    homing: float = setting(0.3, '1/s', 'speed wished for per metre from home', minimum=0.0)
    trim: float = setting(5.0, 's', 'of doubt in the first guess of the balance', minimum=0.1)
    gain_jitter: float = setting(0.15, '1', 'deviation of the logarithm of each gain', minimum=0.0)
    gain_hold: float = setting(8.0, 's', 'mean time between changes of gains', minimum=0.1)
    torque_noise: float = setting(0.32, 'N·m', 'deviation, as in the recording', minimum=0.0)
    torque_correlation: float = setting(0.08, 's', 'of the torque noise', minimum=0.001)
    knock_interval: float = setting(5.0, 's', 'mean time between knocks', minimum=0.1)
    knock_torque: float = setting(2.5, 'N·m', 'largest knock', minimum=0.0)
    knock_duration: float = setting(0.08, 's', 'longest knock', minimum=0.001)


class ScriptedOperator:
    """Drives one robot at the task's rate; call `act` once a control step.

    Time comes with each call: a jump of more than a tenth of a second means that the robot was
    lifted or placed anew, and the person starts afresh.
    """

    def __init__(self, task: Task, seed: int = 0, habits: Habits | None = None) -> None:
        """seed: of all that is random. A task that rewards 0.2 m/s is driven at about that."""
        self.task, self.habits = task, habits or Habits()
        self._generator = np.random.default_rng(seed)
        self._controller = BalanceController(task, SOFT, leash=0.6)
        self._soft_gains = self._controller.gains.copy()
        self._cruise = 0.2 if task.reward == 'moving_straight' else 0.0
        self._time: float | None = None
        self._tilt, self._seen = 0.0, 0
        self._forget()

    def act(self, observation: np.ndarray, time: float) -> np.ndarray:
        """Return the torque (1, 1) float32 in N·m for observation (1, O) at time (s)."""
        if self._time is not None and not 0.0 <= time - self._time < 0.1:
            self._forget()
        self._time = time
        x = float(self._controller.travelled(np.asarray(observation, np.float64))[0])
        self._change_gains()
        velocity = self._move_stick(self._wish(x))
        torque = self._controller.act(self._trimmed(observation), velocity)
        torque = torque + self._noise() + self._knock()
        return np.clip(torque, self.task.action_lower, self.task.action_upper).astype(np.float32)

    def _forget(self) -> None:
        late = max(1, round(self.habits.reaction * self.task.rate))
        self._wishes = [0.0] * late
        self._want = self._stick = self._stick_rate = 0.0
        self._torque_noise = self._knock_torque = 0.0
        self._knock_steps = 0
        self._controller.reset()

    def _trimmed(self, observation: np.ndarray) -> np.ndarray:
        """Take off the tilt at which this robot balances: the mean of all tilts seen so far."""
        theta = self.task.observation_names.index('theta')
        self._seen += 1
        weight = 1.0 / (self._seen + self.habits.trim * self.task.rate)
        self._tilt += weight * (float(observation[0, theta]) - self._tilt)
        trimmed = np.array(observation, np.float64)
        trimmed[0, theta] -= self._tilt
        return trimmed

    def _happens(self, mean_interval: float) -> bool:
        return bool(self._generator.random() < self.task.period / mean_interval)

    def _wish(self, x: float) -> float:
        """Return the speed the person wants now, and steer home where there is a home."""
        if self._happens(self.habits.hold):
            idle = self._generator.random() < self.habits.pause
            self._want = 0.0 if idle else self.habits.speed * self._generator.standard_normal()
        if self._cruise:
            return self._cruise + 0.5 * self._want
        return self._want - self.habits.homing * x

    def _move_stick(self, wish: float) -> float:
        """Return the velocity command: an older wish, passed through the hand's inertia."""
        self._wishes.append(wish)
        late, step = self._wishes.pop(0), self.task.period
        frequency, damping = self.habits.stick_frequency, self.habits.stick_damping
        pull = frequency**2 * (late - self._stick) - 2 * damping * frequency * self._stick_rate
        self._stick_rate += step * pull
        self._stick += step * self._stick_rate
        return self._stick

    def _change_gains(self) -> None:
        if self._happens(self.habits.gain_hold):
            jitter = self.habits.gain_jitter * self._generator.standard_normal(4)
            self._controller.gains = self._soft_gains * np.exp(jitter)

    def _noise(self) -> float:
        """Return the first-order correlated torque noise of this step."""
        kept = np.exp(-self.task.period / self.habits.torque_correlation)
        fresh = self.habits.torque_noise * np.sqrt(1 - kept**2)
        self._torque_noise = kept * self._torque_noise + fresh * self._generator.standard_normal()
        return self._torque_noise

    def _knock(self) -> float:
        """Return the torque of a knock where one is under way."""
        if self._knock_steps == 0 and self._happens(self.habits.knock_interval):
            longest = max(2, round(self.habits.knock_duration * self.task.rate))
            self._knock_steps = int(self._generator.integers(1, longest + 1))
            self._knock_torque = self.habits.knock_torque * self._generator.uniform(-1.0, 1.0)
        if self._knock_steps == 0:
            return 0.0
        self._knock_steps -= 1
        return self._knock_torque
