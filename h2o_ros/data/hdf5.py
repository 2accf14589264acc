"""Opening HDF5 files, with one line for a person where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from h2o_ros.errors import BagError

if TYPE_CHECKING:
    import h5py


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file to read it; BagError where it is none, or turns out damaged while it is read."""
    import h5py  # takes a while, and most recordings are bags

    try:
        with h5py.File(path, 'r') as file:
            yield file
    except OSError as err:
        reason = ' '.join(str(err).split())
        raise BagError(f'{path}: not an HDF5 file, or damaged ({reason}); copy it again') from err
