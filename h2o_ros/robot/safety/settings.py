"""The limits that keep robot and people safe. Each can be moved, none can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

from h2o_ros.configuration import setting
from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.motors.settings import MotorSettings
from h2o_ros.task import Task

JOINTS = 'joint_states'  # the topic of the wheels
BODY = ('orientation.', 'angular_velocity.')  # fields of the IMU
SAME_RADIUS = 0.01  # as a share; more would show as a wrong speed
OVERSPEED = 1.2  # of the speed limit: beyond it nothing that was commanded explains the speed


@dataclass(frozen=True)
class SafetySettings:
    """At which values the driver limits the torque, and at which it switches the motors off."""

    slew_rate: float = setting(
        600.0, 'N·m/s', 'fastest change of the torque', minimum=30.0, maximum=3000.0
    )
    speed_limit: float = setting(
        30.0,
        'rad/s',
        'of a wheel; above 80 % of it accelerating torque fades, 20 % above it the driver trips',
        minimum=1.0,
        maximum=60.0,
    )
    derating_band: float = setting(
        20.0,
        '°C',
        'below the temperature limits, in which the torque limit falls to zero',
        minimum=5.0,
        maximum=40.0,
    )
    sensor_timeout: float = setting(
        0.02, 's', 'oldest IMU message that may be acted upon', minimum=0.005, maximum=0.1
    )
    sensor_frozen: float = setting(
        0.1,
        's',
        'for which fresh messages of a sensor may all say the same',
        minimum=0.02,
        maximum=0.5,
    )
    tilt_difference: float = setting(
        0.2,
        'rad',
        'by which the tilt may change, within about 1 s, otherwise than its rate says',
        minimum=0.05,
        maximum=0.5,
    )
    observation_timeout: float = setting(
        0.02, 's', 'oldest observation whose action is still sent', minimum=0.005, maximum=0.1
    )
    command_timeout: float = setting(
        0.05,
        's',
        'from the last fresh command until zero torque is on the bus',
        minimum=0.02,
        maximum=0.25,
    )
    missed_deadlines: int = setting(
        4, 'control steps', 'missed in a row, at which to trip', minimum=1, maximum=20
    )
    tilt_limit: float = setting(
        0.7,
        'rad',
        'to any side, at which the robot has fallen, whatever the task says',
        minimum=0.1,
        maximum=1.2,
    )
    arm_tilt: float = setting(
        0.2, 'rad', 'largest tilt at which to arm', minimum=0.02, maximum=0.5
    )
    arm_wheel_speed: float = setting(
        1.0, 'rad/s', 'largest wheel speed at which to arm', minimum=0.1, maximum=5.0
    )
    ramp_time: float = setting(
        0.2, 's', 'in which the torque fades when deactivated', minimum=0.05, maximum=1.0
    )


def check_safety(safety: SafetySettings, motors: MotorSettings, task: Task) -> None:
    """Refuse limits that contradict each other, and a task that no limit would fit."""
    if 'theta' not in task.observation_names or len(task.action) != 1:
        raise ConfigurationError(
            f'task {task.name}: the driver needs the observation field theta, to see a fall, and '
            'one action field, the sum of both wheel torques; drive another task'
        )
    if not task.action[0].lower < 0.0 < task.action[0].upper:
        raise ConfigurationError(
            f'task {task.name}: its torque limits {task.action[0].lower:g} to '
            f'{task.action[0].upper:g} N·m leave no zero torque; correct lower and upper'
        )
    if safety.arm_tilt >= safety.tilt_limit:
        raise ConfigurationError(
            f'arm_tilt {safety.arm_tilt} rad is not below tilt_limit {safety.tilt_limit} rad, at '
            'which the robot has fallen; lower it'
        )
    if task.termination.name == 'fallen' and safety.arm_tilt >= task.termination.limit:
        raise ConfigurationError(
            f'arm_tilt {safety.arm_tilt} rad is not below {task.termination.limit:.3f} rad, where '
            f'task {task.name} takes the robot as fallen; lower it'
        )
    if OVERSPEED * safety.speed_limit > motors.velocity_limit:
        raise ConfigurationError(
            f'speed_limit {safety.speed_limit} rad/s: 1.2 times as much is above velocity_limit '
            f'{motors.velocity_limit} rad/s, where the motors stop themselves; lower it'
        )
    for what, radius in wheel_radii_of(task).items():
        if abs(radius / motors.wheel_radius - 1.0) > SAME_RADIUS:
            raise ConfigurationError(
                f'wheel_radius {motors.wheel_radius:g} m: task {task.name} computes {what} with '
                f'{radius:g} m; correct the parameter, or the scales in a task of your own'
            )


def wheel_radii_of(task: Task) -> dict[str, float]:
    """Return the radii in m with which a task turns angles into metres, by what they are for.

    Both wheels count, so theirs is the sum of their scales. They turn against the body, whose own
    turn comes with the whole radius.
    """
    found = {}
    turns = {  # how the task takes each turn itself: minus, for an IMU mounted backwards
        (source.topic, source.field): source.scale
        for field in task.observation
        if field.unit in ('rad', 'rad/s')
        for source in field.sources
    }
    for field in task.observation:
        wheels = [s.scale for s in field.sources if s.topic == JOINTS and s.joint]
        if field.unit in ('m', 'm/s') and wheels:
            found[f'{field.name} from the wheels'] = sum(wheels)
            body = [s for s in field.sources if s.field.startswith(BODY)]
            found |= {
                f'{field.name} from {s.field}': s.scale / turns.get((s.topic, s.field), 1.0)
                for s in body
            }
    return found
