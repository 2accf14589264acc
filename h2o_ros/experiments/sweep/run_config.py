"""A cell of a grid as data: one algorithm on one task, from one dataset, with one gap.

What an algorithm does not read is left out of its cell: SAC learns from no dataset, CQL from no
simulator. So tables that need the same training ask for the same cell.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.settings import ADDED, AlgorithmConfig
from h2o_ros.data.load import load_recorded
from h2o_ros.errors import ConfigurationError
from h2o_ros.sim.gaps import canonical_gap
from h2o_ros.task import Task, load_task
from h2o_ros.transitions import Transitions

UNUSED = '-'
DEMONSTRATION = 'demonstration'  # the recording that the package ships for a task
SUBSET_SEED = 0  # which rows are kept where only some are used
# Fields that change how long or how fast one trains, but not the recipe.
NOT_OF_THE_RECIPE = ('updates_total', 'compile')


@dataclass(frozen=True, order=True)
class Cell:
    """What is trained, apart from seed and number of updates.

    dataset: its name, or recordings by commas. gap: of the simulator. rows: how many transitions
    of the dataset are used, 0 for all. overrides: settings of the algorithm, as 'beta=0.005', by
    spaces.
    """

    algorithm: str
    task: str
    dataset: str = DEMONSTRATION
    gap: str = 'none'
    rows: int = 0
    overrides: str = ''

    @property
    def key(self) -> str:
        """The cell's name, which no other cell has; also that of its files."""
        parts = [self.algorithm, self.task, self.dataset, self.gap]
        parts += [f'{self.rows}_rows'] if self.rows else []
        parts += [self.overrides] if self.overrides else []
        return file_name('__'.join(parts))

    def __str__(self) -> str:
        parts = [self.algorithm, self.task]
        parts += [text for text in (self.dataset, self.gap) if text != UNUSED]
        parts += [f'{self.rows:,} rows'] if self.rows else []
        return ' '.join([*parts, *self.overrides.split()])


def file_name(text: str) -> str:
    """Return a text as the name of a file, which no other text has."""
    plain = re.sub(r'[^A-Za-z0-9_.=+-]+', '_', text)[:150]
    if plain == text:
        return text
    return f'{plain}__{hashlib.sha256(text.encode()).hexdigest()[:8]}'


def canonical(cell: Cell) -> Cell:
    """Return the cell without what its algorithm does not read, its gap by its one text.

    ConfigurationError: a name does not exist.
    """
    load_task(cell.task)
    config = configuration(cell)
    if config.needs_simulated:
        cell = dataclasses.replace(cell, gap=canonical_gap(cell.gap))
    else:
        cell = dataclasses.replace(cell, gap=UNUSED)
    if not config.needs_real:
        cell = dataclasses.replace(cell, dataset=UNUSED, rows=0)
    return cell


@cache
def configuration(cell: Cell, steps: int | None = None) -> AlgorithmConfig:
    """Return the settings with which a cell is trained; steps: updates of a run."""
    total = {} if steps is None else {'updates_total': steps}
    return load_config(cell.algorithm, load_task(cell.task), **overrides_of(cell), **total)


def overrides_of(cell: Cell) -> dict[str, Any]:
    """Return the overrides as values by name."""
    pairs = (word.split('=', 1) for word in cell.overrides.split())
    return {name: json.loads(value) for name, value in pairs}


def recipe(config: AlgorithmConfig) -> dict[str, Any]:
    """Return what the method reads and the defaults say otherwise: what makes a result."""
    usual, values = type(config)().as_mapping() | ADDED, config.as_mapping()
    read = [
        field.name
        for field in dataclasses.fields(config)
        if config.method in field.metadata.get('methods', (config.method,))
    ]
    return {
        name: values[name]
        for name in read
        if values[name] != usual[name] and name not in NOT_OF_THE_RECIPE
    }


def digest_of_recipe(recipe: Mapping[str, Any]) -> str:
    """Return 8 hexadecimal digits that change where a setting does."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]


def digest_of_rows(rows: Transitions) -> str:
    """Return 12 hexadecimal digits over every number of these transitions."""
    sha = hashlib.sha256()
    for field in dataclasses.fields(rows):
        sha.update(getattr(rows, field.name).tobytes())
    return sha.hexdigest()[:12]


class Datasets:
    """Datasets by name, the newest kept in memory; their digests all."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], str] = {}
        self._loaded: tuple[tuple[str, str], Transitions] | None = None

    def load(self, name: str, task: Task) -> Transitions:
        """Return a dataset's transitions; BagError names those that there are."""
        place = (name, task.name)
        if self._loaded is None or self._loaded[0] != place:
            self._loaded = None  # two of them need not fit into memory
            names = '' if name == DEMONSTRATION else name
            self._loaded = (place, load_recorded(names, task).transitions)
        return self._loaded[1]

    def digest(self, name: str, task: Task) -> str:
        """Return the digest of a dataset's rows; '-' for none."""
        if name == UNUSED:
            return UNUSED
        place = (name, task.name)
        if place not in self._digests:
            self._digests[place] = digest_of_rows(self.load(name, task))
        return self._digests[place]

    def of_cell(self, cell: Cell, task: Task) -> Transitions | None:
        """Return what a cell learns from, None where that is nothing recorded.

        A number of rows takes so many, drawn once: a smaller number's rows are among a larger's.
        """
        if cell.dataset == UNUSED:
            return None
        rows = self.load(cell.dataset, task)
        if not cell.rows:
            return rows
        if cell.rows > len(rows):
            raise ConfigurationError(
                f'{cell.dataset} has {len(rows)} transitions, {cell.rows} were asked for; take a '
                'larger dataset'
            )
        order = np.random.default_rng(SUBSET_SEED).permutation(len(rows))
        return rows.select(np.sort(order[: cell.rows]))
