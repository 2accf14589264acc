"""One update of H2O (algorithm 1): classifiers, then temperature, actor and critics, then targets.

`update` reads and changes nothing but the state and inputs it is given, and draws nothing: the
batches and the noise come in through inputs.py, for many updates at once, so that the work common
to them is done in a few large calls. All networks carry a seed dimension S; seeds never meet.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from h2o_ros.algorithms import losses
from h2o_ros.algorithms.inputs import Inputs
from h2o_ros.algorithms.networks import (
    Layer,
    Parameters,
    Tape,
    affine,
    backward,
    backward_to_input,
    flatten,
    forward,
    forward_after_first,
)
from h2o_ros.algorithms.settings import AlgorithmConfig
from h2o_ros.algorithms.state import State

CLASSIFIER_LOSSES = ('classifier_sa_loss', 'classifier_sas_loss')
BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8


class Gap(NamedTuple):
    """The learned dynamics gap of simulated rows, (S, rows) each.

    ratio: p_real/p_sim before clipping. u: estimate of KL(sim || real) after it, nats.
    """

    ratio: Tensor
    u: Tensor


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
    return Rates(*(t.float().to(device) for t in (step, square, average)))


def update(state: State, inputs: Inputs, rates: Rates, measure: bool = True) -> dict[str, Tensor]:
    """Make one update in place; return the metrics, (S,) or (2, S) each, empty unless `measure`.

    Every loss of the agent is taken with the weights of this moment; only then do all step.
    """
    config, agent = state.config, state.agent_parameters
    metrics: dict[str, Tensor] = {}
    gap = None
    if config.classifiers:
        losses_of_classifiers, gradient = classifier_gradient(state, inputs)
        adam_step(state.classifier_parameters, gradient, rates)
        metrics = dict(zip(CLASSIFIER_LOSSES, losses_of_classifiers, strict=True))
        gap = dynamics_gap(state, inputs.gap, inputs.drawn)
    gradient, measured = agent_gradient(state, inputs, gap, measure)
    adam_step(agent, gradient, rates)
    state.target.lerp_(agent.value[state.critic_span], config.tau)
    if config.actor_average > 0.0:
        state.average.lerp_(agent.value[state.actor_span], rates.average)
    return {**metrics, **measured} if measure else {}


def adam_step(parameters: Parameters, gradient: Tensor, rates: Rates) -> None:
    """Adam (Kingma and Ba, 2015) on one flat vector, as torch.optim.Adam computes it."""
    p = parameters
    p.mean.lerp_(gradient, 1.0 - BETA_1)
    p.square.mul_(BETA_2).addcmul_(gradient, gradient, value=1.0 - BETA_2)
    spread = p.square.sqrt().mul_(rates.square).add_(ADAM_EPSILON)
    p.value.addcmul_(p.mean / spread, rates.step, value=-1.0)


def classifier_gradient(state: State, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return the losses (2, S) and the flat gradient of both classifiers."""
    layers = state.layers('classifiers')
    outputs, tape = forward(layers, inputs.classifier.flatten(0, 1))
    loss, slope = losses.classifier_loss(outputs.unflatten(0, (2, -1)), state.sign)
    gradients, _ = backward(layers, tape, slope.flatten(0, 1))
    return loss, flatten(gradients)


def dynamics_gap(state: State, taken: Tensor, drawn: Tensor, seeds: slice = slice(None)) -> Gap:
    """Run D_sas alone over the steps taken and the next states drawn around theirs.

    taken, drawn: as Inputs.gap and Inputs.drawn, of these seeds. The first layer is linear: its
    output for a drawn state is that for the step taken plus the offset's part.
    """
    config, s, o = state.config, state.shape.seeds, state.shape.observation
    layers = [
        layer._replace(weight=layer.weight[s:][seeds], bias=layer.bias[s:][seeds])
        for layer in state.layers('classifiers')
    ]
    of_taken = affine(layers[0], taken).unsqueeze(2)
    of_offset = torch.bmm(drawn.flatten(1, 2), layers[0].weight[:, -o:])
    first = of_taken + of_offset.unflatten(1, drawn.shape[1:3])
    outputs, _ = forward_after_first(layers, first.flatten(1, 2), Tape([], []))
    log_ratio, u = losses.dynamics_gap(outputs, config.gap_samples)
    return Gap(log_ratio.exp(), u.clamp(config.gap_minimum, config.gap_maximum))


class _Values(NamedTuple):
    """What the networks say of one batch: (2, S, rows) critics, (S, rows) the rest."""

    actor: losses.SquashedGaussian
    actor_tape: Tape
    critic_tape: Tape
    own_tape: Tape
    log_pi: Tensor
    q: Tensor
    own_q: Tensor
    next_value: Tensor
    target: Tensor


