"""Dependencies of each run: datasets, gaps, settings of algorithms and tasks, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

from h2o_ros.errors import BagError
from h2o_ros.experiments.sweep import run_config
from h2o_ros.experiments.sweep.run_config import UNUSED, Cell, Datasets
from h2o_ros.sim.gaps import find_gap
from h2o_ros.task import Task, load_task


def rests_on(
    wanted: Iterable[Cell], needed: Collection[Cell], data: Datasets, steps: int
) -> dict[str, dict[str, Any]]:
    """Return what runs of so many steps rest on, by kind and name, as a manifest notes it.

    needed: cells that are to be trained; BagError where a dataset of theirs cannot be read. One
    that only other cells use is left out then.
    """
    wanted = sorted(set(wanted))
    return {
        'dataset': _digests(wanted, needed, data),
        'gap': {
            name: dataclasses.asdict(find_gap(name))
            for name in sorted({cell.gap for cell in wanted} - {UNUSED})
        },
        'algorithm': {
            f'{cell.algorithm} on {cell.task} {cell.overrides}'.strip(): run_config.recipe(
                run_config.configuration(cell, steps)
            )
            for cell in wanted
        },
        'task': {
            name: fields_of(load_task(name)) for name in sorted({cell.task for cell in wanted})
        },
    }


def fields_of(task: Task) -> dict[str, Any]:
    """Return the fields of a task that are not as usual; of what has parts, a digest.

    `learning` is left out: the recipes of the algorithms have it.
    """
    found, values = {}, dataclasses.asdict(task)
    for field in dataclasses.fields(task):
        usual = field.default
        if field.default_factory is not dataclasses.MISSING:
            usual = field.default_factory()
        if getattr(task, field.name) != usual and field.name != 'learning':
            value = values[field.name]
            plain = isinstance(value, str | int | float)
            found[field.name] = (
                value if plain else run_config.digest_of_recipe({field.name: value})
            )
    return found


def _digests(wanted: Iterable[Cell], needed: Collection[Cell], data: Datasets) -> dict[str, str]:
    pairs = {(cell.dataset, cell.task) for cell in wanted if cell.dataset != UNUSED}
    must = {(cell.dataset, cell.task) for cell in needed}
    found = {}
    for dataset, task in sorted(pairs):
        try:
            found[dataset] = data.digest(dataset, load_task(task))
        except BagError:
            if (dataset, task) in must:
                raise
    return found
