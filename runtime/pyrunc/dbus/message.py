"""Decides how D-Bus messages are written and read (D-Bus Specification, "Message Protocol").

It must not know any service, nor touch a socket. A value of type "v" is (signature, value), an array
of bytes is bytes, other arrays are lists, a struct is a tuple, a dictionary a list of pairs.
"""

from __future__ import annotations

from _struct import pack, unpack_from

from pyrunc.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
# The fixed part of the header: byte order, type, flags, version, body's length, serial, and the
# length of the array of header fields.
FIXED = 16
# Far above what systemd says; the specification allows 128 MiB.
LIMIT = 1 << 24
_FIELDS = {1: "path", 2: "interface", 3: "member", 4: "error", 5: "reply_serial", 8: "signature"}

# Basic types of one size: code of struct, size and alignment in bytes.
_BASIC = {
    "y": ("B", 1),
    "b": ("I", 4),
    "n": ("h", 2),
    "q": ("H", 2),
    "i": ("i", 4),
    "u": ("I", 4),
    "x": ("q", 8),
    "t": ("Q", 8),
    "d": ("d", 8),
}
_TEXT = "sog"
_ALIGNMENT = {"s": 4, "o": 4, "g": 1, "a": 4, "v": 1, "(": 8, "{": 8}
_DEPTH = 32


@record
class Message:
    """What has come in; `reply_serial` is 0 and a text is "" where the message has none."""

    kind: int
    reply_serial: int
    path: str
    interface: str
    member: str
    error: str
    body: tuple[Any, ...]


def split(signature: str) -> list[str]:
    """Return the single complete types of a signature; ValueError where it is none."""
    types = []
    position = 0
    while position < len(signature):
        end = _end_of_type(signature, position, 0)
        types.append(signature[position:end])
        position = end
    return types


def _end_of_type(signature: str, start: int, depth: int) -> int:
    first = signature[start : start + 1]
    if depth > _DEPTH or not first:
        raise ValueError(f'"{signature}" is no signature')
    if first in _BASIC or first in _TEXT or first == "v":
        return start + 1
    if first == "a":
        if signature[start + 1 : start + 2] == "{":
            return _end_of_group(signature, start + 1, depth, "}")
        return _end_of_type(signature, start + 1, depth + 1)
    if first == "(":
        return _end_of_group(signature, start, depth, ")")
    raise ValueError(f'"{signature}" is no signature')


def _end_of_group(signature: str, start: int, depth: int, closing: str) -> int:
    position = start + 1
    members = 0
    while signature[position : position + 1] != closing:
        position = _end_of_type(signature, position, depth + 1)
        members += 1
    if not members or (closing == "}" and members != 2):
        raise ValueError(f'"{signature}" is no signature')
    return position + 1


def _alignment(kind: str) -> int:
    first = kind[0]
    return _BASIC[first][1] if first in _BASIC else _ALIGNMENT[first]


def method_call(
    serial: int,
    destination: str,
    path: str,
    interface: str,
    member: str,
    signature: str = "",
    body: tuple[Any, ...] = (),
) -> bytes:
    """Return a whole call; `destination` is "" where the service is at the other end."""
    content = marshal(signature, body)
    fields = [(1, ("o", path)), (2, ("s", interface)), (3, ("s", member))]
    if destination:
        fields.append((6, ("s", destination)))
    if signature:
        fields.append((8, ("g", signature)))
    data = bytearray(pack("<BBBBII", ord("l"), METHOD_CALL, 0, 1, len(content), serial))
    _put(data, "a(yv)", fields)
    _pad(data, 8)
    return bytes(data) + content


def marshal(signature: str, values: tuple[Any, ...]) -> bytes:
    """Return `values` in little-endian byte order; struct.error for a number out of range."""
    data = bytearray()
    for kind, value in zip(split(signature), values, strict=True):
        _put(data, kind, value)
    return bytes(data)


def _pad(data: bytearray, alignment: int) -> None:
    data += bytes(-len(data) % alignment)


def _put(data: bytearray, kind: str, value: Any) -> None:
    first = kind[0]
    _pad(data, _alignment(kind))
    if first in _BASIC:
        data += pack("<" + _BASIC[first][0], value)
    elif first in _TEXT:
        text = value.encode()
        data += (bytes([len(text)]) if first == "g" else pack("<I", len(text))) + text + b"\0"
    elif first == "v":
        _put(data, "g", value[0])
        _put(data, *value)
    elif first == "a":
        place = len(data)
        data += bytes(4)
        _pad(data, _alignment(kind[1:]))
        start = len(data)
        for item in value:
            _put(data, kind[1:], item)
        data[place : place + 4] = pack("<I", len(data) - start)
    else:
        for member, item in zip(split(kind[1:-1]), value, strict=True):
            _put(data, member, item)


def total_length(fixed: bytes) -> int:
    """Return how long the message is that begins with these FIXED bytes; ValueError if too long."""
    order = _order(fixed)
    (body,) = unpack_from(order + "I", fixed, 4)
    (fields,) = unpack_from(order + "I", fixed, 12)
    length: int = FIXED + fields + -fields % 8 + body
    if length > LIMIT:
        raise ValueError(f"a message of {length} bytes")
    return length


def parse(data: bytes) -> Message:
    """Return a whole message; ValueError where it is none."""
    try:
        return _parse(data)
    except (IndexError, UnicodeDecodeError, ArithmeticError) as error:
        raise ValueError("a damaged message") from error


def _parse(data: bytes) -> Message:
    reader = _Reader(data, _order(data), 12)
    found: dict[str, Any] = {}
    for code, (_kind, value) in reader.take("a(yv)"):
        if code in _FIELDS:
            found[_FIELDS[code]] = value
    reader.align(8)
    body = _Reader(data[reader.position :], reader.order, 0)
    return Message(
        data[1],
        found.get("reply_serial", 0),
        found.get("path", ""),
        found.get("interface", ""),
        found.get("member", ""),
        found.get("error", ""),
        tuple([body.take(kind) for kind in split(found.get("signature", ""))]),
    )


def _order(data: bytes) -> str:
    orders = {ord("l"): "<", ord("B"): ">"}
    if data[0] not in orders:
        raise ValueError(f"byte order {data[0]}")
    return orders[data[0]]


class _Reader:
    """A place in a marshalled text; alignment counts from its beginning."""

    def __init__(self, data: bytes, order: str, position: int) -> None:
        self.data = data
        self.order = order
        self.position = position

    def align(self, alignment: int) -> None:
        self.position += -self.position % alignment

    def bytes(self, count: int) -> bytes:
        part = self.data[self.position : self.position + count]
        if len(part) != count:
            raise ValueError("a message that ends early")
        self.position += count
        return part

    def take(self, kind: str) -> Any:
        first = kind[0]
        self.align(_alignment(kind))
        if first in _BASIC:
            code, size = _BASIC[first]
            return unpack_from(self.order + code, self.bytes(size))[0]
        if first in _TEXT:
            length = self.take("y" if first == "g" else "u")
            return self.bytes(length + 1)[:-1].decode()
        if first == "v":
            signature = self.take("g")
            (inner,) = split(signature)
            return signature, self.take(inner)
        if first == "a":
            return self._array(kind[1:])
        return tuple([self.take(member) for member in split(kind[1:-1])])

    def _array(self, kind: str) -> Any:
        length = self.take("u")
        self.align(_alignment(kind))
        if kind == "y":
            return self.bytes(length)
        end = self.position + length
        if end > len(self.data):
            raise ValueError("a message that ends early")
        items = []
        while self.position < end:
            items.append(self.take(kind))
        return items
