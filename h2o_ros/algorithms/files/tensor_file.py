"""Files of named arrays plus JSON, written whole or not at all: checkpoints and policies.

The format is safetensors; its metadata holds one JSON document and a SHA-256 over that document
and every array, so that a torn, altered or foreign file is told from a good one. Nothing is
executed on reading. No torch here: the policy server reads policies without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from h2o_ros.errors import H2OError

KEY = 'h2o_ros'


def pack(kind: str, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the file's bytes. kind: what the file is, as 'h2o_ros policy'."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)
    label = {'kind': kind, 'digest': _digest(text, contiguous), 'document': text}
    # safetensors writes several keys in any order; one makes equal content equal bytes
    return save(contiguous, {KEY: json.dumps(label, ensure_ascii=False)})


def unpack(
    kind: str, data: bytes, where: str, error: type[H2OError], way_out: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return document and arrays; `error` names `where` and `way_out` if the file is no good."""
    try:
        metadata = _metadata(data)
        arrays = {name: _array(entry) for name, entry in deserialize(data)}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise error(f'{where}: torn, or not a file of {kind}; {way_out}') from err
    if metadata.get('kind') != kind:
        raise error(
            f'{where}: holds {metadata.get("kind", "other data")!r}, not {kind}; {way_out}'
        )
    text = metadata.get('document', '')
    if metadata.get('digest') != _digest(text, arrays):
        raise error(f'{where}: its digest does not match, the file is damaged; {way_out}')
    return json.loads(text), arrays


def read(path: str | Path, error: type[H2OError], way_out: str) -> bytes:
    """Return a file's bytes; `error` where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as err:
        raise error(f'{path}: cannot be read ({err.strerror}); {way_out}') from err


def write_atomically(path: str | Path, data: bytes, error: type[H2OError]) -> None:
    """Replace `path` by `data`: a crash at any moment leaves the old file or the new one."""
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as err:
        raise error(
            f'{path}: cannot be written ({err.strerror}); choose a folder that exists, is '
            'writable and has room'
        ) from err


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    label = json.loads(header.get('__metadata__', {}).get(KEY, '{}'))
    if not isinstance(label, dict):
        raise ValueError('metadata is not a mapping')
    return label


def _array(entry: Mapping[str, Any]) -> np.ndarray:
    kinds = {'F32': np.float32, 'F64': np.float64, 'I64': np.int64}
    return np.frombuffer(entry['data'], kinds[entry['dtype']]).reshape(entry['shape'])


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f'{name} {array.dtype.str} {array.shape}'.encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
