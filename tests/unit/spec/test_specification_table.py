"""docs/specification.md has a row for every property of the schema, and each row has tests that exist."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import judges
import pytest
from test_spec_agreement import members

from pyrunc.spec.schema_generated import DOCUMENT

PAGE = judges.REPOSITORY / "docs/specification.md"
TESTS = judges.REPOSITORY / "tests"
COLUMNS = ["property", "what pyrunc does", "since", "tests", "the others"]


# The document that a part of the page is about; config.json where it is none of these.
DOCUMENTS = {"## State": "state", "## Features": "features"}


class Row(NamedTuple):
    line: int
    document: str
    property: str
    tests: list[str]


def rows() -> list[Row]:
    """The rows of all tables of the page."""
    found = []
    document = "config"
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            document = DOCUMENTS.get(line, "config")
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == len(COLUMNS), f"line {number} has {len(cells)} cells"
        if cells[0] == COLUMNS[0] or not line.strip("|-"):
            continue
        assert re.fullmatch(r"`/[^`]*`", cells[0]), f"line {number}: no pointer"
        tests = [one for one in cells[3].split(", ") if one]
        found.append(Row(number, document, cells[0].strip("`"), tests))
    return found


def expanded(pattern: str) -> Iterator[str]:
    """The patterns that one with {a,b} stands for."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    for chosen in itertools.product(*choices):
        yield "".join(chosen)


@cache
def properties(document: str) -> set[str]:
    def resolve(schema: dict[str, Any]) -> Any:
        return judges.resolved(schema), resolve

    return set(members(DOCUMENT["$defs"][document], resolve))


@cache
def names(path: str) -> set[str]:
    """The tests of a file, by its text: this suite cannot import those of another."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def covers(pattern: str, place: str) -> bool:
    if pattern.endswith("/**"):
        return place.startswith(pattern[:-2])
    return pattern == place


@pytest.mark.parametrize(("document", "least"), [("config", 250), ("state", 6), ("features", 30)])
def test_every_property_has_a_row(document: str, least: int) -> None:
    own = [row for row in rows() if row.document == document]
    patterns = [pattern for row in own for pattern in expanded(row.property)]
    places = properties(document)
    assert len(places) >= least
    missing = [place for place in places if not any(covers(one, place) for one in patterns)]
    assert sorted(missing) == []


def test_every_row_is_about_a_property() -> None:
    for row in rows():
        places = properties(row.document)
        for pattern in expanded(row.property):
            assert any(covers(pattern, place) for place in places), f"line {row.line}: {pattern}"


def test_only_other_platforms_are_told_together() -> None:
    together = [one for row in rows() for one in expanded(row.property) if one.endswith("/**")]
    assert sorted(together) == [
        f"/{platform}/**" for platform in ("freebsd", "solaris", "vm", "windows", "zos")
    ]


def test_every_row_has_tests_that_exist() -> None:
    for row in rows():
        assert row.tests, f"line {row.line}: {row.property} has no test"
        for test in row.tests:
            path, _, name = test.partition("::")
            assert (TESTS / path).is_file(), f"line {row.line}: {test}"
            assert name.startswith("test_"), f"line {row.line}: {test}"
            assert name in names(path), f"line {row.line}: {test}"


@pytest.mark.parametrize(
    ("pattern", "patterns"),
    [
        ("/a", ["/a"]),
        ("/{a,b}/*/{c,d}", ["/a/*/c", "/a/*/d", "/b/*/c", "/b/*/d"]),
    ],
)
def test_patterns(pattern: str, patterns: list[str]) -> None:
    assert list(expanded(pattern)) == patterns
