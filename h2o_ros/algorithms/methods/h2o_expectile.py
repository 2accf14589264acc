"""H2O on a less conservative backbone: real rows learn from values of recorded actions alone.

Beyond the paper, whose section 7 asks for a backbone less conservative than CQL's. The state value
and its loss: I. Kostrikov et al., "Offline Reinforcement Learning with Implicit Q-Learning", ICLR
2022. To put such a backbone under H2O: H. Niu et al., "H2O+: An Improved Framework for Hybrid
Offline-and-Online RL with Dynamics Gaps", 2023.

    L_V = mean over real rows of |e - 1(x < 0)| x²,  x = min over target twins of Q(s, a) - V(s)
    real rows:       y = r + discount (1 - terminated) V(s')
    simulated rows:  y = r + discount (1 - terminated) min over target twins of Q(s', a'), a' ~ pi
    L_Q = mean over D of (Q - y)² + mean over B of clip(p_real/p_sim) (Q - y)²   (eq. 8)

At real rows no action counts that was not recorded, so that none need be pushed down: H2O's
regularisation is off (`regularisation` turns it on). What keeps simulated values honest is the
dynamics ratio.

Ours: V learns from real rows alone and serves real rows alone, where H2O+ blends it with simulated
rows' values; the actor is SAC's, on rows of both sources, where IQL copies good recorded actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import domain_classifiers, h2o
from h2o_ros.algorithms.methods.actor_critic import CriticLoss, Values, target_values
from h2o_ros.algorithms.networks import Tape, backward, flatten, forward
from h2o_ros.algorithms.optimiser import Rates, adam_step
from h2o_ros.algorithms.state import State


def critic_loss(state: State, inputs: Inputs, values: Values) -> CriticLoss:
    """Return H2O's loss with V as the next value of real rows."""
    real, rows = state.config.real_batch, inputs.reward.shape[1]
    after, _ = state_value(state, inputs.states[:, rows : rows + real])
    next_value = torch.cat((after, values.next_value[:, real:]), 1)
    return h2o.critic_loss(state, inputs, values._replace(next_value=next_value))


def learn(state: State, inputs: Inputs, rates: Rates) -> dict[str, Tensor]:
    """Make one step of the classifiers and of V; return their losses before it, (S,) each."""
    metrics = domain_classifiers.learn(state, inputs, rates)
    config = state.config
    q = target_values(state, inputs.critic[:, :, : config.real_batch])
    value, tape = state_value(state, inputs.states[:, : config.real_batch])
    loss, slope = expectile_loss(value, torch.minimum(q[0], q[1]), config.expectile)
    gradients, _ = backward(state.layers('value'), tape, slope.unsqueeze(-1))
    adam_step(state.own['value'], flatten(gradients), rates)
    return {**metrics, 'state_value_loss': loss, 'state_value': value.mean(-1)}


def state_value(state: State, states: Tensor) -> tuple[Tensor, Tape]:
    """Return V (S, rows) of states (S, rows, O) in learning units."""
    outputs, tape = forward(state.layers('value'), states, state.config.critic_layer_norm)
    return outputs[..., 0], tape


def expectile_loss(value: Tensor, q: Tensor, expectile: float) -> tuple[Tensor, Tensor]:
    """Squares of Q - V, those below V weighted by 1 - expectile, those above by expectile.

        L = mean over rows of |e - 1(x < 0)| x²,  x = Q - V

    value, q: (S, rows), q a constant. Returns (S,) and the derivative by value.
    """
    x = q - value
    weighted = torch.where(x < 0.0, 1.0 - expectile, expectile) * x
    return (weighted * x).mean(-1), weighted * (-2.0 / x.shape[-1])
