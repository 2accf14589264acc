"""The update reproduces five consecutive updates of the authors' code to 1e-5 (test/data)."""

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from h2o_ros.algorithms.batch import Noise, prepare
from h2o_ros.algorithms.compute.compile import make_step
from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.methods.domain_classifiers import dynamics_gap
from h2o_ros.algorithms.optimiser import Rates, rates
from h2o_ros.algorithms.replay_buffer import RowLayout
from h2o_ros.algorithms.state import Shape, State

GOLDEN = Path(__file__).parent / 'golden' / 'official_h2o_wheel_legged.npz'
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
        (agent.layers('critics'), CRITICS),
        (state.target_layers, TARGETS),
        (classifiers, CLASSIFIERS),
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
        part = {
            k: golden[f'step{step}/{name}/{k}']
            for k in ('observations', 'actions', 'next_observations', 'rewards', 'dones')
        }
        following = part['next_observations']
        continuation = config.discount * (1.0 - part['dones'])
        return np.concatenate(
            [
                part['observations'],
                part['actions'],
                following,
                following,
                part['rewards'],
                continuation,
            ],
            1,
        )

    def noise(name):
        return golden[f'step{step}/noise/{name}']

    def batched(*parts):
        joined = torch.from_numpy(np.concatenate(parts).astype(np.float32))
        return joined.expand(1, seeds, *joined.shape)

    classifier_noise = [
        np.concatenate(
            [noise(f'classifier_{d}/{k}') for k in ('observation', 'action', 'next_observation')],
            1,
        )
        for d in ('real', 'sim')
    ]
    gap = noise('gap_next_observation').reshape(config.sim_batch, config.gap_samples, 4)
    action = [noise(k) for k in ('policy_action', 'real_next_action', 'sim_next_action')]
    deviation = torch.from_numpy(golden['state_std']).expand(seeds, -1)
    prepared = prepare(
        config,
        layout,
        batched(table('real'), table('sim')),
        batched(table('classifier_real'), table('classifier_sim')),
        Noise(
            batched(*classifier_noise),
            batched(gap),
            batched(*action),
            torch.zeros(1, seeds, 0, config.batch, 1),
        ),
        deviation,
    )
    return type(prepared)(*(tensor[0] for tensor in prepared))


def can_compile():
    """Say whether torch.compile finds a C++ compiler and Python's headers."""
    headers = Path(sysconfig.get_paths()['include']) / 'Python.h'
    return headers.is_file() and any(map(shutil.which, ('g++', 'c++', 'clang++')))


@torch.no_grad()
@pytest.mark.timeout(400)  # compiling on a busy machine
@pytest.mark.parametrize(('seeds', 'mode'), [(1, 'off'), (3, 'off'), (1, 'on')])
def test_five_updates_equal_the_official_code(golden, seeds, mode):
    if mode == 'on' and not can_compile():
        pytest.skip("needs a C++ compiler and Python's headers")
    config = load_config('h2o_paper')
    assert (config.gap_samples, config.hidden, config.tau) == (10, (32, 32), 5e-3)
    layout = RowLayout(4, 1)
    state = State(config, Shape(seeds, 4, 1))
    load_initial(state, golden, seeds)
    make = make_step(state, mode)
    for step in range(5):
        inputs = inputs_of(golden, step, config, layout, seeds)
        of_step = Rates(*(r[0] for r in rates(config, step, 1)))
        metrics = make(inputs, of_step, True)
        gap = dynamics_gap(state, inputs.taken, inputs.drawn)
        check_metrics(golden, step, metrics, gap)
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


@torch.no_grad()
@pytest.mark.timeout(400)  # compiling on a busy machine
def test_compiled_steps_keep_to_their_own_state_and_settings(golden):
    """Their checks leave out the state, so that one must not run the code made for another."""
    if not can_compile():
        pytest.skip("needs a C++ compiler and Python's headers")
    of_step = Rates(*(r[0] for r in rates(load_config('h2o_paper'), 0, 1)))
    metrics: dict = {'on': [], 'off': []}
    for mode, results in metrics.items():
        for discount in (0.99, 0.5):
            config = load_config('h2o_paper', discount=discount, beta=discount)
            state = State(config, Shape(1, 4, 1))
            load_initial(state, golden, 1)
            state.agent_parameters.value.mul_(discount)
            inputs = inputs_of(golden, 0, config, RowLayout(4, 1), 1)
            results.append(make_step(state, mode)(inputs, of_step, True))
    for compiled, plain in zip(metrics['on'], metrics['off'], strict=True):
        for name, value in plain.items():
            torch.testing.assert_close(compiled[name], value, rtol=0, atol=1e-5)
    critic_losses = [m['critic_loss'] for m in metrics['on']]
    assert (critic_losses[0] - critic_losses[1]).abs().max() > 1e-3


def check_metrics(golden, step, metrics, gap):
    """Hold every number that the official code logged against ours."""
    out = {k.split('/out/')[1]: v for k, v in golden.items() if k.startswith(f'step{step}/out/')}
    first = {name: tensor[..., 0].double().numpy() for name, tensor in metrics.items()}
    omega = gap.u[0].double().numpy()
    ratio, u = gap.ratio[0].double().numpy(), omega.copy()
    omega /= omega.sum()
    ours = {
        'ratio': ratio,
        'u': u,
        'total_steps': step + 1,
        'dsa_train_loss': first['classifier_sa_loss'],
        'dsas_train_loss': first['classifier_sas_loss'],
        'log_pi': -first['entropy'],
        'policy_loss': first['actor_loss'],
        'alpha_loss': first['temperature_loss'],
        'alpha': first['temperature'],
        'average_real_target_q': first['real_next_value'],
        'average_sim_target_q': first['sim_next_value'],
        'cql/u_sa': first['mean_u'],
        'cql/std_omega': np.std(omega, ddof=1),
        'cql/sqrt_IS_ratio': np.sqrt(np.clip(ratio, 1e-5, 1.0)).mean(),
    }
    for q in (0, 1):
        name, regular = f'qf{q + 1}', first['regularisation'][q]
        ours |= {
            f'{name}_loss': first['bellman_loss'][q],
            f'real_{name}_loss': first['real_bellman_loss'][q],
            f'sim_{name}_loss': first['bellman_loss'][q] - first['real_bellman_loss'][q],
            f'average_real_{name}': first['real_value'][q],
            f'average_sim_{name}': first['sim_value'][q],
            f'cql/cql_{name}_diff': regular,
            f'cql/cql_{name}_gap': regular + first['real_value'][q],
            f'cql/cql_min_{name}_loss': 0.01 * regular,
        }
    assert set(ours) == set(out)
    for name, value in out.items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-5, err_msg=f'{step} {name}')
