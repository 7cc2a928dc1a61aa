"""JSON is written byte by byte as Go's encoding/json writes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import jsontext

CHARACTERS = st.characters(exclude_categories=["Cs"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(CHARACTERS)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(CHARACTERS), inner),
)


@given(VALUES, st.sampled_from([None, "  ", "\t"]))
def test_it_reads_back(value, indent):
    assert json.loads(jsontext.dumps(value, indent)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        (None, "null"),
        ({"b": 1, "a": [True, False]}, '{"b":1,"a":[true,false]}'),
        ('<a href="x">&\u2028', r'"\u003ca href=\"x\"\u003e\u0026\u2028"'),
        ("/é\n\t\r\\\x00\x7f", '"/é\\n\\t\\r\\\\\\u0000\x7f"'),
        ("\udcff", r'"\ufffd"'),
    ],
)
def test_on_one_line(value, text):
    assert jsontext.dumps(value) == text


def test_indented():
    value = {"a": [1, {"b": []}], "c": {}}
    assert jsontext.dumps(value, "  ") == (
        '{\n  "a": [\n    1,\n    {\n      "b": []\n    }\n  ],\n  "c": {}\n}'
    )


def test_what_json_does_not_know():
    with pytest.raises(TypeError, match="set has no JSON form"):
        jsontext.dumps({"a": {1}})
