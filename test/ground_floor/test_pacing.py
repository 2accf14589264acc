"""Pacing: the ratio holds, and losses, repetitions and restarts change nothing."""

import random

import pytest

from h2o_ros.pacing import Allowance, Budget, PaceMaker

BATCH = 32


def make(ratio=1.0, warmup=1000, window=256, total=20000):
    return PaceMaker(7, 1, ratio, warmup, window, total)


def exchange(pace, allowance, updates, total, deliver=lambda budget: True):
    """Run learner and simulator in turns until all updates are made; return steps taken."""
    turns = 0
    while updates < total:
        turns += 1
        assert turns < 100000, 'learner and simulator wait for each other'
        budget = pace.budget()
        if deliver(budget):
            allowance.update(budget)
        while allowance.may_step():
            allowance.note_taken(BATCH)
            pace.note_received(BATCH, allowance.taken)
        updates += pace.wait_for_updates(100, timeout=0.0)
        pace.note_updated(updates)
    return allowance.taken


@pytest.mark.parametrize('ratio', [0.25, 1.0, 2.0])
def test_ratio_of_updates_to_steps_holds_to_one_percent(ratio):
    total = 80000
    steps = exchange(make(ratio, total=total), Allowance(), 0, total)
    assert total / (steps - 1000) == pytest.approx(ratio, rel=0.01)


def test_the_learner_never_runs_ahead_of_its_data():
    pace = make()
    assert pace.wait_for_updates(100, timeout=0.0) == 0
    pace.note_received(1000 + 64, 1000 + 64)
    assert pace.wait_for_updates(100, timeout=0.0) == 64


def test_the_simulator_never_runs_ahead_of_its_grant():
    pace, allowance = make(), Allowance()
    allowance.update(pace.budget())
    while allowance.may_step():
        allowance.note_taken(BATCH)
    assert 1256 <= allowance.taken < 1256 + BATCH


def test_lost_and_repeated_grants_change_nothing():
    generator = random.Random(0)
    lossy = exchange(make(), Allowance(), 0, 20000, lambda _: generator.random() < 0.3)
    allowance = Allowance()
    assert abs(lossy - exchange(make(), allowance, 0, 20000)) < 256 + BATCH
    assert not allowance.update(Budget(7, 10, 0, 1))  # an old grant that comes late
    assert not allowance.may_step() or allowance.taken < 21256


def test_steps_that_never_arrived_are_granted_again():
    pace, allowance = make(), Allowance()
    allowance.update(pace.budget())
    while allowance.may_step():
        allowance.note_taken(BATCH)
        if allowance.taken > 640:  # the first batches found nobody listening
            pace.note_received(BATCH, allowance.taken)
    assert not allowance.may_step()
    allowance.update(pace.budget())
    assert allowance.may_step()
    assert exchange(pace, allowance, 0, 5000) >= 5000 + 640


def test_a_simulator_that_joins_counts_from_what_was_received():
    pace = make()
    exchange(pace, Allowance(), 0, 5000)
    fresh = Allowance()
    assert fresh.update(pace.budget())
    assert fresh.taken == pace.budget().received
    assert exchange(pace, fresh, 5000, 20000) == pytest.approx(21000, rel=0.02)


def test_a_learner_that_resumes_opens_a_session_and_goes_on():
    allowance = Allowance()
    exchange(make(), allowance, 0, 10000)
    resumed = PaceMaker(8, 1, 1.0, 1000, 256, 20000)
    resumed.restore(received=6000, updates=5000)
    assert allowance.update(resumed.budget())
    assert allowance.taken == 6000
    assert exchange(resumed, allowance, 5000, 20000) == pytest.approx(21000, rel=0.02)


def test_without_a_simulator_updates_are_free():
    pace = make(ratio=0.0)
    assert pace.wait_for_updates(100, timeout=0.0) == 100
    assert pace.budget().steps == 0
