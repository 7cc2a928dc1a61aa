"""Decides how the messages of CRIU's service are written and read: protocol buffers, as far as they
are used there.

It must not know what a message asks for. A table names the fields of a message: {name: (number,
kind)}, where kind is NUMBER, TEXT or the table of a message; a list of values is a repeated field.
"""

from __future__ import annotations

from pyrunc.errors import Failure
from pyrunc.output import encode as encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Table = Mapping[str, tuple[int, Any]]

NUMBER = "number"
TEXT = "text"
# Wire types of the encoding.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def encode(table: Table, values: Mapping[str, Any]) -> bytes:
    """Return the message with these values, each field in the order of `values`."""
    parts = []
    for name, value in values.items():
        number, kind = table[name]
        for item in value if isinstance(value, list) else [value]:
            parts.append(_field(number, kind, item))
    return b"".join(parts)


def _field(number: int, kind: Any, value: Any) -> bytes:
    if kind is NUMBER:
        return _varint(number << 3 | _VARINT) + _varint(int(value) & (1 << 64) - 1)
    data = encode_text(value) if kind is TEXT else encode(kind, value)
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def decode(table: Table, data: bytes) -> dict[str, Any]:
    """Return the fields of `table` that the message has; those it does not know are passed over.

    Numbers are int32, as all that CRIU answers with are. Raises Failure for what is no message.
    """
    names = {number: (name, kind) for name, (number, kind) in table.items()}
    found: dict[str, Any] = {}
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        name, kind = names.get(key >> 3, ("", NUMBER))
        wire = key & 7
        if wire == _VARINT:
            value, position = _read_varint(data, position)
            if name:
                found[name] = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        elif wire == _BYTES:
            size, position = _read_varint(data, position)
            chunk = data[position : position + size]
            position += size
            if name:
                found[name] = (
                    chunk.decode("utf-8", "replace") if kind is TEXT else decode(kind, chunk)
                )
        elif wire in (_FIXED32, _FIXED64):
            position += 4 if wire == _FIXED32 else 8
        else:
            raise Failure(f"CRIU's answer is damaged: field of type {wire}")
    return found


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise Failure("CRIU's answer is damaged: it ends early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
