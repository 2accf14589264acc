"""CQL: penalises Q-values of out-of-distribution actions.

Source: A. Kumar et al., "Conservative Q-Learning for Offline Reinforcement Learning", NeurIPS
2020, CQL(H) with a fixed weight; "CQL (real)" of H2O's section 6.2, eq. 3 and appendix B.1.

    L = E + w mean over rows of (log ∫ exp Q(s, a) da - Q(s, a of the row))
    ∫ exp Q(s, a) da = mean over sampled a of exp Q(s, a) / p(a), drawn with density p:
        N uniform ones, N of the policy at s, N of the policy at s'

E is the Bellman error, in whose target there is no entropy. The sampled actions and their
densities are constants. The critics' first layer is linear: its output for an action is the
state's part, made once a row, plus the action's. The row's own action is one more, so that there
is one pass forward and one backward.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import losses
from h2o_ros.algorithms.methods.actor_critic import (
    CriticLoss,
    Values,
    bellman_target,
    even_weights,
)
from h2o_ros.algorithms.networks import (
    Tape,
    affine,
    backward_after_first,
    by_weight,
    forward_after_first,
    sum_over_rows,
)
from h2o_ros.algorithms.state import State


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """Return the Bellman error and the penalty, and their common gradient."""
    weight = state.config.min_q_weight
    sampled, log_density = sampled_actions(state, inputs, values)
    own = inputs.critic[0, :, None, :, state.shape.observation :]
    all_q, tape = _forward(state, inputs, torch.cat((own, sampled), 1))
    q = all_q[:, :, 0]
    target = bellman_target(inputs.reward, inputs, values)
    bellman, by_q = losses.bellman_loss(q, target, even_weights(state.config, target))
    added, by_own, by_sampled = penalty(q, all_q[:, :, 1:], log_density)
    by_all = torch.cat(((by_q + weight * by_own).unsqueeze(2), weight * by_sampled), 2)
    gradients = _backward(state, inputs, tape, by_all)
    return CriticLoss(gradients, q, bellman, weight * added, {'regularisation': added})


def penalty(q: Tensor, sampled_q: Tensor, log_density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Penalty before its weight: mean over rows of log mean exp(Q - log p) - Q (eq. 3).

    q: (K, S, rows). sampled_q: (K, S, 3 N, rows). log_density: (S, 3 N, rows), nats.
    Returns (K, S) and the derivatives by q and by sampled_q.
    """
    actions, rows = log_density.shape[1:]
    shifted = sampled_q - log_density
    logarithm = torch.log_softmax(shifted, 2)
    # logsumexp, at the largest entry, where nothing cancels
    soft_maximum = shifted.amax(2) - logarithm.amax(2) - math.log(actions)
    by_own = torch.full_like(q, -1.0 / rows)
    return (soft_maximum - q).mean(-1), by_own, logarithm.exp() / rows


def sampled_actions(state: State, inputs: Inputs, values: Values) -> tuple[Tensor, Tensor]:
    """Return actions (S, 3 N, rows, A), uniform, at s, at s', and log densities (S, 3 N, rows).

    A uniform action is what the distribution function of a normal number gives, from -1 to 1; its
    density is 2 to the power of -A.
    """
    s, actions, rows, a = inputs.sampled.shape
    n = actions // 3
    uniform = torch.erf(inputs.sampled[:, :n] * math.sqrt(0.5))
    outputs = values.actor_outputs.view(s, 2, 1, rows, 2 * a).expand(s, 2, n, rows, 2 * a)
    policy = losses.SquashedGaussian(
        outputs.reshape(s, -1, 2 * a),
        state.agent_parameters.views['scale/log_std'],
        inputs.sampled[:, n:].reshape(s, -1, a),
    )
    of_policy = policy.action.view(s, 2 * n, rows, a)
    log_density = policy.log_probability(2 * n * rows).view(s, 2 * n, rows)
    of_uniform = torch.full_like(log_density[:, :n], -a * math.log(2.0))
    return torch.cat((uniform, of_policy), 1), torch.cat((of_uniform, log_density), 1)


def _forward(state: State, inputs: Inputs, actions: Tensor) -> tuple[Tensor, Tape]:
    """Return the critics' values (2, S, M, rows) of M actions a row (S, M, rows, A), and the tape.

    The tape's first input is the actions, (2 S, M x rows, A).
    """
    layers, o = state.layers('critics'), state.shape.observation
    s, m, rows, a = actions.shape
    states = inputs.critic[..., :o].flatten(0, 1)
    of_state = affine(layers[0]._replace(weight=layers[0].weight[:, :o]), states)
    both = actions.reshape(1, s, m * rows, a).expand(2, s, m * rows, a).reshape(2 * s, -1, a)
    of_action = torch.bmm(both, layers[0].weight[:, o:]).unflatten(1, (m, rows))
    first = (of_action + of_state.unsqueeze(1)).flatten(1, 2)
    norm = state.config.critic_layer_norm
    q, tape = forward_after_first(layers, first, Tape([both], []), norm)
    return q.view(2, s, m, rows), tape


def _backward(state: State, inputs: Inputs, tape: Tape, by_all: Tensor) -> list[Tensor]:
    """Return the gradients of the critics' layers for the derivative by all values."""
    layers, o = state.layers('critics'), state.shape.observation
    m, rows = by_all.shape[2:]
    gradients, d = backward_after_first(layers, tape, by_all.view(-1, m * rows, 1))
    of_states = d.unflatten(1, (m, rows)).sum(1)
    first = (
        by_weight(inputs.critic[..., :o].flatten(0, 1), of_states),
        by_weight(tape.inputs[0], d),
    )
    return [torch.cat(first, 1), sum_over_rows(of_states), *gradients]
