"""`merge`: results of several folders or machines in one file."""

from __future__ import annotations

import argparse

from h2o_ros.experiments.core.results import Results


def merge(words: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        'python -m h2o_ros.experiments merge',
        description='Join results; a run that several files have is taken from the first.',
    )
    parser.add_argument('files', nargs='+', metavar='FILE')
    parser.add_argument('--output', required=True, metavar='FILE')
    parser.add_argument(
        '--every', type=int, default=1, metavar='N',
        help='keep the evaluations at multiples of N updates and the last; default: all',
    )  # fmt: skip
    options = parser.parse_args(words)
    if options.every < 1:
        parser.error(f'argument --every: expected 1 or more, got {options.every}')
    joined = Results()
    for file in options.files:
        found = Results.read(file)
        repeated = sum(key in joined for key in found)
        print(f'{file}: {len(found)} runs, {repeated} of them in an earlier file')
        joined = joined.joined(found)
    joined.thinned(options.every).write(options.output)
    print(f'written: {options.output}, {len(joined)} runs')
    return 0
