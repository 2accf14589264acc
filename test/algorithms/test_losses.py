"""Losses against numbers worked out by hand, and derivatives against autograd."""

import math

import numpy as np
import pytest
import torch

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.methods import h2o, losses
from h2o_ros.algorithms.replay_buffer import RowLayout, Scaling, make_rows
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions

TANH_HALF = math.tanh(0.5)


def transitions(**changes):
    """Return three rows: one goes on, one ended by failure, one was cut at the horizon."""
    rows = {
        'observation': [[0.1, 0.0, 0.0, 0.0]] * 3,
        'action': [[1.5]] * 3,
        'reward': [28.0] * 3,
        'next_observation': [[0.2, 0.0, 0.0, 0.5]] * 3,
        'terminated': [0, 1, 0],
        'truncated': [0, 0, 1],
    }
    return Transitions(**{k: np.array(v) for k, v in (rows | changes).items()})


def test_only_termination_cuts_the_bootstrap():
    rows = make_rows(transitions(), load_config('h2o_paper'), load_task('standing_still'))
    layout = RowLayout(4, 1)
    torch.testing.assert_close(rows[:, layout.reward], torch.full((3,), 28.0))
    torch.testing.assert_close(rows[:, layout.continuation], torch.tensor([0.99, 0.0, 0.99]))
    torch.testing.assert_close(rows[:, layout.seen], rows[:, layout.next_observation])


def test_centred_reward_charges_a_failure_all_that_it_forgoes():
    """(28 - 30) x 0.05 = -0.1; a failure is worth -30 x 0.05 / (1 - 0.995) = -300 afterwards."""
    rows = make_rows(transitions(), load_config('h2o'), load_task('standing_still'))
    layout = RowLayout(4, 1)
    expected = torch.tensor([-0.1, -0.1 - 0.995 * 300.0, -0.1])
    torch.testing.assert_close(rows[:, layout.reward], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rows[:, layout.continuation], torch.tensor([0.995, 0.0, 0.995]))
    difference = torch.tensor([0.1, 0.0, 0.0, 0.5]).expand(3, 4)
    torch.testing.assert_close(rows[:, layout.seen], difference)


def test_actions_are_clipped_to_the_limits_and_scaled():
    task, config = load_task('standing_still'), load_config('h2o')
    rows = make_rows(transitions(action=[[1.5], [12.0], [-12.0]]), config, task)
    learning = Scaling.fit([rows], config, task).apply(rows[None])[0]
    torch.testing.assert_close(learning[:, 4], torch.tensor([0.5, 1.0, -1.0]))


def test_scaling_standardises_and_leaves_constant_columns():
    task, config = load_task('standing_still'), load_config('h2o')
    observation = np.zeros((3, 4))
    observation[:, 0] = [1.0, 2.0, 3.0]
    rows = make_rows(transitions(observation=observation), config, task)
    scaling = Scaling.fit([rows], config, task)
    learning = scaling.apply(rows[None])[0]
    deviation = math.sqrt(2.0 / 3.0)
    expected = torch.tensor([-1.0, 0.0, 1.0]) / deviation
    torch.testing.assert_close(learning[:, 0], expected, rtol=0, atol=1e-6)
    assert torch.isfinite(learning).all()
    plain = Scaling.fit([rows], load_config('h2o_paper'), task)
    torch.testing.assert_close(plain.gap_deviation[0, 0], torch.tensor(deviation))


@pytest.mark.parametrize(
    'change',
    [
        {'observation': [[0.1, 0.0]] * 3, 'next_observation': [[0.1, 0.0]] * 3},
        {'reward': [0.0, math.nan, 0.0]},
    ],
)
def test_rows_of_another_width_or_not_finite_are_refused(change):
    with pytest.raises(ValueError, match='expected'):
        make_rows(transitions(**change), load_config('h2o'), load_task('standing_still'))


def test_classifier_loss_by_hand():
    """One real and one simulated row; logits 2 tanh(0.5) for D_sa's sim entry, D_sas silent."""
    outputs = torch.zeros(2, 1, 2, 2)
    outputs[0, 0, :, 1] = 0.5
    loss, _ = losses.classifier_loss(outputs, torch.tensor([1.0, -1.0]))
    logit = 2.0 * TANH_HALF
    by_hand = math.log1p(math.exp(logit)) + math.log1p(math.exp(-logit))
    torch.testing.assert_close(loss, torch.full((2, 1), by_hand))


def test_dynamics_gap_by_hand():
    """Log p_real/p_sim is minus the step's own logit difference; u the mean of the drawn ones."""
    outputs = torch.zeros(1, 3, 2)
    outputs[0, :, 1] = torch.tensor([0.5, 1.0, -0.2])
    log_ratio, u = losses.dynamics_gap(outputs, 2)
    torch.testing.assert_close(log_ratio, torch.tensor([[-2.0 * TANH_HALF]]))
    torch.testing.assert_close(u, torch.tensor([[math.tanh(1.0) + math.tanh(-0.2)]]))


def test_bellman_loss_by_hand():
    """Real row: 1 x (3 - 1)² = 4; simulated row with ratio 0.25: 0.25 x (2 - 4)² = 1."""
    q, target = torch.tensor([[[3.0, 2.0]]]), torch.tensor([[1.0, 4.0]])
    rows, slope = losses.bellman_loss(q, target, torch.tensor([[1.0, 0.25]]))
    torch.testing.assert_close(rows, torch.tensor([[[4.0, 1.0]]]))
    torch.testing.assert_close(slope, torch.tensor([[[4.0, -1.0]]]))


