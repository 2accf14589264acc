"""Where a simulator disagrees with recordings: every recorded control step is made again in it.

No learner is needed, and numbers are in the units of the fields. What the sensors add to the
recording is in them, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.errors import ConfigurationError
from h2o_ros.robot.description import SIMULATOR
from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import ActionField, ObservationField, Task
from h2o_ros.transitions import Transitions

BATCH = 4096  # robots at once
LAGS = 4  # actions whose effect is looked for: this step's and those before
LEAST_ROWS = 100
PARTS = 10  # of a field's range, with as many steps each


@dataclass(frozen=True)
class Disagreement:
    """N recorded steps and what the simulator made of them.

    error: simulated less recorded next observation (N, O), in the fields' units.
    """

    task: Task
    rows: Transitions
    error: np.ndarray

    @property
    def change(self) -> np.ndarray:
        """What really changed in each step, (N, O)."""
        return _change(self.rows)

    @property
    def size(self) -> np.ndarray:
        """Root mean square of the error over that of the recorded change about its mean, (O,)."""
        spread = self.change.std(0)
        root = np.sqrt((self.error**2).mean(0))
        return root / np.where(spread > 0.0, spread, 1.0)

    @property
    def score(self) -> np.ndarray:
        """Each step's error, in spreads of the recorded change, over all fields (N,)."""
        spread = self.change.std(0)
        return np.sqrt(((self.error / np.where(spread > 0.0, spread, 1.0)) ** 2).mean(1))

    @property
    def linear_share(self) -> np.ndarray:
        """Share (O,) of the squared error that a constant, state and action explain linearly."""
        inputs = _inputs(self.rows)
        rest = self.error - inputs @ _fit(inputs, self.error)
        total = (self.error**2).mean(0)
        return 1.0 - (rest**2).mean(0) / np.where(total > 0.0, total, 1.0)


@dataclass(frozen=True)
class Effect:
    """What one unit of an action does to the change of an observation field in one step.

    recorded: of this step's action, of the one before it, ... (LAGS,), NaN where the recording has
    no steps in a row. simulated: of this step's; those before it have none.
    """

    action: int
    observation: int
    recorded: np.ndarray
    simulated: float


@dataclass(frozen=True)
class Region:
    """A part of a field's range with PARTS-th of the steps, and its mean score over all steps'."""

    name: str
    unit: str
    low: float
    high: float
    ratio: float


def disagreement(task: Task, rows: Transitions, gap: str = 'none') -> Disagreement:
    """Make each recorded step again in the simulator, from its state and with its action.

    Steps from observations that do not tell the whole state are left out, as where a velocity was
    cut. ConfigurationError: too few steps, or no observation tells the simulator's state.
    """
    one = make_simulator(task, SIMULATOR, gap=gap)
    if one.shows_its_state:
        rows = rows.select(one.placeable(rows.observation))
    if len(rows) < LEAST_ROWS:
        raise ConfigurationError(
            f'{len(rows)} recorded control steps, of which at least {LEAST_ROWS} are needed; '
            'record longer'
        )
    batch = min(len(rows), BATCH)
    robots = make_simulator(task, SIMULATOR, batch, gap=gap)
    reached = np.empty(rows.next_observation.shape)
    for start in range(0, len(rows), batch):
        part = np.arange(start, min(start + batch, len(rows)))
        filled = np.resize(part, batch)
        robots.begin_at(rows.observation[filled])
        made = robots.step(rows.action[filled])
        reached[part] = made.next_observation[: len(part)]
    return Disagreement(task, rows, reached - rows.next_observation)


def effects(found: Disagreement, recorded: Transitions) -> list[Effect]:
    """Return, for each action field, its effect on what it moves most in the simulator.

    By linear regression of the change on state and actions. recorded: steps in their order, for
    the actions before each.
    """
    names, o = found.task.action_names, len(found.task.observation)
    inputs, spread = _inputs(found.rows), found.change.std(0)
    simulated = _fit(inputs, found.error + found.change)[-len(names) :]
    moved = (np.abs(simulated) / np.where(spread > 0.0, spread, np.inf)).argmax(1)
    in_a_row = _rows_after_others(recorded)
    lagged: np.ndarray = np.full((LAGS, len(names), o), np.nan)
    if len(in_a_row) >= LEAST_ROWS:
        earlier = [recorded.action[in_a_row - lag] for lag in range(1, LAGS)]
        chosen = recorded.select(in_a_row)
        fitted = _fit(np.column_stack([_inputs(chosen), *earlier]), _change(chosen))
        lagged = fitted[-LAGS * len(names) :].reshape(lagged.shape)
    return [
        Effect(action, field, lagged[:, action, field], float(simulated[action, field]))
        for action, field in enumerate(moved)
    ]


def worst_regions(found: Disagreement) -> list[Region]:
    """Return, for each field of state and action, the part in which the simulator is most off.

    The worst comes first. A field whose parts cannot be told apart has none.
    """
    score, regions = found.score, []
    task = found.task
    entries: list[ObservationField | ActionField] = [*task.observation, *task.action]
    for entry, values in zip(entries, _inputs(found.rows)[:, 1:].T, strict=True):
        edges = np.quantile(values, np.linspace(0.0, 1.0, PARTS + 1))
        if not (np.diff(edges) > 0.0).all() or not score.any():
            continue
        part = np.clip(np.searchsorted(edges, values, 'right') - 1, 0, PARTS - 1)
        means = np.bincount(part, score, PARTS) / np.bincount(part, minlength=PARTS)
        worst = int(means.argmax())
        ratio = float(means[worst] / score.mean())
        regions.append(Region(entry.name, entry.unit, edges[worst], edges[worst + 1], ratio))
    return sorted(regions, key=lambda region: -region.ratio)


def _change(rows: Transitions) -> np.ndarray:
    return rows.next_observation.astype(np.float64) - rows.observation


def _inputs(rows: Transitions) -> np.ndarray:
    """Return a constant, state and action of each step, (N, 1 + O + A)."""
    return np.column_stack([np.ones(len(rows)), rows.observation, rows.action]).astype(np.float64)


def _fit(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the coefficients of least squares, (inputs, outputs)."""
    return np.linalg.lstsq(inputs, outputs, rcond=None)[0]


def _rows_after_others(rows: Transitions) -> np.ndarray:
    """Return the rows that LAGS - 1 others of the same episode come right before."""
    ends = rows.terminated | rows.truncated
    joined = (rows.next_observation[:-1] == rows.observation[1:]).all(1) & ~ends[:-1]
    after = np.arange(LAGS - 1, len(rows))
    whole = np.ones(len(after), bool)
    for lag in range(1, LAGS):
        whole &= joined[after - lag]
    return after[whole]
