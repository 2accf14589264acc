"""Many copies of one MuJoCo model, stepped together on one thread."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
from mujoco.rollout import Rollout

from h2o_ros.errors import SimulationError

_FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS


def read_model(path: Path) -> mujoco.MjModel:
    """Compile an MJCF file; SimulationError carries MuJoCo's own line."""
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as err:
        raise SimulationError(f'{path}: {" ".join(str(err).split())}') from err


class Physics:
    """The states (N, S) of N copies of a model; columns are found by the joints' names."""

    def __init__(self, model: mujoco.MjModel, batch: int, threads: int = 0) -> None:
        """threads: 0 runs on the calling thread, which is fastest for small batches."""
        self.model = model
        self._data = [mujoco.MjData(model) for _ in range(max(threads, 1))]
        self._rollout = Rollout(nthread=threads)
        self._width = mujoco.mj_stateSize(model, _FULL)
        self.state = np.zeros((batch, self._width))
        self.state[:, 1 : 1 + model.nq] = model.qpos0

    def position(self, joint: str) -> int:
        """Return the state's column that holds a joint's position."""
        return 1 + int(self.model.joint(joint).qposadr[0])

    def velocity(self, joint: str) -> int:
        """Return the state's column that holds a joint's velocity."""
        return 1 + self.model.nq + int(self.model.joint(joint).dofadr[0])

    def clear(self, rows: np.ndarray) -> None:
        """Bring rows to the model's reference pose at rest, actuators relaxed, time zero."""
        self.state[rows] = 0.0
        self.state[rows, 1 : 1 + self.model.nq] = self.model.qpos0

    def advance(self, control: np.ndarray) -> np.ndarray:
        """Step all copies under control (N, K, U); return the states after each step (N, K, S)."""
        batch, count = control.shape[:2]
        states = np.empty((batch, count, self._width))
        if batch == count == 1:
            self._step_once(control[0, 0], states[0, 0])
        else:
            self._rollout.rollout(
                self.model, self._data, self.state, control, nstep=count, state=states
            )
        self.state = states[:, -1].copy()
        if not np.isfinite(self.state).all():
            row = int(np.flatnonzero(~np.isfinite(self.state).all(1))[0])
            raise SimulationError(
                f'robot {row} left the finite numbers; check the model parameters and the actions'
            )
        return states

    def _step_once(self, control: np.ndarray, state: np.ndarray) -> None:
        """Step the only copy once, into state (S,): the same numbers at half of a rollout's cost.

        A robot in real time takes a thousand of these a second.
        """
        data = self._data[0]
        mujoco.mj_setState(self.model, data, self.state[0], _FULL)
        data.qacc_warmstart[:] = 0.0  # where a rollout begins
        data.ctrl[:] = control
        mujoco.mj_step(self.model, data)
        mujoco.mj_getState(self.model, data, state, _FULL)
