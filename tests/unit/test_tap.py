"""The judge of OCI runtime-tools: what its programs print, and what that means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance" / "runtime_tools"))
import tap

ERROR = """TAP version 13
  ---
  {
    "error": "the hook MUST run"
  }
  ...
1..0
"""
INNER = """TAP version 13
  ---
  {
    "stderr": "",
    "stdout": "TAP version 13\\nok 1 - has expected hostname\\nnot ok 2 - inner\\n1..2\\n"
  }
  ...
ok 1 - outer
1..1
"""


@pytest.mark.parametrize(
    "output",
    [
        "TAP version 13\nok 1 - root filesystem\nok 2 # SKIP no umask\n1..2\n",
        "TAP version 13\nnot ok 1 # TODO links of its own\nok 2 - hostname\n1..2\n",
        # Programs that only complain, and have nothing to complain about.
        "TAP version 13\n1..0\n",
        "",
        # What a program quotes is not its verdict.
        INNER,
        # A reason that goes with a result which is as it was wanted.
        'TAP version 13\nok 1 - refused\n  ---\n  {\n    "error": "exit status 1"\n  }\n  ...\n1..1\n',
    ],
)
def test_pass(output: str) -> None:
    assert tap.judge(output, 0) == ("pass", "")


@pytest.mark.parametrize(
    ("output", "status", "errors", "reason"),
    [
        ("ok 1 - a\nnot ok 2 - b is c\nok 3 - d\n1..3\n", 0, "", "b is c"),
        ("not ok 1 - first\nnot ok 2 - second\n", 1, "exit status 1\n", "first"),
        (ERROR, 0, "", "the hook MUST run"),
        ("TAP version 13\n", 1, "failed to create\nno such file\n", "no such file"),
        ("ok 1 - a\n", 2, "", "exit status 2"),
    ],
)
def test_fail(output: str, status: int, errors: str, reason: str) -> None:
    assert tap.judge(output, status, errors) == ("fail", reason)


def test_skip() -> None:
    output = "TAP version 13\n1..1\nok 1 # SKIP no AppArmor\n"
    assert tap.judge(output, 0) == ("skip", "no AppArmor")
