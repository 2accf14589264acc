"""A robot as config/robots/NAME describes it: its MJCF files and its parameters in YAML."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from h2o_ros.configuration import YAML_SUFFIXES, build, read_yaml, setting
from h2o_ros.errors import ConfigurationError
from h2o_ros.task import share_folder

# Wheel radius in m, from the authors' code; the MJCF files and the tasks hold the same number.
WHEEL_RADIUS = 0.065
# The wheels' joints, in the MJCF files and in joint_states.
WHEELS = ('left_wheel', 'right_wheel')
SIMULATOR = 'simulator'
A_FILE = 'path of a YAML file'
VIRTUAL_ROBOT = 'virtual_robot.xml'  # beside whose parameters RobotParameters are read


@dataclass(frozen=True)
class RobotParameters:
    """One virtual robot: what virtual_robot.xml leaves open.

    Torques and frictions are sums over both wheels. The centre of mass and the inertia are those
    of everything that tilts: body and legs, without the wheels.
    """

    body_mass: float = setting(8.2, 'kg', 'mass of body and legs', minimum=0.5, maximum=100.0)
    com_height: float = setting(
        0.2206, 'm', 'centre of mass above the axle', minimum=0.02, maximum=1.0
    )
    com_offset: float = setting(
        0.0, 'm', 'centre of mass before the axle', minimum=-0.1, maximum=0.1
    )
    pitch_inertia: float = setting(
        0.0588, 'kg·m²', 'about the centre of mass', minimum=1e-3, maximum=10.0
    )
    torque_gain: float = setting(1.0, '1', 'torque made / commanded', minimum=0.1, maximum=3.0)
    torque_delay: float = setting(0.0, 's', 'dead time', minimum=0.0, maximum=0.1)
    torque_lag: float = setting(1e-4, 's', 'first-order lag', minimum=1e-5, maximum=0.1)
    torque_noise: float = setting(
        0.0, 'N·m', 'deviation of what nobody commanded', minimum=0.0, maximum=2.0
    )
    torque_noise_correlation: float = setting(
        0.02, 's', 'of the torque noise', minimum=1e-3, maximum=10.0
    )
    coulomb_friction: float = setting(0.0, 'N·m', 'of the wheel joints', minimum=0.0, maximum=5.0)
    viscous_friction: float = setting(
        0.0, 'N·m·s/rad', 'of the wheel joints', minimum=0.0, maximum=1.0
    )
    rolling_resistance: float = setting(
        0.0, 'N·m', 'wheels against the floor', minimum=0.0, maximum=5.0
    )
    sliding_friction: float = setting(
        1.0, '1', 'coefficient of tyre on floor', minimum=0.05, maximum=3.0
    )
    leg_stiffness: float = setting(
        2000.0, 'N·m/rad', 'of hip and of knee', minimum=50.0, maximum=1e4
    )
    leg_damping: float = setting(10.0, 'N·m·s/rad', 'of hip and of knee', minimum=0.0, maximum=1e3)
    theta_bias: float = setting(0.0, 'rad', 'of the measured pitch', minimum=-0.2, maximum=0.2)
    theta_dot_bias: float = setting(0.0, 'rad/s', 'of the gyroscope', minimum=-0.5, maximum=0.5)
    theta_noise: float = setting(0.0, 'rad', 'standard deviation', minimum=0.0, maximum=0.1)
    theta_dot_noise: float = setting(0.0, 'rad/s', 'standard deviation', minimum=0.0, maximum=1.0)
    theta_step: float = setting(
        2 * math.pi / 65536, 'rad', 'resolution of the pitch', minimum=0.0, maximum=0.1
    )
    theta_dot_step: float = setting(
        1.53e-3, 'rad/s', 'resolution of the gyroscope', minimum=0.0, maximum=0.1
    )
    wheel_step: float = setting(
        2 * math.pi / 4096, 'rad', 'resolution of the encoder', minimum=0.0, maximum=0.1
    )
    wheel_velocity_noise: float = setting(
        0.0, 'rad/s', 'standard deviation', minimum=0.0, maximum=1.0
    )
    wheel_velocity_step: float = setting(
        0.0, 'rad/s', 'resolution of the wheel speed', minimum=0.0, maximum=1.0
    )
    wheel_delay: float = setting(0.0, 's', 'age of the wheel readings', minimum=0.0, maximum=0.05)


def robot_folder(robot: str) -> Path:
    """Return config/robots/ROBOT; ConfigurationError lists the robots that exist."""
    robots = share_folder('config/robots')
    folder = robots / robot
    if not folder.is_dir():
        known = ', '.join(sorted(path.name for path in robots.iterdir() if path.is_dir()))
        raise ConfigurationError(f'robot {robot!r} is unknown; choose one of {known}')
    return folder


def model_names(robot: str) -> list[str]:
    """List the models of a robot: the training simulator, then the virtual robots."""
    return [SIMULATOR, *sorted(path.stem for path in robot_folder(robot).glob('*.yaml'))]


def model_help() -> str:
    """Say what may stand for reality, as command lines and launch files do."""
    models = ', '.join(model_names('wheel_legged'))
    return f'{models} of the wheel-legged robot, simulator or standard of the others, or {A_FILE}'


def check_model(robot: str, model: str) -> None:
    """Refuse a model that a robot does not have, and the path of a YAML file that is none."""
    if model.endswith(YAML_SUFFIXES):
        if (robot_folder(robot) / VIRTUAL_ROBOT).is_file():
            load_parameters(model, robot)
        else:
            read_yaml(Path(model))
    elif model not in model_names(robot):
        raise ConfigurationError(
            f'model {model!r} of {robot} is unknown; choose one of {", ".join(model_names(robot))}'
        )


def load_parameters(name_or_path: str | Path, robot: str = 'wheel_legged') -> RobotParameters:
    """Read a virtual robot by name (standard, hard) or by the path of a YAML file.

    `base: NAME` in the file takes everything that the file does not say from another one beside
    it.
    """
    path = Path(name_or_path)
    if path.suffix not in YAML_SUFFIXES:
        path = robot_folder(robot) / f'{name_or_path}.yaml'
        check_model(robot, str(name_or_path))
    mapping = read_yaml(path)
    if 'base' in mapping:
        base = path.parent / f'{mapping.pop("base")}.yaml'
        if base.resolve() == path.resolve():
            raise ConfigurationError(f'{path}: base: a file cannot be its own base')
        mapping = {**dataclasses.asdict(load_parameters(base)), **mapping}
    return build(RobotParameters, mapping, str(path))
