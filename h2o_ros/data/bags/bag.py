"""Bags, read and written through one small seam.

rosbags (PyPI) is used where it is installed, `rosbag2_py` elsewhere; the files are the same. What
a killed recorder left behind is read as far as it goes (recovery.py).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from h2o_ros.data.bags.interface import (
    STORAGE_SUFFIXES,
    BagSink,
    BagSource,
    storage_files,
)
from h2o_ros.data.bags.metadata import read_unfinished
from h2o_ros.data.bags.recovery import SalvagedSource
from h2o_ros.data.cdr.definitions import Definitions
from h2o_ros.errors import BagError

LATEST_STAMP = 2**63  # ns, the first that no format holds


@dataclass(frozen=True)
class TopicMessages:
    """The messages of one topic in the order of their log times.

    log_times: (n,) int64, ns since the epoch. messages: n serialised messages (CDR).
    """

    topic: str
    type: str
    log_times: np.ndarray
    messages: list[bytes]


class Bag:
    """One recording: a bag's folder, or a bare .mcap or .db3 file.

    backend: 'rosbag2_py' or 'rosbags'; the default takes what is installed.
    """

    def __init__(self, path: str | Path, backend: str | None = None) -> None:
        """Open for reading; BagError where there is nothing to read."""
        self.path = Path(path)
        self._source = _open_source(self.path, backend)
        self.definitions = Definitions(self._source.definitions)

    @property
    def topics(self) -> dict[str, str]:
        """Message type by topic."""
        return self._source.topics

    @property
    def metadata(self) -> dict[str, str]:
        """The recorder's own entries: custom_data of metadata.yaml, or what it left of them."""
        return {**self._source.metadata, **read_unfinished(self.path)}

    @property
    def warning(self) -> str:
        """What could not be read, empty where the recording is whole."""
        return self._source.warning

    def read(self, topics: Iterable[str]) -> dict[str, TopicMessages]:
        """Return all messages of the topics; BagError where the file is damaged."""
        names = list(topics)
        raw = self._source.read(names) if names else {}
        result = {}
        for name in names:
            times, messages = raw.get(name, ([], []))
            try:
                stamps = np.array(times, np.int64)
            except OverflowError as err:
                raise BagError(
                    f'{self.path}: topic {name}: a log time of {max(times)} ns; damaged, '
                    'copy the bag again'
                ) from err
            result[name] = TopicMessages(name, self.topics[name], stamps, messages)
        return result

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()


class BagWriter:
    """Writes a new MCAP bag, its chunks compressed with zstd.

    A recorder that is killed loses the last chunk: 5 s of log time if rosbags writes, up to 1 MiB
    if rosbag2_py does.
    """

    def __init__(
        self,
        path: str | Path,
        topics: Mapping[str, str],
        metadata: Mapping[str, str] | None = None,
        backend: str | None = None,
    ) -> None:
        """Make the folder `path`; BagError where it exists or cannot be made.

        topics: message type by topic. metadata: kept in metadata.yaml under custom_data.
        """
        self.path = Path(path)
        if self.path.exists():
            raise BagError(
                f'{self.path}: exists already and is not overwritten; choose another name'
            )
        self._topics = dict(topics)
        self._sink: BagSink | None = _open_sink(
            self.path, self._topics, dict(metadata or {}), backend
        )

    def write(self, topic: str, stamp_ns: int, message: bytes) -> None:
        """Append one serialised message with its log time in ns since the epoch, none before it.

        What is refused by a ValueError leaves no trace in the bag.
        """
        if topic not in self._topics:
            raise ValueError(f'topic: expected one of {", ".join(self._topics)}, got {topic!r}')
        if not 0 <= stamp_ns < LATEST_STAMP:
            raise ValueError(f'stamp_ns: expected 0 to {LATEST_STAMP - 1} ns, got {stamp_ns}')
        if self._sink is None:
            raise ValueError(f'{self.path}: the bag is closed')
        try:
            self._sink.write(topic, int(stamp_ns), message)
        except OSError as err:
            raise self._full(err) from err

    def flush(self) -> None:
        """Bring everything so far to the disk, so that a killed process loses nothing of it.

        rosbag2_py cannot be told to; it keeps up to a chunk.
        """
        if self._sink is None:
            return
        try:
            self._sink.flush()
        except OSError as err:
            raise self._full(err) from err

    def _full(self, err: OSError) -> BagError:
        return BagError(f'{self.path}: cannot be written ({err.strerror}); is the disk full?')

    def abandon(self) -> None:
        """Let go of the bag without finishing it, as where its disk is full."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abandon()

    def close(self) -> None:
        """Finish the bag; further calls do nothing."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.close()
        except OSError as err:
            sink.abandon()
            raise BagError(
                f'{self.path}: cannot be finished ({err.strerror}); is the disk full?'
            ) from err

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def default_backend() -> str:
    """Say which library reads and writes bags here."""
    for name in ('rosbags', 'rosbag2_py'):  # rosbags reads in memory, and flushes what it writes
        if importlib.util.find_spec(name):
            return name
    raise BagError('neither rosbag2_py nor rosbags is installed; run pip install rosbags')


def _backend(name: str | None) -> Any:
    name = name or default_backend()
    if name not in ('rosbag2_py', 'rosbags'):
        raise ValueError(f'backend: expected rosbag2_py or rosbags, got {name!r}')
    module = {'rosbag2_py': 'rosbag2_py_backend', 'rosbags': 'rosbags_backend'}[name]
    return importlib.import_module(f'h2o_ros.data.bags.{module}')


def _open_source(path: Path, backend: str | None) -> BagSource:
    if not path.exists():
        raise BagError(f'{path}: there is no such bag; check the path')
    if path.is_dir() and (path / 'metadata.yaml').is_file():
        return _backend(backend).Source(path)
    files = storage_files(path) if path.is_dir() else [path]
    if not files:
        inner = sorted(str(file.parent) for file in path.glob('*/metadata.yaml'))
        hint = f'did you mean {", ".join(inner)}?' if inner else 'give the folder of a bag'
        raise BagError(f'{path}: not a bag (no metadata.yaml, no .mcap or .db3 file); {hint}')
    if not files[0].name.endswith(STORAGE_SUFFIXES):
        raise BagError(
            f"{path}: not a bag; give a bag's folder or an .mcap or .db3 file, and turn other "
            'recordings into bags with h2o import-recording'
        )
    return SalvagedSource(files)


def _open_sink(path: Path, topics: dict[str, str], metadata: dict[str, str], backend: str | None):
    try:
        return _backend(backend).Sink(path, topics, metadata)
    except OSError as err:
        raise BagError(
            f'{path}: cannot be written ({err.strerror}); choose another folder'
        ) from err