def test_regularisation_by_hand():
    """Omega = (1, 3) / 4, simulated Q = (log 4, 0), real 1: log 1.75 - 1, or log 4 / 4 - 1."""
    q = torch.tensor([[[1.0, math.log(4.0), 0.0]]])
    log_weight = h2o.log_omega(torch.tensor([[1.0, 3.0]]))
    value, slope = h2o.regularisation(q, 1, log_weight, False, 1000.0)
    torch.testing.assert_close(value, torch.tensor([[math.log(1.75) - 1.0]]))
    torch.testing.assert_close(slope, torch.tensor([[[-1.0, 1.0 / 1.75, 0.75 / 1.75]]]))
    value, slope = h2o.regularisation(q, 1, log_weight, True, 1000.0)
    torch.testing.assert_close(value, torch.tensor([[0.25 * math.log(4.0) - 1.0]]))
    torch.testing.assert_close(slope, torch.tensor([[[-1.0, 0.25, 0.75]]]))
    value, slope = h2o.regularisation(q, 1, log_weight, True, 0.1)
    torch.testing.assert_close(value, torch.tensor([[-0.1]]))
    assert not slope.any()


def test_actor_and_temperature_loss_by_hand():
    log_pi, q = torch.tensor([[0.5, 1.5]]), torch.tensor([[[1.0, 4.0]], [[2.0, 3.0]]])
    loss, slope = losses.actor_loss(log_pi, q, torch.tensor([2.0]))
    torch.testing.assert_close(loss, torch.tensor([0.0]))  # (2 x 0.5 - 1 + 2 x 1.5 - 3) / 2
    torch.testing.assert_close(slope, torch.tensor([[[-0.5, 0.0]], [[0.0, -0.5]]]))
    loss, slope = losses.temperature_loss(torch.tensor([0.3]), log_pi, -2.0)
    torch.testing.assert_close(loss, torch.tensor([0.3]))
    torch.testing.assert_close(slope, torch.tensor([1.0]))


def test_smoothness_by_hand():
    mean = torch.tensor([0.5, 0.25, -0.5, 0.25]).atanh().view(1, 4, 1)  # at s, s, then s', s'
    loss, slope = losses.smoothness_loss(mean, 3.0)
    torch.testing.assert_close(loss, torch.tensor([1.5]))  # 3 (1² + 0²) / 2
    # 3 x 2 x 1 / 2 x (1 - 0.5²)
    torch.testing.assert_close(slope, torch.tensor([[[2.25], [0.0], [-2.25], [0.0]]]))


def test_squashed_gaussian_against_torch_distributions():
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, 5, 4, generator=generator).requires_grad_()
    scale = torch.tensor([[1.0, -1.0], [0.5, 1.9]], requires_grad=True)
    noise = torch.randn(2, 5, 2, generator=generator)
    mean, head = outputs.chunk(2, -1)
    log_std = (head * scale[:, None, :1] + scale[:, None, 1:]).clamp(-20.0, 2.0)
    normal = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(
        normal, torch.distributions.TanhTransform(cache_size=1)
    )
    action = squashed.transforms[0](mean + log_std.exp() * noise)
    log_pi = squashed.log_prob(action).sum(-1)
    by_action = torch.randn(2, 3, 2, generator=generator)
    loss = 0.7 * log_pi[:, :3].sum() + (by_action * action[:, :3]).sum()
    expected = torch.autograd.grad(loss, (outputs, scale))

    ours = losses.SquashedGaussian(outputs.detach(), scale.detach(), noise)
    torch.testing.assert_close(ours.action, action.detach())
    torch.testing.assert_close(
        ours.log_probability(3), log_pi[:, :3].detach(), rtol=1e-5, atol=1e-5
    )
    by_outputs, by_scale = ours.backward(by_action, torch.full((2, 1, 1), 0.7))
    torch.testing.assert_close(by_outputs, expected[0][:, :3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(by_scale, expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['classifier', 'bellman', 'soft_maximum', 'mean'])
def test_slopes_equal_autograd(name):
    generator = torch.Generator().manual_seed(2)
    shape = (2, 3, 8, 2) if name == 'classifier' else (2, 3, 8)
    x = torch.randn(shape, generator=generator, requires_grad=True)
    weight = torch.rand(3, 8, generator=generator)
    log_weight = h2o.log_omega(weight[:, 4:])
    sign = torch.tensor([1.0] * 4 + [-1.0] * 4)
    value, slope = {
        'classifier': lambda: losses.classifier_loss(x, sign),
        'bellman': lambda: losses.bellman_loss(x, weight, weight),
        'soft_maximum': lambda: h2o.regularisation(x, 4, log_weight, False, 1000.0),
        'mean': lambda: h2o.regularisation(x, 4, log_weight, True, 1000.0),
    }[name]()
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(slope, expected)


def test_omega_without_denormals():
    """All u at the lower clip weigh alike; beside a large one they weigh nothing; no NaN."""
    torch.set_flush_denormal(True)
    try:
        even = h2o.log_omega(torch.full((1, 4), 1e-30))
        torch.testing.assert_close(even.exp(), torch.full((1, 4), 0.25))
        mixed = h2o.log_omega(torch.tensor([[1e-30, 10.0, 1e-30]]))
        value, slope = h2o.soft_maximum(torch.tensor([[[1e3, -1e3, 0.0]]]), mixed)
        assert torch.isfinite(mixed).all() and torch.isfinite(value).all()
        torch.testing.assert_close(slope.sum(), torch.tensor(1.0))
    finally:
        torch.set_flush_denormal(False)
