"""Adam on flat vectors of parameters, and what changes from update to update."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from h2o_ros.algorithms.networks import Parameters
from h2o_ros.algorithms.settings import AlgorithmConfig

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Rates(NamedTuple):
    """What changes from update to update, as scalars in tensors; (U,) each from `rates`.

    step: Adam's step with its first bias correction; square: its second, as a factor of the root
    of the squares' mean; average: weight of the present actor in the running mean.
    """

    step: Tensor
    square: Tensor
    average: Tensor


def rates(config: AlgorithmConfig, first: int, count: int, device: str = 'cpu') -> Rates:
    """Return the rates of updates first, first + 1, ... (the very first is 0)."""
    done = torch.arange(first, first + count, dtype=torch.float64)
    fall = (1.0 - config.learning_rate_final_fraction) * (done / config.updates_total).clamp(
        max=1.0
    )
    step = config.learning_rate * (1.0 - fall) / (1.0 - BETA_1 ** (done + 1.0))
    square = (1.0 - BETA_2 ** (done + 1.0)).rsqrt()
    floor = 1.0 / config.actor_average if config.actor_average > 0.0 else 1.0
    average = (1.0 / (done + 2.0)).clamp(min=min(floor, 1.0))
    return Rates(*(t.float().to(device, non_blocking=True) for t in (step, square, average)))


def adam_step(parameters: Parameters, gradient: Tensor, rates: Rates) -> None:
    """Adam (Kingma and Ba, 2015) on one flat vector, as torch.optim.Adam computes it."""
    p = parameters
    p.mean.lerp_(gradient, 1.0 - BETA_1)
    p.square.mul_(BETA_2).addcmul_(gradient, gradient, value=1.0 - BETA_2)
    spread = p.square.sqrt().mul_(rates.square).add_(EPSILON)
    p.value.addcmul_(p.mean / spread, rates.step, value=-1.0)
