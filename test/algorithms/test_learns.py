"""Every shipped algorithm learns a small task within seconds.

A cart of unit mass on a hill that throws it off its top: x'' = x + force, the force bounded, the
episode over beyond 2 m. Rows of two sources, made here: recorded ones of the true cart under a
poor driver, and those of a simulator whose motor is weaker and whose hill is flatter.
What counts is the return on the true cart, of which no algorithm is told more than the rows.
"""

import numpy as np
import pytest

from h2o_ros.algorithms.config import algorithm_names, load_config
from h2o_ros.algorithms.trainer import Trainer
from h2o_ros.task import ActionField, ObservationField, Task
from h2o_ros.transitions import Transitions

TASK = Task(
    'hill',
    'none',
    'standing_still',
    (ObservationField('x', 'm'), ObservationField('v', 'm/s')),
    (ActionField('force', -3.0, 3.0, '1'),),
)
PERIOD, END, STEPS = 0.1, 2.0, 50
SEEDS = (0, 1)
SETTINGS = {
    'hidden': [32, 32],
    'classifier_hidden': [32, 32],
    'batch': 128,
    'classifier_batch': 64,
    'discount': 0.9,
    'learning_rate': 5e-3,
    'learning_rate_final_fraction': 0.1,
    'tau': 0.02,
    'reward_centre': False,
    'reward_scale': 0.2,
    'actor_average': 0.0,
    'sim_buffer_ratio': 1.0,
    'updates_total': 500,
    'compile': 'off',
}


def step(observation, force, slope=1.0, strength=1.0):
    """Return reward, next observation and whether the cart fell, of rows (N, 2) and (N, 1)."""
    x, v = observation.T
    after_v = v + PERIOD * (slope * x + strength * force[:, 0])
    after = np.stack((x + PERIOD * after_v, after_v), 1)
    reward = 10.0 - 2.5 * x**2 - 0.5 * v**2 - 0.1 * force[:, 0] ** 2
    return reward, after, abs(after[:, 0]) > END


def rows(seed, driver, count=3000, **cart):
    """Return transitions from all over the hill under a driver's forces, each a step of its own.

    Some are cut there, which says nothing of what comes after.
    """
    rng = np.random.default_rng(seed)
    observation = rng.uniform((-END, -2.0), (END, 2.0), (count, 2))
    force = np.clip(driver(observation, rng), -3.0, 3.0)
    reward, after, fell = step(observation, force, **cart)
    cut = (rng.random(count) < 0.05) & ~fell
    return Transitions(observation, force, reward, after, fell, cut)


def anywhere(observation, rng):
    """Forces without regard to the state."""
    return rng.uniform(-3.0, 3.0, (len(observation), 1))


def poor(observation, rng):
    """Drive back to the top, but too weakly and with much noise."""
    return -(observation @ [[1.5], [0.5]]) + rng.normal(size=(len(observation), 1)) * 1.5


def returns(policy):
    """Return the mean return on the true cart, (S,), of forces by policy((S, N, 2))."""
    grid = np.stack(np.meshgrid(np.linspace(-0.8, 0.8, 9), np.linspace(-0.5, 0.5, 5)), -1)
    observation = np.tile(grid.reshape(1, -1, 2), (len(SEEDS), 1, 1))
    total = np.zeros(observation.shape[:2])
    going = np.ones(total.shape, bool)
    for _ in range(STEPS):
        force = policy(observation.astype(np.float32))
        reward, after, fell = step(observation.reshape(-1, 2), force.reshape(-1, 1))
        total += going * reward.reshape(total.shape)
        going &= ~fell.reshape(total.shape)
        observation = np.clip(after, -5.0, 5.0).reshape(observation.shape)
    return total.mean(1)


def trainer_of(name, **simulator):
    """Return an untrained trainer with the rows that its algorithm learns from."""
    simulator = simulator or {'slope': 0.7, 'strength': 0.6}
    fewer = {'sampled_actions': 4} if name == 'cql' else {}
    config = load_config(name, **SETTINGS, **fewer)
    trainer = Trainer(config, TASK, rows(0, poor), SEEDS)
    if config.needs_simulated:
        for index in range(len(SEEDS)):
            trainer.add_simulated(rows(1 + index, anywhere, **simulator), index)
    return trainer


def gained(trainer):
    """Train; return by how much the policy beats the untrained and a random one, (S,)."""

    def learned(observation):
        return trainer.act(observation, deterministic=True)

    rng = np.random.default_rng(0)
    random = returns(lambda observation: rng.uniform(-3.0, 3.0, (*observation.shape[:2], 1)))
    before = np.maximum(returns(learned), random)
    trainer.update(trainer.config.updates_total)
    return returns(learned) - before


@pytest.mark.parametrize('name', algorithm_names())
def test_learns(name):
    """A good driver gets 490; a random one, no force and the untrained policy 160 to 180."""
    assert (gained(trainer_of(name)) > 200.0).all()


@pytest.mark.parametrize('name', ['h2o', 'h2o_reverse_kl', 'h2o_ensemble', 'h2o_expectile'])
def test_a_simulator_that_steers_the_wrong_way_is_not_believed(name):
    """Its motor pulls to the other side; real rows tell, and the ratio silences it."""
    assert (gained(trainer_of(name, strength=-1.0)) > 200.0).all()


@pytest.mark.parametrize('name', ['sac', 'mixed', 'h2o_no_ratio'])
def test_who_believes_it_is_misled(name):
    """So that the test above asks for something."""
    assert (gained(trainer_of(name, strength=-1.0)) < 50.0).all()


def test_a_good_driver_stays_on_the_hill():
    """What the thresholds are measured by."""
    good = returns(lambda observation: np.clip(-observation @ [[4.0], [2.5]], -3.0, 3.0))
    none = returns(lambda observation: np.zeros((*observation.shape[:2], 1)))
    assert (good > 480.0).all() and (none < 190.0).all()
