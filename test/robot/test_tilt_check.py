"""Tilt against its rate: what a hung filter or gyro looks like, and what a good IMU does."""

import math

import numpy as np
import pytest

from h2o_ros.robot.safety.tilt_check import TiltCheck

PERIOD, LIMIT = 0.005, 0.2


def largest(theta, theta_dot, period=PERIOD):
    """Return the largest difference over samples of tilt and rate."""
    check, seen = TiltCheck(), []
    for step, (angle, rate) in enumerate(zip(theta, theta_dot, strict=True)):
        check.update(step * period, angle, rate)
        seen.append(abs(check.difference))
    return max(seen)


def swing(seconds=10.0, size=0.3, frequency=1.5):
    """Return time, tilt and rate of a robot that swings more than one that is driven."""
    time = np.arange(0.0, seconds, PERIOD)
    phase = 2.0 * math.pi * frequency * time
    return size * np.sin(phase), size * 2.0 * math.pi * frequency * np.cos(phase)


def test_a_good_imu_agrees_with_itself():
    generator = np.random.default_rng(0)
    theta, theta_dot = swing()
    noisy = theta + generator.normal(0.0, 0.005, len(theta))
    drifting = theta_dot + generator.normal(0.0, 0.05, len(theta)) + 0.03  # rad/s of bias
    assert largest(noisy, drifting) < 0.4 * LIMIT
    late = np.concatenate([np.repeat(noisy[0], 4), noisy[:-4]])  # a filter 20 ms behind
    assert largest(late, drifting) < LIMIT
    slow = np.repeat(theta[::4], 4), np.repeat(theta_dot[::4], 4)  # messages at 50 Hz
    assert largest(*slow) < LIMIT


def test_either_of_them_frozen_is_seen_before_the_robot_lies():
    fall = 0.02 * np.cosh(np.arange(0.0, 1.0, PERIOD) * 5.0)  # rad, of a body that tips
    rate = np.gradient(fall, PERIOD)
    down = np.argmax(fall > 0.5)
    for theta, theta_dot in ((np.full(down, 0.02), rate[:down]), (fall[:down], np.zeros(down))):
        assert largest(theta, theta_dot) > LIMIT


def test_what_was_wrong_once_and_a_gap_are_forgotten():
    check = TiltCheck()
    for step in range(2000):
        check.update(step * PERIOD, 0.4 if step > 10 else 0.0, 0.0)
        if step == 20:
            assert 'contradict each other by 0.38 rad' in check.complaint(LIMIT)
    assert check.complaint(LIMIT) == ''
    check.update(100.0, -0.4, 0.0)
    assert check.difference == 0.0


def test_a_number_that_is_not_finite_does_not_stay():
    check = TiltCheck()
    check.update(0.0, 0.0, 0.0)
    check.update(PERIOD, math.nan, 0.0)
    assert check.complaint(LIMIT)
    for step in range(2, 5):
        check.update(step * PERIOD, 0.1, 0.0)
    assert check.difference == pytest.approx(0.0, abs=1e-6)
