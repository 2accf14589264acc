"""CAN bus and ODrive settings of the two wheel motors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from h2o_ros.configuration import setting
from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import WHEEL_RADIUS


@dataclass(frozen=True)
class MotorSettings:
    """Bus, motors and the limits at which they count as unfit. Wheel units: rad, rad/s, N·m."""

    interface: str = setting(
        'socketcan', '', 'kind of CAN bus', choices=('socketcan', 'udp_multicast', 'virtual')
    )
    channel: str = setting(
        '', '', "CAN interface, multicast group or name; empty: can0, the domain's own, h2o_ros"
    )
    bitrate: int = setting(
        500000, 'bit/s', 'of the bus, from which its load follows', minimum=10000, maximum=1000000
    )
    firmware: str = setting(
        '0.6', '', "generation of the motor controllers' firmware", choices=('0.6', '0.5')
    )
    left_node_id: int = setting(0, '', 'node id of the left motor', minimum=0, maximum=62)
    right_node_id: int = setting(1, '', 'node id of the right motor', minimum=0, maximum=62)
    left_direction: int = setting(
        1, '', '1 where a positive motor turn drives forwards, else -1', choices=(1, -1)
    )
    right_direction: int = setting(
        -1, '', '1 where a positive motor turn drives forwards, else -1', choices=(1, -1)
    )
    gear_ratio: float = setting(1.0, '1', 'motor turns per wheel turn', minimum=0.1, maximum=200.0)
    wheel_radius: float = setting(
        WHEEL_RADIUS,
        'm',
        "tyre included; must be the one in the task's scales",
        minimum=0.01,
        maximum=0.5,
    )
    torque_constant: float = setting(
        0.5, 'N·m/A', 'of the motor, as its controller has it', minimum=0.001, maximum=10.0
    )
    current_limit: float = setting(
        20.0, 'A', 'of each motor; also bounds the torque', minimum=0.5, maximum=150.0
    )
    velocity_limit: float = setting(
        40.0, 'rad/s', 'of each wheel; above, the motor disarms', minimum=1.0, maximum=500.0
    )
    watchdog_timeout: float = setting(
        0.09,
        's',
        'the motor stops itself after so long without a command, to be off within 100 ms',
        minimum=0.05,
        maximum=0.5,
    )
    watchdog_enable_endpoint: int = setting(
        0,
        '',
        'of axis0.config.enable_watchdog (firmware 0.6; 0: unknown)',
        minimum=0,
        maximum=65535,
    )
    watchdog_timeout_endpoint: int = setting(
        0,
        '',
        'of axis0.config.watchdog_timeout (firmware 0.6; 0: unknown)',
        minimum=0,
        maximum=65535,
    )
    heartbeat_timeout: float = setting(
        0.35, 's', 'without heartbeat a motor is lost', minimum=0.15, maximum=1.5
    )
    status_timeout: float = setting(
        1.0,
        's',
        'without temperature or supply voltage a motor is lost (firmware 0.6)',
        minimum=0.3,
        maximum=5.0,
    )
    encoder_timeout: float = setting(
        0.02, 's', 'without encoder frame a motor is lost', minimum=0.01, maximum=0.1
    )
    encoder_jump: float = setting(
        0.5,
        'rad',
        'of the wheel that velocity does not explain, at once or within about 1 s',
        minimum=0.05,
        maximum=2.5,
    )
    encoder_frozen: float = setting(
        0.1,
        's',
        'of more than breakaway_torque, in which an encoder may repeat the same numbers',
        minimum=0.02,
        maximum=1.0,
    )
    breakaway_torque: float = setting(
        0.2, 'N·m', 'at a wheel, that surely turns it', minimum=0.02, maximum=10.0
    )
    fet_temperature_limit: float = setting(
        85.0, '°C', 'of the power stage', minimum=40.0, maximum=110.0
    )
    motor_temperature_limit: float = setting(
        95.0, '°C', 'of the winding', minimum=40.0, maximum=150.0
    )
    minimum_voltage: float = setting(
        18.0, 'V', 'of the supply; below, the battery is empty', minimum=8.0, maximum=60.0
    )
    maximum_voltage: float = setting(
        57.0, 'V', 'of the supply; above, braking charges it too far', minimum=9.0, maximum=100.0
    )

    @property
    def node_ids(self) -> tuple[int, int]:
        """Left, right."""
        return self.left_node_id, self.right_node_id

    @property
    def directions(self) -> np.ndarray:
        """Left, right; (2,)."""
        return np.array([self.left_direction, self.right_direction], float)

    @property
    def torque_limit(self) -> float:
        """N·m at one wheel: what the current limit allows."""
        return self.current_limit * self.torque_constant * self.gear_ratio

    @property
    def revolutions_per_radian(self) -> np.ndarray:
        """Motor turns per radian of the wheel, with sign; (2,)."""
        return self.directions * self.gear_ratio / (2 * math.pi)


def check_settings(settings: MotorSettings) -> None:
    """Refuse what the limits of single settings do not; ConfigurationError."""
    if settings.left_node_id == settings.right_node_id:
        raise ConfigurationError(
            f'left_node_id and right_node_id are both {settings.left_node_id}; '
            'give each motor an id of its own'
        )
    if settings.minimum_voltage >= settings.maximum_voltage:
        raise ConfigurationError(
            f'minimum_voltage {settings.minimum_voltage} V is not below maximum_voltage '
            f'{settings.maximum_voltage} V; correct one of them'
        )
    endpoints = (settings.watchdog_enable_endpoint, settings.watchdog_timeout_endpoint)
    if (endpoints[0] == 0) != (endpoints[1] == 0):
        raise ConfigurationError(
            'watchdog_enable_endpoint and watchdog_timeout_endpoint: give both or none'
        )
    if endpoints[0] and settings.firmware == '0.5':
        raise ConfigurationError(
            'watchdog_enable_endpoint: firmware 0.5 takes no settings over CAN; leave it 0'
        )
