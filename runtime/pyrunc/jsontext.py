"""Decides how a value is written as JSON: the bytes that Go's encoding/json writes.

It must not sort or leave out keys: a dict is written in its own order.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Go escapes the three of HTML, and the two separators of lines that JavaScript knows.
_ESCAPED = '"\\<>&\u2028\u2029'


def dumps(value: Any, indent: str | None = None, *, exact: bool = False) -> str:
    """Return `value` (dict, list, tuple, str, number, bool, None) as JSON without a final newline.

    `indent` None is json.Marshal (one line, no spaces), a text is json.MarshalIndent with no
    prefix. What is no Unicode (the lone surrogates that stand for bytes that are no UTF-8) becomes
    U+FFFD; with `exact` it stays, as an escape that `shim.json_loads` reads back.
    """
    parts: list[str] = []
    _write(value, parts, indent, "\n")
    text = "".join(parts)
    if text.isascii():
        return text
    return "".join([_surrogate(character, exact) for character in text])


def _surrogate(character: str, exact: bool) -> str:
    # As numbers: marshal needs the codec registry for a literal surrogate, 1.4 million instructions.
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        return f"\\u{number:04x}" if exact else "\\ufffd"
    return character


def _write(value: Any, parts: list[str], indent: str | None, newline: str) -> None:
    if value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, str):
        parts.append(quote(value))
    elif isinstance(value, (int, float)):
        parts.append(repr(value))
    elif isinstance(value, dict):
        items = [
            (quote(str(key)) + (":" if indent is None else ": "), item)
            for key, item in value.items()
        ]
        _write_items("{", items, "}", parts, indent, newline)
    elif isinstance(value, (list, tuple)):
        _write_items("[", [("", item) for item in value], "]", parts, indent, newline)
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")


def _write_items(
    opening: str,
    items: list[tuple[str, Any]],
    closing: str,
    parts: list[str],
    indent: str | None,
    newline: str,
) -> None:
    parts.append(opening)
    inner = newline if indent is None else newline + indent
    for number, (key, item) in enumerate(items):
        if number:
            parts.append(",")
        if indent is not None:
            parts.append(inner)
        parts.append(key)
        _write(item, parts, indent, inner)
    if items and indent is not None:
        parts.append(newline)
    parts.append(closing)


def quote(text: str) -> str:
    """Return `text` as a JSON string."""
    if text.isascii() and text.isprintable():
        for character in '"\\<>&':
            if character in text:
                break
        else:
            return f'"{text}"'
    return '"' + "".join([_escape(character) for character in text]) + '"'


def _escape(character: str) -> str:
    short = _SHORT.get(character)
    if short is not None:
        return short
    if character < " " or character in _ESCAPED:
        return f"\\u{ord(character):04x}"
    return character
