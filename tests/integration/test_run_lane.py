"""What tests/run-lane runs where its arguments name nothing."""

from __future__ import annotations

import os
import subprocess

import pytest

from harness.runtime import REPOSITORY

TESTS = REPOSITORY / "tests"
ALL = [str(TESTS / name) for name in ("integration", "security", "fault")]
ONE = f"{TESTS}/integration/test_list.py::test_nothing"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], ALL),
        (["-q"], ALL),
        (["-x", "-k", "fault"], ALL),
        ([ONE], []),
        (["-q", str(TESTS / "unit")], []),
    ],
)
def test_paths(given: list[str], added: list[str]) -> None:
    said = subprocess.run(
        [TESTS / "run-lane", "hybrid", *given],
        env={**os.environ, "PYTHON": "echo"}, cwd=TESTS, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split()[4:] == [*given, *added]
