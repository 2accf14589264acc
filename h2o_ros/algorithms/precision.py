"""Whether an update may round the factors of its large products to bfloat16.

Two conditions: the device multiplies bfloat16 numbers itself, and the gradients on the first batch
are nearly those of float32. A bfloat16 number has 8 significant bits, 0.4 %; gradients of 256-256
networks come out 0.1 to 3 % off, while those of two batches differ by 10 to 100 %.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from h2o_ros.algorithms.inputs import Inputs
from h2o_ros.algorithms.state import State
from h2o_ros.algorithms.update import agent_gradient, classifier_gradient, dynamics_gap

BOUND = 0.1  # of the length of a network's gradient; less than the batch's own chance
BFLOAT16_FLAGS = ('avx512_bf16', 'amx_bf16', 'bf16')  # Intel and AMD, Intel, ARM


def settle_precision(state: State, inputs: Inputs) -> None:
    """Go back to float32 products, and say so, where bfloat16 does not serve."""
    if state.factors == torch.float32:
        return
    reason = ''
    if not multiplies_bfloat16(state.target.device):
        reason = 'this processor has no bfloat16 products'
    else:
        errors = gradient_errors(state, inputs)
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


def gradient_errors(state: State, inputs: Inputs) -> dict[str, float]:
    """Return how far each network's gradient is from float32's, over the length of that."""
    factors = state.factors
    rounded = _gradients(state, inputs)
    state.factors = torch.float32
    exact = _gradients(state, inputs)
    state.factors = factors
    return {
        name: float((rounded[name] - gradient).norm() / gradient.norm())
        for name, gradient in exact.items()
    }


def _gradients(state: State, inputs: Inputs) -> dict[str, Tensor]:
    gradients, gap, agent = {}, None, state.agent_parameters
    if state.config.classifiers:
        _, gradients['classifiers'] = classifier_gradient(state, inputs)
        gap = dynamics_gap(state, inputs.gap, inputs.drawn)
    of_agent, _ = agent_gradient(state, inputs, gap, measure=False)
    return {**gradients, **{name: of_agent[agent.span(name)] for name in ('actor', 'critics')}}
