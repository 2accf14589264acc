"""Types of numbers on command lines, which refuse what cannot be meant as they read it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Return a type of whole numbers from `least` on."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f'expected {least} or more, got {text}')
        return int(text)

    return number


def between(least: float, most: float) -> Callable[[str], float]:
    """Return a type of finite numbers from `least` to `most`."""

    def number(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            bounds = f'{least:g} or more' if most == math.inf else f'{least:g} to {most:g}'
            expected = f'a number of {bounds}' if least > -math.inf else 'a finite number'
            raise argparse.ArgumentTypeError(f'expected {expected}, got {text}')
        return value

    return number
