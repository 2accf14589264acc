"""The ensemble of classifiers: calibration by hand and by autograd, held-out rows, what u says."""

import math

import numpy as np
import pytest
import torch
from test_reverse_kl import run
from test_trainer import SMALL, TASK, trainer_of

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.methods import domain_classifiers, h2o_ensemble
from h2o_ros.algorithms.methods.h2o_ensemble import calibration_loss
from h2o_ros.algorithms.methods.losses import classifier_loss
from h2o_ros.algorithms.optimiser import Rates
from h2o_ros.algorithms.sampler import held_out_rows, stepped_rows
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.transitions import Transitions


def test_calibration_loss_by_hand():
    """One real and one simulated row; D_sa says 2 tanh(0.5) for sim, over 2; D_sas says nothing.

    The real row would rather have a larger temperature, the simulated one as much a smaller one.
    """
    outputs = torch.zeros(2, 1, 2, 2)
    outputs[0, 0, :, 1] = 0.5
    log_temperature = torch.tensor([[math.log(2.0)], [0.3]])
    loss, by_log = calibration_loss(outputs, log_temperature, torch.tensor([1.0, -1.0]))
    logit = math.tanh(0.5)
    by_hand = math.log1p(math.exp(logit)) + math.log1p(math.exp(-logit))
    torch.testing.assert_close(loss, torch.full((2, 1), by_hand))
    probability = 1.0 / (1.0 + math.exp(-logit))  # d softplus(l)/dl on the real row
    slope = -2.0 * logit * (probability - (1.0 - probability))  # of both losses by log T_sa
    torch.testing.assert_close(by_log, torch.tensor([[slope], [0.0]]))


def test_calibration_at_temperature_1_is_the_classifiers_own_loss():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 3, 8, 2, generator=generator)
    sign = torch.tensor([1.0] * 4 + [-1.0] * 4)
    loss, _ = calibration_loss(outputs, torch.zeros(2, 3), sign)
    torch.testing.assert_close(loss, classifier_loss(outputs, sign)[0])


def test_calibration_slope_equals_autograd():
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, 3, 8, 2, generator=generator)
    log_temperature = torch.randn(2, 3, generator=generator).requires_grad_()
    loss, slope = calibration_loss(outputs, log_temperature, torch.tensor([1.0, -1.0] * 4))
    (expected,) = torch.autograd.grad(loss.sum(), log_temperature)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize('rows', [1, 5, 9, 10, 11, 39, 1000])
def test_rows_are_stepped_on_or_held_out(rows):
    """Every tenth is held out; in a buffer of under ten, the last serves for want of another."""
    uniform = torch.linspace(0.0, 1.0 - 1e-9, 20_000, dtype=torch.float64)
    stepped = set(stepped_rows(uniform, rows).tolist())
    held = set(held_out_rows(uniform, torch.tensor([[rows]])).flatten().tolist())
    assert held == (set(range(9, rows, 10)) or {rows - 1})
    assert stepped == set(range(rows)) - set(range(9, rows, 10))


def test_no_classifier_ever_steps_on_a_held_out_row():
    """Rows are told by their first field; the agent learns from all of them."""
    trainer = trainer_of('h2o_ensemble', seeds=(1, 2), classifier_noise=0.0)
    each, held, real = 128, 32, trainer.config.real_batch
    seen = {'stepped': set(), 'held': set(), 'agent': set()}
    for update in range(0, 160, 16):
        for inputs in trainer.sampler.inputs(
            update, 16, trainer.real, trainer.simulated, trainer.scaling
        ):
            rows = inputs.classifier[1].unflatten(1, (2, each + held))[..., 0]
            seen['stepped'] |= set(rows[:, 0, :each].flatten().tolist())
            seen['held'] |= set(rows[:, 0, each:].flatten().tolist())
            seen['agent'] |= set(inputs.states[:, :real, 0].flatten().tolist())
    assert (len(seen['stepped']), len(seen['held']), len(seen['agent'])) == (270, 30, 300)
    assert not seen['stepped'] & seen['held']


