"""When control steps are due, and how well they are kept."""

from __future__ import annotations

import numpy as np

TOLERANCE = 0.5  # control periods by which a step may begin late and still count
WINDOW = 60.0  # s of which the lateness is remembered


class Deadlines:
    """Absolute deadlines on a grid that never drifts; one that cannot be kept is dropped.

    A step that begins more than half a period late misses its deadline, and so does every deadline
    that passes without a step: 20 ms of standstill at 200 Hz are four misses in a row.
    """

    def __init__(self, period: float, now: float) -> None:
        """period: s. now: s, the first deadline is one period later."""
        self.period, self._start = period, now
        self.number = 0  # of the last deadline that was due
        self.missed = self.misses_in_row = self._run = 0
        self._lateness = np.zeros(round(WINDOW / period), np.float32)
        self._begun = 0

    @property
    def due(self) -> float:
        """The next deadline, s."""
        return self._start + (self.number + 1) * self.period

    def begin(self, now: float) -> float:
        """Note that the due step begins; return by how many seconds it is late."""
        passed = max(0, int((now - self.due) / self.period))
        self.number += 1 + passed
        late = now - self._start - self.number * self.period
        misses = passed + (late > TOLERANCE * self.period)
        self.missed += misses
        self.misses_in_row = self._run + misses
        self._run = self.misses_in_row if misses > passed else 0
        lateness = late + passed * self.period
        self._lateness[self._begun % len(self._lateness)] = lateness
        self._begun += 1
        return lateness

    def lateness(self) -> tuple[float, float]:
        """Return the 99th percentile and the largest lateness of the last minute, s."""
        seen = self._lateness[: self._begun].copy()
        return (float(np.percentile(seen, 99)), float(seen.max())) if len(seen) else (0.0, 0.0)
