"""Make a finished bag small enough to hand on: one zstd file instead of compressed chunks.

The index of an MCAP file takes 16 bytes a message and stays outside its compressed chunks, more
than the numbers themselves at 200 Hz. rosbag2's file compression takes it in; `ros2 bag play` and
load_bags read the result as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer

from h2o_ros.data.bags.bag import Bag, TopicMessages
from h2o_ros.data.bags.compression import compress
from h2o_ros.data.bags.metadata import read_metadata, write_metadata
from h2o_ros.data.bags.rosbags_backend import typestore_for
from h2o_ros.errors import BagError, exit_code_of


def pack_bag(source: str | Path, target: str | Path, level: int = 19) -> None:
    """Write the bag `source` anew as `target`, compressed as a whole; `target` must not exist."""
    path = Path(target)
    if path.exists():
        raise BagError(f'{path}: exists already and is not overwritten; choose another name')
    with Bag(source) as bag:
        content = bag.read(bag.topics)
        metadata = bag.metadata
        if bag.warning:
            print(f'warning: {bag.warning}', file=sys.stderr)
    try:
        _write(path, content, metadata, level)
    except OSError as err:
        raise BagError(
            f'{path}: cannot be written ({err.strerror}); make room on its disk or choose another '
            'folder'
        ) from err


def _write(
    path: Path, content: Mapping[str, TopicMessages], metadata: Mapping[str, str], level: int
) -> None:
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    for key, value in metadata.items():
        writer.set_custom_data(key, value)
    typestore = typestore_for(topic.type for topic in content.values())
    entries = sorted(
        (stamp, number, row)
        for number, topic in enumerate(content.values())
        for row, stamp in enumerate(topic.log_times.tolist())
    )
    topics = list(content.values())
    with writer:
        connections = [writer.add_connection(t.topic, t.type, typestore=typestore) for t in topics]
        for stamp, number, row in entries:
            writer.write(connections[number], stamp, topics[number].messages[row])
    _compress_file(path, level)


def _compress_file(path: Path, level: int) -> None:
    """Compress the bag's only storage file and say so in its metadata.yaml."""
    plain = path / f'{path.name}.mcap'
    packed = path / f'{plain.name}.zstd'
    packed.write_bytes(compress(plain.read_bytes(), level))
    information = read_metadata(path)
    information['compression_format'] = 'zstd'
    information['compression_mode'] = 'FILE'
    information['relative_file_paths'] = [packed.name]
    information['files'][0]['path'] = packed.name
    write_metadata(path, information)
    plain.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Run `h2o pack-bag SOURCE TARGET`, or `python -m h2o_ros.data.bags.pack`."""
    parser = argparse.ArgumentParser(
        prog='h2o pack-bag', description='Write a bag anew, compressed as a whole.'
    )
    parser.add_argument('source', help='a finished bag')
    parser.add_argument('target', help='folder of the new bag')
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: pack_bag(options.source, options.target))


if __name__ == '__main__':
    sys.exit(main())
