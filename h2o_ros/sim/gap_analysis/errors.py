"""Where a simulator disagrees with recordings: what of its errors follows from what, and where.

All regressions are linear. What sensors add to the recording is in these numbers, too: in the
changes, and in the state from which a step is made again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h2o_ros.sim.gap_analysis.one_step import LEAST_ROWS, Remade
from h2o_ros.task import ActionField, ObservationField
from h2o_ros.transitions import Transitions

LAGS = 12  # actions whose effect is looked for: this step's and those before
PARTS = 10  # of a field's range, with as many steps each
OWN_SHARE = 1e-3  # of an action's variance that nothing else tells, at least, to see its effect
LEAST_PRECISE = 0.25  # standard error of an effect over the simulated one's size, at most
NEGLIGIBLE = 1e-3  # error over the recorded change's deviation: rounding
RIDGE = 1e-9  # added to the variance of scaled inputs, so that what depends on others is found
CERTAIN = 3.0  # standard errors by which a region's mean differs


@dataclass(frozen=True)
class FieldErrors:
    """The simulator's errors in each observation field, (O,) each, in the field's unit.

    mean, root: mean and root mean square of simulated less recorded next observation. size: root
    over the spread of the recorded change, NaN where the field never changes.
    by_state_and_action: share of the squared error that a linear function of the step's state and
    action explains; by_earlier: what the LAGS - 1 actions before explain besides. NaN where that
    cannot be told.
    """

    mean: np.ndarray
    root: np.ndarray
    size: np.ndarray
    by_state_and_action: np.ndarray
    by_earlier: np.ndarray

    @property
    def agree(self) -> bool:
        """Whether the simulator does what was recorded, but for rounding."""
        appeared = np.isnan(self.size) & (self.root > 0.0)
        return not ((self.size > NEGLIGIBLE) | appeared).any()


@dataclass(frozen=True)
class Effect:
    """What one unit of an action does to the change of an observation field in one step.

    simulated: of this step's action, those before it have none. recorded: of this step's action,
    of the one before it, ... (LAGS,), NaN where that cannot be told: the recording has no steps in
    a row, or the action followed from state and earlier actions.
    """

    action: int
    observation: int
    recorded: np.ndarray
    simulated: float


@dataclass(frozen=True)
class Region:
    """A part of a field's range, and the mean error there over that of all steps."""

    name: str
    unit: str
    low: float
    high: float
    ratio: float


def field_errors(made: Remade) -> FieldErrors:
    """Return how far off each field is, and what of that is linear."""
    error, spread = made.error, made.spread
    root = np.sqrt((error**2).mean(0))
    size = np.divide(root, spread, out=np.full_like(root, np.nan), where=spread > 0.0)
    inputs = _inputs(made.rows)
    first, besides = _explained(inputs, error), np.full_like(root, np.nan)
    follows = np.isin(made.index, _in_a_row(made.recorded))
    if follows.sum() >= LEAST_ROWS:
        more = _with_earlier(made.recorded, made.index[follows])
        besides = _explained(more, error[follows])
        besides -= _explained(more[:, : inputs.shape[1]], error[follows])
    untold = ~(size > NEGLIGIBLE)
    first[untold] = besides[untold] = np.nan
    return FieldErrors(error.mean(0), root, size, first, besides)


def scores(made: Remade) -> np.ndarray:
    """Return each step's error in spreads of the recorded change, over all fields, (N,)."""
    moving = made.spread > 0.0
    return np.sqrt(((made.error[:, moving] / made.spread[moving]) ** 2).mean(1))


def effects(made: Remade) -> list[Effect]:
    """Return, for each action field, its effect on what it moves most in the simulator."""
    size, spread = np.abs(made.effect), made.spread
    moved = np.divide(size, spread, out=np.zeros_like(size), where=spread > 0.0).argmax(1)
    simulated = made.effect[np.arange(len(moved)), moved]
    recorded = _recorded_effects(made)[:, np.arange(len(moved)), moved]
    return [
        Effect(action, int(field), recorded[:, action], float(simulated[action]))
        for action, field in enumerate(moved)
    ]


def _recorded_effects(made: Remade) -> np.ndarray:
    """Return what each action, of this step and those before, does to each change (LAGS, A, O).

    It is the effect in the simulator, which is known, less that on the simulator's error, which is
    fitted. A fit to the recorded changes themselves would find delay in a robot that has none:
    earlier actions tell what is not linear in the state.
    """
    actions, o = made.effect.shape
    shape = (LAGS, actions, o)
    follows = np.isin(made.index, _in_a_row(made.recorded))
    if follows.sum() < LEAST_ROWS + 1 + o + LAGS * actions:
        return np.full(shape, np.nan)
    inputs = _with_earlier(made.recorded, made.index[follows])[:, 1:]
    fitted, doubt, own = _regression(inputs, made.error[follows])
    certain = doubt[o:].reshape(shape) <= LEAST_PRECISE * np.abs(made.effect)
    certain &= own[o:].reshape(LAGS, actions, 1) >= OWN_SHARE
    recorded = -fitted[o:].reshape(shape)
    recorded[0] += made.effect
    return np.where(certain, recorded, np.nan)


