"""Processor settings of an update: one thread, the faster library of products, kept memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

LARGE = 128  # hidden units from which oneDNN's products are faster than MKL's
# Of glibc's malloc.h. Freed bytes that stay with the process, and the size from which a block is
# given back at once, whose largest this is.
TRIM_THRESHOLD, KEPT = -1, 2**29
MMAP_THRESHOLD, LARGEST_KEPT = -3, 2**25


@contextmanager
def fast_arithmetic(hidden: int) -> Iterator[None]:
    """Set one thread and, for networks of many hidden units, oneDNN; put both back afterwards.

    Numbers below 1e-38 become 0 in this thread from here on: Adam's moments of silent units decay
    to them, and they are slow. Matrices of these sizes are too small to share between threads, and
    the simulator wants the other core. Freed memory stays with the process. 'medium' precision
    sends products to oneDNN, which may then round to bfloat16; where it does, it is not used.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        if hidden >= LARGE and medium_is_accurate():
            torch.set_float32_matmul_precision('medium')
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)


@cache
def keep_freed_memory() -> None:
    """Keep freed memory for the next update, where the C library is glibc; else do nothing.

    It would go back to the system and come again page by page: of CQL's update at HalfCheetah
    sizes, with 100 MB between forward and backward pass, that was two fifths of the time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, LARGEST_KEPT)


@cache
def medium_is_accurate() -> bool:
    """Say whether 'medium' products keep float32's accuracy on this processor."""
    precision = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(2, 128, 256, generator=generator)
    right = torch.randn(2, 256, 256, generator=generator)
    exact = torch.bmm(left.double(), right.double())
    try:
        torch.set_float32_matmul_precision('medium')
        error = (torch.bmm(left, right) - exact).abs().max()
    finally:
        torch.set_float32_matmul_precision(precision)
    return bool(error < 1e-3)  # float32 errs by 5e-5 here, bfloat16 by 0.2
