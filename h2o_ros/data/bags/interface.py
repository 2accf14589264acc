"""The seam behind which libraries read and write bags, and the files of a bag."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

STORAGE_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')

Raw = dict[str, tuple[list[int], list[bytes]]]


class BagSource(Protocol):
    """What a reader of bags offers.

    topics: type by topic. definitions: message definitions that the file itself holds, by type.
    metadata: the recorder's own entries. warning: what is missing, empty where nothing is.
    """

    topics: dict[str, str]
    definitions: dict[str, str]
    metadata: dict[str, str]
    warning: str

    def read(self, topics: Iterable[str]) -> Raw:
        """Return log times and serialised messages of the topics."""

    def close(self) -> None:
        """Let go of the file."""


class BagSink(Protocol):
    """What a writer of bags offers."""

    def write(self, topic: str, stamp: int, message: bytes) -> None:
        """Append one serialised message."""

    def flush(self) -> None:
        """Bring everything so far to the disk, where the library can be told to."""

    def close(self) -> None:
        """Finish the file."""

    def abandon(self) -> None:
        """Let go of a file that cannot be finished."""


def storage_files(path: Path) -> list[Path]:
    """List the storage files of a folder in the order in which they were recorded."""
    found = [file for file in path.iterdir() if file.name.endswith(STORAGE_SUFFIXES)]
    return sorted(found, key=lambda file: (len(file.name), file.name))
