"""How far a grid is: a line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from h2o_ros.experiments.core.results import Row
from h2o_ros.experiments.sweep.run_config import Cell
from h2o_ros.report.progress import ProgressLine
from h2o_ros.report.text import format_duration

EVERY = 30.0  # s between two lines where there is no terminal


class Batch(Protocol):
    """A cell and the seeds that train together."""

    @property
    def cell(self) -> Cell:
        """What is trained."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """With which seeds."""


class GridProgress:
    """Says what is trained, how fast, and how long all of it still takes.

    The time left counts each batch at the speed of its algorithm so far, or at the mean speed of
    those seen while it is not known; runs are as long as `steps` updates.
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        steps: int,
        line: ProgressLine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting, self._all, self._steps = list(batches), len(batches), steps
        self._line = line or ProgressLine(every=EVERY)
        self._clock = clock
        self._spent: dict[str, list[float]] = {}  # algorithm: seconds and updates so far
        self._began, self._first, self._timed = clock(), 0, False
        self._started = clock()
        self.failures = 0

    def begin(self, batch: Batch, updates: int) -> None:
        """Note that a batch begins, or goes on after so many updates."""
        self._began, self._first, self._timed = self._clock(), updates, False
        if updates:
            self._line.message(f'{_name(batch)}: goes on after {updates:,} updates')

    def at(self, batch: Batch, updates: int, rows: Sequence[Row]) -> None:
        """Show that a batch has made so many updates; the first call's time is compilation."""
        if not self._timed:
            self._began, self._first, self._timed = self._clock(), updates, True
        seconds = self._clock() - self._began
        rate = (updates - self._first) / seconds if seconds > 0 else 0.0
        parts = [
            f'{self._all - len(self._waiting) + 1} of {self._all}  {_name(batch)}',
            f'update {updates:,}/{self._steps:,}',
        ]
        if rate > 0:
            times = f'{len(batch.seeds)} x ' if len(batch.seeds) > 1 else ''
            parts.append(f'{times}{rate:,.0f}/s')
        if rows:
            parts.append(f'return {_last(rows)}')
        if rate > 0:
            own = (self._steps - updates) / rate
            others = [b for b in self._waiting if b != batch]
            parts.append(f'{format_duration(own + self._time_of(others, batch, rate))} left')
        self._line.show('  '.join(parts))

    def waiting(self, under_way: int) -> None:
        """Show how many batches are in others' hands."""
        through = self._all - len(self._waiting)
        parts = [f'{through} of {self._all} done', f'{under_way} under way']
        if through:
            seconds = (self._clock() - self._started) / through
            parts.append(f'{format_duration(seconds * under_way)} left')
        self._line.show('  '.join(parts))

    def done(self, batch: Batch, rows: Sequence[Row]) -> None:
        """Note that a batch is through."""
        spent = self._spent.setdefault(batch.cell.algorithm, [0.0, 0.0])
        spent[0] += self._clock() - self._began
        spent[1] += self._steps - self._first
        self._say(f'{_name(batch)}: return {_last(rows)}')
        self._waiting.remove(batch)

    def left_out(self, batch: Batch) -> None:
        """Note that another process trains a batch."""
        self._say(f'{_name(batch)}: left to the process that trains it')
        self._waiting.remove(batch)

    def failed(self, batch: Batch, err: Exception | str) -> None:
        """Note that a batch came to nothing; the others go on."""
        self._say(f'error: {_name(batch)}: {err}')
        self._waiting.remove(batch)
        self.failures += 1

    def interrupted(self, batch: Batch, saved: bool) -> None:
        """Note that all ends early. saved: what the batch has done so far."""
        goes_on = ' and saved; the same command goes on'
        if not saved:
            goes_on = '; the same command goes on from its last checkpoint, or begins it'
        self._say(f'{_name(batch)}: interrupted{goes_on}')

    def _say(self, text: str) -> None:
        self._line.forget()
        self._line.message(text)

    def close(self) -> None:
        """End the line."""
        self._line.close()

    def _time_of(self, batches: Sequence[Batch], running: Batch, rate: float) -> float:
        seconds = {name: spent[0] / spent[1] for name, spent in self._spent.items() if spent[1]}
        seconds.setdefault(running.cell.algorithm, 1.0 / rate)
        usual = sum(seconds.values()) / len(seconds)
        return sum(self._steps * seconds.get(b.cell.algorithm, usual) for b in batches)


def _name(batch: Batch) -> str:
    plural = 's' if len(batch.seeds) > 1 else ''
    return f'{batch.cell} seed{plural} {", ".join(map(str, batch.seeds))}'


def _last(rows: Sequence[Row]) -> str:
    update = max(row.update for row in rows)
    return ', '.join(f'{row.return_mean:,.0f}' for row in rows if row.update == update)
