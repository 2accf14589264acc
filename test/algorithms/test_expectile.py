"""H2O with in-sample values: the expectile by hand, the targets of each kind of row, gradients."""

import numpy as np
import pytest
import torch
from test_losses import transitions
from test_networks import reference
from test_trainer import SMALL, TASK, trainer_of

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.methods import domain_classifiers, h2o, h2o_expectile
from h2o_ros.algorithms.methods.actor_critic import evaluate
from h2o_ros.algorithms.methods.h2o_expectile import expectile_loss
from h2o_ros.algorithms.optimiser import BETA_1, Rates
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.transitions import Transitions

NO_STEP = Rates(*(torch.tensor(x) for x in (0.0, 1.0, 0.0)))


def test_expectile_loss_by_hand():
    """Q 2 above V counts 0.7, Q 1 below V 0.3: (0.7 x 4 + 0.3 x 1) / 2."""
    value, q = torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 0.0]])
    loss, slope = expectile_loss(value, q, 0.7)
    torch.testing.assert_close(loss, torch.tensor([1.55]))
    torch.testing.assert_close(slope, torch.tensor([[-1.4, 0.3]]))
    half, _ = expectile_loss(value, q, 0.5)
    torch.testing.assert_close(half, torch.tensor([1.25]))  # half the mean square


def test_expectile_slope_equals_autograd():
    generator = torch.Generator().manual_seed(0)
    value, q = torch.randn(2, 3, 8, generator=generator)
    value.requires_grad_()
    loss, slope = expectile_loss(value, q, 0.9)
    (expected,) = torch.autograd.grad(loss.sum(), value)
    torch.testing.assert_close(slope, expected)


@torch.no_grad()
def test_targets_of_real_rows_by_hand():
    """V is 2 everywhere: y = 28 + 0.99 x 2 where a row goes on or was cut, 28 after a failure."""
    config = load_config(
        'h2o_expectile', **SMALL, discount=0.99, reward_centre=False, reward_scale=1.0
    )
    rows = transitions(observation=[[0.1, 0, 0, 0], [0.2, 0, 0, 0], [0.3, 0, 0, 0]])
    trainer = Trainer(config, TASK, rows, [0])
    trainer.add_simulated(transitions())
    state = trainer.state
    last = state.layers('value')[-1]
    last.weight.zero_()
    last.bias.fill_(2.0)
    (inputs,) = trainer.sampler.inputs(0, 1, trainer.real, trainer.simulated, trainer.scaling)
    loss = h2o_expectile.critic_loss(state, inputs, evaluate(state, inputs))
    real = config.real_batch
    order = inputs.states[0, :real, 0].argsort()
    failed = inputs.continuation[0, :real] == 0.0
    assert failed.any() and not failed.all() and failed[order].diff().sum() == 2  # the middle one
    y = torch.where(failed, 28.0, 28.0 + 0.99 * 2.0)
    expected = (loss.q[:, 0, :real] - y) ** 2 / real
    torch.testing.assert_close(loss.bellman[:, 0, :real], expected)


@torch.no_grad()
def test_simulated_rows_keep_their_target_and_nothing_is_pushed_down():
    trainer = trainer_of('h2o_expectile', seeds=(1, 2))
    trainer.update(30)
    state, real = trainer.state, trainer.config.real_batch
    (inputs,) = trainer.sampler.inputs(30, 1, trainer.real, trainer.simulated, trainer.scaling)
    values = evaluate(state, inputs)
    loss = h2o_expectile.critic_loss(state, inputs, values)
    plain = h2o.critic_loss(state, inputs, values)
    torch.testing.assert_close(loss.bellman[..., real:], plain.bellman[..., real:])
    assert not torch.allclose(loss.bellman[..., :real], plain.bellman[..., :real])
    assert not loss.added.any()
    gap = domain_classifiers.dynamics_gap(state, inputs.taken, inputs.drawn)
    y = (inputs.reward + inputs.continuation * values.next_value)[:, real:]
    weight = gap.ratio.clamp(1e-5, 1.0) / trainer.config.sim_batch
    torch.testing.assert_close(loss.bellman[..., real:], weight * (loss.q[..., real:] - y) ** 2)


