"""ROS message definitions: what fields a type has, in the order in which CDR lays them out.

Where a definition is looked for: in the bag itself, in the package's own msg/ folder, in the ament
prefixes (share/PACKAGE/msg/NAME.msg), last among the types that rosbags knows.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from h2o_ros.errors import BagError, ConfigurationError
from h2o_ros.task import share_folder

# primitive type: (numpy type code, bytes); CDR aligns each to its own size
PRIMITIVES = {
    'bool': ('u1', 1),
    'byte': ('u1', 1),
    'char': ('u1', 1),
    'int8': ('i1', 1),
    'uint8': ('u1', 1),
    'int16': ('i2', 2),
    'uint16': ('u2', 2),
    'int32': ('i4', 4),
    'uint32': ('u4', 4),
    'int64': ('i8', 8),
    'uint64': ('u8', 8),
    'float32': ('f4', 4),
    'float64': ('f8', 8),
}
SEPARATOR = re.compile(r'^=+\s*$\n^MSG:\s*(\S+)\s*$', re.MULTILINE)
FIELD = re.compile(r'^([\w/]+)(?:<=\d+)?(\[(?:<=)?\d*\])?\s+(\w+)\b\s*(=)?')


@dataclass(frozen=True)
class Member:
    """One field of a message. array: None a single value, 0 a sequence, else the fixed length."""

    name: str
    type: str
    array: int | None = None


class Definitions:
    """The members of message types by full name, as `sensor_msgs/msg/Imu`."""

    def __init__(self, embedded: dict[str, str] | None = None) -> None:
        """embedded: definition texts by type, as a bag brings them along."""
        self._members: dict[str, tuple[Member, ...]] = {}
        for name, text in (embedded or {}).items():
            self._add(name, text)

    def members(self, name: str) -> tuple[Member, ...]:
        """Return the members of a type; BagError where its definition is nowhere to be found."""
        if name not in self._members:
            self._add(name, definition_text(name))
        return self._members[name]

    def _add(self, name: str, text: str) -> None:
        if text.lstrip().startswith('=') and 'IDL:' in text[:200]:
            return
        parts = SEPARATOR.split(text)
        for part, body in zip([name, *parts[1::2]], parts[0::2], strict=True):
            self._members.setdefault(full_name(part), parse_members(full_name(part), body))


def full_name(name: str, package: str = '') -> str:
    """Return `package/msg/Name` for `Name`, `package/Name` or the full name."""
    parts = name.split('/')
    if len(parts) == 1:
        return f'{package}/msg/{name}'
    return f'{parts[0]}/msg/{parts[-1]}'


def parse_members(name: str, text: str) -> tuple[Member, ...]:
    """Read the fields of one .msg text; constants are skipped."""
    members = []
    for line in text.splitlines():
        match = FIELD.match(line.split('#')[0].strip())
        if not match or match[4]:
            continue
        kind, brackets, field = match[1], match[2], match[3]
        if kind not in PRIMITIVES and kind not in ('string', 'wstring'):
            kind = 'std_msgs/msg/Header' if kind == 'Header' else kind
            kind = full_name(kind, name.split('/')[0])
        members.append(Member(field, kind, _array_length(brackets)))
    # an empty message still occupies one byte
    return tuple(members) or (Member('structure_needs_at_least_one_member', 'uint8'),)


def _array_length(brackets: str | None) -> int | None:
    if brackets is None:
        return None
    inner = brackets[1:-1]  # empty or `<=N` for a sequence
    return int(inner) if inner.isdigit() else 0


@lru_cache(maxsize=256)
def definition_text(name: str) -> str:
    """Return the .msg text of a type from the folders and from rosbags."""
    package, _, kind = name.partition('/msg/')
    for folder in _message_folders(package):
        path = folder / f'{kind}.msg'
        if path.is_file():
            return path.read_text(encoding='utf-8')
    try:
        return _rosbags_text(name)
    except (ImportError, KeyError) as err:
        raise BagError(
            f'message type {name} is unknown here; source the workspace that defines it'
        ) from err


def _message_folders(package: str) -> list[Path]:
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    folders = [Path(prefix) / 'share' / package / 'msg' for prefix in prefixes if prefix]
    if package == 'h2o_ros':
        try:
            folders.insert(0, share_folder('msg'))
        except ConfigurationError:
            return folders
    return folders


def _rosbags_text(name: str) -> str:
    from rosbags.typesys import Stores, get_typestore

    newest = max(
        (store for store in Stores if store.name in ('ROS2_JAZZY', 'ROS2_KILTED')),
        key=lambda store: store.name,
    )
    typestore = get_typestore(newest)
    if name not in typestore.fielddefs:
        raise KeyError(name)
    return typestore.generate_msgdef(name, ros_version=2)[0]


def full_text(name: str) -> str:
    """Return a type's definition with all that it needs, as bags embed it."""
    definitions, order = Definitions(), [name]
    for kind in order:
        for member in definitions.members(kind):
            nested = member.type not in PRIMITIVES and 'string' not in member.type
            if nested and member.type not in order:
                order.append(member.type)
    parts = [SEPARATOR.split(definition_text(kind))[0] for kind in order]
    for index in range(1, len(order)):
        parts[index] = f'{"=" * 80}\nMSG: {order[index].replace("/msg/", "/")}\n{parts[index]}'
    return '\n'.join(parts)
