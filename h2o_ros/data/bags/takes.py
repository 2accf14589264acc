"""Takes: recordings that a person begins, ends and judges, each a bag of its own.

A take is on its way to the disk within half a second of each `watch`, so a recorder that is killed
loses no more than lies between two of them. What is known about a take stands beside it from its
first moment (bag_metadata.py).
"""

from __future__ import annotations

import datetime
import importlib.util
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from h2o_ros.data.bags.bag import BagWriter, default_backend
from h2o_ros.data.bags.metadata import finish_metadata, write_unfinished
from h2o_ros.errors import BagError

LABELS = ('', 'success', 'failure')
TAKE_NAME = re.compile(r'take_\d+$')
LONGEST_NOTE = 1000  # characters


@dataclass(frozen=True)
class TakeStatus:
    """What a recorder does.

    path: of the take being written, or of the last one; None before the first. takes: begun so
    far. messages, duration (s): of that take. label: one of LABELS. reason: why nothing is
    recorded. fault: it ended without being told to. free_space: bytes on the disk.
    """

    recording: bool
    path: Path | None
    takes: int
    messages: int
    duration: float
    label: str
    reason: str
    fault: bool
    free_space: int


class TakeRecorder:
    """Writes takes one after another; times are stamps in ns since the epoch.

    changes: counts up whenever a take begins, ends or is judged.
    """

    def __init__(
        self,
        output: str | Path,
        topics: Mapping[str, str],
        metadata: Mapping[str, str],
        minimum_free: int,
        numbered: bool = True,
        free_space: Callable[[Path], float] | None = None,
    ) -> None:
        """Prepare; nothing is written yet.

        topics: message type by topic. metadata: of every take. minimum_free: bytes that stay free
        on the disk. numbered: takes are output/take_001 and so on; false: one take, `output`.
        """
        self.changes = 0
        self.path: Path | None = None
        self.reason = 'not begun'
        self.fault = False
        self._output = Path(output)
        self._topics = dict(topics)
        self._common = dict(metadata)
        self._minimum_free = minimum_free
        self._numbered = numbered
        self._free_space = free_space or free_space_of
        self._writer: BagWriter | None = None
        self._metadata: dict[str, str] = {}
        self._takes = self._messages = 0
        self._began = self._ended = time.monotonic()

    @property
    def recording(self) -> bool:
        """Whether a take is being written."""
        return self._writer is not None

    @property
    def idle(self) -> float:
        """For how long, in s, no take has been written; 0 while one is."""
        return 0.0 if self.recording else time.monotonic() - self._ended

    def start(self, stamp: int) -> Path:
        """Begin a take and return its folder; BagError where that cannot or must not be done."""
        if self.recording:
            raise BagError(f'{self.path} is being recorded; end it first')
        self._check_space()
        path = next_take(self._output) if self._numbered else self._output
        self._metadata = {**self._common, 'started': utc(stamp), 'label': '', 'notes': ''}
        self._writer = BagWriter(path, self._topics, backend=_backend())
        self.path, self.reason, self.fault = path, '', False
        self._takes, self._messages, self._began = self._takes + 1, 0, time.monotonic()
        self._describe()
        return path

    def write(self, topic: str, stamp: int, message: bytes) -> None:
        """Append one serialised message where a take is on; ValueError as of BagWriter.write."""
        if self._writer is not None:
            try:
                self._writer.write(topic, stamp, message)
                self._messages += 1
            except BagError as err:
                self._break_off(err)

    def watch(self, stamp: int) -> None:
        """Bring what came to the disk, and end the take where that runs full.

        Called at least twice a second.
        """
        if self._writer is None:
            return
        try:
            self._writer.flush()
        except BagError as err:
            self._break_off(err)
            return
        try:
            self._check_space()
        except BagError as err:
            self.stop(stamp, str(err))
            self.fault = True

    def stop(self, stamp: int, reason: str = 'stopped') -> None:
        """End the take for a reason; nothing where none is on."""
        if self._writer is None or self.path is None:
            return
        self._metadata |= {'ended': utc(stamp), 'end': reason}
        writer, self._writer = self._writer, None
        self.reason, self._ended = reason, time.monotonic()
        self.changes += 1
        try:
            writer.close()
            finish_metadata(self.path, self._metadata)
        except BagError as err:
            self.reason, self.fault = str(err), True

    def describe(self, entries: Mapping[str, str]) -> None:
        """Add to the metadata of the take that is on; nothing where none is."""
        if self.recording and not entries.items() <= self._metadata.items():
            self._metadata |= entries
            try:
                self._describe()
            except BagError as err:
                self._break_off(err)

    def label(self, label: str) -> Path:
        """Judge the take that is on, or the last one; BagError where there is none."""
        if label not in LABELS:
            raise ValueError(f'label: expected one of {LABELS}, got {label!r}')
        self._metadata['label'] = label
        return self._describe()

    def note(self, text: str, stamp: int) -> Path:
        """Add a line to the notes on the take that is on, or on the last one."""
        line = f'{utc(stamp)} {" ".join(text.split())[:LONGEST_NOTE]}'
        self._metadata['notes'] = f'{self._metadata.get("notes", "")}\n{line}'.strip()
        return self._describe()

    def status(self) -> TakeStatus:
        """Say what is going on."""
        free = self._free_space(self._output)
        return TakeStatus(
            recording=self.recording,
            path=self.path,
            takes=self._takes,
            messages=self._messages,
            duration=(time.monotonic() if self.recording else self._ended) - self._began,
            label=self._metadata.get('label', ''),
            reason=self.reason,
            fault=self.fault,
            free_space=int(free) if math.isfinite(free) else 0,
        )

    def _describe(self) -> Path:
        if self.path is None:
            raise BagError('there is no take yet; begin one first')
        self.changes += 1
        if (self.path / 'metadata.yaml').exists():
            finish_metadata(self.path, self._metadata)
        else:
            write_unfinished(self.path, self._metadata)
        return self.path

    def _break_off(self, err: BagError) -> None:
        """Let go of a take that cannot be written any more; what is there can be salvaged."""
        if self._writer is not None:
            self._writer.abandon()
        self._writer, self.reason, self.fault = None, str(err), True
        self._ended = time.monotonic()
        self.changes += 1

    def _check_space(self) -> None:
        free = self._free_space(self._output)
        if free < self._minimum_free:
            raise BagError(
                f'{self._output}: {free / 1e6:.0f} MB free on its disk, '
                f'{self._minimum_free / 1e6:.0f} MB must stay; make room or choose another disk'
            )