def _regression(
    inputs: np.ndarray, outputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit outputs (N, O) to a constant and inputs (N, I) that may depend on each other.

    Returns coefficients (I, O), their standard errors, and the share of each input's variance that
    the others do not tell (I,), about 0 for one that does not vary.
    """
    inputs, outputs = inputs - inputs.mean(0), outputs - outputs.mean(0)
    deviation = inputs.std(0)
    unit = np.where(deviation > 0.0, deviation, np.inf)[:, None]
    scaled = inputs / unit.T
    correlation = scaled.T @ scaled / len(scaled)
    inverse = np.linalg.inv(correlation + RIDGE * np.eye(len(correlation)))
    fitted = inverse @ (scaled.T @ outputs) / len(scaled)
    left = (outputs - scaled @ fitted).std(0)
    inflation = np.diag(inverse)
    doubt = np.sqrt(inflation / len(scaled))[:, None] * left
    return fitted / unit, doubt / unit, 1.0 / inflation


def worst_regions(made: Remade) -> list[Region] | None:
    """Return, for each field of state and action, the part in which the error is largest.

    The worst comes first. Those are left out whose difference may be chance, and all of a field
    that does not vary. None: there are too few steps.
    """
    if len(made.index) < LEAST_ROWS * PARTS:
        return None
    score, regions = scores(made), []
    entries: list[ObservationField | ActionField] = [*made.task.observation, *made.task.action]
    for column, (entry, values) in enumerate(zip(entries, _inputs(made.rows).T[1:], strict=True)):
        edges = _edges(values)
        if len(edges) < 3:
            continue
        part = np.clip(np.searchsorted(edges, values, 'right') - 1, 0, len(edges) - 2)
        count = np.bincount(part, minlength=len(edges) - 1)
        mean = np.bincount(part, score, len(count)) / np.maximum(count, 1)
        worst = int(mean.argmax())
        doubt = score[part == worst].std() / np.sqrt(count[worst])
        if mean[worst] - score.mean() > CERTAIN * doubt:
            name = entry.name if column < len(made.task.observation) else f'action {entry.name}'
            ratio = float(mean[worst] / score.mean())
            regions.append(Region(name, entry.unit, edges[worst], edges[worst + 1], ratio))
    return sorted(regions, key=lambda region: -region.ratio)


def _edges(values: np.ndarray) -> np.ndarray:
    """Return edges between parts of as many values each; one that many have is a part alone."""
    edges = np.quantile(values, np.linspace(0.0, 1.0, PARTS + 1))
    often = [edge for edge in np.unique(edges) if (values == edge).mean() >= 1.0 / PARTS]
    return np.unique([*edges, *np.nextafter(often, np.inf)])


def _inputs(rows: Transitions) -> np.ndarray:
    """Return a constant, state and action of each step, (N, 1 + O + A)."""
    return np.column_stack([np.ones(len(rows)), rows.observation, rows.action]).astype(np.float64)


def _with_earlier(rows: Transitions, index: np.ndarray) -> np.ndarray:
    """Return a constant, state, and the actions of this step and of those before, newest first."""
    earlier = [rows.action[index - lag] for lag in range(1, LAGS)]
    return np.column_stack([_inputs(rows.select(index)), *earlier])


def _explained(inputs: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return the share (O,) of the squared error that a linear function of the inputs explains.

    Less what so many inputs would explain by chance; NaN where the steps are too few for them.
    """
    free = len(inputs) - inputs.shape[1]
    if 2 * free < len(inputs):
        return np.full(error.shape[1], np.nan)
    rest = error - inputs @ np.linalg.lstsq(inputs, error, rcond=None)[0]
    total = (error**2).mean(0)
    return 1.0 - (rest**2).sum(0) / free / np.where(total > 0.0, total, 1.0)


def _in_a_row(rows: Transitions) -> np.ndarray:
    """Return the steps that LAGS - 1 others of the same episode come right before."""
    ends = rows.terminated | rows.truncated
    joined = (rows.next_observation[:-1] == rows.observation[1:]).all(1) & ~ends[:-1]
    after = np.arange(LAGS - 1, len(rows))
    whole = np.ones(len(after), bool)
    for lag in range(1, LAGS):
        whole &= joined[after - lag]
    return after[whole]
