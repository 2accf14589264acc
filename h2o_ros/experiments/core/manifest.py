"""Dependencies of the results in a folder, kept beside them; other ones are refused.

manifest.json holds settings, which are the same for all results, and parts by kind and name, as
datasets by name: more of them may join later, but none may change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from h2o_ros.errors import ConfigurationError
from h2o_ros.experiments.core.results import write_text

Parts = Mapping[str, Mapping[str, Any]]

NAME = 'manifest.json'
FORMAT = 1


def claim(folder: Path, settings: Mapping[str, Any], parts: Parts, empty: bool = False) -> None:
    """Note what the results rest on; ConfigurationError where the folder's rest on other things.

    A kind of parts that an older folder has not noted joins. empty: there are no results yet, and
    what was noted for some that never came does not bind.
    """
    if empty:
        (folder / NAME).unlink(missing_ok=True)
    known = compare(folder, settings, parts)
    text = json.dumps({'format': FORMAT, **known}, indent=1, sort_keys=True)
    write_text(folder / NAME, text + '\n')


def compare(folder: Path, settings: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    """Return what the folder has noted with these joined; ConfigurationError as `claim`."""
    path = folder / NAME
    known = _read(path) if path.exists() else {'settings': dict(settings)}
    for name, value in settings.items():
        there = known['settings'].get(name)
        if there != value:
            raise ConfigurationError(
                f'{folder}: holds other results, with {name} {there} where '
                f'{value} is asked for now; give the same, or another --output'
            )
    for kind, entries in parts.items():
        _join(known.setdefault(kind, {}), entries, kind, folder)
    return known


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding='utf-8'))
        if known.pop('format') == FORMAT and all(isinstance(v, dict) for v in known.values()):
            return {'settings': {}, **known}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as err:
        raise ConfigurationError(f'{path}: damaged ({err}); choose another --output') from err
    raise ConfigurationError(f'{path}: of another version; choose another --output')


def _join(known: dict[str, Any], entries: Mapping[str, Any], kind: str, folder: Path) -> None:
    for name, value in entries.items():
        there = known.setdefault(name, value)
        if there == value:
            continue
        differing = f'{there}, now {value}'
        if isinstance(there, dict):
            names = sorted(k for k in {*there, *value} if there.get(k) != value.get(k))
            usual = 'as usual'
            pairs = [f'{k} {there.get(k, usual)}, now {value.get(k, usual)}' for k in names]
            differing = '; '.join(pairs)
        raise ConfigurationError(
            f'{folder}: holds other results, with {kind} {name}: {differing}; '
            'choose another --output'
        )
