"""The shadow phase and the gate: each reason to refuse a policy, and those that pass."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from h2o_ros.robot.pilot.policy_gate import GateLimits, PolicyGate
from h2o_ros.robot.pilot.shadow_phase import ShadowLimits, ShadowPhase
from h2o_ros.task import load_task

TASK = load_task('standing_still')
DRIVEN = 0.6 * np.sin(np.arange(400) / 7.0)


def phase(answers: np.ndarray, every: int = 1) -> ShadowPhase:
    """Return a phase of two seconds in which the policy answered every n-th step."""
    seen = ShadowPhase(TASK, ShadowLimits(shadow_seconds=2.0))
    for step, driven in enumerate(DRIVEN):
        seen.add_driven(step, [driven])
        if step % every == 0:
            seen.add_answer(step, [answers[step]])
    return seen


def test_a_policy_near_the_controller_passes() -> None:
    seen = phase(0.8 * DRIVEN + 0.05)
    assert seen.complete
    assert seen.reasons_to_refuse() == []
    figures = seen.figures()
    assert figures.correlation == pytest.approx(1.0)
    expected = np.sqrt(np.mean((0.2 * DRIVEN - 0.05) ** 2)) / 3.0  # half the range is 3 N·m
    assert figures.difference == pytest.approx(expected)


@pytest.mark.parametrize(
    ('answers', 'every', 'reason'),
    [
        (-DRIVEN, 1, 'correlation -1.00'),
        (np.zeros(400), 1, 'correlation 0.00'),
        (3.0 * np.sign(DRIVEN), 1, 'at its limits'),
        (DRIVEN + 1.5, 1, 'differs by 0.50'),
        (np.where(np.arange(400) == 17, np.nan, DRIVEN), 1, 'not finite'),
        (DRIVEN, 2, 'answered 50.0 %'),
    ],
)
def test_each_fault_of_a_policy_is_named(answers: np.ndarray, every: int, reason: str) -> None:
    assert any(reason in line for line in phase(answers, every).reasons_to_refuse())


def test_the_phase_begins_with_the_first_answer() -> None:
    seen = ShadowPhase(TASK, ShadowLimits(shadow_seconds=1.0))
    for step in range(300):
        seen.add_driven(step, [DRIVEN[step]])
        if step >= 120:
            seen.add_answer(step, [DRIVEN[step]])
        assert not seen.complete
    assert 'steps were answered' in seen.reasons_to_refuse()[0]
    for step in range(300, 320):
        seen.add_driven(step, [DRIVEN[step]])
        seen.add_answer(step, [DRIVEN[step]])
    assert seen.complete
    assert seen.reasons_to_refuse() == []


def test_a_policy_that_never_answers_is_refused() -> None:
    seen = ShadowPhase(TASK, ShadowLimits(shadow_seconds=1.0))
    for step in range(400):
        seen.add_driven(step, [0.1])
    assert not seen.complete
    assert '0 steps were answered' in seen.reasons_to_refuse()[0]


def test_it_may_be_judged_while_it_is_added_to() -> None:
    seen = ShadowPhase(TASK, ShadowLimits(shadow_seconds=1.0))
    seen.add_answer(0, [0.0])
    ended = threading.Event()

    def add() -> None:
        for step in range(200_000):
            seen.add_driven(step % 5000, [0.1])
            if ended.is_set():
                return

    adding = threading.Thread(target=add)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        adding.start()
        for _ in range(200):
            assert seen.complete in (True, False)
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        adding.join()


def gate() -> PolicyGate:
    """Return a gate that saw states with theta from -0.1 to 0.1 rad."""
    judge = PolicyGate(TASK, GateLimits(gate_states=1.0))
    for theta in np.linspace(-0.1, 0.1, 300):
        judge.add_state([theta, 0.0, 0.0, 0.0])
    return judge


def linear(gain: float):
    """Return a policy that answers gain x theta."""
    return lambda observation: gain * observation[:, :1]


def test_the_gate_lets_a_better_policy_of_like_action_pass() -> None:
    assert gate().reasons_to_refuse(linear(10.0), linear(9.0), 179e3, 178e3) == []


@pytest.mark.parametrize(
    ('candidate', 'returns', 'reason'),
    [
        (linear(-10.0), (178e3, 178e3), 'change by'),
        (linear(np.inf), (178e3, 178e3), 'not finite'),
        (linear(9.0), (160e3, 178e3), 'its return on the virtual robot is 160000'),
        (linear(9.0), (np.nan, 178e3), 'its return on the virtual robot is nan'),
    ],
)
def test_the_gate_names_each_reason(candidate, returns, reason: str) -> None:
    with np.errstate(invalid='ignore'):
        reasons = gate().reasons_to_refuse(candidate, linear(9.0), *returns)
    assert any(reason in line for line in reasons)


def test_the_gate_compares_at_the_newest_states_alone() -> None:
    judge = PolicyGate(TASK, GateLimits(gate_states=1.0))
    for theta in [0.5] * 300 + [0.0] * 200:
        judge.add_state([theta, 0.0, 0.0, 0.0])
    assert judge.reasons_to_refuse(linear(-10.0), linear(10.0), 1.0, 1.0) == []


def test_a_gate_without_states_lets_nothing_pass() -> None:
    judge = PolicyGate(TASK)
    assert judge.reasons_to_refuse(linear(1.0), linear(1.0), 1.0, 1.0)
