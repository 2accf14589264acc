"""H2O-Reverse-KL: the model's loss by hand and by autograd, its draws, and what u then says."""

import math

import numpy as np
import pytest
import torch
from test_trainer import SMALL, TASK, trainer_of

from h2o_ros.algorithms.config import algorithm_names, load_config
from h2o_ros.algorithms.methods import h2o_reverse_kl
from h2o_ros.algorithms.methods.domain_classifiers import dynamics_gap
from h2o_ros.algorithms.methods.h2o_reverse_kl import LOG_VARIANCE_LIMITS, log_variance, model_loss
from h2o_ros.algorithms.optimiser import BETA_1, Rates
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.transitions import Transitions

NO_STEP = Rates(*(torch.tensor(x) for x in (0.0, 1.0, 0.0)))


def run(layers, network, x):
    """Compute one network's outputs for rows (N, inputs) step by step."""
    for layer in layers:
        x = torch.relu(x) if layer is not layers[0] else x
        x = x @ layer.weight[network] + layer.bias[network]
    return x


def raw_of(log_of):
    """Return what `log_variance` brings to a log variance."""
    low, high = LOG_VARIANCE_LIMITS
    x = low + math.log(math.expm1(log_of - low))
    return high - math.log(math.expm1(high - x))


def test_model_loss_by_hand():
    """Errors 2 and 0, variances 4 and 1: -log p = 1/2 + log(4)/2 + c and c; c = log(2 pi)/2."""
    outputs = torch.tensor([[[3.0, raw_of(math.log(4.0))], [-1.0, raw_of(0.0)]]])
    change = torch.tensor([[[1.0], [-1.0]]])
    loss, slope = model_loss(outputs, change)
    constant = 0.5 * math.log(2.0 * math.pi)
    expected = (0.5 + 0.5 * math.log(4.0)) / 2.0 + constant
    torch.testing.assert_close(loss, torch.tensor([expected]))
    # by the mean: error / variance / rows; the first variance is right, the second too large
    torch.testing.assert_close(slope[0, :, 0], torch.tensor([0.25, 0.0]))
    by_raw = log_variance(outputs[0, 1, 1])[1]
    torch.testing.assert_close(slope[0, :, 1], torch.stack((by_raw * 0.0, 0.25 * by_raw)))


def test_log_variance_stays_within_limits():
    raw = torch.tensor([-1e4, -3.0, 0.0, 2.0, 1e4])
    log_of, slope = log_variance(raw)
    low, high = LOG_VARIANCE_LIMITS
    expected = torch.tensor([low, -3.0, 0.0, 2.0, high])
    torch.testing.assert_close(log_of, expected, rtol=0, atol=0.15)
    assert log_of.min() >= low and (slope[1:4] > 0.8).all() and slope[[0, 4]].max() < 1e-3


def test_model_loss_slope_equals_autograd():
    generator = torch.Generator().manual_seed(0)
    outputs = 3.0 * torch.randn(4, 6, 4, generator=generator)
    change = torch.randn(4, 6, 2, generator=generator)
    outputs.requires_grad_()
    loss, slope = model_loss(outputs, change)
    (expected,) = torch.autograd.grad(loss.sum(), outputs)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize('difference', [True, False])
def test_the_step_follows_autograd_on_the_real_rows(difference):
    """Failures and cuts count as any row: s' is s' there, too. Two seeds of two members."""
    trainer = trainer_of(
        'h2o_reverse_kl', (1, 2), dynamics_members=2, classifiers_see_difference=difference
    )
    trainer.update(20)
    state, real = trainer.state, trainer.config.real_batch
    (inputs,) = trainer.sampler.inputs(20, 1, trainer.real, trainer.simulated, trainer.scaling)
    assert (inputs.continuation[:, :real] == 0.0).any()
    assert torch.equal(inputs.recorded[..., :5], inputs.critic[0, :, :real])
    mean_before = state.own['dynamics'].mean.clone()
    with torch.no_grad():
        metrics = h2o_reverse_kl.learn(state, inputs, NO_STEP)
    ours = (state.own['dynamics'].mean - BETA_1 * mean_before) / (1.0 - BETA_1)
    layers = state.own['dynamics'].layers('dynamics')
    leaves = [tensor.requires_grad_() for layer in layers for tensor in layer[:2]]
    total = torch.zeros(2)
    for network in range(4):
        rows = inputs.recorded[network % 2]
        change = rows[:, 5:] if difference else rows[:, 5:] - rows[:, :4]
        mean, raw = run(layers, network, rows[:, :5]).chunk(2, -1)
        normal = torch.distributions.Normal(mean, (0.5 * log_variance(raw)[0]).exp())
        loss = -normal.log_prob(change).sum(-1).mean()
        total[network % 2] += loss.detach() / 2.0
        loss.backward()
    torch.testing.assert_close(metrics['dynamics_loss'], total)
    expected = torch.cat([leaf.grad.flatten() for leaf in leaves])
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('difference', [True, False])
def test_members_draw_in_turn_around_their_own_means(difference):
    """Draw n of row i: from member (i + n) mod 3, its mean plus its deviation times the noise."""
    trainer = trainer_of(
        'h2o_reverse_kl', (1, 2), dynamics_members=3, classifiers_see_difference=difference
    )
    trainer.update(20)
    state = trainer.state
    state.own['dynamics'].value.mul_(1.5)
    (inputs,) = trainer.sampler.inputs(20, 1, trainer.real, trainer.simulated, trainer.scaling)
    noise, taken = inputs.drawn[:, :, 1:], inputs.taken
    assert abs(float(noise.std()) - 1.0) < 0.1  # not scaled by gap_spread
    offsets = h2o_reverse_kl.offsets_to_draws(state, taken, inputs.drawn, slice(None))
    layers = state.own['dynamics'].layers('dynamics')
    for index, row, n in [(0, 0, 0), (1, 0, 1), (0, 5, 9), (1, 40, 3)]:
        network = 2 * ((row + n) % 3) + index
        mean, raw = run(layers, network, taken[index, row : row + 1, :5])[0].chunk(2)
        drawn = mean + (0.5 * log_variance(raw)[0]).exp() * noise[index, row, n]
        drawn = drawn if difference else drawn + taken[index, row, :4]
        torch.testing.assert_close(taken[index, row, 5:] + offsets[index, row, n], drawn)
    alone = h2o_reverse_kl.offsets_to_draws(state, taken[1:], inputs.drawn[1:], slice(1, 2))
    torch.testing.assert_close(alone[0], offsets[1])


