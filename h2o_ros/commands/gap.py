"""`h2o gap`: where the simulator is off, field by field, by recorded control steps.

    h2o gap --bag runs/teleop
    h2o gap --task half_cheetah --bag halfcheetah-medium-replay-v2 --gap gravity

Each recorded step is made again in the simulator, from its recorded state and with its recorded
action, and the two next states are compared: how far they differ, where most, and when an action
works. It takes seconds and no training.
"""

from __future__ import annotations

import argparse

from h2o_ros.argument_types import at_least
from h2o_ros.commands.gap_report import draw_gap, gap_text
from h2o_ros.data.load import load_recorded
from h2o_ros.report.output import output_file
from h2o_ros.sim.gap_analysis.errors import effects, field_errors
from h2o_ros.sim.gap_analysis.one_step import LEAST_ROWS, remake
from h2o_ros.sim.gaps import HELP
from h2o_ros.task import load_task

SMALL = 10**6  # bytes of a picture


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        'h2o gap', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--task', default='standing_still', help='name or path of its YAML file')
    parser.add_argument(
        '--bag',
        default='',
        help='bags, folders of takes or datasets, by commas; empty: the demonstration',
    )
    parser.add_argument('--gap', default='none', help=HELP)
    parser.add_argument(
        '--steps',
        type=at_least(LEAST_ROWS),
        default=20000,
        help='recorded steps to make again, drawn at random (default: %(default)s)',
    )
    parser.add_argument('--picture', default='runs/gap.png', help='default: %(default)s')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = parse(arguments)
    task = load_task(options.task)
    picture = output_file('--picture', options.picture, ('.png',), SMALL)
    recorded = load_recorded(options.bag, task)
    print(recorded.report)
    made = remake(task, recorded.transitions, options.steps, options.gap)
    errors, of_actions = field_errors(made), effects(made)
    print(gap_text(made, errors, of_actions))
    print(f'\npicture: {draw_gap(made, errors, of_actions, picture)}')
    return 0
