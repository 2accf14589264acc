"""CQL: the penalty by hand, the sampled actions' densities, gradients against autograd."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_networks import reference
from test_trainer import trainer_of

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.methods import cql
from h2o_ros.algorithms.methods.actor_critic import evaluate
from h2o_ros.algorithms.state import Shape, State


def test_penalty_by_hand():
    """Two rows: e^Q / p is (4, 4, 1) and (1, 1, 1), so log 3 - 1 and log 1 - 2; mean, times 1."""
    q = torch.tensor([[[1.0, 2.0]]])
    sampled_q = torch.tensor([[[[math.log(2.0), 0.0], [0.0, 0.0], [0.0, 0.0]]]])
    density = torch.tensor([[[0.5, 1.0], [0.25, 1.0], [1.0, 1.0]]])
    value, by_own, by_sampled = cql.penalty(q, sampled_q, density.log())
    torch.testing.assert_close(value, torch.tensor([[(math.log(3.0) - 1.0 - 2.0) / 2.0]]))
    torch.testing.assert_close(by_own, torch.full((1, 1, 2), -0.5))
    shares = torch.tensor([[4.0 / 9.0, 1.0 / 3.0], [4.0 / 9.0, 1.0 / 3.0], [1.0 / 9.0, 1.0 / 3.0]])
    torch.testing.assert_close(by_sampled[0, 0], shares / 2.0)


def test_penalty_of_values_that_differ_much():
    """Values 2000 apart: the largest counts alone, and nothing overflows."""
    sampled_q = torch.tensor([[[[1000.0], [-1000.0]]]])
    value, _, by_sampled = cql.penalty(torch.zeros(1, 1, 1), sampled_q, torch.zeros(1, 2, 1))
    torch.testing.assert_close(value, torch.tensor([[1000.0 - math.log(2.0)]]))
    torch.testing.assert_close(by_sampled.flatten(), torch.tensor([1.0, 0.0]))


@pytest.fixture
def prepared():
    """Return the state, inputs and values of two seeds' first update after some others."""
    trainer = trainer_of('cql', seeds=(1, 2), min_q_weight=3.0, sampled_actions=4)
    with torch.no_grad():
        trainer.update(20)
        trainer.state.agent_parameters.value.mul_(1.5)  # values and policies that differ by row
        (inputs,) = trainer.sampler.inputs(20, 1, trainer.real, trainer.simulated, trainer.scaling)
        return trainer.state, inputs, evaluate(trainer.state, inputs)


@torch.no_grad()
def test_each_kind_of_action_measures_the_same_integral():
    """The mean of f / p is the integral of f over all actions, whatever they were drawn from.

    f(a) = exp(cos 3 a_0 + a_1), of two action fields; policies wide enough to reach all of them.
    """
    state, n, rows = State(load_config('cql'), Shape(2, 4, 2)), 40_000, 3
    state.agent_parameters.views['scale/log_std'][:] = torch.tensor([0.5, 0.2])
    generator = torch.Generator().manual_seed(0)
    outputs = 0.3 * torch.randn(2, 2 * rows, 4, generator=generator)
    inputs = SimpleNamespace(sampled=torch.randn(2, 3 * n, rows, 2, generator=generator))
    actions, log_density = cql.sampled_actions(
        state, inputs, SimpleNamespace(actor_outputs=outputs)
    )
    x = torch.linspace(-1.0, 1.0, 100_001, dtype=torch.float64)
    integral = float(torch.trapezoid((3.0 * x).cos().exp(), x) * torch.trapezoid(x.exp(), x))
    log_f = (3.0 * actions[..., 0]).cos() + actions[..., 1]
    means = (log_f - log_density).exp().unflatten(1, (3, n)).mean(2)
    np.testing.assert_allclose(means.numpy(), integral, rtol=0.05)


@torch.no_grad()
def test_actions_are_those_of_their_state(prepared):
    """Without noise: N uniform ones in the middle, N modes of the policy at s, N at s'."""
    state, inputs, values = prepared
    still = inputs._replace(sampled=torch.zeros_like(inputs.sampled))
    actions, _ = cql.sampled_actions(state, still, values)
    modes = torch.tanh(values.actor_outputs[..., :1]).unflatten(1, (2, -1))
    for k, expected in enumerate((torch.zeros_like(modes[:, 0]), modes[:, 0], modes[:, 1])):
        for action in actions[:, 4 * k : 4 * (k + 1)].unbind(1):
            torch.testing.assert_close(action, expected)


@pytest.mark.parametrize('layer_norm', [False, True])
def test_loss_and_gradients_equal_autograd(layer_norm):
    """Against the formula written out a second time, with every action in full."""
    trainer = trainer_of('cql', seeds=(1, 2), critic_layer_norm=layer_norm, min_q_weight=3.0)
    trainer.update(20)
    state = trainer.state
    state.agent_parameters.value.mul_(1.5)
    (inputs,) = trainer.sampler.inputs(20, 1, trainer.real, trainer.simulated, trainer.scaling)
    assert (inputs.continuation == 0.0).any()  # failures are among the rows
    with torch.no_grad():
        values = evaluate(state, inputs)
        loss = cql.critic_loss(state, inputs, values)
        actions, log_density = cql.sampled_actions(state, inputs, values)
    y = inputs.reward + inputs.continuation * values.next_value
    layers = state.agent_parameters.layers('critics')
    leaves = [tensor.requires_grad_() for layer in layers for tensor in layer[:2]]
    for index in range(2):
        for twin in range(2):
            network = 2 * twin + index
            row = inputs.critic[twin, index]

            def q_of(x, network=network):
                own = [
                    layer._replace(
                        weight=layer.weight[network : network + 1].expand(2, -1, -1),
                        bias=layer.bias[network : network + 1].expand(2, -1, -1),
                    )
                    for layer in layers
                ]
                return reference(own, x.expand(2, -1, -1), layer_norm)[0, :, 0]

            q = q_of(row)
            states = row[:, :4].expand(len(actions[index]), -1, -1)
            sampled = q_of(torch.cat((states, actions[index]), -1).flatten(0, 1))
            shifted = sampled.view(len(states), -1) - log_density[index]
            soft = torch.logsumexp(shifted, 0) - math.log(len(states))
            penalty = (soft - q).mean()
            bellman = ((q - y[index]) ** 2).mean()
            torch.testing.assert_close(loss.q[twin, index], q)
            torch.testing.assert_close(loss.bellman[twin, index].sum(), bellman)
            torch.testing.assert_close(loss.added[twin, index], 3.0 * penalty)
            (bellman + 3.0 * penalty).backward()
    for ours, leaf in zip(loss.gradients, leaves, strict=True):
        torch.testing.assert_close(ours, leaf.grad, rtol=1e-4, atol=1e-5)
