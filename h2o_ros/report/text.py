"""Numbers as a person reads them."""

from __future__ import annotations

import math


def format_duration(seconds: float) -> str:
    """Return `seconds` in at most two units: 42 s, 3 min 05 s, 2 h 10 min."""
    if not math.isfinite(seconds) or seconds < 0:
        return '?'
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


def format_unit(unit: str) -> str:
    """Return a task's unit as people write it; nothing for a number without one."""
    return {'1': '', 'm/s^2': 'm/s²'}.get(unit, unit)


def format_field(name: str, unit: str) -> str:
    """Return a field's name with its unit, as an axis or a table shows it."""
    return f'{name} ({shown})' if (shown := format_unit(unit)) else name


def format_size(size: int) -> str:
    """Return a number of bytes in B, kB, MB or GB (powers of 1000)."""
    value = float(size)
    unit = 'B'
    for unit in ('B', 'kB', 'MB', 'GB'):
        if value < 999.5 or unit == 'GB':
            break
        value /= 1000.0
    whole = unit == 'B' or value >= 99.95
    return f'{value:.0f} {unit}' if whole else f'{value:.1f} {unit}'
