"""Statistics of episodes against numbers worked out by hand."""

import numpy as np
import pytest

from h2o_ros.episodes import EpisodeCollector
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions, concatenate


def step(x, torque, reward, terminated, truncated):
    count = len(x)
    observation = np.zeros((count, 4))
    observation[:, 2] = x
    observation[:, 3] = 0.5 * np.asarray(x)
    return Transitions(
        observation, np.reshape(torque, (count, 1)), reward, observation, terminated, truncated
    )


def test_first_episode_of_each_robot_counts():
    collector = EpisodeCollector(load_task('standing_still'), 2)
    collector.add(step([1.0, -3.0], [0.5, 1.0], [10.0, 20.0], [0, 0], [0, 0]))
    assert not collector.complete
    collector.add(step([-2.0, 5.0], [-0.5, 3.0], [11.0, 21.0], [1, 0], [0, 0]))
    collector.add(step([9.0, 1.0], [9.0, -2.0], [99.0, 22.0], [1, 0], [0, 1]))
    assert collector.complete
    episodes = collector.result()
    assert episodes.lengths.tolist() == [2, 3]
    assert episodes.survived.tolist() == [False, True]
    assert episodes.returns == pytest.approx([21.0, 63.0])
    assert episodes.mean_abs_x == pytest.approx([1.5, 3.0])
    assert episodes.mean_x_dot == pytest.approx([-0.25, 0.5])
    assert episodes.mean_abs_action == pytest.approx([0.5, 2.0])
    assert np.isnan(episodes.observation[0, 2]).all()


def test_wrong_batch_is_refused():
    collector = EpisodeCollector(load_task('standing_still'), 3)
    with pytest.raises(ValueError, match='3 robots, got 2'):
        collector.add(step([0, 0], [0, 0], [0, 0], [0, 0], [0, 0]))


def test_transitions_refuse_disagreeing_shapes():
    with pytest.raises(ValueError, match='reward: expected 1 dimensions and 2 rows'):
        Transitions(
            np.zeros((2, 4)), np.zeros((2, 1)), np.zeros(3), np.zeros((2, 4)), [0, 0], [0, 0]
        )
    with pytest.raises(ValueError, match='at least one batch'):
        concatenate([])
