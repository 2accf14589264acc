"""Who may go how far: the learner grants cumulative rollout steps, the simulator takes them.

Both sides count, nobody sends differences: a lost, repeated or late message changes nothing, and
either side may be killed and started again.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What the pace-maker grants: the fields of RolloutBudget."""

    session: int
    steps: int
    received: int
    seed: int


class PaceMaker:
    """The learner's side: grants steps so that updates = updates_per_step x (steps - warmup).

    updates_per_step: 0 where nothing is simulated: updates are free and no step is granted.
    window: steps granted beyond what the updates made so far call for, so that the simulator
    works while the learner does; it bounds the error of the ratio.
    """

    def __init__(
        self,
        session: int,
        seed: int,
        updates_per_step: float,
        warmup: int,
        window: int,
        total: int,
    ) -> None:
        self._session, self._seed = session, seed
        self._ratio, self._warmup = updates_per_step, warmup
        self._window, self._total = window, total
        self._received = 0
        self._lost = 0
        self._updates = 0
        self._changed = threading.Condition()

    def restore(self, received: int, updates: int) -> None:
        """Go on from a checkpoint's counters."""
        with self._changed:
            self._received, self._updates = received, updates

    def note_received(self, rows: int, taken: int) -> None:
        """Count transitions that arrived; wakes a waiting trainer.

        taken: steps that the simulator says it has taken; what it took and did not arrive, as in
        the moment of a restart, is granted once more.
        """
        with self._changed:
            self._received += rows
            self._lost = max(0, taken - self._received)
            self._changed.notify_all()

    def note_updated(self, updates: int) -> None:
        """Tell how many updates have been made in all."""
        with self._changed:
            self._updates = updates

    def wait_for_updates(self, most: int, timeout: float) -> int:
        """Return how many updates may be made now, at most `most`, waiting up to `timeout` s."""
        with self._changed:
            if self._allowed() <= 0:
                self._changed.wait(timeout)
            return max(0, min(most, self._allowed()))

    def budget(self) -> Budget:
        """Return the grant as of now."""
        with self._changed:
            return Budget(self._session, self._steps(), self._received, self._seed)

    def _steps(self) -> int:
        if self._ratio == 0:
            return 0
        needed, most = self._updates / self._ratio + self._window, self._total / self._ratio
        return self._warmup + math.ceil(min(needed, most)) + self._lost

    def _allowed(self) -> int:
        if self._ratio == 0:
            return self._total - self._updates
        earned = int((self._received - self._warmup) * self._ratio)
        return min(earned, self._total) - self._updates


class Allowance:
    """The simulator's side: what has been granted, and how much of it is used."""

    def __init__(self) -> None:
        self.session = 0
        self.taken = 0
        self._granted = 0

    def update(self, budget: Budget) -> bool:
        """Take a grant; True where it opens a new session and the simulator must reset."""
        opened = budget.session != self.session
        if opened:
            self.session, self.taken, self._granted = budget.session, budget.received, 0
        self._granted = max(self._granted, budget.steps)
        return opened

    def may_step(self) -> bool:
        """Say whether another step of the whole batch may be taken."""
        return self.taken < self._granted

    def note_taken(self, rows: int) -> None:
        """Count the steps taken."""
        self.taken += rows
