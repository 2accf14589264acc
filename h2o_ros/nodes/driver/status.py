"""The hardware driver's state as messages."""

from __future__ import annotations

import math

import numpy as np

from h2o_ros.msg import DriverStatus
from h2o_ros.nodes.core.base_node import CUT_OUT
from h2o_ros.nodes.core.diagnostics import ERROR, OK, WARN
from h2o_ros.robot.control.session import Running
from h2o_ros.robot.safety.state_machine import Safety

STATES = {
    DriverStatus.UNCONFIGURED: 'unconfigured',
    DriverStatus.DISARMED: 'disarmed',
    DriverStatus.ARMED: 'armed',
    DriverStatus.RAMPING_DOWN: 'ramping down',
    DriverStatus.TRIPPED: 'tripped',
    DriverStatus.EMERGENCY_STOPPED: 'emergency stopped',
}


def driver_status(safety: Safety, running: Running | None, now: float) -> DriverStatus:
    """Return what is known at `now` (s, monotonic); header, contract and scheduling stay open."""
    status = DriverStatus(
        state=int(safety.state),
        reason=safety.reason,
        obstacles='' if safety.moving else '; '.join(safety.obstacles(now)),
        trips=safety.trips,
        commands_refused=safety.refused,
        command_age=safety.command_age(now),
        sensor_age=math.inf,
        encoder_age=math.inf,
        voltage=math.nan,
        fet_temperature=np.full(2, np.nan, np.float32),
        motor_temperature=np.full(2, np.nan, np.float32),
    )
    if running is None:
        return status
    control, deadlines = running.control, running.loop.deadlines
    status.step, status.torque, status.source = control.number, control.torque, control.source
    status.sensor_age = max(control.measurement.ages.values(), default=math.inf)
    status.encoder_age = control.encoder_age(now)
    status.commands_missing = control.missing
    status.deadlines = deadlines.number
    status.deadlines_missed = deadlines.missed
    status.lateness_p99, status.largest_lateness = deadlines.lateness()
    motor = control.statistics
    status.bus_load = motor.bus_load
    status.voltage = float(np.min(motor.voltage))
    status.fet_temperature = motor.fet_temperature.astype(np.float32)
    status.motor_temperature = motor.motor_temperature.astype(np.float32)
    status.axis_errors = list(motor.errors)
    return status


def level(status: DriverStatus) -> bytes:
    """Return how bad it is, as diagnostics say it."""
    if status.state in CUT_OUT:
        return ERROR
    return WARN if status.reason else OK


def diagnostic_values(status: DriverStatus) -> dict[str, object]:
    """Return what is shown beside it, with units."""
    left, right = status.axis_errors
    return {
        'state': STATES[status.state],
        'stands against arming': status.obstacles,
        'trips': status.trips,
        'bus load (%)': 100.0 * status.bus_load,
        'supply (V)': status.voltage,
        'power stage, left (°C)': float(status.fet_temperature[0]),
        'power stage, right (°C)': float(status.fet_temperature[1]),
        'winding, left (°C)': float(status.motor_temperature[0]),
        'winding, right (°C)': float(status.motor_temperature[1]),
        'errors, left': left,
        'errors, right': right,
        'deadlines missed': status.deadlines_missed,
        'control steps': status.deadlines,
        'lateness, 99th percentile (ms)': 1e3 * status.lateness_p99,
        'lateness, largest (ms)': 1e3 * status.largest_lateness,
        'real-time scheduling': status.real_time,
        'commands refused': status.commands_refused,
        'commands missing': status.commands_missing,
        'sensor age (ms)': 1e3 * status.sensor_age,
        'encoder age (ms)': 1e3 * status.encoder_age,
    }
