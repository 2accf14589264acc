"""zstd and lz4 for storage files; the libraries come with rosbags."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from h2o_ros.errors import BagError

FRAME_MAGIC = b'\x28\xb5\x2f\xfd'  # the first bytes of every zstd frame


def zstd() -> Any:
    """Return the zstd module of the standard library or its backport."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd as module
        else:
            from backports import zstd as module
    except ImportError as err:
        raise BagError('zstd is needed to read this file; run pip install rosbags') from err
    return module


def compress(data: bytes, level: int = 9) -> bytes:
    """Compress with a checksum, so that a damaged file is noticed."""
    module = zstd()
    options = {
        module.CompressionParameter.compression_level: level,
        module.CompressionParameter.checksum_flag: 1,
    }
    return module.compress(data, options=options)


def decompress_partly(data: bytes) -> bytes:
    """Return what can be had of a zstd stream that may be cut short."""
    return zstd().ZstdDecompressor().decompress(data)


def _lz4(data: bytes) -> bytes:
    try:
        from lz4.frame import decompress
    except ImportError as err:
        raise BagError('lz4 is needed to read this file; run pip install rosbags') from err
    return decompress(data)


DECOMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    '': lambda data: data,
    'zstd': lambda data: zstd().decompress(data),
    'lz4': _lz4,
}
