"""A grid on Ray: every batch of seeds is a task, on whatever machines and GPUs Ray has.

The runs are those of `grid.run_here`, with the same numbers. RAY_ADDRESS names a cluster, as Ray
has it; without it, Ray starts on this machine. Each machine needs this package and the datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from h2o_ros.errors import ConfigurationError, H2OError
from h2o_ros.experiments.core.interruption import interruptible
from h2o_ros.experiments.core.results import Outcome
from h2o_ros.experiments.sweep.progress import GridProgress
from h2o_ros.experiments.sweep.run import Run, Settings
from h2o_ros.experiments.sweep.run_config import Cell, Datasets
from h2o_ros.experiments.sweep.sweep import Batch, Grid, finish, take

WAIT = 0.5  # s between two looks at what has come back


def run_on_ray(grid: Grid, batches: Sequence[Batch], progress: GridProgress) -> bool:
    """Train all batches as Ray tasks; False where Ctrl-C ended it early."""
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    settings = grid.settings
    task = ray.remote(num_cpus=1, num_gpus=1 if settings.device == 'cuda' else 0, max_retries=0)(
        train_batch
    )
    locks, pending = {}, {}
    try:
        for batch in batches:
            held = take(grid, batch)
            if held is None:
                progress.left_out(batch)
                continue
            place = str(grid.folder.place(batch.cell, batch.seeds))
            reference = task.remote(batch.cell, batch.seeds, settings, place)
            locks[batch], pending[reference] = held, batch
        with interruptible() as stopping:
            while pending and not stopping():
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=WAIT)
                for reference in ready:
                    batch = pending.pop(reference)
                    _collect(ray, grid, batch, reference, progress)
                    for lock in locks.pop(batch):
                        lock.close()
                progress.waiting(len(pending))
            for batch in pending.values():
                progress.interrupted(batch, saved=False)
            return not pending
    finally:
        if started:
            ray.shutdown()  # what still runs ends; it goes on from its checkpoints


def train_batch(
    cell: Cell, seeds: tuple[int, ...], settings: Settings, place: str
) -> Outcome | str:
    """Train one batch wherever Ray puts it; return its results, or what went wrong."""
    try:
        run = Run(cell, seeds, settings, Path(place), _datasets())
        run.train()
    except H2OError as err:
        return str(err)
    return run.outcome()


def import_ray() -> Any:
    """Return Ray; ConfigurationError where it is not installed."""
    try:
        import ray
    except ImportError as err:
        raise ConfigurationError(
            '--ray: Ray is not installed; pip install ray, or leave --ray out'
        ) from err
    return ray


@cache
def _datasets() -> Datasets:
    """Keep what one of Ray's workers has loaded from one task to the next."""
    return Datasets()


def _collect(ray: Any, grid: Grid, batch: Batch, reference: Any, progress: GridProgress) -> None:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayError as err:
        result = ' '.join(str(err).split())[-300:]
    if isinstance(result, str):
        progress.failed(batch, result)
        return
    finish(grid, batch, result)
    progress.done(batch, result.rows)
