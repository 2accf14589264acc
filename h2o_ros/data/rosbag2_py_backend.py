"""Bags through rosbag2_py, where ROS 2 is installed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import rosbag2_py
import yaml

from h2o_ros.data.bags import Raw, storage_files
from h2o_ros.errors import BagError


class Source:
    """Reads a bag's folder with its metadata.yaml."""

    def __init__(self, path: Path) -> None:
        """Open the bag; BagError names what is damaged."""
        self.path = path
        self.warning = ''
        self.definitions: dict[str, str] = {}
        information = _information(path)
        if not information.get('message_count'):
            raise BagError(f'{path}: the bag is empty, it holds no messages; record it again')
        self.metadata = {str(k): str(v) for k, v in (information.get('custom_data') or {}).items()}
        self._compressed = information.get('compression_mode', '').lower() not in ('', 'none')
        self._storage = information.get('storage_identifier', '')
        try:
            kinds = self._reader().get_all_topics_and_types()
        except RuntimeError as err:
            raise _damaged(path, err) from err
        self.topics = {kind.name: kind.type for kind in kinds}

    def read(self, topics: Iterable[str]) -> Raw:
        """Return log times and serialised messages of the topics."""
        result: Raw = {topic: ([], []) for topic in topics}
        try:
            reader = self._reader()
            reader.set_filter(rosbag2_py.StorageFilter(topics=list(result)))
            while reader.has_next():
                topic, message, stamp = reader.read_next()[:3]
                times, messages = result[topic]
                times.append(stamp)
                messages.append(message)
        except RuntimeError as err:
            raise _damaged(self.path, err) from err
        return result

    def close(self) -> None:
        """Nothing is left open."""

    def _reader(self):
        kind = (
            rosbag2_py.SequentialCompressionReader
            if self._compressed
            else rosbag2_py.SequentialReader
        )
        reader = kind()
        reader.open(
            rosbag2_py.StorageOptions(uri=str(self.path), storage_id=self._storage),
            rosbag2_py.ConverterOptions('', ''),
        )
        return reader


def _information(path: Path) -> dict:
    file = path / 'metadata.yaml'
    try:
        return yaml.safe_load(file.read_text(encoding='utf-8'))['rosbag2_bagfile_information']
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as err:
        reason = ' '.join(str(err).split())
        raise BagError(
            f'{file}: damaged ({reason}); remove it to read the storage files without it'
        ) from err


def _damaged(path: Path, err: Exception) -> BagError:
    files = storage_files(path)
    name = files[0] if len(files) == 1 else path
    reason = ' '.join(str(err).split())
    return BagError(
        f'{name}: truncated or damaged ({reason}); copy the bag again, or give the storage file '
        'itself to read what is left of it'
    )


class Sink:
    """Writes MCAP with zstd-compressed chunks."""

    def __init__(self, path: Path, topics: dict[str, str], metadata: dict[str, str]) -> None:
        """Make the bag's folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = rosbag2_py.SequentialWriter()
        self._writer.open(
            rosbag2_py.StorageOptions(
                uri=str(path),
                storage_id='mcap',
                storage_preset_profile='zstd_fast',
                custom_data=metadata,
            ),
            rosbag2_py.ConverterOptions('', ''),
        )
        for number, (topic, kind) in enumerate(topics.items()):
            self._writer.create_topic(
                rosbag2_py.TopicMetadata(
                    id=number, name=topic, type=kind, serialization_format='cdr'
                )
            )

    def write(self, topic: str, stamp: int, message: bytes) -> None:
        """Append one serialised message."""
        self._writer.write(topic, message, stamp)

    def close(self) -> None:
        """Write the index and metadata.yaml; older releases do so when the writer goes."""
        writer, self._writer = self._writer, None
        if hasattr(writer, 'close'):
            writer.close()

    def flush(self) -> None:
        """Nothing: rosbag2 writes when a chunk is full."""

    def abandon(self) -> None:
        """Let the writer go."""
        self._writer = None