def _evaluate(state: State, inputs: Inputs) -> _Values:
    """Run actor, target critics and critics over the rows that the losses need.

        y = r + discount (1 - terminated) min over targets of Q(s', a'),  a' ~ pi(s')

    There is no entropy term in y (the authors' code).
    """
    agent, s, norm = state.agent_parameters, state.shape.seeds, state.config.critic_layer_norm
    o, rows = state.shape.observation, inputs.reward.shape[1]
    critics = state.layers('critics')

    def evaluate(layers: list[Layer], x: Tensor) -> tuple[Tensor, Tape]:
        q, tape = forward(layers, x.flatten(0, 1), norm)
        return q.view(2, s, rows), tape

    outputs, actor_tape = forward(state.layers('actor'), inputs.states)
    actor = losses.SquashedGaussian(outputs, agent.views['scale/log_std'], inputs.noise)
    inputs.own[..., o:] = actor.action[:, :rows]
    inputs.target[..., o:] = actor.action[:, rows:]
    next_q, _ = evaluate(state.layers('targets'), inputs.target)
    next_value = torch.minimum(next_q[0], next_q[1])
    target = torch.addcmul(inputs.reward, inputs.continuation, next_value)
    q, critic_tape = evaluate(critics, inputs.critic)
    own_q, own_tape = evaluate(critics, inputs.own)
    log_pi = actor.log_probability(rows)
    return _Values(actor, actor_tape, critic_tape, own_tape, log_pi, q, own_q, next_value, target)


def agent_gradient(
    state: State, inputs: Inputs, gap: Gap | None, measure: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the flat gradient of actor, log-std scale, temperature and critics, and metrics."""
    agent, config, values = state.agent_parameters, state.config, _evaluate(state, inputs)
    weight = _bellman_weights(config, inputs.reward, gap)
    bellman_rows, by_q = losses.bellman_loss(values.q, values.target, weight)
    regular = torch.zeros_like(bellman_rows[..., 0])
    if config.method == 'h2o' and config.regularisation != 'none':
        regular, by_regular = _regularisation(config, values.q, gap)
        by_q = by_q.add_(by_regular, alpha=config.beta)
    critic_gradients, _ = backward(
        state.layers('critics'), values.critic_tape, by_q.view(-1, by_q.shape[-1], 1)
    )
    log_temperature = agent.views['temperature/log']
    temperature = log_temperature.exp()
    actor_loss, actor_gradients = _actor_gradients(state, values, temperature)
    temperature_loss, slope = losses.temperature_loss(
        log_temperature, values.log_pi, config.target_entropy_per_action * state.shape.action
    )
    gradient = flatten([*actor_gradients, slope, *critic_gradients])
    if not measure:
        return gradient, {}
    bellman = bellman_rows.sum(-1)
    return gradient, {
        'actor_loss': actor_loss,
        'temperature': temperature,
        'temperature_loss': temperature_loss,
        'entropy': -values.log_pi.mean(-1),
        'bellman_loss': bellman,
        'real_bellman_loss': bellman_rows[..., : config.real_batch].sum(-1),
        'regularisation': regular,
        'critic_loss': bellman + config.beta * regular,
        **_value_metrics(config, values, gap),
    }


def _bellman_weights(config: AlgorithmConfig, reward: Tensor, gap: Gap | None) -> Tensor:
    """Weights of the rows' squared errors: each source's mean, simulated rows by the ratio."""
    r, m = config.real_batch, config.sim_batch
    real = torch.full_like(reward[:, :r], 1.0 / max(r, 1))
    sim = torch.full_like(reward[:, r:], 1.0 / max(m, 1))
    if config.dynamics_ratio and gap is not None:
        sim = gap.ratio.clamp(config.ratio_minimum, config.ratio_maximum) / m
    return torch.cat((real, sim), 1)


def _regularisation(config: AlgorithmConfig, q: Tensor, gap: Gap | None) -> tuple[Tensor, Tensor]:
    """Return the value regularisation (2, S) of the configured kind and its derivative by q."""
    if config.omega == 'adaptive' and gap is not None:
        log_weight = losses.log_omega(gap.u)
    else:
        log_weight = torch.full_like(q[0, :, config.real_batch :], -math.log(config.sim_batch))
    mean = config.regularisation == 'mean'
    return losses.regularisation(
        q, config.real_batch, log_weight, mean, config.regularisation_limit
    )


def _actor_gradients(
    state: State, values: _Values, temperature: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the actor's loss (S,), and the gradients of its layers and its log-std scale."""
    s, o = state.shape.seeds, state.shape.observation
    critics, rows = state.layers('critics'), values.log_pi.shape[1]
    loss, by_q = losses.actor_loss(values.log_pi, values.own_q, temperature)
    by_first = backward_to_input(critics, values.own_tape, by_q.view(2 * s, rows, 1))
    by_action = torch.bmm(by_first, critics[0].weight[:, o:].mT).unflatten(0, (2, s)).sum(0)
    by_outputs, by_scale = values.actor.backward(by_action, (temperature / rows).view(s, 1, 1))
    tape = Tape([x[:, :rows] for x in values.actor_tape.inputs], [])
    gradients, _ = backward(state.layers('actor'), tape, by_outputs)
    return loss, [*gradients, by_scale]


def _value_metrics(config: AlgorithmConfig, values: _Values, gap: Gap | None) -> dict[str, Tensor]:
    """Return means over real and simulated rows; a source that is left out has none."""
    r, metrics = config.real_batch, {}
    for name, part in (('real', slice(0, r)), ('sim', slice(r, None))):
        if (config.real_batch, config.sim_batch)[name == 'sim']:
            metrics[f'{name}_value'] = values.q[..., part].mean(-1)
            metrics[f'{name}_next_value'] = values.next_value[:, part].mean(-1)
    if gap is None:
        return metrics
    return {**metrics, 'mean_u': gap.u.mean(-1), 'mean_dynamics_ratio': gap.ratio.mean(-1)}
