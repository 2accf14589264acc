"""Command: fit a virtual robot to a recording, write its YAML, and say how well it stands in.

python -m h2o_ros.sim.identification --recording FILE --output standard.yaml --pictures FOLDER
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from h2o_ros.errors import H2OError, SimulationError
from h2o_ros.robot.description import RobotParameters, load_parameters, robot_folder
from h2o_ros.sim.comparison import compare_closed_loop, compare_open_loop, recorded_hand
from h2o_ros.sim.fitting import Fit, fit, sensor_noise, sensor_steps, torque_noise
from h2o_ros.sim.recording import Recording, read_text

# Parameters that are read off the recording directly.
MEASURED = (
    'theta_noise', 'theta_dot_noise', 'wheel_velocity_noise', 'torque_noise',
    'theta_step', 'theta_dot_step', 'wheel_velocity_step',
)  # fmt: skip
COLUMNS = ['x', 'x_dot', 'theta', 'theta_dot', 'torque', 'done']


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
    path = robot_folder(robot) / 'virtual_robot.xml'
    found = fit(used, path, start, progress=progress)
    seen = {**sensor_noise(used), **sensor_steps(used)}
    parameters = dataclasses.replace(found.parameters, **seen)
    seen = torque_noise(used, path, parameters)
    return dataclasses.replace(found, parameters=dataclasses.replace(parameters, **seen)), kept_out


def write_parameters(parameters: RobotParameters, found: Fit, source: str, path: Path) -> None:
    """Write the parameters that differ from the defaults, each with its unit and origin."""
    lines = [
        f'# A virtual robot, identified from {source} by python -m h2o_ros.sim.identification:',
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except H2OError as err:
        print(f'identify: {err}', file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='h2o identify', description=__doc__.split('\n')[0])
    parser.add_argument('--recording', required=True, help='text file, one control step a row')
    parser.add_argument('--columns', nargs='+', default=COLUMNS, help='its columns in order')
    parser.add_argument('--rate', type=float, default=200.0, help='rows per second')
    parser.add_argument(
        '--wheel-angle-to',
        choices=('floor', 'body'),
        default='body',
        help='whether x is the way on the floor or the wheel angle to the body, times the radius',
    )
    parser.add_argument('--robot', default='wheel_legged')
    parser.add_argument('--start', default='nominal', help='virtual robot to start from')
    parser.add_argument('--output', default='identified.yaml', help='the YAML file to write')
    parser.add_argument('--pictures', default=None, help='folder for the two pictures')
    return parser


def _run(options: argparse.Namespace) -> None:
    recording = read_text(
        options.recording, options.columns, 1.0 / options.rate, options.wheel_angle_to == 'floor'
    )
    start = load_parameters(options.start, options.robot)
    found, kept_out = identify(recording, start, options.robot)
    name = Path(options.recording).name
    write_parameters(found.parameters, found, name, Path(options.output))
    folder = robot_folder(options.robot)
    opened = compare_open_loop(folder, found.parameters, kept_out)
    closed = compare_closed_loop(folder / 'virtual_robot.xml', found.parameters, recording)
    from h2o_ros.sim import comparison_report  # matplotlib takes a second, and tests need none

    print(comparison_report.report_text(found, opened, closed, recorded_hand(recording)))
    written = [options.output]
    if options.pictures:
        pictures = Path(options.pictures)
        comparison_report.draw_open_loop(opened, pictures / 'virtual_robot_open_loop.png')
        comparison_report.draw_closed_loop(closed, pictures / 'virtual_robot_closed_loop.png')
        written += [str(pictures / 'virtual_robot_open_loop.png')]
        written += [str(pictures / 'virtual_robot_closed_loop.png')]
    print(f'\nwritten: {", ".join(written)}')


if __name__ == '__main__':
    sys.exit(main())
