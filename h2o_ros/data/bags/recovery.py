"""Storage files without the bag around them: bare ones, and what a killed recorder left.

An MCAP file is read from its start, record by record (https://mcap.dev/spec), which needs neither
index nor footer. A database is copied with its journal, so that SQLite can bring it in order.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from h2o_ros.data.bags.compression import DECOMPRESSORS, FRAME_MAGIC, decompress_partly
from h2o_ros.data.bags.damage import MCAP_MAGIC, cut_to_whole_pages, database_size
from h2o_ros.data.bags.interface import Raw
from h2o_ros.errors import BagError

FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06


class SalvagedSource:
    """Reads storage files one after another, each as far as it goes."""

    def __init__(self, files: list[Path]) -> None:
        """Read everything; BagError where not one message is left."""
        self.topics: dict[str, str] = {}
        self.definitions: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self._raw: Raw = {}
        missing = [text for text in map(self._load, files) if text]
        count = sum(len(times) for times, _ in self._raw.values())
        if not count:
            reason = f' ({missing[0]})' if missing else ''
            raise BagError(
                f'{files[0]}: the bag is empty, it holds no messages{reason}; record it again'
            )
        self.warning = ''
        if missing:
            self.warning = (
                f'{files[0].parent}: {count} messages could be read; {"; ".join(missing)}'
            )

    def read(self, topics: Iterable[str]) -> Raw:
        """Return log times and serialised messages of the topics, in the order of log times."""
        result: Raw = {}
        for topic in topics:
            times, messages = self._raw.get(topic, ([], []))
            order = sorted(range(len(times)), key=times.__getitem__)
            result[topic] = ([times[i] for i in order], [messages[i] for i in order])
        return result

    def close(self) -> None:
        """Nothing is left open."""

    def _load(self, path: Path) -> str:
        """Read one file; return what is missing at its end, or nothing."""
        try:
            if path.name.endswith('.zstd'):
                with tempfile.TemporaryDirectory() as folder:
                    plain = Path(folder) / path.stem
                    plain.write_bytes(decompress_partly(path.read_bytes()))
                    return self._load_plain(plain, path)
            return self._load_plain(path, path)
        except BagError:
            raise
        except OSError as err:
            raise BagError(f'{path}: cannot be read ({err.strerror}); check the file') from err
        except Exception as err:  # decompressors and unpacking fail in their own ways
            reason = ' '.join(str(err).split())
            raise BagError(f'{path}: damaged ({reason}); copy the bag again') from err

    def _load_plain(self, path: Path, shown: Path) -> str:
        if path.suffix == '.db3':
            return self._load_database(path, shown)
        data = path.read_bytes()
        if not data:
            raise BagError(
                f'{shown}: empty; its recorder was ended before it wrote a first chunk, or it was '
                'not copied'
            )
        if not data.startswith(MCAP_MAGIC):
            raise BagError(f'{shown}: not an MCAP file, or its start is lost; copy the bag again')
        channels: dict[int, str] = {}
        schemas: dict[int, tuple[str, str, str]] = {}
        whole = len(MCAP_MAGIC)
        try:
            for opcode, body, end in records(data, whole):
                if opcode == FOOTER:
                    return ''
                self._record(opcode, body, channels, schemas)
                whole = end
        except Exception as err:
            raise ValueError(f'behind byte {whole} of {len(data)}: {err}') from err
        return f'{shown.name} ends at byte {whole} of {len(data)} without its index'

    def _record(self, opcode, body, channels, schemas) -> None:
        if opcode == SCHEMA:
            (number,) = struct.unpack_from('<H', body)
            name, place = _text(body, 2)
            encoding, place = _text(body, place)
            schemas[number] = (name, encoding, _text(body, place)[0])
            if encoding == 'ros2msg':
                self.definitions[name] = schemas[number][2]
        elif opcode == CHANNEL:
            number, schema = struct.unpack_from('<HH', body)
            topic, _ = _text(body, 4)
            channels[number] = topic
            self.topics[topic] = schemas[schema][0] if schema in schemas else ''
            self._raw.setdefault(topic, ([], []))
        elif opcode == MESSAGE:
            number, _, stamp = struct.unpack_from('<HIQ', body)
            self._message(channels[number], stamp, bytes(body[22:]))
        elif opcode == CHUNK:
            name, place = _text(body, 28)
            if name not in DECOMPRESSORS:
                raise ValueError(f'unknown compression {name!r}')
            (size,) = struct.unpack_from('<Q', body, place)
            inner = DECOMPRESSORS[name](bytes(body[place + 8 : place + 8 + size]))
            for kind, content, _ in records(inner, 0):
                self._record(kind, content, channels, schemas)

    def _message(self, topic: str, stamp: int, message: bytes) -> None:
        if message.startswith(FRAME_MAGIC):
            message = DECOMPRESSORS['zstd'](message)
        times, messages = self._raw[topic]
        times.append(stamp)
        messages.append(message)

    def _load_database(self, path: Path, shown: Path) -> str:
        with tempfile.TemporaryDirectory() as folder:
            for file in path.parent.glob(f'{path.name}*'):
                shutil.copy(file, folder)
            count, cut = 0, self._is_cut(Path(folder) / path.name, shown)
            connection = sqlite3.connect(Path(folder) / path.name)
            try:
                rows = connection.execute('SELECT id, name, type FROM topics').fetchall()
                names = {number: name for number, name, _ in rows}
                for _, name, kind in rows:
                    self.topics[name] = kind
                    self._raw.setdefault(name, ([], []))
                for number, stamp, message in connection.execute(
                    'SELECT topic_id, timestamp, data FROM messages ORDER BY id'
                ):
                    if number not in names:  # a lost page reads as zeros
                        raise sqlite3.DatabaseError('pages are missing')
                    self._message(names[number], stamp, message)
                    count += 1
            except sqlite3.DatabaseError as err:
                if not count:
                    raise BagError(
                        f"{shown}: not a bag's database, or damaged ({err}); copy the bag again"
                    ) from err
                return f'{shown.name} is cut short behind {count} messages'
            finally:
                connection.close()
        return f'{shown.name} is cut short behind {count} messages' if cut else ''

    @staticmethod
    def _is_cut(database: Path, shown: Path) -> bool:
        """Say whether a copied database lacks its end, and have it end with what is whole."""
        try:
            whole = database_size(database)
        except ValueError as err:
            raise BagError(
                f"{shown}: not a bag's database, or damaged ({err}); copy the bag again"
            ) from err
        cut = database.stat().st_size < whole
        if cut:
            cut_to_whole_pages(database)
        return cut


def records(data: bytes, start: int) -> Iterator[tuple[int, memoryview, int]]:
    """Yield (opcode, content, end) of each whole record; a torn one at the end is left out."""
    view, place = memoryview(data), start
    while place + 9 <= len(view):
        opcode = view[place]
        (size,) = struct.unpack_from('<Q', view, place + 1)
        end = place + 9 + size
        if end > len(view):
            return
        yield opcode, view[place + 9 : end], end
        place = end


def _text(body: memoryview, place: int) -> tuple[str, int]:
    (size,) = struct.unpack_from('<I', body, place)
    end = place + 4 + size
    return str(body[place + 4 : end], 'utf-8'), end
