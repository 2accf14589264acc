"""Metadata of a bag beside its messages: operator, task, policy, outcome.

A finished bag has it under custom_data of its metadata.yaml, which a recorder writes last. Until
then it stands in a file of its own in the bag's folder, so that a killed recorder leaves it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from h2o_ros.errors import BagError

UNFINISHED_NAME = 'take.json'


def read_unfinished(path: Path) -> dict[str, str]:
    """Return the entries of a bag that was not finished; nothing where it was.

    path: the bag's folder, or a file within it.
    """
    file = (path if path.is_dir() else path.parent) / UNFINISHED_NAME
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise BagError(f'{file}: damaged; remove it to read the bag without it') from err
    return {str(key): str(value) for key, value in content.items()}


def write_unfinished(folder: Path, entries: Mapping[str, str]) -> None:
    """Write the entries of a bag that is being recorded, as a whole or not at all."""
    _replace(folder / UNFINISHED_NAME, json.dumps(entries, ensure_ascii=False, indent=1) + '\n')


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return what metadata.yaml says of a finished bag; BagError if it cannot be read.

    custom_data: each entry as the text that stands there. rosbag2 writes them without quotes: as
    plain YAML, a version of 007 would be the number 7.
    """
    information = _information(folder, yaml.SafeLoader)
    entries = _information(folder, yaml.BaseLoader).get('custom_data')
    information['custom_data'] = (
        {str(key): str(value) for key, value in entries.items()}
        if isinstance(entries, dict)
        else {}
    )
    return information


def write_metadata(folder: Path, information: Mapping[str, Any]) -> None:
    """Write metadata.yaml of a bag, as a whole or not at all."""
    content = {'rosbag2_bagfile_information': dict(information)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    _replace(folder / 'metadata.yaml', text)


def finish_metadata(folder: Path, entries: Mapping[str, str]) -> None:
    """Put entries into the metadata.yaml of a finished bag; others stay."""
    information = read_metadata(folder)
    information['custom_data'] |= entries
    write_metadata(folder, information)
    (folder / UNFINISHED_NAME).unlink(missing_ok=True)


def _information(folder: Path, loader: Any) -> dict[str, Any]:
    file = folder / 'metadata.yaml'
    try:
        # A loader of plain values: SafeLoader, or BaseLoader, which leaves all as text.
        content = yaml.load(file.read_text(encoding='utf-8'), Loader=loader)
        information = content['rosbag2_bagfile_information']
        if not isinstance(information, dict):
            raise TypeError(f'expected a mapping, got {type(information).__name__}')
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as err:
        reason = ' '.join(str(err).split())
        raise BagError(
            f'{file}: damaged ({reason}); remove it to read the storage files without it'
        ) from err
    return information


def _replace(file: Path, text: str) -> None:
    temporary = file.with_name(file.name + '.tmp')
    try:
        with temporary.open('w', encoding='utf-8') as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(file)
    except OSError as err:
        raise BagError(f'{file}: cannot be written ({err.strerror}); is the disk full?') from err
