"""HalfCheetah and Walker2d: the same numbers as Gymnasium's own environments, and the gaps."""

import warnings

import gymnasium
import mujoco
import numpy as np
import pytest

from h2o_ros.sim.simulator import make_simulator
from h2o_ros.task import load_task

ENVIRONMENTS = {'half_cheetah': 'HalfCheetah-v4', 'walker2d': 'Walker2d-v4'}


def environment(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        made = gymnasium.make(ENVIRONMENTS[name]).unwrapped
    made.reset(seed=0)
    return made


def place(made, position, velocity):
    mujoco.mj_resetData(made.model, made.data)
    made.set_state(position, velocity)


@pytest.mark.parametrize('model', ['simulator', 'standard'])
@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_steps_are_those_of_gymnasium(name, model):
    simulator, made = make_simulator(load_task(name), model, seed=3), environment(name)
    generator, ended, began = np.random.default_rng(0), 0, True
    for _ in range(400):
        if began:
            place(made, *(rows[0] for rows in simulator.plant.pose()))
        action = generator.uniform(-1.0, 1.0, (1, 6)).astype(np.float32)
        rows = simulator.step(action)
        observation, reward, terminated, _, _ = made.step(action[0])
        assert rows.next_observation[0] == pytest.approx(observation, rel=1e-6, abs=1e-6)
        assert rows.reward[0] == pytest.approx(reward, rel=1e-6, abs=1e-6)
        assert rows.terminated[0] == terminated and not rows.truncated[0]
        began = bool(terminated)
        ended += began
    assert ended > 3 if name == 'walker2d' else ended == 0
