"""The C loader of JSON against Python's json module, and where it is stricter."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyrunc.jsontext import dumps
from pyrunc.shim import JsonError, json_loads

SAMPLES: list[Any] = [
    {},
    [],
    "",
    0,
    -1,
    True,
    False,
    None,
    1.5,
    -0.25,
    1e300,
    5e-324,
    2**31 - 1,
    2**31,
    -(2**31),
    -(2**31) - 1,
    2**45,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    [1, [2, [3, []]]],
    {"a": {"b": {"c": [{"d": None}]}}},
    {"": "", " ": "\t\n\r\b\f", '"': "\\/"},
    "é ü 漢字 \U0001f600 \u2028",
    "x" * 255,
    "x" * 256,
    "é" * 40000,
    {"k" * 255: 1, "k" * 256: 2, "ké" * 300: 3},
    ["\x7f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff"],
    {str(number): number for number in range(5000)},
    [{"same": 1}, {"same": 2}, {"other": {"same": 3}, "same": 4}],
]


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize(
    "dump",
    [
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        lambda value: json.dumps(value, indent=3),
        lambda value: "\r\n\t " + json.dumps(value, separators=(" ,\n", "\t: ")) + " \n",
    ],
    ids=["escaped", "as is", "indented", "spaced"],
)
def test_reads_what_python_writes(value: Any, dump: Callable[[Any], str]) -> None:
    loaded = json_loads(dump(value).encode())
    assert loaded == value
    assert type(loaded) is type(value)


def random_value(source: random.Random, depth: int) -> Any:
    """Return any JSON value of at most that depth."""
    kind = source.randrange(8 if depth else 6)
    if kind == 0:
        return source.choice([None, True, False])
    if kind == 1:
        return source.randrange(-(2**63), 2**64) >> source.randrange(64)
    if kind == 2:
        return source.uniform(-1, 1) * 10 ** source.randrange(-300, 300)
    if kind < 6:
        bound = source.choice([0x7F, 0x7FF, 0xD7FF])
        return "".join(chr(source.randrange(1, bound)) for _ in range(source.randrange(12)))
    values = [random_value(source, depth - 1) for _ in range(source.randrange(6))]
    return (
        values
        if kind == 6
        else {f"{n}\u00e9"[source.randrange(2) :]: v for n, v in enumerate(values)}
    )


@pytest.mark.parametrize("seed", range(300))
def test_agrees_with_python_on_random_documents(seed: int) -> None:
    text = json.dumps(random_value(random.Random(seed), 5), ensure_ascii=bool(seed % 2))
    try:
        loaded = json_loads(text.encode())
    except JsonError as error:
        # The generator may give an object the same key twice; dumps then wrote it once.
        pytest.fail(f"{error}: {text}")
    assert loaded == json.loads(text)


@pytest.mark.parametrize("seed", range(300))
def test_broken_documents_are_refused_where_python_refuses_them(seed: int) -> None:
    source = random.Random(seed)
    text = bytearray(json.dumps(random_value(source, 4)).encode())
    for _ in range(source.randrange(1, 4)):
        position = source.randrange(len(text)) if text else 0
        text[position : position + source.randrange(3)] = source.choice(
            [b"", b",", b"]", b"}", b'"', b"0", b"\\", b"e", b"-", b" ", b"\xff", b"\x01"]
        )
    try:
        expected = json.loads(bytes(text).decode())
    except ValueError:
        with pytest.raises(JsonError):
            json_loads(bytes(text))
        return
    try:
        assert json_loads(bytes(text)) == expected
    except JsonError as error:
        # Python is laxer in what these two say.
        assert error.problem in ("number out of range", "duplicate key")


@pytest.mark.parametrize(
    ("text", "problem", "line", "column"),
    [
        (b"", "empty document", 1, 1),
        (b" \n ", "unexpected end of the document", 2, 2),
        (b"{", "expected a key in double quotes", 1, 2),
        (b"[", "unexpected end of the document", 1, 2),
        (b"[1", "expected ',' or ']' in an array", 1, 3),
        (b"[1 2]", "expected ',' or ']' in an array", 1, 4),
        (b"[1,]", "expected a value", 1, 4),
        (b'{"a":1,}', "expected a key in double quotes", 1, 8),
        (b'{"a" 1}', "expected ':' after a key", 1, 6),
        (b'{"a":1 "b":2}', "expected ',' or '}' in an object", 1, 8),
        (b"{a:1}", "expected a key in double quotes", 1, 2),
        (b'{\n  "a": 1,\n  "a": 2\n}', "duplicate key", 3, 3),
        (b'{"\\u0061": 1, "a": 2}', "duplicate key", 1, 15),
        ('{"é": 1, "é": 2}'.encode(), "duplicate key", 1, 10),
        (b"{} x", "unexpected text after the document", 1, 4),
        (b"{}\0", "unexpected text after the document", 1, 3),
        (b"[1]]", "unexpected text after the document", 1, 4),
        (b'"abc', "unfinished string", 1, 1),
        (b'"abc\\', "unfinished string", 1, 1),
        (b'"abc\\"', "unfinished string", 1, 1),
        (b'"a\nb"', "control character in a string", 1, 3),
        (b'"a\0b"', "control character in a string", 1, 3),
        (b'["ok", "a\\u0000b"]', "NUL character in a string", 1, 10),
        (b'"\\x41"', "unknown escape in a string", 1, 2),
        (b'"\\\0"', "unknown escape in a string", 1, 2),
        (b'"\\u12"', "\\u escape without four hexadecimal digits", 1, 4),
        (b'"\\ud800"', "lone surrogate in a string", 1, 2),
        (b'"\\ud800x"', "lone surrogate in a string", 1, 2),
        (b'"\\ud800\\u0041"', "lone surrogate in a string", 1, 2),
        (b'"\\udc7f"', "lone surrogate in a string", 1, 2),
        (b'"\\udd00"', "lone surrogate in a string", 1, 2),
        (b'"\xff"', "invalid UTF-8", 1, 2),
        (b'"\xc0\xaf"', "invalid UTF-8", 1, 2),
        (b'"\xe0\x80\xaf"', "invalid UTF-8", 1, 2),
        (b'"\xed\xa0\x80"', "invalid UTF-8", 1, 2),
        (b'"\xf4\x90\x80\x80"', "invalid UTF-8", 1, 2),
        (b'"\xe2\x82"', "invalid UTF-8", 1, 2),
        ('"é'.encode() + b'\xe2\x82"', "invalid UTF-8", 1, 3),
        (b"\xef\xbb\xbf{}", "byte order mark before the document", 1, 1),
        (b"\xff\xfe{\0}\0", "UTF-16 document, expected UTF-8", 1, 1),
        (b"nul", "expected a value", 1, 1),
        (b"NaN", "expected a value", 1, 1),
        (b"-Infinity", "expected a value", 1, 1),
        (b"+1", "expected a value", 1, 1),
        (b".5", "expected a value", 1, 1),
        (b"-", "expected a value", 1, 1),
        (b"01", "number with a leading zero", 1, 1),
        (b"1.", "number without digits after its point", 1, 1),
        (b"1e", "number without digits in its exponent", 1, 1),
        (b"1e+", "number without digits in its exponent", 1, 1),
        (b"[18446744073709551616]", "number out of range", 1, 2),
        (b"-9223372036854775809", "number out of range", 1, 1),
        (b"1" * 5000, "number out of range", 1, 1),
        (b"1e400", "number out of range", 1, 1),
        (b"'a'", "expected a value", 1, 1),
        (b"// comment\n{}", "expected a value", 1, 1),
        (b"[" * 101, "nested too deeply", 1, 101),
        (b'{"a":' * 200000, "nested too deeply", 1, 501),
    ],
)
def test_refusals_name_the_problem_and_its_place(
    text: bytes, problem: str, line: int, column: int
) -> None:
    with pytest.raises(JsonError) as caught:
        json_loads(text)
    error = caught.value
    assert (error.problem, error.line, error.column) == (problem, line, column)
    assert str(error) == f"line {line} column {column}: {problem}"


def test_position_counts_bytes() -> None:
    with pytest.raises(JsonError) as caught:
        json_loads('["é",\n x]'.encode())
    assert (caught.value.line, caught.value.column, caught.value.position) == (2, 2, 8)


def test_depth_of_100_is_read() -> None:
    assert json_loads(b"[" * 100 + b"]" * 100) == json.loads("[" * 100 + "]" * 100)


def test_a_lone_surrogate_that_stands_for_a_byte_is_kept() -> None:
    assert json_loads(b'"/b\\udcff\\udc80"').encode("utf-8", "surrogateescape") == b"/b\xff\x80"


def test_document_beyond_the_limit() -> None:
    with pytest.raises(JsonError, match="larger than 10 bytes"):
        json_loads(b'"' + b"x" * 20 + b'"', limit=10)


def test_keys_are_interned() -> None:
    import sys

    first, second = json_loads(b'[{"destination": 1}, {"destination": 2}]')
    assert next(iter(first)) is next(iter(second)) is sys.intern("destination")


def test_many_keys_take_no_quadratic_time() -> None:
    document = {f"key{number}": number for number in range(200_000)}
    assert json_loads(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[2] / "spec-fixtures").rglob("*.json")),
    ids=lambda path: path.name,
)
def test_fixtures_read_as_python_reads_them(path: Path) -> None:
    data = path.read_bytes()
    try:
        expected = json.loads(data)
    except ValueError:
        with pytest.raises(JsonError):
            json_loads(data)
        return
    try:
        assert json_loads(data) == expected
    except JsonError as error:
        assert error.problem in (
            "duplicate key",
            "NUL character in a string",
            "number out of range",
        )


def test_bytes_that_are_no_utf8_survive_the_record() -> None:
    record = {"bundle": b"/b\xff\xfe/\xc3\xa4".decode("utf-8", "surrogateescape")}
    assert json_loads(dumps(record, exact=True).encode()) == record
    assert dumps(record) == '{"bundle":"/b\\ufffd\\ufffd/ä"}'
