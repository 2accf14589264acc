"""Pictures of experiments, as PNG files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from h2o_ros.algorithms.files.tensor_file import write_atomically
from h2o_ros.errors import ConfigurationError

DPI = 110


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write a picture, whole or not at all; ConfigurationError where that fails."""
    data = io.BytesIO()
    figure.savefig(data, format='png', dpi=DPI)
    write_atomically(path, data.getvalue(), ConfigurationError)
