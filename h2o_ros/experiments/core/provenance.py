"""Machine and code version behind a result."""

from __future__ import annotations

import platform
import re
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

UNKNOWN, DIRTY = 'unknown', '-dirty'


@cache
def machine(device: str) -> str:
    """Return what computes, without commas."""
    if device == 'cuda':
        return torch.cuda.get_device_name().replace(',', ' ')
    model = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        found = re.search(r'model name\s*:\s*(.+)', info.read_text(encoding='utf-8'))
        model = found.group(1) if found else model
    return model.replace(',', ' ')


@cache
def version() -> str:
    """Return the version of this code: that of git in a checkout, else that of the package."""
    source = Path(__file__).resolve().parents[3]
    if (source / '.git').exists():
        words = ['git', '-C', str(source), 'describe', '--always', '--dirty']
        try:
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return UNKNOWN
    try:
        return metadata.version('h2o_ros')
    except metadata.PackageNotFoundError:
        return UNKNOWN


def is_of_other_code(made_by: str) -> bool:
    """Say whether a version is not this code's, or of a tree with changes, which nobody knows."""
    return made_by != version() or made_by.endswith(DIRTY)