@pytest.mark.parametrize('layer_norm', [False, True])
def test_steps_follow_autograd(layer_norm):
    """Of V on the recorded actions' values, and of the critics on the targets that V makes."""
    trainer = trainer_of('h2o_expectile', (1, 2), critic_layer_norm=layer_norm, expectile=0.8)
    trainer.update(20)
    state, real = trainer.state, trainer.config.real_batch
    (inputs,) = trainer.sampler.inputs(20, 1, trainer.real, trainer.simulated, trainer.scaling)
    mean_before = state.own['value'].mean.clone()
    with torch.no_grad():
        h2o_expectile.learn(state, inputs, NO_STEP)
        loss = h2o_expectile.critic_loss(state, inputs, evaluate(state, inputs))
        gap = domain_classifiers.dynamics_gap(state, inputs.taken, inputs.drawn)
        next_value = evaluate(state, inputs).next_value
    targets = state.target_layers
    twins = [
        [
            layer._replace(weight=layer.weight[k : k + 2], bias=layer.bias[k : k + 2])
            for layer in targets
        ]
        for k in (0, 2)
    ]
    own = inputs.critic[0, :, :real]
    q = torch.minimum(*(reference(layers, own, layer_norm)[..., 0] for layers in twins)).detach()
    layers = state.own['value'].layers('value')
    leaves = [tensor.requires_grad_() for layer in layers for tensor in layer[:2]]
    x = q - reference(layers, inputs.states[:, :real], layer_norm)[..., 0]
    ((0.8 - (x < 0.0).float()).abs() * x**2).mean(-1).sum().backward()
    ours = (state.own['value'].mean - BETA_1 * mean_before) / (1.0 - BETA_1)
    expected = torch.cat([leaf.grad.flatten() for leaf in leaves])
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)

    rows = inputs.reward.shape[1]
    after = inputs.states[:, rows : rows + real]
    value = reference(layers, after, layer_norm)[..., 0].detach()
    y = inputs.reward + inputs.continuation * torch.cat((value, next_value[:, real:]), 1)
    weight = torch.cat((torch.ones_like(value), gap.ratio.clamp(1e-5, 1.0)), 1) / real
    critics = state.agent_parameters.layers('critics')
    leaves = [tensor.requires_grad_() for layer in critics for tensor in layer[:2]]
    total = 0.0
    for k in (0, 2):
        twin = [
            layer._replace(weight=layer.weight[k : k + 2], bias=layer.bias[k : k + 2])
            for layer in critics
        ]
        error = reference(twin, inputs.critic[0], layer_norm)[..., 0] - y
        total = total + (weight * error**2).sum()
    total.backward()
    for ours, leaf in zip(loss.gradients, leaves, strict=True):
        torch.testing.assert_close(ours, leaf.grad, rtol=1e-3, atol=1e-5)


def test_the_state_value_is_the_expectile_of_what_was_recorded():
    """One step, reward = action in ±1, uniform: the 0.9-expectile is 0.5, the mean 0.

    The e-expectile m of uniform ±1 solves e (1 - m)² = (1 - e) (1 + m)².
    """
    rng = np.random.default_rng(0)
    count = 2000
    observation = rng.normal(size=(count, 4))
    action = rng.uniform(-3.0, 3.0, (count, 1))
    rows = Transitions(
        observation, action, action[:, 0] / 3.0, observation, np.ones(count), np.zeros(count)
    )
    changes = SMALL | {'learning_rate': 3e-3, 'updates_total': 1500, 'tau': 0.02}
    plain = {'reward_centre': False, 'reward_scale': 1.0, 'hidden': [16, 16]}
    means = {}
    for expectile in (0.5, 0.9):
        config = load_config('h2o_expectile', **(changes | plain), expectile=expectile)
        trainer = Trainer(config, TASK, rows, [0])
        trainer.add_simulated(rows)
        trainer.update(1500)
        means[expectile] = trainer.metrics()['state_value'][0]
    np.testing.assert_allclose([means[0.5], means[0.9]], [0.0, 0.5], atol=0.1)