@torch.no_grad()
def test_gap_is_the_mean_of_the_pairs_over_their_temperatures():
    trainer = trainer_of('h2o_ensemble', seeds=(1, 2), classifier_pairs=3)
    trainer.update(30)
    state = trainer.state
    temperatures = torch.linspace(0.5, 2.0, 12)  # D_sa's six, then D_sas's: pair first, then seed
    state.own['calibration'].value.copy_(temperatures.log())
    (inputs,) = trainer.sampler.inputs(30, 1, trainer.real, trainer.simulated, trainer.scaling)
    layers = state.classifier_parameters.layers('classifiers')
    gap = h2o_ensemble.dynamics_gap(state, inputs.taken, inputs.drawn)
    each = h2o_ensemble.of_each_pair(state, inputs.taken, slice(None))
    assert inputs.drawn.shape[1] == 0  # no next states are drawn
    for index in range(2):
        mean = 0.0
        for pair in range(3):
            network = 6 + 2 * pair + index
            z = 2.0 * torch.tanh(run(layers, network, inputs.taken[index]))
            log_ratio = (z[..., 0] - z[..., 1]) / temperatures[network]
            torch.testing.assert_close(each[pair, index], log_ratio, rtol=1e-4, atol=1e-5)
            mean += log_ratio / 3.0
        torch.testing.assert_close(gap.ratio[index], mean.exp(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gap.u[index], (-mean).clamp(1e-30, 10.0), rtol=1e-4, atol=1e-5)
    alone = h2o_ensemble.dynamics_gap(state, inputs.taken[1:], inputs.drawn[1:], slice(1, 2))
    torch.testing.assert_close(alone.u[0], gap.u[1])


def test_one_pair_learns_as_h2os_classifiers_do_on_the_rows_it_steps_on():
    """The same weights and rows make the same step, whatever is held out beside them."""
    trainer, plain = trainer_of('h2o_ensemble', classifier_pairs=1), trainer_of('h2o')
    (inputs,) = trainer.sampler.inputs(0, 1, trainer.real, trainer.simulated, trainer.scaling)
    rates = Rates(*(torch.tensor(x) for x in (3e-3, 30.0, 0.5)))
    plain.state.classifier_parameters.value.copy_(trainer.state.classifier_parameters.value)
    rows = inputs.classifier.unflatten(2, (2, -1))[:, :, :, :128].flatten(2, 3)
    with torch.no_grad():
        h2o_ensemble.learn(trainer.state, inputs, rates)
        domain_classifiers.learn(plain.state, inputs._replace(classifier=rows), rates)
    ours, theirs = (t.state.classifier_parameters.value for t in (trainer, plain))
    torch.testing.assert_close(ours, theirs)


def domains(seed, count, gains):
    """Return as many transitions of each of two dynamics, s' = s + gain x action + noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for gain in gains:
        observation = rng.normal(size=(count, 4))
        action = rng.uniform(-3.0, 3.0, (count, 1))
        after = observation + gain * action + 0.1 * rng.normal(size=(count, 4))
        no = np.zeros(count, bool)
        parts.append(Transitions(observation, action, np.ones(count), after, no, no))
    return parts


def trained(name, gains, count, updates, **changes):
    """Return a trainer whose classifiers learned two dynamics from so many rows of each."""
    changes = SMALL | {'learning_rate': 3e-3, 'updates_total': updates} | changes
    real, simulated = domains(0, count, gains)
    trainer = Trainer(load_config(name, **changes), TASK, real, [0])
    trainer.add_simulated(simulated)
    trainer.update(updates)
    return trainer


def test_rows_learned_by_heart_raise_the_temperature():
    """Real and simulated alike, and few: there is nothing to tell, but classifiers tell it."""
    trainer = trained('h2o_ensemble', (0.1, 0.1), 100, 800, classifier_hidden=[32, 32])
    metrics = trainer.metrics()
    assert metrics['classifier_temperature'][0] > 1.5
    assert metrics['gap_disagreement'][0] > 0.05


def test_sure_differences_lower_the_temperature_and_u_is_where_the_gap_is():
    """Dynamics far apart: log p_real/p_sim may go beyond the ±4 of one pair's bounded logits."""
    trainer = trained('h2o_ensemble', (0.1, 0.6), 2000, 800)
    assert trainer.metrics()['classifier_temperature'][0] < 0.9
    real, simulated = domains(1, 500, (0.1, 0.6))
    u_real, of_real = trainer.dynamics_gap(real)
    u, of_simulated = trainer.dynamics_gap(simulated)
    assert u.mean() > 10.0 * u_real.mean()
    assert np.log(of_simulated).mean() < -2.0 < 1.0 < np.log(of_real).mean()
    assert np.log(of_simulated).min() < -4.0
