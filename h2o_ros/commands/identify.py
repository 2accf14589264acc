"""`h2o identify`: fit a virtual robot to a recording, and say how well it stands in.

    h2o identify --bag bags/take_1,bags/take_2 --output my_robot.yaml --pictures FOLDER
    h2o identify --recording FILE.txt --columns x x_dot theta theta_dot torque done

The last third of the recording is kept out of the fit. Train and drive against the robot by its
file, as in `h2o train --robot my_robot.yaml`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from h2o_ros.configuration import YAML_SUFFIXES
from h2o_ros.data.bag_transitions.load import load_bags
from h2o_ros.data.selection import chosen_bags
from h2o_ros.errors import ConfigurationError, exit_code_of
from h2o_ros.report.output import output_file, prepare_output_folder
from h2o_ros.robot.description import load_parameters, robot_folder
from h2o_ros.sim.identification.identify import identify, write_parameters
from h2o_ros.sim.identification.open_loop import FIELDS
from h2o_ros.sim.identification.recording import Recording, from_transitions, read_text
from h2o_ros.sim.identification.validation import (
    compare_closed_loop,
    compare_open_loop,
    recorded_hand,
)
from h2o_ros.task import load_task

SMALL = 10**6  # bytes of a file and two pictures
COLUMNS = ['x', 'x_dot', 'theta', 'theta_dot', 'torque', 'done']


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return exit_code_of(lambda: _run(parse(arguments)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='h2o identify', description=__doc__.split('\n')[0])
    recorded = parser.add_mutually_exclusive_group(required=True)
    recorded.add_argument('--bag', help='recordings by commas; empty: the demonstration')
    recorded.add_argument('--recording', help='or a text file, one control step a row')
    parser.add_argument('--task', default='standing_still', help='whose fields the bag holds')
    parser.add_argument('--columns', nargs='+', default=COLUMNS, help='of the file, in order')
    parser.add_argument('--rate', type=_rate, default=200.0, help='rows of the file per second')
    parser.add_argument(
        '--wheel-angle-to',
        choices=('floor', 'body'),
        default='body',
        help='whether x of the file is the way on the floor or the wheel angle to the body, '
        'times the radius',
    )
    parser.add_argument('--robot', default='wheel_legged')
    parser.add_argument('--start', default='nominal', help='virtual robot to start from')
    parser.add_argument('--output', default='identified.yaml', help='the YAML file to write')
    parser.add_argument('--pictures', default=None, help='folder for the two pictures')
    return parser.parse_args(arguments)


def read(options: argparse.Namespace) -> Recording:
    """Return the recording that the command line names; BagError, ConfigurationError."""
    if options.recording is not None:
        floor = options.wheel_angle_to == 'floor'
        return read_text(options.recording, options.columns, 1.0 / options.rate, floor)
    task = load_task(options.task)
    missing = [name for name in FIELDS if name not in task.observation_names]
    if missing:
        raise ConfigurationError(
            f'--task {task.name}: a virtual robot is fitted to {", ".join(FIELDS)}, of which it '
            f'has no {", ".join(missing)}; give one that has, as standing_still'
        )
    dataset = load_bags(chosen_bags(options.bag, task), task)
    print(dataset.report)
    return from_transitions(dataset.transitions, task)


def _rate(text: str) -> float:
    rate = float(text)
    if rate <= 0.0 or not (1000.0 / rate).is_integer():
        raise argparse.ArgumentTypeError(f'expected one of whole milliseconds a row, got {text}')
    return rate


def _run(options: argparse.Namespace) -> None:
    # Before minutes of fitting.
    output = output_file('--output', options.output, YAML_SUFFIXES, SMALL)
    pictures = prepare_output_folder(options.pictures, SMALL) if options.pictures else None
    recording = read(options)
    start = load_parameters(options.start, options.robot)
    found, kept_out = identify(recording, start, options.robot)
    names = (options.recording or options.bag or 'the demonstration').split(',')
    name = ', '.join(Path(name).absolute().name for name in names)
    write_parameters(found.parameters, found, name, output)
    folder = robot_folder(options.robot)
    opened = compare_open_loop(folder, found.parameters, kept_out)
    closed = compare_closed_loop(folder / 'virtual_robot.xml', found.parameters, recording)
    # matplotlib takes a second, and tests need none
    from h2o_ros.commands.identify_report import draw_closed_loop, draw_open_loop, report_text

    print(report_text(found, opened, closed, recorded_hand(recording)))
    written = [output]
    if pictures:
        written += [pictures / f'virtual_robot_{kind}_loop.png' for kind in ('open', 'closed')]
        draw_open_loop(opened, written[1])
        draw_closed_loop(closed, written[2])
    print(f'\nwritten: {", ".join(map(str, written))}')


if __name__ == '__main__':
    sys.exit(main())
