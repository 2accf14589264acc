"""H2O and its switches: simulated rows are trusted as far as their dynamics gap allows.

Source: H. Niu et al., "When to Trust Your Simulator: Dynamics-Aware Hybrid Offline-and-Online
Reinforcement Learning", NeurIPS 2022. Equation numbers are the paper's.

    L = E + beta R    E: Bellman error weighted by p_real/p_sim (eq. 8)
                      R: what pushes values down where the gap u is large (eq. 6 or 10)

H2O(v), H2O-a, H2O-dr, H2O-reg and their joint forms (tables 2 and 4) are switches of the
configuration: `regularisation`, `omega`, `dynamics_ratio`.
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
    critic_gradients,
    critic_values,
    even_weights,
)
from h2o_ros.algorithms.methods.domain_classifiers import Gap, dynamics_gap
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import State


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """Return the loss with the gap that the classifiers tell of."""
    gap = dynamics_gap(state, inputs.taken, inputs.drawn)
    return critic_loss_with_gap(state, inputs, values, gap)


def critic_loss_with_gap(state: State, inputs: Inputs, values: Values, gap: Gap) -> CriticLoss:
    """Return the loss with a dynamics gap of the simulated rows, however it was found."""
    config = state.config
    q, tape = critic_values(state, inputs.critic)
    target = bellman_target(inputs.reward, inputs, values)
    bellman, by_q = losses.bellman_loss(q, target, bellman_weights(config, target, gap))
    regular = torch.zeros_like(bellman[..., 0])
    if config.regularisation != 'none':
        log_weight = log_omega(gap.u)
        if config.omega == 'uniform':
            log_weight = torch.full_like(gap.u, -math.log(config.sim_batch))
        mean, limit = config.regularisation == 'mean', config.regularisation_limit
        regular, by_regular = regularisation(q, config.real_batch, log_weight, mean, limit)
        by_q = by_q.add_(by_regular, alpha=config.beta)
    gradients = critic_gradients(state, tape, by_q)
    metrics = {
        'regularisation': regular,
        'mean_u': gap.u.mean(-1),
        'mean_dynamics_ratio': gap.ratio.mean(-1),
    }
    return CriticLoss(gradients, q, bellman, config.beta * regular, metrics)


def bellman_weights(config: AlgorithmConfig, reward: Tensor, gap: Gap) -> Tensor:
    """Weights of the squared errors (eq. 8), (S, rows).

    w = 1 / real rows on real rows, clip(p_real/p_sim) / simulated rows on simulated ones.
    """
    even = even_weights(config, reward)
    if not config.dynamics_ratio:
        return even
    ratio = gap.ratio.clamp(config.ratio_minimum, config.ratio_maximum)
    return torch.cat((even[:, : config.real_batch], ratio / config.sim_batch), 1)


def log_omega(u: Tensor) -> Tensor:
    """Return log of omega = u / sum(u) (section 4.2) without leaving the log domain."""
    return torch.log_softmax(u.log(), -1)


def soft_maximum(q_sim: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return log sum omega exp(Q) over simulated rows (eq. 6), (K, S), and its derivative.

    The derivative is softmax(Q + log omega): the distribution d_phi of eq. 5.
    """
    shifted = q_sim + log_weight
    logarithm = torch.log_softmax(shifted, -1)
    # logsumexp, at the largest entry, where nothing cancels
    return shifted.amax(-1) - logarithm.amax(-1), logarithm.exp()


def weighted_mean(q_sim: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum omega Q over simulated rows (eq. 10, 19: H2O(v)) and its derivative omega."""
    omega = log_weight.exp().expand_as(q_sim)
    return (omega * q_sim).sum(-1), omega


def regularisation(
    q: Tensor, real_rows: int, log_weight: Tensor, mean: bool, limit: float
) -> tuple[Tensor, Tensor]:
    """Value regularisation before beta (eq. 6 or 10), clipped to ±limit.

        R = softmax-or-mean over simulated rows of Q  -  mean over real rows of Q

    q: (K, S, rows), real rows first. Returns (K, S) and the derivative by q, zero where clipped.
    """
    function = weighted_mean if mean else soft_maximum
    pushed, by_sim = function(q[..., real_rows:], log_weight)
    raw = pushed - q[..., :real_rows].mean(-1)
    by_real = torch.full_like(q[..., :real_rows], -1.0 / real_rows)
    inside = (raw.abs() <= limit).unsqueeze(-1)
    return raw.clamp(-limit, limit), torch.cat((by_real, by_sim), -1) * inside
