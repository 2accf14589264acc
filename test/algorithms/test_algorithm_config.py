"""Algorithms by name and by task: what wins, and what is refused in one line."""

from dataclasses import replace

import pytest

from h2o_ros.algorithms.config import algorithm_names, config_from, load_config
from h2o_ros.algorithms.methods import domain_classifiers
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.algorithms.update import METHODS, Method
from h2o_ros.errors import ConfigurationError
from h2o_ros.task import load_task

TASK = load_task('standing_still')


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'bata': 1}, "unknown field 'bata'"),
        ({'discount': 1.5}, 'discount: expected'),
        ({'omega': 'some'}, 'omega: expected one of'),
        ({'batch': 7}, 'batch: expected an even number'),
        ({'hidden': [0]}, 'hidden: expected .* got 0'),
        ({'hidden': [-8, 8]}, 'hidden: expected layers of 1 unit or more, got -8, 8'),
        ({'hidden': [], 'classifier_hidden': []}, 'classifier_hidden: expected one layer or more'),
        ({'gap_minimum': 1.0, 'gap_maximum': 0.5}, 'gap_minimum: expected .* gap_maximum .0.5.'),
        ({'ratio_minimum': 0.9, 'ratio_maximum': 0.1}, 'ratio_minimum: .* ratio_maximum .0.1.'),
        ({'learning_rate': '1e-4'}, "expected float, got '1e-4'; YAML wants 1.0e-4$"),
        ({'learning_rate': '3E6'}, "expected float, got '3E6'; YAML wants 3.0e[+]6"),
        ({'learning_rate': 'fast'}, "expected float, got 'fast'$"),
        ({'batch': '1e-4'}, "expected int, got '1e-4'$"),
        ({'gap_minimum': 1e-45}, 'gap_minimum'),
        ({'method': 'td3'}, 'method: expected one of sac, cql, darc, h2o'),
        ({'sources': 'real'}, 'method h2o learns from both, got real'),
        ({'method': 'cql'}, 'method cql learns from real, got both'),
        ({'method': 'darc', 'sources': 'real'}, 'simulated or both, got real'),
        ({'method': 'sac', 'beta': 0.1}, 'beta: method sac does not read it'),
        ({'min_q_weight': 5.0}, 'min_q_weight: method h2o does not read it'),
        ({'min_q_weight': 5.0}, 'choose method cql [(]its `methods` in h2o_ros/.*/settings.py[)]'),
        ({'dynamics_members': 3}, 'method h2o does not read it; .* choose method h2o_reverse_kl'),
        ({'method': 'h2o_reverse_kl', 'gap_spread': 1.0}, 'gap_spread: method h2o_reverse_kl'),
        ({'method': 'h2o_ensemble', 'gap_samples': 5}, 'gap_samples: method h2o_ensemble'),
        ({'method': 'h2o_expectile', 'classifier_pairs': 2}, 'choose method h2o_ensemble'),
        ({'method': 'h2o_ensemble', 'expectile': 0.9}, 'choose method h2o_expectile'),
        ({'method': 'h2o_expectile', 'expectile': 1.0}, 'expectile: expected'),
    ],
)
def test_wrong_settings_are_refused(changes, text):
    with pytest.raises(ConfigurationError, match=text) as caught:
        load_config('h2o', **changes)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('method', 'entered', 'said'),
    [
        ('sac', {}, 'method sac: is in SOURCES of settings.py, but not in METHODS of .*update.py'),
        ('cql', {'cql': METHODS['h2o']}, 'method cql: has classifiers .* not in WITH_CLASSIFIERS'),
        ('cql', {'cql': Method(None, domain_classifiers.learn)}, 'method cql: has classifiers'),
        (
            'darc',
            {'darc': METHODS['sac']},
            'method darc: .* but lacks `learn` or `gap` in METHODS',
        ),
    ],
)
def test_a_method_that_was_not_entered_everywhere_is_one_line(method, entered, said, monkeypatch):
    monkeypatch.delitem(METHODS, method)
    for name, each in entered.items():
        monkeypatch.setitem(METHODS, name, each)
    with pytest.raises(ConfigurationError, match=said) as caught:
        Trainer(load_config(method, TASK, hidden=(8, 8), compile='off'), TASK, None, [0])
    assert '\n' not in str(caught.value)


def test_unknown_algorithm_names_the_known_ones():
    with pytest.raises(ConfigurationError, match='real_only'):
        load_config('h3o')


