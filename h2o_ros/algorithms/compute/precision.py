"""Whether an update may round the factors of its large products to bfloat16.

Two conditions: the device multiplies bfloat16 numbers itself, and the gradients on the first batch
are nearly those of float32. A bfloat16 number has 8 significant bits, 0.4 %; gradients of 256-256
networks come out 0.1 to 3 % off, while those of two batches differ by 10 to 130 %.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.optimiser import BETA_1, Rates
from h2o_ros.algorithms.state import State
from h2o_ros.algorithms.update import update

BOUND = 0.1  # of the length of a network's gradient; less than the batch's own chance
BFLOAT16_FLAGS = ('avx512_bf16', 'amx_bf16', 'bf16')  # Intel and AMD, Intel, ARM


def settle_precision(state: State, inputs: Inputs, rates: Rates) -> None:
    """Go back to float32 products, and say so, where bfloat16 does not serve.

    A run that goes on from a checkpoint keeps what its first batch settled, if the processor can.
    """
    settled, state.settled = state.settled, True
    if state.config.matmul_precision != 'medium':
        return
    reason = ''
    if state.factors == torch.float32:
        reason = 'so it was settled before the checkpoint'
    elif not multiplies_bfloat16(state.target.device):
        reason = 'this processor has no bfloat16 products'
    elif not settled:
        errors = gradient_errors(state, inputs, rates)
        worst = max(errors, key=lambda name: errors[name])
        if not errors[worst] <= BOUND:
            reason = f'the gradient of {worst} would be {errors[worst]:.0%} off, over {BOUND:.0%}'
    if reason:
        logging.getLogger(__name__).warning('matmul_precision: highest is used: %s', reason)
        state.factors = torch.float32


def multiplies_bfloat16(device: torch.device) -> bool:
    """Say whether the device has instructions for bfloat16 products."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = torch.cpu.get_capabilities()
    return any(flags.get(name, False) for name in BFLOAT16_FLAGS)


def gradient_errors(state: State, inputs: Inputs, rates: Rates) -> dict[str, float]:
    """Return how far each network's gradient is from float32's, over the length of that."""
    factors = state.factors
    rounded = _gradients(state, inputs, rates)
    state.factors = torch.float32
    exact = _gradients(state, inputs, rates)
    state.factors = factors
    return {
        name: float((rounded[name] - gradient).norm() / gradient.norm())
        for name, gradient in exact.items()
        if gradient.any()
    }


def _gradients(state: State, inputs: Inputs, rates: Rates) -> dict[str, Tensor]:
    """Return each network's gradient of an update that is made and taken back.

    It is read from Adam's mean, which goes 1 - BETA_1 of the way to it.
    """
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    update(state, inputs, rates, measure=False)
    gradients = {}
    for group, parameters in state.groups.items():
        mean = before[f'{group}/mean']
        gradient = mean + (parameters.mean - mean) / (1.0 - BETA_1)
        for network in dict.fromkeys(name.split('/')[0] for name in parameters.shapes):
            if f'{network}/weight0' in parameters.shapes:
                gradients[network] = gradient[parameters.span(network)]
    for name, tensor in state.tensors().items():
        tensor.copy_(before[name])
    return gradients
