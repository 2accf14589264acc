"""The progress line: rewritten in place on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from h2o_ros.report.text import format_duration

REDRAW_PERIOD = 0.1  # s, on a terminal: more often is not seen and costs time
ERASE_TO_END = '\x1b[K'


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    update, updates_total  gradient updates made and to make
    updates_per_second     1/s
    seconds_left           s, NaN while unknown
    mean_return            mean of the last evaluation on the virtual robot, task's reward units
    survived, episodes     of the last evaluation; episodes is 0 while there is none
    mean_u                 mean dynamics gap of the simulated batch, nats, NaN while unknown
    """

    update: int
    updates_total: int
    updates_per_second: float = math.nan
    seconds_left: float = math.nan
    mean_return: float = math.nan
    survived: int = 0
    episodes: int = 0
    mean_u: float = math.nan


def format_progress(progress: Progress) -> str:
    """Return one line; what is not known yet is left out."""
    share = progress.update / max(progress.updates_total, 1)
    # Rounded down: 100% is said at the end only.
    parts = [f'{int(100 * share):3d}%  update {progress.update:,}/{progress.updates_total:,}']
    if math.isfinite(progress.updates_per_second):
        parts.append(f'{progress.updates_per_second:,.0f}/s')
    if math.isfinite(progress.seconds_left):
        parts.append(f'{format_duration(progress.seconds_left)} left')
    if progress.episodes:
        parts.append(
            f'virtual robot: return {progress.mean_return:,.0f}, '
            f'{progress.survived} of {progress.episodes} survived'
        )
    if math.isfinite(progress.mean_u):
        parts.append(f'u {progress.mean_u:.2f} nats')
    return '  '.join(parts)


class ProgressLine:
    """Shows Progress or a line of text on a stream, standard error unless told otherwise.

    every: s between two lines where the stream is not a terminal. clock: monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find out whether the stream is a terminal."""
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._period = REDRAW_PERIOD if self._live else every
        self._clock = clock
        self._last = -math.inf
        self._pending: str | None = None
        self._drawn = False

    def show(self, progress: Progress | str) -> None:
        """Draw the line if its time has come; the newest is kept for `close`."""
        self._pending = progress if isinstance(progress, str) else format_progress(progress)
        now = self._clock()
        if now - self._last >= self._period:
            self._last = now
            self._draw()

    def forget(self) -> None:
        """Drop what is waiting to be drawn."""
        self._pending = None

    def message(self, text: str) -> None:
        """Print a line of its own, above the progress line."""
        self._stream.write(f'\r{ERASE_TO_END}{text}\n' if self._drawn else f'{text}\n')
        self._drawn = False
        self._stream.flush()

    def close(self) -> None:
        """Draw what is still waiting and end the line."""
        if self._pending is not None:
            self._draw()
        if self._drawn:
            self._stream.write('\n')
            self._stream.flush()
            self._drawn = False

    def _draw(self) -> None:
        if self._pending is None:
            return
        if self._live:
            # A line longer than the terminal would wrap, and could not be rewritten.
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f'\r{self._pending[:width]}{ERASE_TO_END}')
            self._drawn = True
        else:
            self._stream.write(f'{self._pending}\n')
        self._stream.flush()
        self._pending = None
