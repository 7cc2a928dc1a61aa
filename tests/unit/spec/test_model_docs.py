"""The examples of docs/model.md do what they show."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import judges
import pytest

PAGE = judges.REPOSITORY / "docs/model.md"


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert result.attempted >= 20
    assert result.failed == 0, "".join(told)
