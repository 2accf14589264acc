"""Fit a virtual robot to a recording, physics, noise and resolution, and write its YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from h2o_ros.errors import SimulationError
from h2o_ros.robot.description import RobotParameters, robot_folder
from h2o_ros.sim.identification.fit import Fit, fit, sensor_noise, sensor_steps, torque_noise
from h2o_ros.sim.identification.recording import Recording
from h2o_ros.sim.identification.validation import open_loop_windows

# Parameters that are read off the recording directly.
MEASURED = (
    'theta_noise', 'theta_dot_noise', 'wheel_velocity_noise', 'torque_noise',
    'theta_step', 'theta_dot_step', 'wheel_velocity_step',
)  # fmt: skip


def identify(
    recording: Recording,
    start: RobotParameters,
    robot: str = 'wheel_legged',
    fit_share: float = 2 / 3,
    progress: Callable[[str], None] = print,
) -> tuple[Fit, Recording]:
    """Fit physics, noise and resolution to the first part of a recording; return also the rest."""
    cut = round(fit_share * len(recording))
    used, kept_out = recording.part(0, cut), recording.part(cut, len(recording))
    open_loop_windows(kept_out)  # refused before minutes of fitting
    path = robot_folder(robot) / 'virtual_robot.xml'
    found = fit(used, path, start, progress=progress)
    seen = {**sensor_noise(used), **sensor_steps(used)}
    parameters = dataclasses.replace(found.parameters, **seen)
    seen = torque_noise(used, path, parameters)
    return dataclasses.replace(found, parameters=dataclasses.replace(parameters, **seen)), kept_out


def write_parameters(parameters: RobotParameters, found: Fit, source: str, path: Path) -> None:
    """Write the parameters that differ from the defaults, each with its unit and origin."""
    lines = [
        f'# A virtual robot, identified from {source} by h2o identify:',
        f'# {found.windows} open-loop windows; "fitted" are the least-squares results, "measured"',
        '# is the noise and resolution seen in the recording; all else is assumed.',
    ]
    for field in dataclasses.fields(parameters):
        value = getattr(parameters, field.name)
        if value == field.default and field.name not in found.deviations:
            continue
        origin = 'assumed'
        if field.name in found.deviations or field.name == 'torque_delay':
            origin = 'fitted'
        elif field.name in MEASURED:
            origin = 'measured'
        unit = field.metadata['unit']
        lines.append(f'{field.name}: {float(f"{value:.4g}")} # {unit}, {origin}')
    try:
        path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    except OSError as err:
        raise SimulationError(
            f'{path}: cannot be written ({err.strerror}); choose another'
        ) from err
