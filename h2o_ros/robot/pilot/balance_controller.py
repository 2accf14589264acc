"""Balance controller: a discrete LQR on (theta, theta_dot, x, x_dot) that follows a velocity.

The gains come from the training simulator's own physics, linearised by finite differences; the
virtual robots are never asked. At 200 Hz and with the standing task's own cost (all weights 1)
they are in docs/virtual_robot.md.

A robot whose centre of mass is not above the axle when theta is 0 balances at another tilt, its
trim. With integral action (Astrom and Murray, Feedback Systems, 2nd ed., section 7.4) the integral
of the error of x is a fifth state of the LQR, and what it adds to the torque is that trim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from scipy.linalg import solve_discrete_are

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import WHEEL_RADIUS, WHEELS, robot_folder
from h2o_ros.task import Task

STATE = ('theta', 'theta_dot', 'x', 'x_dot')
TRIM_LIMIT = 0.15  # rad; a robot that somebody holds must not wind its integral up without end


@dataclass(frozen=True)
class Weights:
    """The LQR's cost per step: state' Q state + R torque², in SI units; all 1 is eq. 34's cost.

    integral: of the integral of x's error in m·s, squared; 0 leaves that state out.
    """

    theta: float = 1.0
    theta_dot: float = 1.0
    x: float = 1.0
    x_dot: float = 1.0
    torque: float = 1.0
    integral: float = 0.0


# An expensive torque gives the softest gains that balance: those of a hand, not of a machine.
SOFT = Weights(theta=1.0, theta_dot=0.05, x=0.2, x_dot=0.2, torque=1.0, integral=0.0)


class BalanceController:
    """Keeps N robots upright and follows a commanded velocity.

    The reference position starts where the robot is first seen, or at `home`, and is the integral
    of the commanded velocity.
    """

    def __init__(
        self,
        task: Task,
        weights: Weights | None = None,
        batch: int = 1,
        discount: float = 1.0,
        home: float | None = None,
        leash: float = np.inf,
    ) -> None:
        """Compute the gains for the task's robot and rate.

        home: m. leash: the reference is held within so many metres of the robot, so that one that
        was held up does not dash after it; short leashes take the controller its hold on x.
        """
        check_task(task)
        self.task, self.batch, self.home, self.leash = task, batch, home, leash
        transition, influence = linearise(robot_folder(task.robot) / 'simulator.xml', task.period)
        weights = weights or Weights()
        self.gains, self._integral_gain = lqr_gains(transition, influence, weights, discount), 0.0
        if weights.integral:
            gains = integral_gains(transition, influence, weights, task.period, discount)
            self.gains, self._integral_gain = gains[:4], float(gains[4])
        self.trim = np.zeros(batch)  # rad, (N,)
        self._columns = {name: i for i, name in enumerate(task.observation_names)}
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next observation places the reference; the trim, the robot's, stays."""
        self._placed = False
        self._reference = np.zeros(self.batch)
        self._travelled = np.zeros(self.batch)

    def act(
        self, observation: np.ndarray, velocity_command: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Return the torque (N, 1) float32, within the task's limits.

        observation: (N, O). velocity_command: (N,) or a number, m/s. Where the task does not
        observe x, the way is the integral of x_dot.
        """
        rows = np.asarray(observation, np.float64)
        velocity = np.broadcast_to(np.asarray(velocity_command, np.float64), (self.batch,))
        state = self._complete(rows)
        if not self._placed:
            start = state[:, 2] if self.home is None else np.full(self.batch, self.home)
            self._reference, self._placed = start.copy(), True
        self._reference = self._reference + self.task.period * velocity
        ahead = np.clip(self._reference - state[:, 2], -self.leash, self.leash)
        self._reference = state[:, 2] + ahead
        state[:, 2] = -ahead
        state[:, 3] -= velocity
        if self._integral_gain:
            turned = self.task.period * self._integral_gain / self.gains[0] * ahead
            self.trim = np.clip(self.trim + turned, -TRIM_LIMIT, TRIM_LIMIT)
        state[:, 0] -= self.trim
        torque = -(state @ self.gains)[:, None]
        return np.clip(torque, self.task.action_lower, self.task.action_upper).astype(np.float32)

    def travelled(self, rows: np.ndarray) -> np.ndarray:
        """Return x (N,) in m of rows (N, O): observed, or integrated since the last reset."""
        if 'x' in self._columns:
            return rows[:, self._columns['x']]
        return self._travelled + self.task.period * rows[:, self._columns['x_dot']]

    def _complete(self, rows: np.ndarray) -> np.ndarray:
        """Return (theta, theta_dot, x, x_dot) of rows (N, O)."""
        self._travelled = self.travelled(rows)
        state = np.zeros((len(rows), len(STATE)))
        for column, name in enumerate(STATE):
            state[:, column] = (
                rows[:, self._columns[name]] if name in self._columns else self._travelled
            )
        return state


def check_task(task: Task) -> None:
    """Refuse a task that does not observe what balancing needs."""
    missing = [n for n in ('theta', 'theta_dot', 'x_dot') if n not in task.observation_names]
    if missing or len(task.action) != 1:
        raise ConfigurationError(
            f'task {task.name}: the balance controller needs theta, theta_dot, x_dot and one '
            f'torque; missing: {", ".join(missing) or "a single action field"}'
        )


def linearise(path: Path, period: float) -> tuple[np.ndarray, np.ndarray]:
    """Return A (4, 4), B (4, 1) of one control period of simulator.xml about upright rest.

    Central differences of the physics; the wheels roll without slip in every perturbed state.
    """
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    width = 1e-5

    def column(index: int) -> np.ndarray:
        offset = np.zeros(5)
        offset[index] = width
        return (_step(model, data, offset, period) - _step(model, data, -offset, period)) / (
            2 * width
        )

    columns = np.stack([column(index) for index in range(5)], 1)
    return columns[:, :4], columns[:, 4:]


def _step(
    model: mujoco.MjModel, data: mujoco.MjData, start: np.ndarray, period: float
) -> np.ndarray:
    """Run one control period from start (theta, theta_dot, x, x_dot, torque); return the state."""
    theta, theta_dot, x, x_dot, torque = start
    mujoco.mj_resetData(model, data)
    data.joint('pitch').qpos, data.joint('pitch').qvel = theta, theta_dot
    data.joint('x').qpos, data.joint('x').qvel = x, x_dot
    for name in WHEELS:
        data.joint(name).qpos = x / WHEEL_RADIUS - theta
        data.joint(name).qvel = x_dot / WHEEL_RADIUS - theta_dot
        data.actuator(name).ctrl = 0.5 * torque
    for _ in range(max(1, round(period / model.opt.timestep))):
        mujoco.mj_step(model, data)
    joints = (data.joint('pitch'), data.joint('x'))
    return np.concatenate([value for joint in joints for value in (joint.qpos, joint.qvel)])


def lqr_gains(
    transition: np.ndarray, influence: np.ndarray, weights: Weights, discount: float = 1.0
) -> np.ndarray:
    """Return K (4,) of torque = -K (theta, theta_dot, x, x_dot), minimising the discounted cost.

    transition (4, 4), influence (4, 1): the step s' = A s + B torque. A discount g is the same as
    scaling A and B by sqrt(g).
    """
    scale = np.sqrt(discount)
    a, b = scale * transition, scale * influence
    q = np.diag([getattr(weights, name) for name in STATE])
    r = np.array([[weights.torque]])
    return _solve(a, b, q, r)


def integral_gains(
    transition: np.ndarray,
    influence: np.ndarray,
    weights: Weights,
    period: float,
    discount: float = 1.0,
) -> np.ndarray:
    """Return K (5,): as lqr_gains, with the integral of x over time (m·s) as the fifth state."""
    a, b = np.eye(5), np.zeros((5, 1))
    a[:4, :4], b[:4] = transition, influence
    a[4, STATE.index('x')] = period
    q = np.diag([*(getattr(weights, name) for name in STATE), weights.integral])
    scale = np.sqrt(discount)
    return _solve(scale * a, scale * b, q, np.array([[weights.torque]]))


def _solve(a: np.ndarray, b: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return the gains that minimise the sum of s' Q s + u' R u."""
    p = solve_discrete_are(a, b, q, r)
    return np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)[0]
