"""The soft actor-critic that every algorithm is built on: values, targets, actor, temperature.

Source: T. Haarnoja et al., "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement
Learning with a Stochastic Actor", ICML 2018, with twin critics and a tuned temperature, as in
algorithm 1 of H2O. What the critics' loss is, each algorithm's own file says.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from h2o_ros.algorithms.batch import Inputs
from h2o_ros.algorithms.methods import losses
from h2o_ros.algorithms.networks import (
    Layer,
    Tape,
    backward,
    backward_to_input,
    flatten,
    forward,
)
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import State


class Values(NamedTuple):
    """What actor and critics say of one batch before the critics' loss is known.

    actor: its distribution at s, then at s'. log_pi (S, rows), own_q (2, S, rows): of its actions
    at s. next_value (S, rows): min over the target twins of Q(s', a'), a' ~ pi(s').
    """

    actor: losses.SquashedGaussian
    actor_outputs: Tensor
    actor_tape: Tape
    own_tape: Tape
    log_pi: Tensor
    own_q: Tensor
    next_value: Tensor


class CriticLoss(NamedTuple):
    """What an algorithm's critics learn from.

    gradients: of the critics' layers in order, of the loss summed over twins and seeds. q, bellman
    (2, S, rows): values of the batch, each row's part of the Bellman error. added (2, S): the rest
    of the loss. metrics: the algorithm's own, (S,) or (2, S) each.
    """

    gradients: list[Tensor]
    q: Tensor
    bellman: Tensor
    added: Tensor
    metrics: dict[str, Tensor]


def evaluate(state: State, inputs: Inputs) -> Values:
    """Run actor and target critics, and the critics at the actor's own actions."""
    agent, o, rows = state.agent_parameters, state.shape.observation, inputs.reward.shape[1]
    outputs, actor_tape = forward(state.layers('actor'), inputs.states)
    actor = losses.SquashedGaussian(outputs, agent.views['scale/log_std'], inputs.noise)
    inputs.own[..., o:] = actor.action[:, :rows]
    inputs.target[..., o:] = actor.action[:, rows:]
    next_q, _ = _critics(state, state.layers('targets'), inputs.target)
    own_q, own_tape = critic_values(state, inputs.own)
    log_pi = actor.log_probability(rows)
    next_value = torch.minimum(next_q[0], next_q[1])
    return Values(actor, outputs, actor_tape, own_tape, log_pi, own_q, next_value)


def critic_values(state: State, x: Tensor) -> tuple[Tensor, Tape]:
    """Return the critics' values (2, S, rows) of states with actions (2, S, rows, O + A)."""
    return _critics(state, state.layers('critics'), x)


def target_values(state: State, x: Tensor) -> Tensor:
    """Return the target critics' values (2, S, rows) likewise."""
    return _critics(state, state.layers('targets'), x)[0]


def _critics(state: State, layers: list[Layer], x: Tensor) -> tuple[Tensor, Tape]:
    q, tape = forward(layers, x.flatten(0, 1), state.config.critic_layer_norm)
    return q.view(x.shape[:3]), tape


def critic_gradients(state: State, tape: Tape, by_q: Tensor) -> list[Tensor]:
    """Return the gradients of the critics' layers for the loss's derivative by q (2, S, rows)."""
    gradients, _ = backward(state.layers('critics'), tape, by_q.view(-1, by_q.shape[-1], 1))
    return gradients


def bellman_target(reward: Tensor, inputs: Inputs, values: Values) -> Tensor:
    """Return y = r + discount (1 - terminated) next value, (S, rows).

    There is no entropy term in y (the authors' code).
    """
    return torch.addcmul(reward, inputs.continuation, values.next_value)


def even_weights(config: AlgorithmConfig, reward: Tensor) -> Tensor:
    """Return weights (S, rows) of the squared errors by which each source counts its mean."""
    r, m = config.real_batch, config.sim_batch
    real = torch.full_like(reward[:, :r], 1.0 / max(r, 1))
    return torch.cat((real, torch.full_like(reward[:, r:], 1.0 / max(m, 1))), 1)


def agent_gradient(
    state: State, values: Values, loss: CriticLoss, measure: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the flat gradient of actor, log-std scale, temperature and critics, and metrics."""
    config, log_temperature = state.config, state.agent_parameters.views['temperature/log']
    temperature = log_temperature.exp()
    actor_loss, actor_gradients = _actor_gradients(state, values, temperature)
    temperature_loss, slope = losses.temperature_loss(
        log_temperature, values.log_pi, config.target_entropy_per_action * state.shape.action
    )
    gradient = flatten([*actor_gradients, slope, *loss.gradients])
    if not measure:
        return gradient, {}
    bellman = loss.bellman.sum(-1)
    return gradient, {
        'actor_loss': actor_loss,
        'temperature': temperature,
        'temperature_loss': temperature_loss,
        'entropy': -values.log_pi.mean(-1),
        'bellman_loss': bellman,
        'real_bellman_loss': loss.bellman[..., : config.real_batch].sum(-1),
        'critic_loss': bellman + loss.added,
        **_value_metrics(config, values, loss.q),
        **loss.metrics,
    }


def _actor_gradients(
    state: State, values: Values, temperature: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the actor's loss (S,), and the gradients of its layers and its log-std scale."""
    s, o = state.shape.seeds, state.shape.observation
    critics, rows = state.layers('critics'), values.log_pi.shape[1]
    loss, by_q = losses.actor_loss(values.log_pi, values.own_q, temperature)
    by_first = backward_to_input(critics, values.own_tape, by_q.view(2 * s, rows, 1))
    by_action = torch.bmm(by_first, critics[0].weight[:, o:].mT).unflatten(0, (2, s)).sum(0)
    by_outputs, by_scale = values.actor.backward(by_action, (temperature / rows).view(s, 1, 1))
    tape = Tape([x[:, :rows] for x in values.actor_tape.inputs], [])
    if state.config.actor_smoothness > 0.0:
        rough, by_mean = losses.smoothness_loss(values.actor.mean, state.config.actor_smoothness)
        loss, tape = loss + rough, values.actor_tape
        by_outputs = pad(by_outputs, (0, 0, 0, rows)) + pad(by_mean, (0, by_mean.shape[-1]))
    gradients, _ = backward(state.layers('actor'), tape, by_outputs)
    return loss, [*gradients, by_scale]


def _value_metrics(config: AlgorithmConfig, values: Values, q: Tensor) -> dict[str, Tensor]:
    """Return means over real and simulated rows; a source that is left out has none."""
    r, metrics = config.real_batch, {}
    for name, part in (('real', slice(0, r)), ('sim', slice(r, None))):
        if (config.real_batch, config.sim_batch)[name == 'sim']:
            metrics[f'{name}_value'] = q[..., part].mean(-1)
            metrics[f'{name}_next_value'] = values.next_value[:, part].mean(-1)
    return metrics
