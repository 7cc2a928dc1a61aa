"""Decides how a person writes a number of bytes or a length of time on the command line.

It must not know what is measured.
"""

from __future__ import annotations

from pyrunc.errors import Failure

_UNITS = "bkmgtp"
# The specification's sizes are int64.
_LARGEST = (1 << 63) - 1
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_bytes(text: str) -> int:
    """Return the bytes of "512", "32m", "1.5g", "64KiB" (base 1024, any case) or "-1"."""
    if text == "-1":
        return -1
    number = text.strip().lower()
    for suffix in ("ib", "b"):
        if number.endswith(suffix) and number[: -len(suffix)][-1:] in tuple("kmgtp"):
            number = number[: -len(suffix)]
            break
    power = 0
    if number[-1:] in tuple(_UNITS):
        power = _UNITS.index(number[-1])
        number = number[:-1].strip()
    if not number.replace(".", "", 1).isdigit() or not number.isascii() or len(number) > 20:
        raise Failure(f"invalid size: '{text}'")
    size = int(float(number) * 1024**power) if "." in number else int(number) * 1024**power
    if size > _LARGEST:
        raise Failure(f"invalid size: '{text}'")
    return size


def parse_number(text: str) -> int:
    """Return a decimal number of 64 bits with its sign; ValueError for any other text."""
    number = int(text)
    if not -_LARGEST - 1 <= number <= _LARGEST:
        raise ValueError(text)
    return number


def parse_duration(text: str) -> float:
    """Return the seconds of "5s", "100ms", "1m30s" (Go's time.ParseDuration)."""
    rest, total = text, 0.0
    sign = -1.0 if rest[:1] == "-" else 1.0
    rest = rest.lstrip("+-")
    if rest == "0":
        return 0.0
    while rest:
        number = ""
        while rest[:1].isdigit() or rest[:1] == ".":
            number, rest = number + rest[0], rest[1:]
        unit = ""
        while rest and not rest[0].isdigit() and rest[0] != ".":
            unit, rest = unit + rest[0], rest[1:]
        if unit not in _SECONDS or not number.replace(".", "", 1).isdigit():
            raise Failure(f'invalid duration "{text}"')
        total += float(number) * _SECONDS[unit]
    if not text.lstrip("+-"):
        raise Failure(f'invalid duration "{text}"')
    return sign * total
