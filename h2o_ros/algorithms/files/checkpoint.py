"""Checkpoints: everything that a trainer needs to go on as if it had not stopped.

In the file: parameters, Adam's moments, targets, averaged actor, temperature, the simulated rows,
scalings, counters, seeds, configuration and the task's contract. Random numbers follow from seeds
and counters. Recorded rows are not in it; a digest holds that the same recordings are given again.
What a running robot added to them is. The simulated robots are not: what tells their simulator
from others is kept, to be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from h2o_ros.algorithms.config import config_from
from h2o_ros.algorithms.files import tensor_file
from h2o_ros.algorithms.replay_buffer import Scaling, SimulatedRows
from h2o_ros.algorithms.settings import ADDED, AlgorithmConfig
from h2o_ros.algorithms.state import State
from h2o_ros.errors import CheckpointError
from h2o_ros.task import Task
from h2o_ros.transitions import Transitions

KIND = 'h2o_ros checkpoint 2'
FACTORS = {str(each): each for each in (torch.float32, torch.bfloat16)}
WAY_OUT = 'resume from an older checkpoint or start anew'


class Resumable(Protocol):
    """What a checkpoint keeps of a trainer, in the trainer's own names."""

    config: AlgorithmConfig
    task: Task
    seeds: tuple[int, ...]
    device: str
    simulation: dict[str, Any]
    state: State
    scaling: Scaling
    simulated: SimulatedRows
    real: Tensor | None
    recorded: int
    updates: int
    acts: int

    @property
    def real_digest(self) -> str:
        """The SHA-256 of the recorded rows."""


T = TypeVar('T', bound=Resumable)


def save(trainer: Resumable, path: str | Path) -> None:
    """Write a checkpoint, whole or not at all."""
    arrays = {f'state/{k}': v.cpu().numpy() for k, v in trainer.state.tensors().items()}
    for name in ('scale', 'shift', 'gap_deviation'):
        arrays[f'scaling/{name}'] = getattr(trainer.scaling, name).cpu().numpy()
    for index in range(len(trainer.seeds)):
        filled = trainer.simulated.filled(index)
        arrays[f'simulated/{index}'] = trainer.simulated.rows[index, :filled].cpu().numpy()
    if trainer.real is not None:
        arrays['added_real'] = trainer.real[trainer.recorded :].cpu().numpy()
    document = {
        'config': trainer.config.as_mapping(),
        'contract': trainer.task.contract(),
        'task': trainer.task.name,
        'seeds': list(trainer.seeds),
        'updates': trainer.updates,
        'acts': trainer.acts,
        'added': trainer.simulated.added,
        'capacity': trainer.simulated.capacity,
        'factors': str(trainer.state.factors) if trainer.state.settled else '',
        'real_digest': trainer.real_digest,
        'simulation': dict(trainer.simulation),
    }
    tensor_file.write_atomically(path, tensor_file.pack(KIND, document, arrays), CheckpointError)


def load(
    make: Callable[..., T],
    path: str | Path,
    config: AlgorithmConfig | None,
    task: Task,
    real: Transitions | None,
    device: str,
    seeds: Sequence[int] | None = None,
    simulation: Mapping[str, Any] | None = None,
) -> T:
    """Return the trainer of a checkpoint; see Trainer.load.

    make: of configuration, task, recorded transitions, seeds and device.
    """
    data = tensor_file.read(path, CheckpointError, 'check the path')
    document, arrays = tensor_file.unpack(KIND, data, str(path), CheckpointError, WAY_OUT)
    _check_task(path, document, task)
    stored = config_from({**ADDED, **document['config']}, f'{path}: config')
    _check_config(path, stored, config or stored)
    _check_seeds(path, document['seeds'], seeds)
    simulated_in = document.get('simulation', {})  # older checkpoints have none
    _check_simulation(path, simulated_in, simulation or {})
    try:
        trainer = make(config or stored, task, real, document['seeds'], device)
        trainer.simulation = dict(simulation or simulated_in)
        _check_real(path, document['real_digest'], trainer.real_digest)
        _fill(trainer, document, arrays)
    except (KeyError, RuntimeError, ValueError) as err:
        raise CheckpointError(f'{path}: does not fit this trainer ({err}); {WAY_OUT}') from err
    return trainer


def _fill(trainer: Resumable, document: dict, arrays: dict[str, np.ndarray]) -> None:
    tensors = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
    for name, tensor in trainer.state.tensors().items():
        tensor.copy_(tensors[f'state/{name}'])
    scaling = (tensors[f'scaling/{k}'] for k in ('scale', 'shift', 'gap_deviation'))
    trainer.scaling = type(trainer.scaling)(*scaling).to(trainer.device)
    for index in range(len(trainer.seeds)):
        rows = tensors[f'simulated/{index}']
        trainer.simulated.rows[index, : len(rows)] = rows.to(trainer.device)
    if trainer.real is not None and len(tensors.get('added_real', ())):
        added = tensors['added_real'].to(trainer.device)
        trainer.real = torch.cat((trainer.real, added))
    factors = document.get('factors', '')  # older checkpoints have none
    if factors:
        trainer.state.settled = True
        trainer.state.factors = FACTORS[factors]
    trainer.simulated.added = list(document['added'])
    trainer.updates, trainer.acts = document['updates'], document['acts']


def _check_task(path: str | Path, document: dict, task: Task) -> None:
    differing = [k for k, v in task.contract().items() if document['contract'].get(k) != v]
    if differing:
        raise CheckpointError(
            f'{path}: made for task {document["task"]!r}, which differs from task '
            f'{task.name!r} in {", ".join(differing)}; give its own task'
        )


def _check_config(path: str | Path, stored: AlgorithmConfig, given: AlgorithmConfig) -> None:
    mine, theirs = stored.as_mapping(), given.as_mapping()
    mine['updates_total'] = theirs['updates_total']  # a run may be made longer or shorter
    differing = [
        f'{k} ({mine[k]} there, {v} here)'
        for k, v in theirs.items()
        if mine[k] != v and k != 'compile'
    ]
    if differing:
        raise CheckpointError(
            f'{path}: made by another configuration: {", ".join(differing)}; give the same '
            'algorithm and settings, or none'
        )


def _check_seeds(path: str | Path, stored: list[int], given: Sequence[int] | None) -> None:
    if given is None or stored == list(given):
        return
    there, here = (', '.join(map(str, seeds)) for seeds in (stored, given))
    if len(stored) == len(given) == 1:
        raise CheckpointError(f'{path}: trained with seed {there}, got {here}; give seed {there}')
    raise CheckpointError(
        f'{path}: trained with seeds {there}, got {here}; go on with it where it was begun'
    )


def _check_simulation(
    path: str | Path, stored: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    differing = [
        f'{k} ({stored[k]} there, {v} here)' for k, v in given.items() if stored.get(k, v) != v
    ]
    if differing:
        same = 'gap and environments' if 'environments' in given else 'gap, or none'
        raise CheckpointError(
            f'{path}: trained in another simulator: {", ".join(differing)}; give the same {same}'
        )


def _check_real(path: str | Path, stored: str, given: str) -> None:
    if stored != given:
        raise CheckpointError(
            f'{path}: was trained on other recordings than those given; give the same bags'
        )
