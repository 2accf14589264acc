"""H2O-Reverse-KL: KL(real || sim), estimated with a learned dynamics model.

Source: H. Niu et al., "When to Trust Your Simulator", NeurIPS 2022, appendix C.2, eq. 36. The
model: a Gaussian whose mean and variance a network gives, several networks beside each other, as
T. Yu et al., "MOPO: Model-based Offline Policy Optimization", NeurIPS 2020, and "COMBO:
Conservative Offline Model-Based Policy Optimization", NeurIPS 2021, have it.

    u(s, a) = mean over N draws s' ~ model(s'|s, a) of log p_real/p_sim (s'|s, a)
    model:  s' - s = mean(s, a) + std(s, a) x noise
    L = mean over real rows of -log model(s'|s, a)

All else is H2O's: the two classifiers tell log p_real/p_sim of a draw (the sign is opposite to eq.
33, since p_real now stands above), and the ratio is that of the step the simulator took. u is the
draws' mean in place of their sum, clipped, as in H2O here.

Ours: the bounds of the variance are fixed, members learn from the same rows (what they began with
sets them apart), and they draw in turn: draw n of row i is of member (i + n) mod M.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import domain_classifiers, h2o
from h2o_ros.algorithms.methods.actor_critic import CriticLoss, Values
from h2o_ros.algorithms.methods.domain_classifiers import Gap, clipped_gap, d_sas, judge
from h2o_ros.algorithms.methods.losses import HALF_LOG_2PI
from h2o_ros.algorithms.networks import backward, flatten, forward
from h2o_ros.algorithms.optimiser import Rates, adam_step
from h2o_ros.algorithms.state import State

LOG_VARIANCE_LIMITS = (-10.0, 4.0)  # standard deviations of 0.007 to 7.4 learning units


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """Return H2O's loss with the gap by the model's next states."""
    gap = dynamics_gap(state, inputs.taken, inputs.drawn)
    return h2o.critic_loss_with_gap(state, inputs, values, gap)


def learn(state: State, inputs: Inputs, rates: Rates) -> dict[str, Tensor]:
    """Make one step of the classifiers and of the model; return their losses before it, (S,)."""
    metrics = domain_classifiers.learn(state, inputs, rates)
    layers, members = state.layers('dynamics'), state.config.dynamics_members
    o, width = state.shape.observation, inputs.recorded.shape[-1]
    rows = inputs.recorded.repeat(members, 1, 1)
    change = rows[..., -o:] - _counted_from(state, rows)
    outputs, tape = forward(layers, rows[..., : width - o])
    loss, slope = model_loss(outputs, change)
    gradients, _ = backward(layers, tape, slope)
    adam_step(state.own['dynamics'], flatten(gradients), rates)
    return {**metrics, 'dynamics_loss': loss.unflatten(0, (members, -1)).mean(0)}


def dynamics_gap(state: State, taken: Tensor, drawn: Tensor, seeds: slice = slice(None)) -> Gap:
    """Return the gap of steps taken by a simulator, as classifiers.dynamics_gap does.

    drawn: (S, rows, 1 + N, O), 0 and then the standard normal numbers of which the model makes N
    next states.
    """
    offsets = torch.cat((drawn[:, :, :1], offsets_to_draws(state, taken, drawn, seeds)), 2)
    log_ratio, minus_u = judge(d_sas(state, seeds), taken, offsets)
    return clipped_gap(state.config, log_ratio, -minus_u)


def offsets_to_draws(state: State, taken: Tensor, drawn: Tensor, seeds: slice) -> Tensor:
    """Return where the model's N next states lie from those reached, (S, rows, N, O)."""
    members, o, width = state.config.dynamics_members, state.shape.observation, taken.shape[-1]
    layers = [
        layer._replace(
            weight=layer.weight.unflatten(0, (members, -1))[:, seeds].flatten(0, 1),
            bias=layer.bias.unflatten(0, (members, -1))[:, seeds].flatten(0, 1),
        )
        for layer in state.layers('dynamics')
    ]
    outputs, _ = forward(layers, taken[..., : width - o].repeat(members, 1, 1))
    rows, samples = drawn.shape[1], drawn.shape[2] - 1
    row = torch.arange(rows, device=taken.device).unsqueeze(1)
    member = (row + torch.arange(samples, device=taken.device)) % members
    of_draw = outputs.unflatten(0, (members, -1)).permute(1, 2, 0, 3)[:, row, member]
    mean, raw = of_draw.chunk(2, -1)
    change = torch.addcmul(mean, (0.5 * log_variance(raw)[0]).exp(), drawn[:, :, 1:])
    return change + (_counted_from(state, taken) - taken[..., -o:]).unsqueeze(2)


def _counted_from(state: State, rows: Tensor) -> Tensor:
    """Return what the change is added to, to get what the classifiers see of the next state."""
    before = rows[..., : state.shape.observation]
    return torch.zeros_like(before) if state.config.classifiers_see_difference else before


def log_variance(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log variance of a network's output, softly within limits, and its derivative.

    x = high - softplus(high - raw);  log variance = low + softplus(x - low)
    """
    low, high = LOG_VARIANCE_LIMITS
    x = high - softplus(high - raw)
    return low + softplus(x - low), torch.sigmoid(x - low) * torch.sigmoid(high - raw)


def model_loss(outputs: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log likelihood of the real changes, nats.

        L = mean over rows of sum over fields of
            ((change - mean)² / variance + log variance + log(2 pi)) / 2

    outputs: (G, rows, 2 O), mean and then what `log_variance` takes. change: (G, rows, O).
    Returns (G,) and the derivative by outputs.
    """
    mean, raw = outputs.chunk(2, -1)
    log_of, by_raw = log_variance(raw)
    error = mean - change
    weighted = error * (-log_of).exp()
    squares = weighted * error
    rows = change.shape[1]
    loss = (0.5 * (squares + log_of) + HALF_LOG_2PI).sum(-1).mean(-1)
    return loss, torch.cat((weighted, 0.5 * (1.0 - squares) * by_raw), -1) / rows
