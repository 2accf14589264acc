"""How a robot is driven: limits of what a person may ask for, trim, and excitation."""

from __future__ import annotations

from dataclasses import dataclass

from h2o_ros.configuration import setting


@dataclass(frozen=True)
class PilotSettings:
    """How a robot is driven."""

    velocity_limit: float = setting(
        0.4, 'm/s', 'fastest that a person may drive', minimum=0.0, maximum=2.0
    )
    acceleration_limit: float = setting(
        0.8, 'm/s²', 'of the velocity followed', minimum=0.05, maximum=5.0
    )
    command_timeout: float = setting(
        0.25, 's', 'age at which cmd_vel counts as released', minimum=0.05, maximum=1.0
    )
    trim: float = setting(
        0.0,
        'rad',
        'first guess of the tilt at which the robot balances',
        minimum=-0.15,
        maximum=0.15,
    )
    excitation: float = setting(
        0.0,
        '1',
        'torque noise, knocks and soft, changing gains while the balance controller drives, for '
        'rich recordings; 1 is as the scripted operator',
        minimum=0.0,
        maximum=2.0,
    )
    needs_release: bool = setting(
        False,
        '',
        'hand the robot to a policy only after the supervisor has released it at the end of the '
        'shadow phase; again after each arming',
    )
    real_time_priority: int = setting(
        35,
        '',
        "under SCHED_FIFO, where that is allowed; below the driver's; 0: do not ask for it",
        minimum=0,
        maximum=98,
    )
