"""The two domain classifiers, real or simulated, and the dynamics gap that they tell of.

Sources: B. Eysenbach et al., "Off-Dynamics Reinforcement Learning: Training for Transfer with
Domain Classifiers", ICLR 2021; equation numbers are H2O's. D_sa is the same network as D_sas with
the next state's inputs at zero, so that both are one batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import losses
from h2o_ros.algorithms.networks import (
    Layer,
    Tape,
    affine,
    backward,
    flatten,
    forward,
    forward_after_first,
)
from h2o_ros.algorithms.optimiser import Rates, adam_step
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import State

LOSSES = ('classifier_sa_loss', 'classifier_sas_loss')


class Gap(NamedTuple):
    """The learned dynamics gap of simulated rows, (S, rows) each.

    ratio: p_real/p_sim before clipping. u: estimate of KL(sim || real) after it, nats.
    """

    ratio: Tensor
    u: Tensor


def learn(state: State, inputs: Inputs, rates: Rates) -> dict[str, Tensor]:
    """Make one step of both classifiers; return their losses before it, (S,) each."""
    layers = state.layers('classifiers')
    outputs, tape = forward(layers, inputs.classifier.flatten(0, 1))
    loss, slope = losses.classifier_loss(outputs.unflatten(0, (2, -1)), state.sign)
    gradients, _ = backward(layers, tape, slope.flatten(0, 1))
    adam_step(state.classifier_parameters, flatten(gradients), rates)
    return dict(zip(LOSSES, loss, strict=True))


def dynamics_gap(state: State, taken: Tensor, drawn: Tensor, seeds: slice = slice(None)) -> Gap:
    """Run D_sas alone over the steps taken and the next states drawn around theirs.

    taken, drawn: as Inputs.taken and Inputs.drawn, of these seeds.
    """
    log_ratio, u = judge(d_sas(state, seeds), taken, drawn)
    return clipped_gap(state.config, log_ratio, u)


def judge(layers: list[Layer], taken: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p_real/p_sim of the steps taken and minus its mean over the drawn, (G, rows).

    layers: of G networks D_sas. The first is linear: its output for a drawn state is that for the
    step taken plus the offset's part.
    """
    samples, o = drawn.shape[2] - 1, drawn.shape[3]
    of_taken = affine(layers[0], taken).unsqueeze(2)
    of_offset = torch.bmm(drawn.flatten(1, 2), layers[0].weight[:, -o:])
    first = of_taken + of_offset.unflatten(1, drawn.shape[1:3])
    outputs, _ = forward_after_first(layers, first.flatten(1, 2), Tape([], []))
    return losses.dynamics_gap(outputs, samples)


def clipped_gap(config: AlgorithmConfig, log_ratio: Tensor, u: Tensor) -> Gap:
    """Return the gap of log ratios and divergences (S, rows), before clipping."""
    return Gap(log_ratio.exp(), u.clamp(config.gap_minimum, config.gap_maximum))


def log_dynamics_ratio(state: State, taken: Tensor) -> Tensor:
    """Return log p_real/p_sim of the steps taken alone, (S, rows); taken: as Inputs.taken."""
    outputs, _ = forward(d_sas(state, slice(None)), taken)
    return losses.log_dynamics_ratio(outputs)


def d_sas(state: State, seeds: slice) -> list[Layer]:
    """Return the layers of these seeds' D_sas."""
    s = state.shape.seeds
    return [
        layer._replace(weight=layer.weight[s:][seeds], bias=layer.bias[s:][seeds])
        for layer in state.layers('classifiers')
    ]
