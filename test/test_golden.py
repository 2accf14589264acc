"""The update reproduces five consecutive updates of the authors' code to 1e-5 (test/data)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.replay import RowLayout
from h2o_ros.algorithms.update import Noise, Shape, State, dynamics_gap, prepare, update

GOLDEN = Path(__file__).parent / 'data' / 'official_h2o_wheel_legged.npz'
ACTOR = [f'policy/base_network.network.{i}' for i in (0, 2, 4)]
CRITICS = [[f'{q}/network.network.{i}' for i in (0, 2, 4)] for q in ('q1', 'q2')]
TARGETS = [[f'target_{name}' for name in names] for names in CRITICS]
CLASSIFIERS = [[f'{d}/fc{i}' for i in (1, 2, 3)] for d in ('d_sa', 'd_sas')]


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


def pairs(state, seeds):
    """Yield (our weight, our bias, official name) of seed 0 for every layer."""
    agent = state.agent_parameters
    classifiers = state.classifier_parameters.layers('classifiers')
    for layer, name in zip(agent.layers('actor'), ACTOR, strict=True):
        yield layer.weight[0], layer.bias[0], name
    for layers, groups in (
        (agent.layers('critics'), CRITICS), (state.target_layers, TARGETS), (classifiers, CLASSIFIERS)
    ):
        for k, names in enumerate(groups):
            for layer, name in zip(layers, names, strict=True):
                yield layer.weight[k * seeds], layer.bias[k * seeds], name


def load_initial(state, golden, seeds):
    """Fill every seed with the official initial parameters (D_sa's rows for s' stay zero)."""
    for weight, bias, name in pairs(state, seeds):
        given = torch.from_numpy(golden[f'initial/{name}.weight'].T)
        weight[: len(given)] = given
        bias[0] = torch.from_numpy(golden[f'initial/{name}.bias'])
    views = state.agent_parameters.views
    views['scale/log_std'][0] = torch.tensor(
        [float(golden[f'initial/policy/log_std_{k}.constant']) for k in ('multiplier', 'offset')]
    )
    for group in (state.agent_parameters, state.classifier_parameters):
        for tensor in group.views.values():
            each = tensor.unflatten(0, (-1, seeds))
            each[:, 1:] = each[:, :1]
    state.reset_copies()


def inputs_of(golden, step, config, layout, seeds):
    """Arrange one golden update's batches and noise."""
    def table(name):
        part = {k: golden[f'step{step}/{name}/{k}'] for k in (
            'observations', 'actions', 'next_observations', 'rewards', 'dones')}
        following = part['next_observations']
        continuation = config.discount * (1.0 - part['dones'])
        return np.concatenate([
            part['observations'], part['actions'], following, following, part['rewards'], continuation
        ], 1)

    def noise(name):
        return golden[f'step{step}/noise/{name}']

    def batched(*parts):
        joined = torch.from_numpy(np.concatenate(parts).astype(np.float32))
        return joined.expand(1, seeds, *joined.shape)

    classifier_noise = [np.concatenate([
        noise(f'classifier_{d}/{k}') for k in ('observation', 'action', 'next_observation')
    ], 1) for d in ('real', 'sim')]
    gap = noise('gap_next_observation').reshape(config.sim_batch, config.gap_samples, 4)
    action = [noise(k) for k in ('policy_action', 'real_next_action', 'sim_next_action')]
    deviation = torch.from_numpy(golden['state_std']).expand(seeds, -1)
    prepared = prepare(
        config, layout, batched(table('real'), table('sim')),
        batched(table('classifier_real'), table('classifier_sim')),
        Noise(batched(*classifier_noise), batched(gap), batched(*action)), deviation,
    )
    return type(prepared)(*(tensor[0] for tensor in prepared))


@pytest.mark.parametrize('seeds', [1, 3])
def test_five_updates_equal_the_official_code(golden, seeds):
    config = load_config('h2o_paper', classifier_batch=32)
    assert (config.gap_samples, config.hidden, config.tau) == (10, (32, 32), 5e-3)
    layout = RowLayout(4, 1)
    state = State(config, Shape(seeds, 4, 1))
    load_initial(state, golden, seeds)
    for step in range(5):
        inputs = inputs_of(golden, step, config, layout, seeds)
        metrics = update(state, inputs, 0.01, config.learning_rate)
        check_metrics(golden, step, metrics, dynamics_gap(state, inputs.gap))
    for weight, bias, name in pairs(state, seeds):
        expected = golden[f'final/{name}.weight'].T
        np.testing.assert_allclose(weight[: len(expected)], expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(bias[0], golden[f'final/{name}.bias'], rtol=0, atol=1e-5)
    views = state.agent_parameters.views
    for column, name in enumerate(('multiplier', 'offset')):
        expected = golden[f'final/policy/log_std_{name}.constant']
        assert abs(float(views['scale/log_std'][0, column]) - expected) < 1e-5
    assert abs(float(views['temperature/log'][0]) - golden['final/log_alpha']) < 1e-5
    for tensor in state.tensors().values():
        assert torch.isfinite(tensor).all()


def check_metrics(golden, step, metrics, gap):
    out = {k.split('/out/')[1]: v for k, v in golden.items() if k.startswith(f'step{step}/out/')}
    np.testing.assert_allclose(gap.ratio[0], out['ratio'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(gap.u[0], out['u'], rtol=0, atol=1e-5)
    twins = {
        'real_bellman_loss': 'real_qf{}_loss', 'sim_bellman_loss': 'sim_qf{}_loss',
        'bellman_loss': 'qf{}_loss', 'real_value': 'average_real_qf{}',
        'sim_value': 'average_sim_qf{}', 'regularisation': 'cql/cql_qf{}_diff',
        'soft_maximum': 'cql/cql_qf{}_gap',
    }
    omega = np.maximum(gap.u[0].double().numpy(), 1e-45)
    ratio = gap.ratio[0].clamp(1e-5, 1.0).sqrt().mean()
    expected = {
        'dsa_train_loss': metrics['classifier_sa_loss'], 'dsas_train_loss': metrics['classifier_sas_loss'],
        'log_pi': -metrics['entropy'], 'policy_loss': metrics['actor_loss'],
        'alpha_loss': metrics['temperature_loss'], 'alpha': metrics['temperature'],
        'cql/u_sa': metrics['mean_u'], 'cql/sqrt_IS_ratio': ratio,
        'cql/std_omega': np.std(omega / omega.sum(), ddof=1),
        'cql/cql_min_qf1_loss': 0.01 * out['cql/cql_qf1_diff'],
    }
    for name, value in expected.items():
        value = value[0] if getattr(value, 'ndim', 0) else value
        assert abs(float(value) - float(out[name])) < 1e-5, (step, name)
    mean = {k: np.mean([out[v.format(q)] for q in (1, 2)]) for k, v in twins.items()}
    for name in ('real_value', 'sim_value', 'regularisation'):
        assert abs(float(metrics[name][0]) - mean[name]) < 1e-5, (step, name)
    total = mean['bellman_loss'] + 0.01 * mean['regularisation']
    assert abs(float(metrics['critic_loss'][0]) - total) < 1e-5, step
