"""The output folder of a run: checked before the run starts, and used by one run at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from h2o_ros.errors import ConfigurationError
from h2o_ros.locks import FileLock, HeldError
from h2o_ros.report.text import format_size

MINIMUM_FREE = 200_000_000  # bytes: checkpoints are written beside the old ones before replacing
LOCK_NAME = '.lock'


def prepare_output_folder(path: str | Path, minimum_free: int = MINIMUM_FREE) -> Path:
    """Make the folder and return it, absolute; ConfigurationError where a run could not use it."""
    folder = Path(path).expanduser().absolute()
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise ConfigurationError(
                f'output folder {folder}: {part} is a file; choose another output folder'
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b'h2o_ros')
        free = shutil.disk_usage(folder).free
    except OSError as err:
        raise ConfigurationError(
            f'output folder {folder}: cannot be written ({err.strerror}); '
            'correct its permissions or choose another output folder'
        ) from err
    if free < minimum_free:
        raise ConfigurationError(
            f'output folder {folder}: {format_size(free)} free on its disk, a run needs '
            f'{format_size(minimum_free)}; make room or choose another output folder'
        )
    return folder


def set_aside(folder: Path, patterns: Iterable[str]) -> Path | None:
    """Move the files of these names into a new folder earlier-1, earlier-2, ... within `folder`.

    Returns the new folder, None where there was nothing to move; ConfigurationError where that
    cannot be done.
    """
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    if not files:
        return None
    number = 1
    while (aside := folder / f'earlier-{number}').exists():
        number += 1
    try:
        aside.mkdir()
        for file in files:
            file.rename(aside / file.name)
    except OSError as err:
        raise ConfigurationError(
            f"output folder {folder}: an earlier run's files cannot be moved to {aside.name} "
            f'({err.strerror}); choose another output folder'
        ) from err
    return aside


def output_file(option: str, name: str, suffixes: Sequence[str], minimum_free: int) -> Path:
    """Return a file to write, absolute, its folder made; ConfigurationError where it cannot be.

    option: of the command line, that named it. suffixes: the first is named where it has none.
    """
    path = Path(name)
    if path.suffix not in suffixes or path.is_dir():
        raise ConfigurationError(f'{option} {name}: expected the name of a {suffixes[0]} file')
    return prepare_output_folder(path.parent, minimum_free) / path.name


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; ConfigurationError where it cannot be."""
    partial = path.with_suffix('.partial')
    try:
        partial.write_text(text, encoding='utf-8')
        partial.replace(path)
    except OSError as err:
        raise ConfigurationError(
            f'{path}: cannot be written ({err.strerror}); make room on its disk or choose another '
            'output folder'
        ) from err


class FolderLock(FileLock):
    """Holds a folder for this process until closed or the process ends, however it ends."""

    def __init__(self, folder: str | Path) -> None:
        """Take the lock; ConfigurationError names the process that has it."""
        try:
            super().__init__(Path(folder) / LOCK_NAME)
        except HeldError as err:
            raise ConfigurationError(
                f'output folder {folder}: in use by another run (process {err.process}); '
                'end it or choose another output folder'
            ) from err
        except OSError as err:
            raise ConfigurationError(
                f'output folder {folder}: cannot be locked ({err.strerror}); '
                'choose another output folder'
            ) from err
