"""Opening HDF5 files and reading flags, with one line for a person where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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


def read_flags(column: h5py.Dataset, where: str) -> np.ndarray:
    """Return a column of truth values or of numbers 0 and 1 as bool; BagError names `where`."""
    if column.dtype.kind not in 'biuf':
        raise BagError(
            f'{where} holds {column.dtype}, expected booleans or numbers 0 and 1; make it again'
        )
    values = column[()]
    wrong = np.flatnonzero((values != 0) & (values != 1))
    if len(wrong):
        raise BagError(
            f'{where} is {values.flat[wrong[0]]} in row {wrong[0]} ({len(wrong)} such in all), '
            'expected 0 or 1; make it again'
        )
    return values.astype(bool)
