"""Where in a serialised ROS message (CDR) each field stands, and a blank message of a given shape.

Messages of one topic mostly share one layout: it is worked out once, and the wanted bytes of all
messages are then gathered at a stroke (decode.py).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from h2o_ros.data.cdr.definitions import PRIMITIVES, Definitions, Member

HEADER = 4  # bytes of encapsulation before the data; alignment counts from behind it


class MalformedMessage(ValueError):
    """The bytes are not a message of the type that they are said to be.

    row: which of the messages looked at.
    """

    def __init__(self, text: str, row: int = 0) -> None:
        super().__init__(text)
        self.row = row


@dataclass(frozen=True)
class Leaf:
    """One number or one array of numbers. count is None for a single number."""

    offset: int
    code: str
    size: int
    count: int | None


@dataclass
class Layout:
    """The places of all numbers of one message.

    order: '<' or '>', the byte order. leaves: by dotted path. names: the contents of each array of
    strings, by path. fixed: (offset, length) of the bytes that decide the layout; two messages of
    one length that agree in these have the same layout.
    """

    order: str
    leaves: dict[str, Leaf] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    fixed: list[tuple[int, int]] = field(default_factory=list)


def find_layout(message: bytes, name: str, definitions: Definitions) -> Layout:
    """Walk through one message of type `name`; MalformedMessage where it does not fit."""
    if len(message) < HEADER or message[0] != 0 or message[1] > 1:
        raise MalformedMessage('not a plain CDR message')
    walk = _Walk(message, definitions)
    try:
        walk.message(name, '')
    except (struct.error, UnicodeDecodeError) as err:
        raise MalformedMessage('the message is cut short or of another type') from err
    if walk.position > len(message):
        raise MalformedMessage('the message is cut short or of another type')
    return walk.layout


class _Walk:
    def __init__(self, message: bytes, definitions: Definitions) -> None:
        self.data = message
        self.definitions = definitions
        self.position = HEADER
        self.layout = Layout('<' if message[1] == 1 else '>', fixed=[(0, 2)])

    def message(self, name: str, prefix: str) -> None:
        for member in self.definitions.members(name):
            self.member(member, prefix + member.name)

    def member(self, member: Member, path: str) -> None:
        count = member.array
        if count == 0:
            count = self.length()
        if member.type in PRIMITIVES:
            self.numbers(member.type, path, count)
        elif member.type == 'string':
            strings = [
                self.string(count is not None) for _ in range(1 if count is None else count)
            ]
            if count is not None:
                self.layout.names[path] = strings
        elif member.type == 'wstring':
            raise MalformedMessage(f'{path}: wide strings are not supported')
        elif count is None:
            self.message(member.type, path + '.')
        else:
            for index in range(count):
                self.message(member.type, f'{path}.{index}.')

    def numbers(self, kind: str, path: str, count: int | None) -> None:
        code, size = PRIMITIVES[kind]
        if count != 0:
            self.align(size)
        self.layout.leaves[path] = Leaf(self.position, code, size, count)
        self.position += size * (1 if count is None else count)
        if self.position > len(self.data):
            raise MalformedMessage('the message is cut short or of another type')

    def length(self) -> int:
        self.align(4)
        (count,) = struct.unpack_from(self.layout.order + 'I', self.data, self.position)
        self.layout.fixed.append((self.position, 4))
        self.position += 4
        if count > len(self.data):
            raise MalformedMessage('the message is cut short or of another type')
        return count

    def string(self, is_name: bool) -> str:
        count = self.length()
        text = self.data[self.position : self.position + max(count - 1, 0)].decode()
        if is_name:
            self.layout.fixed.append((self.position, count))
        self.position += count
        return text

    def align(self, size: int) -> None:
        self.position += -(self.position - HEADER) % size


def blank_message(
    name: str,
    definitions: Definitions,
    lengths: Mapping[str, int],
    names: Mapping[str, list[str]],
) -> bytes:
    """Serialise a message of zeros, little-endian.

    lengths: elements of each sequence of numbers by path; sequences not named stay empty.
    names: contents of arrays of strings by path.
    """
    out = bytearray(b'\x00\x01\x00\x00')

    def align(size: int) -> None:
        out.extend(bytes(-(len(out) - HEADER) % size))

    def text(value: str) -> None:
        align(4)
        data = value.encode() + b'\x00'
        out.extend(struct.pack('<I', len(data)) + data)

    def add(kind: str, prefix: str) -> None:
        for member in definitions.members(kind):
            path, count = prefix + member.name, member.array
            if count == 0:
                count = len(names[path]) if path in names else lengths.get(path, 0)
                align(4)
                out.extend(struct.pack('<I', count))
            repeats = 1 if count is None else count
            if member.type in PRIMITIVES:
                size = PRIMITIVES[member.type][1]
                align(size if repeats else 1)
                out.extend(bytes(size * repeats))
            elif member.type == 'string':
                for value in names.get(path, [''] * repeats):
                    text(value)
            else:
                for index in range(repeats):
                    add(member.type, path + ('.' if count is None else f'.{index}.'))

    add(name, '')
    return bytes(out)
