"""How a bag that is cut short or damaged is noticed and told, whatever library reads it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from h2o_ros.errors import BagError

MCAP_MAGIC = b'\x89MCAP0\r\n'
SQLITE_MAGIC = b'SQLite format 3\0'  # https://www.sqlite.org/fileformat.html, 1.3
PAGES_PLACE = 28  # in the header, of the number of pages
ADVICE = 'copy the bag again, or give the storage file itself to read what is left of it'


def damaged(path: Path, files: Sequence[Path], told: str) -> BagError:
    """Say which file of the bag `path` is damaged and what can be done.

    told: what the library that reads it says.
    """
    reason = ' '.join(told.split())
    if 'metadata' in reason.lower() or 'yaml' in reason.lower():
        advice = 'remove metadata.yaml to read the storage files without it'
        return BagError(f'{path / "metadata.yaml"}: damaged ({reason}); {advice}')
    name = files[0] if len(files) == 1 else path
    return BagError(f'{name}: truncated or damaged ({reason}); {ADVICE}')


def check_counts(path: Path, found: int, promised: int) -> None:
    """BagError if fewer messages were read than metadata.yaml promises."""
    if found < promised:
        raise BagError(
            f'{path}: holds {found} of the {promised} messages that its metadata.yaml promises; '
            f'{ADVICE}'
        )


def check_end(file: Path) -> None:
    """ValueError if a finished storage file lacks its end, or its index.

    file: .mcap or .db3, not compressed as a whole.
    """
    if file.suffix == '.mcap':
        with file.open('rb') as handle:
            handle.seek(-min(len(MCAP_MAGIC), file.stat().st_size), 2)
            if handle.read() != MCAP_MAGIC:
                raise ValueError('its end, with the index, is missing')
    elif file.suffix == '.db3':
        whole = database_size(file)
        if file.stat().st_size < whole:
            raise ValueError(f'{file.stat().st_size} of {whole} bytes')


def database_size(file: Path) -> int:
    """Return how many bytes an SQLite database has by its own header; ValueError if it is none."""
    page_size, pages = _pages(file)
    return page_size * pages


def cut_to_whole_pages(file: Path) -> None:
    """Have a database that is cut short end, by its header too, with its last whole page.

    Else SQLite reads what is missing as zeros.
    """
    page_size, _ = _pages(file)
    pages = file.stat().st_size // page_size
    with file.open('r+b') as handle:
        handle.truncate(pages * page_size)
        handle.seek(PAGES_PLACE)
        handle.write(struct.pack('>I', pages))


def _pages(file: Path) -> tuple[int, int]:
    """Return the bytes of a page, and the number of pages, of an SQLite database."""
    with file.open('rb') as handle:
        header = handle.read(100)
    if len(header) < 100 or not header.startswith(SQLITE_MAGIC):
        raise ValueError('not a database')
    (page_size,) = struct.unpack_from('>H', header, 16)  # 1 stands for 65536
    (pages,) = struct.unpack_from('>I', header, PAGES_PLACE)
    return (65536 if page_size == 1 else page_size), pages