def takes_in(folder: Path) -> list[Path]:
    """List the takes of a folder in the order of their numbers; none where it holds none."""
    found = [path for path in folder.glob('take_*') if TAKE_NAME.match(path.name)]
    return sorted(found, key=_number)


def next_take(output: Path) -> Path:
    """Return output/take_NNN with the number behind the highest that is there."""
    return output / f'take_{max(map(_number, takes_in(output)), default=0) + 1:03d}'


def _number(take: Path) -> int:
    return int(take.name.removeprefix('take_'))


def free_space_of(path: Path) -> float:
    """Return the bytes free on the disk on which a folder is or would be; infinite if unknown."""
    for part in (path.absolute(), *path.absolute().parents):
        if part.exists():
            return shutil.disk_usage(part).free if part.is_dir() else math.inf
    return math.inf


def utc(stamp: int) -> str:
    """Return a stamp as a person reads it, 2026-01-31T12:00:00Z."""
    moment = datetime.datetime.fromtimestamp(stamp / 1e9, datetime.timezone.utc)
    return f'{moment:%Y-%m-%dT%H:%M:%SZ}'


def _backend() -> str:
    """Prefer the library that can be told to bring everything to the disk."""
    return 'rosbags' if importlib.util.find_spec('rosbags') else default_backend()
