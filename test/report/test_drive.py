"""The figures of a drive: by hand, and of a size that does not grow with it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from h2o_ros.report.drive import DriveTotals, describe_drive
from h2o_ros.task import load_task
from h2o_ros.transitions import Transitions


def rows(task, values, action, reward, terminated=False):
    """Return transitions of one observation field each: {name: (N,)}."""
    count = len(action)
    observation = np.zeros((count, len(task.observation)), np.float32)
    for name, column in values.items():
        observation[:, task.observation_names.index(name)] = column
    ends = np.zeros(count, bool)
    ends[-1] = terminated
    return Transitions(
        observation=observation,
        action=np.array(action, np.float32)[:, None],
        reward=np.array(reward, np.float32),
        next_observation=observation,
        terminated=ends,
        truncated=np.zeros(count, bool),
    )


def test_figures_by_hand():
    task = load_task('standing_still')
    totals = DriveTotals(task)
    assert totals.figures() is None
    totals.add(rows(task, {'x': [1.0, -2.0], 'x_dot': [0.5, 0.5]}, [1.0, -3.0], [10.0, 20.0]))
    totals.add(rows(task, {'x': [-3.0], 'x_dot': [-0.4]}, [0.5], [5.0], terminated=True))
    figures = totals.figures()
    assert (figures.steps, figures.fell) == (3, True)
    assert figures.seconds == totals.seconds == pytest.approx(3 / 200)
    assert figures.total_reward == pytest.approx(35.0)
    assert figures.mean_abs_action == pytest.approx(1.5)
    assert figures.mean_abs_x == pytest.approx(2.0)
    assert figures.mean_x_dot == pytest.approx(0.2)


def test_what_a_task_does_not_observe_has_no_figure():
    task = load_task('moving_straight')
    totals = DriveTotals(task)
    totals.add(rows(task, {'x_dot': [0.2, 0.4]}, [0.0, 0.0], [1.0, 1.0]))
    figures = totals.figures()
    assert (figures.mean_abs_x, figures.fell) == (None, False)
    assert figures.mean_x_dot == pytest.approx(0.3)


def test_a_line_tells_steps_that_are_missing():
    task = load_task('standing_still')
    totals = DriveTotals(task)
    assert describe_drive(None, 0) == ''
    assert describe_drive(None, 7) == 'no figures: 7 steps were driven, none seen whole'
    totals.add(rows(task, {'x': [1.0]}, [1.0], [10.0]))
    assert 'missing' not in describe_drive(totals.figures(), 0)
    assert describe_drive(totals.figures(), 7).endswith(
        '; 7 steps more were driven and are missing in these figures'
    )


def test_hours_of_driving_take_no_more_memory_than_a_step():
    task = load_task('standing_still')
    totals = DriveTotals(task)
    step = rows(task, {'x': [1.0]}, [1.0], [30.0])
    sizes = set()
    for _ in range(1000):
        totals.add(step)
        sizes.add(len(pickle.dumps(totals)))
    assert len(sizes) == 1
