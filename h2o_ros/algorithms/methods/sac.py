"""SAC: the Bellman error and nothing else, on simulated rows, real rows or both alike.

Source: T. Haarnoja et al., "Soft Actor-Critic", ICML 2018; "SAC (sim)" of H2O's section 6.2.
"""

from __future__ import annotations

import torch

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
from h2o_ros.algorithms.state import State


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """L = mean over the rows of (Q(s, a) - y)²; of both sources, the sum of their means."""
    q, tape = critic_values(state, inputs.critic)
    target = bellman_target(inputs.reward, inputs, values)
    bellman, by_q = losses.bellman_loss(q, target, even_weights(state.config, target))
    gradients = critic_gradients(state, tape, by_q)
    return CriticLoss(gradients, q, bellman, torch.zeros_like(bellman[..., 0]), {})
