"""Decides what a value in GVariant's text format is, as D-Bus has it.

It must not know what the value is for. Of the format (GLib, "GVariant Text Format") it reads what
properties of units have: booleans, numbers, texts, byte strings, arrays and tuples, with types by
"@as" or a word. A number without a type is an int32, a double if it has a fraction or an exponent.
"""

from __future__ import annotations

from pyrunc.dbus.message import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Typed = tuple[str, Any]

_WORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}
_RANGES = {
    "y": (0, 2**8 - 1),
    "n": (-(2**15), 2**15 - 1),
    "q": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1),
    "t": (0, 2**64 - 1),
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_DEPTH = 16


def parse(text: str) -> Typed:
    """Return (signature, value); ValueError, with a reason to be shown, for what is no such text."""
    reader = _Reader(text)
    found = reader.value("", 0)
    reader.skip()
    if reader.position != len(text):
        raise ValueError(f'"{text[reader.position :]}" is left over')
    return found


def microseconds(signature: str, value: Any) -> int:
    """Return a number of seconds in microseconds; ValueError where it is none that a uint64 holds."""
    if signature != "d" and signature not in _RANGES:
        raise ValueError("not a number")
    if not 0 <= value * 1_000_000 < 2**64:
        raise ValueError("out of range")
    return int(value * 1_000_000)


class _Reader:
    """A place in a text. `wanted` is the signature that is expected, "" where the text decides."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip(self) -> str:
        """Return the next character that is no space, "" at the end, without taking it."""
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1
        return self.text[self.position : self.position + 1]

    def take(self, character: str) -> bool:
        if self.skip() != character:
            return False
        self.position += 1
        return True

    def word(self) -> str:
        self.skip()
        start = self.position
        while self.text[self.position : self.position + 1] not in (*" \t\n,[]()<>{}:'\"", ""):
            self.position += 1
        return self.text[start : self.position]

    def value(self, wanted: str, depth: int) -> Typed:
        if depth > _DEPTH:
            raise ValueError("nested too deeply")
        first = self.skip()
        if first in ("'", '"'):
            return self._text(wanted)
        if first == "[":
            return self._array(wanted, depth)
        if first == "(":
            return self._tuple(wanted, depth)
        if first == "@":
            self.position += 1
            return self._typed(self._signature(), wanted, depth)
        word = self.word()
        if word == "b" and self.text[self.position : self.position + 1] in ("'", '"'):
            return self._checked("ay", self._string().encode("latin-1", "replace") + b"\0", wanted)
        if word in _WORDS:
            return self._typed(_WORDS[word], wanted, depth)
        if word in ("true", "false"):
            return self._checked("b", word == "true", wanted)
        return self._number(word, wanted)

    def _signature(self) -> str:
        start = self.position
        while self.text[self.position : self.position + 1] not in (*" \t\n", ""):
            self.position += 1
        signature = self.text[start : self.position]
        if len(split(signature)) != 1:
            raise ValueError(f'"{signature}" is no type')
        return signature

    def _typed(self, signature: str, wanted: str, depth: int) -> Typed:
        if wanted and wanted != signature:
            raise ValueError(f"{signature} where {wanted} is expected")
        return self.value(signature, depth + 1)

    def _checked(self, signature: str, value: Any, wanted: str) -> Typed:
        if wanted not in ("", signature):
            raise ValueError(f"{signature} where {wanted} is expected")
        return signature, value

    def _text(self, wanted: str) -> Typed:
        text = self._string()
        return self._checked(wanted if wanted in ("s", "o", "g") and wanted else "s", text, wanted)

    def _string(self) -> str:
        quote = self.text[self.position]
        self.position += 1
        result = ""
        while (character := self.text[self.position : self.position + 1]) != quote:
            if not character:
                raise ValueError("a text without its end")
            self.position += 1
            if character == "\\":
                character = self._escape()
            result += character
        self.position += 1
        if "\0" in result:
            raise ValueError("a text with NUL")
        return result

    def _escape(self) -> str:
        character = self.text[self.position : self.position + 1]
        self.position += 1
        if character in ("u", "U"):
            length = 4 if character == "u" else 8
            digits = self.text[self.position : self.position + length]
            self.position += length
            number = int(digits, 16) if len(digits) == length else -1
            if not 0 <= number < 0x110000 or 0xD800 <= number < 0xE000:
                raise ValueError(f"\\{character}{digits} is no character")
            return chr(number)
        return _ESCAPES.get(character, character)

    def _number(self, word: str, wanted: str) -> Typed:
        is_double = wanted == "d"
        if not wanted:
            is_hex = word.lstrip("+-")[:2].lower() == "0x"
            is_double = (not is_hex and any(c in word for c in ".eE")) or word in ("inf", "nan")
        try:
            if is_double:
                return "d", float(word)
            digits = word.lstrip("+-")
            is_octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            number = int(word, 8 if is_octal else 0)
        except ValueError:
            raise ValueError(f'"{word}" is no value') from None
        signature = wanted or "i"
        if signature not in _RANGES:
            raise ValueError(f"a number where {signature} is expected")
        low, high = _RANGES[signature]
        if not low <= number <= high:
            raise ValueError(f"{word} is out of the range of {signature}")
        return signature, number

    def _array(self, wanted: str, depth: int) -> Typed:
        if wanted and wanted[0] != "a":
            raise ValueError(f"an array where {wanted} is expected")
        self.position += 1
        kind = wanted[1:]
        items: list[Any] = []
        while not self.take("]"):
            if items and not self.take(","):
                raise ValueError('"," or "]" is missing')
            kind, item = self.value(kind, depth + 1)
            items.append(item)
        if not kind:
            raise ValueError("an empty array needs a type, as in @as []")
        return "a" + kind, bytes(items) if kind == "y" else items

    def _tuple(self, wanted: str, depth: int) -> Typed:
        kinds = split(wanted[1:-1]) if wanted[:1] == "(" else []
        if wanted and not kinds:
            raise ValueError(f"a tuple where {wanted} is expected")
        self.position += 1
        found: list[Typed] = []
        while not self.take(")"):
            if found and not self.take(","):
                raise ValueError('"," or ")" is missing')
            if found and self.take(")"):
                break
            if wanted and len(found) == len(kinds):
                raise ValueError(f"more members than {wanted} has")
            found.append(self.value(kinds[len(found)] if wanted else "", depth + 1))
        if not found or (wanted and len(found) != len(kinds)):
            raise ValueError("a tuple with too few members")
        signature = "(" + "".join([kind for kind, _ in found]) + ")"
        return signature, tuple([value for _, value in found])
