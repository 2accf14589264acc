"""Robots of joints and motors that run in a plane: HalfCheetah, Walker2d and their like.

Every robot keeps an MjData of its own, so that the solver's warm start goes on from step to step
as it does in Gymnasium, and the numbers are the same to the last bit; mujoco.rollout begins each
call without one, and at this size costs as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from h2o_ros.configuration import YAML_SUFFIXES, build, read_yaml, setting
from h2o_ros.errors import ConfigurationError, SimulationError
from h2o_ros.robot.description import SIMULATOR, robot_folder
from h2o_ros.sim.locomotion.gymnasium_models import compile_model, find_model
from h2o_ros.sim.wheel_legged.plants import substeps
from h2o_ros.task import Task

# The joints that carry the body through the plane, by what a task calls them.
BODY_JOINTS = {'rootx': 'x', 'rootz': 'z', 'rooty': 'pitch'}
# MuJoCo's warnings upon which it sets a robot back to the reference pose in mid-step.
RUNAWAY = tuple(
    int(kind)
    for kind in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
)


@dataclass(frozen=True)
class LocomotionParameters:
    """One such robot. Positions and velocities in each joint's unit: m or rad, m/s or rad/s."""

    xml: str
    reset_position: float = setting(
        0.0, 'm or rad', 'half-width of the uniform draw around the reference', minimum=0.0
    )
    reset_velocity: float = setting(
        0.0, 'm/s or rad/s', 'half-width, or deviation where normal', minimum=0.0
    )
    reset_velocity_is_normal: bool = setting(False, '', 'draw velocities from a normal')
    largest_velocity: float = setting(
        1e6, 'm/s or rad/s', 'at which observed velocities are cut', minimum=0.0
    )


