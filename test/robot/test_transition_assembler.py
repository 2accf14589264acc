"""Transitions of a running robot: whole ones alone, whatever the order of arrival."""

from __future__ import annotations

import numpy as np

from h2o_ros.robot.transition_assembler import LiveSteps
from h2o_ros.task import load_task

TASK = load_task('standing_still')


def observed(step: int) -> np.ndarray:
    return np.array([0.001 * step, 0.0, 0.1, 0.2], np.float32)


def test_steps_pair_in_any_order_of_arrival() -> None:
    steps = LiveSteps(TASK)
    steps.add_observation(1, observed(1))
    steps.add_observation(2, observed(2))
    steps.add_action(1, [0.5])
    steps.add_action(2, [-0.5])
    assert len(steps) == 1
    steps.add_observation(3, observed(3))
    rows = steps.take()
    assert rows is not None
    np.testing.assert_array_equal(rows.observation, [observed(1), observed(2)])
    np.testing.assert_array_equal(rows.next_observation, [observed(2), observed(3)])
    np.testing.assert_allclose(rows.action, [[0.5], [-0.5]])
    # eq. 34 by hand: 30 - theta^2 - x^2 - x_dot^2 - tau^2
    np.testing.assert_allclose(rows.reward[0], 30 - 0.001**2 - 0.01 - 0.04 - 0.25, rtol=1e-6)
    assert not rows.terminated.any()
    assert steps.take() is None


def test_one_topic_may_lag_as_far_as_is_remembered() -> None:
    steps = LiveSteps(TASK, remembered=2000)
    for step in range(1, 1001):
        steps.add_observation(step, observed(step))
    for step in range(1, 1000):
        steps.add_action(step, [0.5])
    assert len(steps) == 999


def test_a_step_without_action_or_successor_gives_nothing() -> None:
    steps = LiveSteps(TASK)
    for step in (1, 2, 4, 5):
        steps.add_observation(step, observed(step))
    for step in (2, 3, 5):
        steps.add_action(step, [0.1])
    assert steps.take() is None  # 1 has no action, 2 and 3 no neighbour, 5 no successor


def test_a_fall_is_terminated() -> None:
    steps = LiveSteps(TASK)
    steps.add_observation(7, observed(7))
    steps.add_action(7, [0.0])
    steps.add_observation(8, [0.6, 0.0, 0.0, 0.0])
    rows = steps.take()
    assert rows is not None
    assert rows.terminated.tolist() == [True]


def test_a_driver_that_counts_anew_does_not_join_its_old_steps() -> None:
    steps = LiveSteps(TASK)
    steps.add_observation(1000, observed(1000))
    steps.add_action(1000, [0.3])
    for step in range(1, 1003):
        steps.add_observation(step, observed(step))
        if step != 1000:
            steps.add_action(step, [0.4])
    rows = steps.take()
    assert rows is not None
    assert len(rows) == 1000  # all from 1 to 1001 but step 1000, whose action was the old one's
    np.testing.assert_allclose(rows.action, 0.4)


def test_a_driver_that_counts_anew_after_a_moment_does_not_join_its_old_steps() -> None:
    steps = LiveSteps(TASK)
    for step in range(1, 100):
        steps.add_observation(step, observed(step))
    for step in range(1, 50):
        steps.add_observation(step, -observed(step))
        steps.add_action(step, [0.4])
    steps.add_observation(50, -observed(50))
    rows = steps.take()
    assert rows is not None
    np.testing.assert_array_equal(rows.next_observation, [-observed(k) for k in range(2, 51)])


def test_an_action_that_comes_far_too_late_is_dropped() -> None:
    steps = LiveSteps(TASK)
    steps.add_observation(1, observed(1))
    steps.add_observation(2, observed(2))
    for step in range(3, 400):
        steps.add_observation(step, observed(step))
    steps.add_action(1, [0.5])
    assert steps.take() is None
    steps.add_action(390, [0.5])
    assert len(steps) == 1
