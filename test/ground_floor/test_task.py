"""Tasks: the YAML is the contract, and every mistake in it is named in one line."""

import numpy as np
import pytest
import yaml

from h2o_ros.errors import ConfigurationError
from h2o_ros.task import find_task, load_task, task_names


@pytest.fixture
def edited(tmp_path):
    """Return a function that writes a changed copy of a shipped task."""

    def write(change, name='standing_still'):
        content = yaml.safe_load(find_task(name).read_text(encoding='utf-8'))
        change(content)
        path = tmp_path / 'task.yaml'
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding='utf-8')
        return path

    return write


def test_shipped_tasks_load():
    assert task_names() == ['half_cheetah', 'moving_straight', 'standing_still', 'walker2d']
    standing = load_task('standing_still')
    assert standing.observation_names == ['theta', 'theta_dot', 'x', 'x_dot']
    assert load_task('moving_straight').observation_names == ['theta', 'theta_dot', 'x_dot']
    assert standing.horizon * standing.period == 30.0


def test_rewards_are_the_papers_equations():
    # eq. 34 by hand: 30 - 0.01 - 0.04 - 0.09 - 0.16 - 0.25 = 29.45
    row = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    standing = load_task('standing_still')
    reward = standing.compute_reward(row, np.array([[0.5]], np.float32))
    assert reward == pytest.approx([29.45], abs=1e-5)
    # eq. 35 by hand: 15 - (0.5 - 0.2)² - 0.25 = 14.66
    moving = load_task('moving_straight')
    row = np.array([[0.1, 0.2, 0.5]], np.float32)
    reward = moving.compute_reward(row, np.array([[-0.5]], np.float32))
    assert reward == pytest.approx([14.66], abs=1e-5)


def test_a_fall_is_a_tilt_beyond_the_limit_on_either_side():
    rows = np.zeros((4, 4), np.float32)
    rows[:, 0] = [0.52, 0.53, -0.52, -0.53]
    assert load_task('standing_still').compute_terminated(rows).tolist() == [False, True] * 2


def test_policies_of_the_first_release_still_fit():
    assert load_task('standing_still').contract_hash[:12] == 'dbb6f5bc8317'
    assert load_task('moving_straight').contract_hash[:12] == 'cbfafbd96959'


def test_what_suits_a_task_is_kept_as_it_is_written(edited):
    learning = {'hidden': [8, 8], 'discount': 0.9}
    assert load_task(edited(lambda c: c.update(learning=learning))).learning == learning
    assert load_task('standing_still').learning == {}
    assert load_task('half_cheetah').learning['hidden'] == [256, 256]


def test_contract_hash_changes_with_every_part_of_the_contract(edited):
    reference = load_task('standing_still').contract_hash
    changes = [
        lambda c: c.update(rate=100.0),
        lambda c: c.update(robot='another'),
        lambda c: c['observation'].reverse(),
        lambda c: c['action'][0].update(upper=2.0),
    ]
    hashes = {load_task(edited(change)).contract_hash for change in changes}
    assert len(hashes) == 4 and reference not in hashes


def test_contract_hash_ignores_what_a_policy_does_not_depend_on(edited):
    changed = load_task(edited(lambda c: c.update(horizon=10, evaluation_reset={})))
    assert changed.contract_hash == load_task('standing_still').contract_hash


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda c: c.update(colour='red'), ['task.yaml', "'colour'", 'known fields']),
        (lambda c: c['observation'][0].update(unit='deg'), ['observation[0]', 'unit', "'deg'"]),
        (lambda c: c['observation'][0].update(unit='m'), ["'theta'", 'expected rad', "'m'"]),
        (lambda c: c['action'][0].update(unit='A'), ["'torque'", 'expected N·m', "'A'", 'scale']),
        (lambda c: c['action'][0].update(lower=3.0), ['action[0]', 'lower limit', 'below']),
        (lambda c: c['action'][0].update(lower='low'), ['action[0]', 'lower', 'float', "'low'"]),
        (lambda c: c.update(rate=0.0), ['rate', '1.0 to 10000.0 Hz']),
        (lambda c: c.update(rate=float('nan')), ['rate', 'finite']),
        (lambda c: c.update(horizon=True), ['horizon', 'int', 'True']),
        (lambda c: c.update(reward='dance'), ['reward', 'standing_still', "'dance'"]),
        (lambda c: c.update(action=[]), ['action', 'at least one']),
        (lambda c: c.pop('name'), ["'name' is missing"]),
        (lambda c: c.update(observation=c['observation'][:1], training_reset={}), ['theta_dot']),
        (lambda c: c.update(training_reset={'speed': 1.0}), ['speed', 'observation field']),
        (lambda c: c.update(learning=[1]), ['learning', 'expected a mapping']),
        (lambda c: c.update(termination={'name': 'outside'}), ['bounds', 'outside']),
        (lambda c: c['termination'].update(bounds={'x': [0.0, 1.0]}), ['bounds', 'outside']),
        (
            lambda c: c.update(termination={'name': 'outside', 'bounds': {'x': [1.0, 1.0]}}),
            ['bounds: x', '[low, high]', '[1.0, 1.0]'],
        ),
        (
            lambda c: c.update(termination={'name': 'outside', 'bounds': {'z': [0.0, 1.0]}}),
            ["'outside' needs the field 'z'"],
        ),
        (lambda c: c['observation'].append(c['observation'][0]), ['unique']),
    ],
)
def test_a_mistake_is_named_in_one_line(edited, change, words):
    with pytest.raises(ConfigurationError) as caught:
        load_task(edited(change))
    message = str(caught.value)
    assert '\n' not in message
    for word in words:
        assert word in message


def test_unknown_task_lists_those_that_exist():
    with pytest.raises(
        ConfigurationError, match='half_cheetah, moving_straight, standing_still, walker2d'
    ):
        load_task('dancing')


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match='absent.yaml: cannot be read'):
        load_task(tmp_path / 'absent.yaml')
    broken = tmp_path / 'broken.yaml'
    broken.write_text('name: [1\nrate: }', encoding='utf-8')
    with pytest.raises(ConfigurationError, match='broken.yaml: not valid YAML in line 2'):
        load_task(broken)