class Locomotion:
    """N robots of one model."""

    def __init__(
        self, task: Task, model: mujoco.MjModel, parameters: LocomotionParameters, batch: int
    ) -> None:
        """Take a compiled model, which is shared by the robots and may be changed in memory."""
        self.model, self.batch, self._parameters = model, batch, parameters
        self._substeps = substeps(model, task.period)
        self._data = [mujoco.MjData(model) for _ in range(batch)]
        # Views into each MjData; its attributes would make new ones at each access.
        self._motors = [data.ctrl for data in self._data]
        self._places = [(data.qpos, data.qvel) for data in self._data]
        self._alarms = [data.warning.number for data in self._data]
        self._position, self._velocity = np.zeros((batch, model.nq)), np.zeros((batch, model.nv))
        self._observed = _observed_columns(task, model)
        self._motor_order = _motor_order(task, model)
        self._x = int(model.joint('rootx').qposadr[0])
        self._x_dot = int(model.joint('rootx').dofadr[0])

    def restart(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Place rows (indices) around the reference pose, at random as the parameters say."""
        chosen, model = self._parameters, self.model
        position = chosen.reset_position * generator.uniform(-1.0, 1.0, (len(rows), model.nq))
        shape = (len(rows), model.nv)
        normal = chosen.reset_velocity_is_normal
        draws = generator.standard_normal(shape) if normal else generator.uniform(-1.0, 1.0, shape)
        self.place(rows, model.qpos0 + position, chosen.reset_velocity * draws)

    def place(self, rows: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> None:
        """Put rows (indices) at joint positions (R, nq) and velocities (R, nv), all else anew."""
        for index, row in enumerate(rows):
            data = self._data[row]
            mujoco.mj_resetData(self.model, data)
            data.qpos[:], data.qvel[:] = position[index], velocity[index]
            mujoco.mj_forward(self.model, data)
        self._position[rows], self._velocity[rows] = position, velocity

    def hidden_states(self) -> list[str]:
        """Name the joints' positions and velocities that are not observed, but for the way."""
        columns = _columns(self.model).items()
        seen = {self._x, *self._observed}
        return [name for name, column in columns if column not in seen]

    def placeable(self, observation: np.ndarray) -> np.ndarray:
        """Say of which observations (N, O) no velocity was cut, (N,)."""
        velocity = observation[:, np.asarray(self._observed) >= self.model.nq]
        return (np.abs(velocity) < self._parameters.largest_velocity).all(1)

    def place_as_observed(self, observation: np.ndarray) -> None:
        """Put all robots where `observe` gives this (N, O), at the reference in what it lacks.

        A velocity that was cut when it was observed stays so.
        """
        rows = np.zeros((self.batch, self.model.nq + self.model.nv))
        rows[:, : self.model.nq] = self.model.qpos0
        rows[:, self._observed] = observation
        self.place(np.arange(self.batch), *np.split(rows, [self.model.nq], axis=1))

    def advance(self, action: np.ndarray) -> None:
        """Hold the motors' commands (N, A) for one control period; MuJoCo keeps their limits."""
        control = action[:, self._motor_order]
        for row, data in enumerate(self._data):
            self._motors[row][:] = control[row]
            mujoco.mj_step(self.model, data, self._substeps)
            if any(self._alarms[row][kind] for kind in RUNAWAY):
                raise SimulationError(
                    f'robot {row} left the finite numbers; check the gap and the actions'
                )
            self._position[row], self._velocity[row] = self._places[row]

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Return joint positions (N, nq) and velocities (N, nv), as `place` takes them."""
        return self._position.copy(), self._velocity.copy()

    def observe(self) -> np.ndarray:
        """Return the observation (N, O) float32 in the task's order."""
        return self._rows()[:, self._observed].astype(np.float32)

    def position_x(self) -> np.ndarray:
        """Return how far along x the robots are, (N,) m."""
        return self._position[:, self._x].copy()

    def speed(self) -> np.ndarray:
        """Return the body's velocity along x, (N,) m/s."""
        return self._velocity[:, self._x_dot].copy()

    def sensors(self) -> dict[str, np.ndarray]:
        """Return every position and velocity as observed, each (N,), by the names tasks use."""
        columns = _columns(self.model)
        rows = self._rows()
        return {name: rows[:, column] for name, column in columns.items()}

    def _rows(self) -> np.ndarray:
        largest = self._parameters.largest_velocity
        return np.concatenate([self._position, self._velocity.clip(-largest, largest)], axis=1)


def make_locomotion(task: Task, model: str, batch: int) -> Locomotion:
    """Make N robots; 'simulator' and 'standard' are the same model, the gap is put on top."""
    folder = robot_folder(task.robot)
    named = model.endswith(YAML_SUFFIXES)
    path = Path(model) if named else folder / 'standard.yaml'
    if not named and model != SIMULATOR:
        path = folder / f'{model}.yaml'
    parameters = build(LocomotionParameters, read_yaml(path), str(path))
    if task.training_reset or task.evaluation_reset:
        raise ConfigurationError(
            f'task {task.name}: training_reset and evaluation_reset belong to {path} with this '
            'robot (reset_position, reset_velocity); leave them out'
        )
    return Locomotion(task, compile_model(find_model(parameters.xml, path)), parameters, batch)


def _columns(model: mujoco.MjModel) -> dict[str, int]:
    """Return each field's column among positions, then velocities (nq + nv)."""
    columns = {}
    for index in range(model.njnt):
        joint = model.joint(index)
        name = BODY_JOINTS.get(joint.name, joint.name.removesuffix('_joint'))
        columns[name] = int(joint.qposadr[0])
        columns[f'{name}_dot'] = model.nq + int(joint.dofadr[0])
    return columns


def _observed_columns(task: Task, model: mujoco.MjModel) -> list[int]:
    columns = _columns(model)
    for name in task.observation_names:
        if name not in columns:
            raise ConfigurationError(
                f'task {task.name}: observation field {name!r} is not simulated; '
                f'the model gives {", ".join(columns)}'
            )
    return [columns[name] for name in task.observation_names]


def _motor_order(task: Task, model: mujoco.MjModel) -> list[int]:
    """Return the action's column for each motor of the model."""
    joints = [model.joint(int(joint)).name for joint in model.actuator_trnid[:, 0]]
    motors = [name.removesuffix('_joint') for name in joints]
    if sorted(task.action_names) != sorted(motors):
        raise ConfigurationError(
            f'task {task.name}: action {", ".join(task.action_names)} is not simulated; '
            f'the model has the motors {", ".join(motors)}'
        )
    return [task.action_names.index(name) for name in motors]
