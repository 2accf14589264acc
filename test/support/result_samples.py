"""Evaluations of runs that were never made, for tests of results."""

import dataclasses

from h2o_ros.experiments.core.results import Row
from h2o_ros.experiments.sweep.run_config import Cell

CELL = Cell('h2o', 'half_cheetah', 'halfcheetah-medium-v2', 'gravity')


def row(seed=0, update=20, value=100.0, cell=CELL, steps=20, **more):
    """Return an evaluation with a return of `value`."""
    usual = {
        'digest': 'd0', 'recipe': 'r0', 'return_std': 1.5, 'episodes': 10, 'score': 3.06,
        'seconds': 12.0, 'together': 1, 'machine': 'a processor', 'version': 'v1',
        'date': '2026-01-02',
    }  # fmt: skip
    return Row(
        **dataclasses.asdict(cell), seed=seed, steps=steps, update=update, return_mean=value,
        **(usual | more),
    )  # fmt: skip


def run(seed=0, value=100.0, **more):
    """Return the two evaluations of a finished run."""
    return [row(seed, 10, value / 2, **more), row(seed, 20, value, **more)]