@pytest.mark.parametrize('name', algorithm_names())
def test_a_checkpoint_brings_every_configuration_back(name):
    config = load_config(name, TASK)
    assert config_from(config.as_mapping(), 'checkpoint') == config


@pytest.mark.parametrize(
    ('name', 'batches', 'needs'),
    [
        ('h2o', (64, 64), (True, True)),
        ('mixed', (64, 64), (True, True)),
        ('sac', (0, 128), (False, True)),
        ('real_only', (128, 0), (True, False)),
        ('cql', (128, 0), (True, False)),
        ('darc', (0, 128), (True, True)),
        ('darc_plus', (64, 64), (True, True)),
        ('h2o_reverse_kl', (64, 64), (True, True)),
        ('h2o_ensemble', (64, 64), (True, True)),
        ('h2o_expectile', (64, 64), (True, True)),
    ],
)
def test_sources_say_how_the_batch_is_made_up(name, batches, needs):
    config = load_config(name)
    assert (config.real_batch, config.sim_batch) == batches
    assert (config.needs_real, config.needs_simulated) == needs


def test_capacity_of_the_simulated_buffer():
    """Ten times the real rows for H2O, a million for DARC and SAC (table 3), none for CQL."""
    assert load_config('h2o').sim_capacity(300) == 3000
    assert load_config('sac').sim_capacity(300) == 1_000_000
    assert load_config('darc').sim_capacity(300) == 1_000_000
    assert load_config('darc_plus').sim_capacity(300) == 1_000_000
    assert load_config('cql').sim_capacity(300) == 1  # an empty buffer has a row, too


def test_settings_by_task():
    tasks = [load_task(name) for name in ('standing_still', 'moving_straight')]
    betas = [load_config('h2o_paper', task).beta for task in (*tasks, replace(TASK, name='other'))]
    assert betas == [0.1, 1.0, 0.01]
    assert [load_config('cql', task).min_q_weight for task in (*tasks, None)] == [10.0, 10.0, 2.0]


def test_what_is_said_later_wins():
    """Defaults, file, the task's learning, the file for this task, overrides."""
    learning = {'batch': 256, 'beta': 0.5, 'discount': 0.9, 'hidden': [7]}
    task = replace(TASK, learning=learning)
    config = load_config('h2o_paper', task, discount=0.8)
    assert config.classifier_batch == 32
    assert (config.batch, config.hidden) == (256, (7,))
    assert (config.beta, config.discount) == (0.1, 0.8)
    assert load_config('sac', task).beta == 0.5  # not read, but the task is of all algorithms


@pytest.mark.parametrize(
    ('learning', 'text'),
    [({'beta_': 1}, 'task standing_still: learning: unknown'), ({'batch': 0}, 'learning: batch')],
)
def test_a_task_with_wrong_settings_is_named(learning, text):
    with pytest.raises(ConfigurationError, match=text):
        load_config('h2o', replace(TASK, learning=learning))


@pytest.mark.parametrize('by_task', ['3', '{standing_still: 3}'])
def test_settings_by_task_that_are_no_mapping_are_refused(tmp_path, by_task):
    path = tmp_path / 'mine.yaml'
    path.write_text(f'by_task: {by_task}\n')
    with pytest.raises(ConfigurationError, match='by_task: expected a mapping'):
        load_config(path, TASK)


@pytest.mark.parametrize(
    ('by_task', 'text'),
    [
        ('{standing_stil: {beta: 0.1}}', "unknown task 'standing_stil'; is standing_still meant"),
        ('{moving_straight: {nonsense: 3}}', "by_task: moving_straight: unknown field 'nonsense'"),
        ('{moving_straight: {beta: -1.0}}', 'by_task: moving_straight: beta: expected'),
        ('{moving_straight: {min_q_weight: 1.0}}', 'by_task: moving_straight: min_q_weight: meth'),
    ],
)
def test_settings_of_every_task_are_looked_at(tmp_path, by_task, text):
    path = tmp_path / 'mine.yaml'
    path.write_text(f'by_task: {by_task}\n')
    for task in (TASK, None):
        with pytest.raises(ConfigurationError, match=text) as caught:
            load_config(path, task)
        assert '\n' not in str(caught.value)


def test_settings_for_ones_own_task_are_taken(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(
        'by_task: {mine: {beta: 0.125}, standing_still_b: {beta: 0.5}, '
        'standing_still: {beta: 0.25}}\n'
    )
    assert load_config(path, replace(TASK, name='mine')).beta == 0.125
