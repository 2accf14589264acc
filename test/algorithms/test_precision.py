"""Large products: compiled equals plain; bfloat16 factors change little, or are not used."""

import numpy as np
import pytest
import torch
from test_golden import can_compile

from h2o_ros.algorithms.compute import precision
from h2o_ros.algorithms.config import load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.task import ActionField, ObservationField, Task
from h2o_ros.transitions import Transitions

HALF_CHEETAH = {
    'batch': 256,
    'classifier_batch': 256,
    'hidden': [256, 256],
    'classifier_hidden': [256, 256],
}
SMALL = {'hidden': [64, 64], 'classifier_hidden': [64, 64]}
TASK = Task(
    'half_cheetah',
    'none',
    'standing_still',
    tuple(ObservationField(f's{i}') for i in range(17)),
    tuple(ActionField(f'a{i}', -1.0, 1.0) for i in range(6)),
)


def transitions(seed):
    """Return 1000 rows of normal numbers."""
    rng = np.random.default_rng(seed)
    return Transitions(
        rng.normal(size=(1000, 17)),
        np.tanh(rng.normal(size=(1000, 6))),
        rng.normal(size=1000),
        rng.normal(size=(1000, 17)),
        rng.random(1000) < 0.01,
        np.zeros(1000, bool),
    )


def trainer_of(matmul_precision, compile='off', sizes=HALF_CHEETAH):
    """Return a trainer at the sizes of the paper's HalfCheetah."""
    config = load_config('h2o_paper', **sizes, matmul_precision=matmul_precision, compile=compile)
    trainer = Trainer(config, TASK, transitions(0), [0])
    trainer.add_simulated(transitions(1))
    return trainer


def moves(trainer, updates):
    """Return how far each network went from where it began, as one vector a network."""
    agent, classifiers = trainer.state.agent_parameters, trainer.state.classifier_parameters
    parts = {
        'actor': agent.value[agent.span('actor')],
        'critics': agent.value[agent.span('critics')],
        'classifiers': classifiers.value,
    }
    before = {name: part.clone() for name, part in parts.items()}
    trainer.update(updates)
    return {name: part - before[name] for name, part in parts.items()}


def distance(one, other):
    """Return |one - other| / |other| of the network that differs most."""
    return max(float((one[k] - other[k]).norm() / other[k].norm()) for k in other)


@pytest.mark.timeout(400)  # compiling on a busy machine
def test_compiled_large_update_equals_the_plain_one():
    """Five updates of 256-256 networks end in the same parameters, moments and metrics."""
    if not can_compile():
        pytest.skip("needs a C++ compiler and Python's headers")
    plain, compiled = trainer_of('highest'), trainer_of('highest', 'on')
    for trainer in (plain, compiled):
        trainer.update(5)
    for name, value in plain.metrics().items():
        np.testing.assert_allclose(compiled.metrics()[name], value, rtol=1e-5, atol=1e-5)
    for name, tensor in plain.state.tensors().items():
        torch.testing.assert_close(compiled.state.tensors()[name], tensor, rtol=0, atol=1e-5)


def test_medium_rounds_large_products_and_moves_nearly_as_float32(monkeypatch):
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: True)
    exact, rounded = trainer_of('highest'), trainer_of('medium')
    difference = distance(moves(rounded, 5), moves(exact, 5))
    assert rounded.state.factors == torch.bfloat16
    assert 1e-3 < difference < 0.3


def test_medium_is_not_used_where_gradients_suffer(monkeypatch, caplog):
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: True)
    monkeypatch.setattr(precision, 'BOUND', 1e-6)
    expect_float32(caplog, 'off, over')


def test_medium_is_not_used_without_bfloat16_products(monkeypatch, caplog):
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: False)
    expect_float32(caplog, 'no bfloat16 products')


def expect_float32(caplog, reason):
    """Hold that 'medium' trains as 'highest' does and that one line says why."""
    exact, asked = trainer_of('highest'), trainer_of('medium')
    assert distance(moves(asked, 2), moves(exact, 2)) == 0.0
    lines = [r.getMessage() for r in caplog.records if 'matmul_precision' in r.getMessage()]
    assert len(lines) == 1
    assert reason in lines[0]


def test_layers_under_128_units_stay_in_float32(monkeypatch):
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: True)
    exact, rounded = trainer_of('highest', sizes=SMALL), trainer_of('medium', sizes=SMALL)
    assert distance(moves(rounded, 2), moves(exact, 2)) == 0.0


@pytest.mark.parametrize('bound', [1e-6, 1.0])
def test_a_resumed_run_keeps_the_precision_that_its_first_batch_settled(
    monkeypatch, tmp_path, caplog, bound
):
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: True)
    monkeypatch.setattr(precision, 'BOUND', bound)
    whole, begun = trainer_of('medium'), trainer_of('medium')
    whole.update(4)
    begun.update(2)
    begun.save(tmp_path / 'checkpoint')
    monkeypatch.setattr(precision, 'BOUND', 1.0 if bound == 1e-6 else 1e-6)
    resumed = Trainer.load(tmp_path / 'checkpoint', None, TASK, transitions(0))
    resumed.update(2)
    assert ('settled before the checkpoint' in caplog.text) == (bound == 1e-6)
    assert resumed.state.factors == (torch.float32 if bound == 1e-6 else torch.bfloat16)
    for name, tensor in whole.state.tensors().items():
        assert torch.equal(resumed.state.tensors()[name], tensor), name


def test_a_resumed_run_does_without_bfloat16_where_the_processor_has_none(
    monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: True)
    begun = trainer_of('medium')
    begun.update(1)
    begun.save(tmp_path / 'checkpoint')
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: False)
    resumed = Trainer.load(tmp_path / 'checkpoint', None, TASK, transitions(0))
    resumed.update(1)
    assert resumed.state.factors == torch.float32
    assert 'no bfloat16 products' in caplog.text


@pytest.mark.parametrize('updates', [0, 1])
def test_a_checkpoint_that_says_nothing_of_precision_is_settled_anew(
    monkeypatch, tmp_path, updates
):
    """Because it is older, or was written before the first update."""
    monkeypatch.setattr(precision, 'multiplies_bfloat16', lambda device: True)
    begun = trainer_of('medium')
    begun.update(updates)
    begun.state.settled = False
    begun.save(tmp_path / 'checkpoint')
    monkeypatch.setattr(precision, 'BOUND', 1e-6)
    resumed = Trainer.load(tmp_path / 'checkpoint', None, TASK, transitions(0))
    resumed.update(1)
    assert resumed.state.factors == torch.float32
