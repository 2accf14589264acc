"""The policy that is deployed: a small perceptron in numpy, with its task's contract.

The policy server runs on the robot without torch. The file holds everything that acting needs: the
observation's standardisation, the actor's layers and the action limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros.algorithms.files import tensor_file
from h2o_ros.errors import PolicyError
from h2o_ros.task import Task, contract_hash

KIND = 'h2o_ros policy 1'
WAY_OUT = 'train again or copy the file anew'
LOG_STD_LIMITS = (-20.0, 2.0)


@dataclass(frozen=True)
class Policy:
    """action = middle + half * tanh(mean(observation) + std(observation) * noise).

    weights, biases: layers (in, out) and (out,); the last gives mean and log-std head, 2 A wide.
    log_std_scale: multiplier and offset of the head. observation_scale, observation_shift (O,):
    the network sees observation * scale + shift. contract: Task.contract(). version counts
    publications, update the gradient updates made. algorithm: the method that trained it, empty
    in older files.
    """

    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    log_std_scale: np.ndarray
    observation_scale: np.ndarray
    observation_shift: np.ndarray
    contract: dict[str, Any]
    version: int = 0
    update: int = 0
    algorithm: str = ''
    _fast: tuple = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fold the standardisation into the first layer, in double precision."""
        scale, shift = np.float64(self.observation_scale), np.float64(self.observation_shift)
        first = np.float64(self.weights[0])
        weights = [scale[:, None] * first, *self.weights[1:]]
        biases = [self.biases[0] + shift @ first, *self.biases[1:]]
        layers = [
            (np.ascontiguousarray(w, np.float32), np.asarray(b, np.float32))
            for w, b in zip(weights, biases, strict=True)
        ]
        limits = np.array([[low, high] for _, _, low, high in self.contract['action']], np.float32)
        middle, half = limits.mean(1), (limits[:, 1] - limits[:, 0]) / 2.0
        object.__setattr__(self, '_fast', (layers, middle, half, limits[:, 0], limits[:, 1]))

    @property
    def contract_hash(self) -> str:
        """The SHA-256 of the contract."""
        return contract_hash(self.contract)

    def act(self, observation: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """Return actions (N, A) float32 within the limits, SI units, for observations (N, O).

        noise: standard normal (N, A) to explore; without it the action is the distribution's mode.
        """
        layers, middle, half, lower, upper = self._fast
        x = observation
        for weight, bias in layers[:-1]:
            x = x @ weight
            x += bias
            np.maximum(x, 0.0, out=x)
        weight, bias = layers[-1]
        x = x @ weight + bias
        actions = len(middle)
        action = x[:, :actions]
        if noise is not None:
            multiplier, offset = self.log_std_scale
            log_std = np.clip(multiplier * x[:, actions:] + offset, *LOG_STD_LIMITS)
            action = action + np.exp(log_std) * noise
        action = np.tanh(action)
        action *= half
        action += middle
        # middle + half may round to just beyond the limit
        return np.minimum(np.maximum(action, lower), upper).astype(np.float32, copy=False)

    def check_contract(self, task: Task) -> None:
        """Raise PolicyError where the policy was made for another task or other limits."""
        mine, theirs = self.contract, task.contract()
        differing = [k for k in theirs if mine.get(k) != theirs[k]]
        if differing or set(mine) != set(theirs):
            raise PolicyError(
                f'the policy was trained for task {mine.get("task")!r} and does not fit task '
                f'{task.name!r} in: {", ".join(differing) or "its fields"}; '
                'use a policy trained for this task'
            )

    def to_bytes(self) -> bytes:
        """Return the policy file's bytes."""
        arrays = {f'weight{i}': np.float32(w) for i, w in enumerate(self.weights)}
        arrays |= {f'bias{i}': np.float32(b) for i, b in enumerate(self.biases)}
        for name in ('log_std_scale', 'observation_scale', 'observation_shift'):
            arrays[name] = np.float32(getattr(self, name))
        document = {
            'contract': self.contract,
            'contract_hash': self.contract_hash,
            'version': self.version,
            'update': self.update,
            'algorithm': self.algorithm,
        }
        return tensor_file.pack(KIND, document, arrays)

    @classmethod
    def from_bytes(cls, data: bytes, where: str = 'policy') -> Policy:
        """Read a policy; PolicyError names `where` if it is torn, damaged or something else."""
        document, arrays = tensor_file.unpack(KIND, data, where, PolicyError, WAY_OUT)
        try:
            count = sum(name.startswith('weight') for name in arrays)
            policy = cls(
                [arrays[f'weight{i}'] for i in range(count)],
                [arrays[f'bias{i}'] for i in range(count)],
                arrays['log_std_scale'],
                arrays['observation_scale'],
                arrays['observation_shift'],
                document['contract'],
                document['version'],
                document['update'],
                document['algorithm'],
            )
            policy.act(np.zeros((1, len(policy.contract['observation'])), np.float32))
            heads = policy.weights[-1].shape[1], policy.log_std_scale.shape
            fits = heads == (2 * len(policy.contract['action']), (2,))
        except (KeyError, ValueError, TypeError, IndexError) as err:
            raise PolicyError(f'{where}: its parts do not fit together; {WAY_OUT}') from err
        if not fits or policy.contract_hash != document.get('contract_hash'):
            raise PolicyError(f'{where}: its contract does not fit its network; {WAY_OUT}')
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise PolicyError(f'{where}: holds numbers that are not finite; {WAY_OUT}')
        return policy

    def save(self, path: str | Path) -> None:
        """Write the policy file, whole or not at all."""
        tensor_file.write_atomically(path, self.to_bytes(), PolicyError)

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file."""
        return cls.from_bytes(tensor_file.read(path, PolicyError, 'check the path'), str(path))
