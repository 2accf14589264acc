"""An exclusive lock that ends with its process, however that ends: flock on a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path


class HeldError(Exception):
    """Another process has the lock. process: its id in digits, or 'unknown'."""

    def __init__(self, process: str) -> None:
        super().__init__(f'held by process {process}')
        self.process = process


class FileLock:
    """Holds a file for this process until closed or the process ends.

    The file names the process. It stays when the lock ends: another may have opened it already.
    """

    def __init__(self, path: str | Path, everyone: bool = False) -> None:
        """Take the lock; HeldError where another has it, OSError where there can be none.

        everyone: the file is for all users of the machine, whoever was first.
        """
        file = _open(Path(path))
        try:
            if everyone and os.fstat(file).st_uid == os.geteuid():
                os.fchmod(file, 0o666)
            _take(file)
        except Exception:
            os.close(file)
            raise
        self._release = weakref.finalize(self, _unlock, file)

    def close(self) -> None:
        """Let the lock go; a second call does nothing."""
        self._release()


def _open(path: Path) -> int:
    # A link that another user left in a shared folder is not followed: its target is written to.
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError:
        if not path.exists():
            raise
        # Linux may refuse O_CREAT alone on another's file in a shared folder (protected_regular).
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)


def _take(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        text = os.read(file, 32).decode(errors='replace').strip()
        raise HeldError(text if text.isdecimal() else 'unknown') from err
    with contextlib.suppress(OSError):  # on a full disk it goes without its name
        os.ftruncate(file, 0)
        os.write(file, f'{os.getpid()}\n'.encode())


def _unlock(file: int) -> None:
    os.ftruncate(file, 0)
    os.close(file)
