"""Bags through rosbag2_py, where ROS 2 is installed and rosbags is not.

rosbag2 writes what it decompresses, and SQLite its journal, beside the file that it reads, and it
reads a file that is cut short without a word. So a bag is opened through a temporary folder, and
the ends of its files and the number of its messages are checked.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import rosbag2_py

from h2o_ros.data.bags.damage import check_counts, check_end, damaged
from h2o_ros.data.bags.interface import Raw, storage_files
from h2o_ros.data.bags.metadata import read_metadata
from h2o_ros.errors import BagError


class Source:
    """Reads a bag's folder with its metadata.yaml."""

    def __init__(self, path: Path) -> None:
        """Open the bag; BagError names what is damaged."""
        self.path = path
        self.warning = ''
        self.definitions: dict[str, str] = {}
        information = read_metadata(path)
        if not information.get('message_count'):
            raise BagError(f'{path}: the bag is empty, it holds no messages; record it again')
        self.metadata: dict[str, str] = information['custom_data']
        self._files = storage_files(path)
        self._counts = {
            entry['topic_metadata']['name']: int(entry['message_count'])
            for entry in information.get('topics_with_message_count') or []
        }
        self._compressed = information.get('compression_mode', '').lower() not in ('', 'none')
        self._storage = information.get('storage_identifier', '')
        self._folder = tempfile.TemporaryDirectory(prefix='h2o_bag_')
        try:
            self._enter()
            kinds = self._reader().get_all_topics_and_types()
            for file in Path(self._folder.name).iterdir():
                check_end(file)
        except (RuntimeError, ValueError) as err:
            self.close()
            raise self._damaged(err) from err
        except OSError as err:
            self.close()
            raise BagError(f'{path}: cannot be read ({err.strerror}); check the files') from err
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
            raise self._damaged(err) from err
        found = sum(len(times) for times, _ in result.values())
        check_counts(self.path, found, sum(self._counts.get(topic, 0) for topic in result))
        return result

    def _damaged(self, err: Exception) -> BagError:
        """Say what is damaged, by the names that a person knows."""
        return damaged(self.path, self._files, str(err).replace(self._folder.name, str(self.path)))

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()

    def _enter(self) -> None:
        """Put the bag into the temporary folder: databases as copies, all else as links."""
        for file in self.path.iterdir():
            inside = Path(self._folder.name) / file.name
            if '.db3' in file.name and not file.name.endswith('.zstd'):
                shutil.copy(file, inside)  # with its journal, where there is one
            elif file.is_file():
                inside.symlink_to(file.absolute())

    def _reader(self):
        kind = (
            rosbag2_py.SequentialCompressionReader
            if self._compressed
            else rosbag2_py.SequentialReader
        )
        reader = kind()
        reader.open(
            rosbag2_py.StorageOptions(uri=self._folder.name, storage_id=self._storage),
            rosbag2_py.ConverterOptions('', ''),
        )
        return reader


class Sink:
    """Writes MCAP with zstd-compressed chunks; OSError if rosbag2 cannot."""

    def __init__(self, path: Path, topics: dict[str, str], metadata: dict[str, str]) -> None:
        """Make the bag's folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._writer = rosbag2_py.SequentialWriter()
        with _as_os_error():
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
        with _as_os_error():
            self._writer.write(topic, message, stamp)

    def close(self) -> None:
        """Write the index and metadata.yaml; older releases do so when the writer goes."""
        writer, self._writer = self._writer, None
        with _as_os_error():
            if hasattr(writer, 'close'):
                writer.close()
            del writer
        # On a full disk rosbag2 writes half a file, and says nothing.
        try:
            for file in storage_files(self._path):
                check_end(file)
            read_metadata(self._path)
        except (ValueError, BagError) as err:
            raise OSError(errno.EIO, 'not all of it was written') from err

    def flush(self) -> None:
        """Nothing: rosbag2 writes when a chunk is full."""

    def abandon(self) -> None:
        """Let the writer go; what it says of the bag then would make it look finished."""
        self._writer = None
        (self._path / 'metadata.yaml').unlink(missing_ok=True)


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Raise what rosbag2 says of files and folders as the OSError that it is."""
    try:
        yield
    except RuntimeError as err:
        raise OSError(errno.EIO, ' '.join(str(err).split())) from err
