"""Bags through rosbags, a library without ROS (https://ternaris.gitlab.io/rosbags)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from h2o_ros.data.bags.compression import compress
from h2o_ros.data.bags.damage import check_counts, check_end, damaged
from h2o_ros.data.bags.interface import Raw, storage_files
from h2o_ros.data.bags.metadata import read_metadata
from h2o_ros.data.cdr.definitions import SEPARATOR, full_name, full_text
from h2o_ros.errors import BagError

CHUNK_SECONDS = 5.0  # a killed recorder loses no more than this


class Source:
    """Reads a bag's folder with its metadata.yaml."""

    def __init__(self, path: Path) -> None:
        """Open the bag; BagError names the file that is damaged."""
        self.path = path
        self.warning = ''
        try:
            for file in storage_files(path):
                check_end(file)
            self._reader = Reader(path)
            self._reader.open()
        except Exception as err:  # every damaged file fails in its own way
            raise _damaged(path, err) from err
        if not self._reader.message_count:
            self._reader.close()
            raise BagError(f'{path}: the bag is empty, it holds no messages; record it again')
        self.topics = {c.topic: c.msgtype for c in self._reader.connections}
        self.definitions = {
            c.msgtype: c.msgdef.data
            for c in self._reader.connections
            if c.msgdef.format == MessageDefinitionFormat.MSG
        }
        self.metadata: dict[str, str] = read_metadata(path)['custom_data']

    def read(self, topics: Iterable[str]) -> Raw:
        """Return log times and serialised messages of the topics."""
        result: Raw = {topic: ([], []) for topic in topics}
        connections = [c for c in self._reader.connections if c.topic in result]
        promised = sum(c.msgcount for c in connections)
        try:
            for connection, stamp, message in self._reader.messages(connections):
                times, messages = result[connection.topic]
                times.append(stamp)
                messages.append(message)
        except Exception as err:  # as above
            raise _damaged(self.path, err) from err
        found = sum(len(times) for times, _ in result.values())
        check_counts(self.path, found, promised)
        return result

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


def _damaged(path: Path, err: Exception) -> BagError:
    return damaged(path, storage_files(path), str(err) or type(err).__name__)


class Sink:
    """Writes MCAP with zstd-compressed chunks."""

    def __init__(self, path: Path, topics: dict[str, str], metadata: dict[str, str]) -> None:
        """Make the bag's folder."""
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in metadata.items():
            self._writer.set_custom_data(key, value)
        typestore = typestore_for(topics.values())
        self._writer.open()
        self._storage = cast(Any, self._writer.storage)
        self._storage.compressor = compress
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=typestore)
            for topic, kind in topics.items()
        }

    def write(self, topic: str, stamp: int, message: bytes) -> None:
        """Append one serialised message."""
        chunk = self._storage.chunk
        if chunk.msgs and stamp - chunk.message_start_time > CHUNK_SECONDS * 1e9:
            self.flush()
        self._writer.write(self._connections[topic], stamp, message)

    def flush(self) -> None:
        """Write the messages so far as a chunk of their own."""
        if self._storage.chunk.msgs:
            self._storage.close_chunk()
        self._storage.bio.flush()

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        with contextlib.suppress(OSError):  # its buffer may not fit on the disk
            self._writer.abort()


def typestore_for(types: Iterable[str]) -> Any:
    """Return a store that knows the types, those of the package and of sourced workspaces too."""
    newest = max(
        (store for store in Stores if store.name in ('ROS2_JAZZY', 'ROS2_KILTED')),
        key=lambda store: store.name,
    )
    typestore = get_typestore(newest)
    for name in set(types):
        if name in typestore.fielddefs:
            continue
        parts = SEPARATOR.split(full_text(name))
        for part, body in zip([name, *parts[1::2]], parts[0::2], strict=True):
            if full_name(part) not in typestore.fielddefs:
                typestore.register(get_types_from_msg(body, full_name(part)))
    return typestore