@torch.no_grad()
def test_u_has_the_sign_of_eq_36_and_the_ratio_is_h2os():
    trainer = trainer_of('h2o_reverse_kl', seeds=(1, 2))
    trainer.update(30)
    state = trainer.state
    (inputs,) = trainer.sampler.inputs(30, 1, trainer.real, trainer.simulated, trainer.scaling)
    offsets = h2o_reverse_kl.offsets_to_draws(state, inputs.taken, inputs.drawn, slice(None))
    classifiers = state.classifier_parameters.layers('classifiers')
    steps = inputs.taken.unsqueeze(2).repeat(1, 1, 10, 1)
    steps[..., 5:] += offsets
    of_draws = torch.empty(2, steps.shape[1])
    for index in range(2):
        z = 2.0 * torch.tanh(run(classifiers, 2 + index, steps[index].flatten(0, 1)))
        of_draws[index] = (z[:, 0] - z[:, 1]).view(-1, 10).mean(1)  # log p_real/p_sim
    gap = h2o_reverse_kl.dynamics_gap(state, inputs.taken, inputs.drawn)
    torch.testing.assert_close(gap.u, of_draws.clamp(1e-30, 10.0), rtol=1e-4, atol=1e-6)
    plain = dynamics_gap(state, inputs.taken, inputs.drawn)
    torch.testing.assert_close(gap.ratio, plain.ratio)


def test_the_model_learns_reality_and_u_the_place_of_the_gap():
    """The simulator goes three times too far, but only where the first field is positive."""
    rng = np.random.default_rng(0)

    def rows(simulated, count=3000):
        observation = rng.normal(size=(count, 4))
        action = rng.uniform(-3.0, 3.0, (count, 1))
        gain = np.where(simulated & (observation[:, :1] > 0.0), 0.3, 0.1)
        after = observation + gain * action + 0.02 * rng.normal(size=(count, 4))
        no = np.zeros(count, bool)
        return Transitions(observation, action, np.ones(count), after, no, no)

    changes = SMALL | {'learning_rate': 3e-3, 'hidden': [16, 16], 'updates_total': 600}
    trainer = Trainer(load_config('h2o_reverse_kl', **changes), TASK, rows(False), [0])
    trainer.add_simulated(rows(True))
    trainer.update(600)
    batch = rows(True, 400)
    u, _ = trainer.dynamics_gap(batch)
    wrong = (batch.observation[:, 0] > 0.3) & (abs(batch.action[:, 0]) > 1.0)
    right = batch.observation[:, 0] < -0.3
    assert u[wrong].mean() > 3.0 * u[right].mean()
    # a Gaussian of deviation sigma has -log p = log(sigma) + 1.42 a field; untrained, sigma is 1
    deviation = 0.02 / (0.1 * math.sqrt(3.0))
    assert trainer.metrics()['dynamics_loss'][0] < 4.0 * (math.log(1.2 * deviation) + 1.42)


@pytest.mark.parametrize('name', algorithm_names())
def test_no_other_method_has_a_model(name):
    trainer = trainer_of(name)
    model = 'dynamics' in trainer.state.groups
    assert model == (trainer.config.method == 'h2o_reverse_kl')
    (inputs,) = trainer.sampler.inputs(0, 1, trainer.real, trainer.simulated, trainer.scaling)
    assert (inputs.recorded.numel() > 0) == model
