"""DARC: the corrected rewards by hand, their sign, and the loss that they make."""

import numpy as np
import pytest
import torch
from test_trainer import SMALL, TASK, trainer_of

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.methods import darc, losses, sac
from h2o_ros.algorithms.methods.actor_critic import evaluate
from h2o_ros.algorithms.methods.domain_classifiers import dynamics_gap, log_dynamics_ratio
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.transitions import Transitions


def test_log_ratio_by_hand():
    """Logits 2 tanh: real 2 x 0.5, simulated 2 x 0: reality is e times as likely to step so."""
    outputs = torch.tensor([[[np.arctanh(0.5), 0.0], [0.0, np.arctanh(0.5)], [0.0, 0.0]]])
    expected = torch.tensor([[1.0, -1.0, 0.0]], dtype=outputs.dtype)
    torch.testing.assert_close(losses.log_dynamics_ratio(outputs), expected)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        # all four rows simulated: 3 + 1.5, 3 - 2, 3 - 2 clipped from -9, 3 + 0; times 0.1
        ('darc', [0.45, 0.1, 0.1, 0.3]),
        # two real rows as they are, then the first two corrections
        ('darc_plus', [0.3, 0.3, 0.45, 0.1]),
    ],
)
def test_corrected_rewards_by_hand(name, expected):
    config = load_config(name, batch=4, reward_scale=0.1, correction_limit=2.0)
    learning_reward = torch.full((1, 4), 3.0 * 0.1)
    log_ratio = torch.tensor([[1.5, -2.0, -9.0, 0.0]])[:, : config.sim_batch]
    corrected = darc.corrected_reward(config, learning_reward, log_ratio)
    torch.testing.assert_close(corrected, torch.tensor([expected]))
    assert load_config(name).correction_limit == 10.0  # table 3


@torch.no_grad()
@pytest.mark.parametrize('name', ['darc', 'darc_plus'])
def test_loss_is_that_of_sac_on_corrected_rewards(name):
    """Failures are corrected, too: y = r + delta_r there, with no value after it."""
    trainer = trainer_of(name, seeds=(1, 2))
    trainer.update(30)
    state, r = trainer.state, trainer.config.real_batch
    (inputs,) = trainer.sampler.inputs(30, 1, trainer.real, trainer.simulated, trainer.scaling)
    assert inputs.drawn.shape[1] == 0  # no next states are drawn, since no u is needed
    values = evaluate(state, inputs)
    loss = darc.critic_loss(state, inputs, values)
    log_ratio = log_dynamics_ratio(state, inputs.taken)
    assert log_ratio.abs().max() > 0.01
    reward = inputs.reward.clone()
    reward[:, r:] += 0.05 * log_ratio  # the recipe's reward_scale
    y = reward + inputs.continuation * values.next_value
    failed = inputs.continuation == 0.0
    assert failed[:, r:].any()
    torch.testing.assert_close(y[failed], reward[failed])
    means = [((loss.q - y) ** 2)[..., part].mean(-1) for part in (slice(0, r), slice(r, None))]
    expected = sum(mean for mean in means if not mean.isnan().any())
    torch.testing.assert_close(loss.bellman.sum(-1), expected)
    plain = sac.critic_loss(state, inputs, values)
    assert not torch.allclose(plain.bellman.sum(-1), expected)


@torch.no_grad()
def test_log_ratio_is_that_of_the_dynamics_gap():
    trainer = trainer_of('h2o', seeds=(1, 2))
    trainer.update(30)
    (inputs,) = trainer.sampler.inputs(30, 1, trainer.real, trainer.simulated, trainer.scaling)
    gap = dynamics_gap(trainer.state, inputs.taken, inputs.drawn)
    torch.testing.assert_close(log_dynamics_ratio(trainer.state, inputs.taken), gap.ratio.log())


def test_steps_that_reality_takes_are_rewarded():
    """The simulator goes too far; once trained, a real step earns more there than its own."""
    rng = np.random.default_rng(0)

    def rows(gain, count=2000):
        observation = rng.normal(size=(count, 4))
        action = rng.uniform(-3.0, 3.0, (count, 1))
        after = observation + gain * action + 0.01 * rng.normal(size=(count, 4))
        no = np.zeros(count, bool)
        return Transitions(observation, action, np.ones(count), after, no, no)

    config = load_config('darc', **(SMALL | {'learning_rate': 3e-3}))
    trainer = Trainer(config, TASK, rows(0.1), [0])
    trainer.add_simulated(rows(0.3))
    trainer.update(400)
    _, of_real = trainer.dynamics_gap(rows(0.1))
    _, of_simulated = trainer.dynamics_gap(rows(0.3))
    assert np.log(of_real).mean() > 1.0
    assert np.log(of_simulated).mean() < -1.0
    assert trainer.metrics()['reward_correction'] < -1.0
