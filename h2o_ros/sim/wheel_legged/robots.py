"""The wheel-legged robot under a task: its plants take a torque, and its sensors tell the rest."""

from __future__ import annotations

import mujoco
import numpy as np

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import SIMULATOR, WHEEL_RADIUS, load_parameters, robot_folder
from h2o_ros.sim.physics import Physics
from h2o_ros.sim.wheel_legged.plants import IdealPlant, VirtualPlant
from h2o_ros.task import Task

START_FIELDS = ('theta', 'theta_dot', 'x', 'x_dot')
MOVES_BY = ('theta', 'theta_dot', 'x_dot')  # what the idealised robot's motion depends on
HIDDEN = ('commands under way', 'legs', 'tyres')  # what a virtual robot has besides


class WheelLegged:
    """N wheel-legged robots, by the idealised model or by the virtual robot's."""

    def __init__(
        self, task: Task, plant: IdealPlant | VirtualPlant, widths: dict[str, float]
    ) -> None:
        """widths: half-widths of the uniform initial state by field name; others start at zero."""
        _check_fields(task)
        self.plant, self.batch = plant, plant.batch
        self._names, self._widths = task.observation_names, widths

    @property
    def physics(self) -> Physics:
        """The states of the robots."""
        return self.plant.physics

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, the same for all robots."""
        return self.plant.physics.model

    def restart(self, rows: np.ndarray, generator: np.random.Generator) -> None:
        """Place rows (indices) at random within the widths."""
        draws = generator.uniform(-1.0, 1.0, (len(START_FIELDS), len(rows)))
        start = {
            name: self._widths.get(name, 0.0) * draw
            for name, draw in zip(START_FIELDS, draws, strict=True)
        }
        self.plant.reset(rows, start)

    def hidden_states(self) -> list[str]:
        """Name what a robot's motion depends on and is not observed."""
        hidden = [name for name in MOVES_BY if name not in self._names]
        return hidden + list(HIDDEN if isinstance(self.plant, VirtualPlant) else ())

    def placeable(self, observation: np.ndarray) -> np.ndarray:
        """Say that robots without hidden states can be placed at all of (N, O), (N,)."""
        return np.ones(len(observation), bool)

    def place_as_observed(self, observation: np.ndarray) -> None:
        """Put all robots where they observe (N, O), rolling without slip; unobserved x is 0."""
        start = {name: np.zeros(self.batch) for name in START_FIELDS}
        start |= dict(zip(self._names, observation.T.astype(np.float64), strict=True))
        self.plant.reset(np.arange(self.batch), start)

    def advance(self, action: np.ndarray) -> None:
        """Hold the total torque (N, 1) N·m for one control period."""
        self.plant.advance(action[:, 0])

    def observe(self) -> np.ndarray:
        """Return the observation (N, O) float32 in the task's order."""
        values = _fields(self.plant.sensors())
        return np.stack([values[name] for name in self._names], 1).astype(np.float32)

    def position_x(self) -> np.ndarray:
        """Return how far along x the wheels have rolled, (N,) m."""
        return _fields(self.plant.sensors())['x']

    def speed(self) -> np.ndarray:
        """Return the velocity along x, (N,) m/s."""
        return _fields(self.plant.sensors())['x_dot']

    def sensors(self) -> dict[str, np.ndarray]:
        """Return what the sensors read now, see h2o_ros.sim.wheel_legged.plants."""
        return self.plant.sensors()


def make_wheel_legged(
    task: Task, model: str, batch: int, widths: dict[str, float], generator: np.random.Generator
) -> WheelLegged:
    """Make N robots of 'simulator', or of a virtual robot as 'standard', 'hard' or a YAML file."""
    folder = robot_folder(task.robot)
    if model == SIMULATOR:
        return WheelLegged(task, IdealPlant(folder / 'simulator.xml', batch, task.period), widths)
    parameters = load_parameters(model, task.robot)
    path = folder / 'virtual_robot.xml'
    return WheelLegged(task, VirtualPlant(path, parameters, batch, task.period, generator), widths)


def _fields(sensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a task may observe, each (N,).

    x is the way that the wheels rolled: radius times (mean wheel angle to the body + pitch).
    """
    pitch, rate = sensors['pitch'], sensors['pitch_rate']
    angle = 0.5 * (sensors['left_wheel_position'] + sensors['right_wheel_position'])
    speed = 0.5 * (sensors['left_wheel_velocity'] + sensors['right_wheel_velocity'])
    return {
        'theta': pitch,
        'theta_dot': rate,
        'x': WHEEL_RADIUS * (angle + pitch),
        'x_dot': WHEEL_RADIUS * (speed + rate),
    }


def _check_fields(task: Task) -> None:
    """Refuse a task whose fields this robot's models do not have."""
    for name in task.observation_names:
        if name not in START_FIELDS:
            raise ConfigurationError(
                f'task {task.name}: observation field {name!r} is not simulated; '
                f'the models give {", ".join(START_FIELDS)}'
            )
    if task.action_names != ['torque']:
        raise ConfigurationError(
            f'task {task.name}: action {", ".join(task.action_names)} is not simulated; '
            'the models take one field, torque'
        )
