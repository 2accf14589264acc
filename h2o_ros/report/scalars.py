"""Numbers over training: TensorBoard event files, and a progress.csv that anything can read.

TensorBoard's own writer is used: `torch.utils.tensorboard` would bring torch into a process that
only reports.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from h2o_ros.errors import ConfigurationError

LOG = logging.getLogger(__name__)
CSV_NAME, EVENTS = 'progress.csv', 'events.out.tfevents.*'
COLUMNS = ['step', 'name', 'value']


class ScalarWriter:
    """Writes `folder`/progress.csv (step, name, value; one row a number) and event files.

    first_step: where a resumed run goes on. Rows at or after it, left by the run before, are
    dropped, and TensorBoard is told to do the same. Without TensorBoard the CSV is written alone.
    ConfigurationError: a number cannot be written, as on a full disk.
    """

    def __init__(self, folder: str | Path, first_step: int = 0) -> None:
        """Open both files; ConfigurationError where the folder cannot be written."""
        self.folder = Path(folder)
        self.csv_path = self.folder / CSV_NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _keep_rows_before(self.csv_path, first_step)
            # Line buffered: a run that is killed loses at most the row being written.
            self._file = self.csv_path.open('a', newline='', buffering=1, encoding='utf-8')
            self._events = _open_events(self.folder, first_step)
        except OSError as err:
            raise ConfigurationError(
                f'{self.folder}: cannot be written ({err.strerror}); choose another output folder'
            ) from err
        self._csv = csv.writer(self._file, lineterminator='\n')
        if self._file.tell() == 0:
            self._csv.writerow(COLUMNS)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of one step; a name may come in several calls at the same step."""
        with self._writing():
            for name, value in values.items():
                self._csv.writerow([step, name, f'{float(value):.9g}'])
            if self._events is not None:
                self._events.add_event(_scalar_event(step, values))

    def add_each(self, step: int, name: str, values: Sequence[float] | np.ndarray) -> None:
        """Write several numbers of one name and step, as one an episode; to the CSV alone."""
        with self._writing():
            self._csv.writerows([step, name, f'{float(value):.9g}'] for value in values)

    def flush(self) -> None:
        """Bring everything to the disk."""
        with self._writing():
            self._file.flush()
            if self._events is not None:
                self._events.flush()

    def close(self) -> None:
        """Flush and close both files."""
        with self._writing():
            self._file.close()
            if self._events is not None:
                self._events.close()
                self._events = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise ConfigurationError(
                f'{self.csv_path}: cannot be written ({err.strerror or err}); make room, and go '
                'on from the last checkpoint'
            ) from err


def read_progress(path: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read a progress.csv: name -> (steps (N,) int64, values (N,) float64), in the file's order.

    A torn last row, as a killed process leaves it, is left out.
    """
    series: dict[str, tuple[list[int], list[float]]] = {}
    for step, name, value in _read_rows(Path(path)):
        steps, values = series.setdefault(name, ([], []))
        steps.append(step)
        values.append(float(value))
    return {
        name: (np.array(steps, np.int64), np.array(values, np.float64))
        for name, (steps, values) in series.items()
    }


def _read_rows(path: Path) -> list[tuple[int, str, str]]:
    rows: list[tuple[int, str, str]] = []
    try:
        text = path.read_text(encoding='utf-8')
    except OSError as err:
        raise ConfigurationError(f'{path}: cannot be read ({err.strerror})') from err
    whole = text[: text.rfind('\n') + 1].splitlines()
    for number, row in enumerate(csv.reader(whole), 1):
        if number == 1 and row == COLUMNS:
            continue
        try:
            step, name, value = row
            float(value)
            rows.append((int(step), name, value))
        except ValueError as err:
            raise ConfigurationError(
                f'{path}: line {number}: expected {",".join(COLUMNS)}, got {",".join(row)!r}; '
                'remove the line or the file'
            ) from err
    return rows


def _keep_rows_before(path: Path, first_step: int) -> None:
    if not path.exists():
        return
    rows = [row for row in _read_rows(path) if row[0] < first_step]
    temporary = path.with_suffix('.csv.tmp')
    with temporary.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(COLUMNS)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _open_events(folder: Path, first_step: int) -> Any:
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        LOG.warning('tensorboard is not installed: only progress.csv is written')
        return None
    writer = EventFileWriter(str(folder))
    # The start of a session: TensorBoard forgets what an earlier file says from here on.
    writer.add_event(
        Event(
            wall_time=time.time(), step=first_step, session_log=SessionLog(status=SessionLog.START)
        )
    )
    return writer


def _scalar_event(step: int, values: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    entries = [Summary.Value(tag=name, simple_value=float(v)) for name, v in values.items()]
    return Event(wall_time=time.time(), step=step, summary=Summary(value=entries))
