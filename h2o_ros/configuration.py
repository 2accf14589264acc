"""Frozen dataclasses from YAML mappings: unknown names, wrong types and ranges are refused."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from h2o_ros.errors import ConfigurationError

T = TypeVar('T')
YAML_SUFFIXES = ('.yaml', '.yml')  # by which a file is told from a name


def setting(default: Any, unit: str, text: str, **limits: Any) -> Any:
    """Declare a dataclass field with its unit, description and limits.

    limits: minimum, maximum (inclusive) for numbers; choices (a tuple) for strings. The same
    metadata describes ROS parameters, so a range is written once.
    """
    return dataclasses.field(default=default, metadata={'unit': unit, 'text': text, **limits})


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read one YAML mapping; ConfigurationError names the file and, where known, the line."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except OSError as err:
        raise ConfigurationError(
            f'{path}: cannot be read ({err.strerror}); check the path'
        ) from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        mark = getattr(err, 'problem_mark', None)
        line = f' in line {mark.line + 1}' if mark else ''
        raise ConfigurationError(f'{path}: not valid YAML{line}; correct the file') from err
    if not isinstance(content, dict):
        raise ConfigurationError(
            f'{path}: expected a mapping of names to values; correct the file'
        )
    return content


def build(cls: type[T], mapping: Any, where: str) -> T:
    """Make the dataclass `cls` from a mapping read from YAML or the command line.

    where: what the error message names, a file or a field within it.
    """
    if not isinstance(mapping, dict):
        raise ConfigurationError(f'{where}: expected a mapping, got {mapping!r}')
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in mapping:
        if name not in known:
            raise ConfigurationError(
                f'{where}: unknown field {name!r}; known fields: {", ".join(known)}'
            )
    hints = typing.get_type_hints(cls)
    values = {
        name: _convert(hints[name], value, f'{where}: {name}') for name, value in mapping.items()
    }
    for name, field in known.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise ConfigurationError(f'{where}: the field {name!r} is missing')
    for name, value in values.items():
        check_limits(known[name], value, f'{where}: {name}')
    try:
        return cls(**values)
    except ValueError as err:
        raise ConfigurationError(f'{where}: {err}') from err


def check_limits(field: dataclasses.Field, value: Any, where: str) -> None:
    """Hold `value` against the limits declared by `setting`."""
    limits = field.metadata
    if 'choices' in limits and value not in limits['choices']:
        raise ConfigurationError(
            f'{where}: expected one of {", ".join(map(str, limits["choices"]))}, got {value!r}'
        )
    low, high = limits.get('minimum', -math.inf), limits.get('maximum', math.inf)
    if isinstance(value, (int, float)) and not low <= value <= high:
        raise ConfigurationError(f'{where}: expected {range_text(field)}, got {value}')


def range_text(field: dataclasses.Field) -> str:
    """Say which numbers `setting` allows, with their unit."""
    low, high = field.metadata.get('minimum'), field.metadata.get('maximum')
    if low is None:
        text = 'any number' if high is None else f'{high} or less'
    else:
        text = f'{low} or more' if high is None else f'{low} to {high}'
    return f'{text} {field.metadata.get("unit", "")}'.rstrip()


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
        return _convert(hint, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigurationError(f'{where}: expected a list, got {value!r}')
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, v, f'{where}[{i}]') for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigurationError(f'{where}: expected a mapping, got {value!r}')
        item = typing.get_args(hint)[1]
        return {str(k): _convert(item, v, f'{where}: {k}') for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        way_out = _as_yaml_wants(value) if hint is float and isinstance(value, str) else ''
        raise ConfigurationError(f'{where}: expected {hint.__name__}, got {value!r}{way_out}')
    if hint is float and not math.isfinite(value):
        raise ConfigurationError(f'{where}: expected a finite number, got {value!r}')
    return hint(value)


def _as_yaml_wants(text: str) -> str:
    """Say how a number is written that YAML took for text: 1e-4 needs a point and a sign."""
    mantissa, _, exponent = text.lower().partition('e')
    point = '' if '.' in mantissa else '.0'
    sign = '' if exponent.startswith(('+', '-')) else '+'
    written = f'{mantissa}{point}e{sign}{exponent}' if exponent else mantissa
    try:
        understood = isinstance(yaml.safe_load(written), float)
    except yaml.YAMLError:
        understood = False
    return f'; YAML wants {written}' if understood else ''
