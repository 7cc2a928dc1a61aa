"""Every fixture gets the verdict, at the place, that lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import judges
import pytest

from pyrunc.errors import SpecFailure
from pyrunc.spec import explain, load, rules


def fixtures(kind: str) -> list[Any]:
    paths = sorted((judges.FIXTURES / kind).glob("*.json"))
    return [pytest.param(path, id=path.stem) for path in paths]


def pointer_of(path: Path) -> str:
    return path.with_suffix(".pointer").read_text(encoding="utf-8").removesuffix("\n")


def test_there_are_enough() -> None:
    assert len(fixtures("valid")) >= 40
    assert len(fixtures("invalid")) >= 120


@pytest.mark.parametrize("path", fixtures("valid"))
def test_valid(path: Path) -> None:
    config = judges.load(path)
    assert judges.hot(config) is None
    assert judges.ours(config) == []
    load.accept(judges.without_nulls(config))
    assert [problem for problem in explain.explain(config) if problem.level == "error"] == []


@pytest.mark.parametrize("path", fixtures("invalid"))
def test_invalid(path: Path) -> None:
    config, pointer = judges.load(path), pointer_of(path)
    verdict = judges.hot(config)
    refusals = judges.ours(config)
    if path.stem.startswith("rule-"):
        assert verdict is None
        assert refusals == []
        assert [place for place, _ in rules.judge(judges.without_nulls(config))[0]] == [pointer]
    else:
        assert verdict is not None
        assert verdict[0] == pointer
        assert pointer in [refusal.pointer for refusal in refusals]
    with pytest.raises(SpecFailure) as caught:
        load.accept(judges.without_nulls(config))
    assert caught.value.pointer == pointer
    assert "\n" not in str(explain.explain(config)[0])
    assert explain.explain(config)[0].pointer == pointer


@pytest.mark.parametrize("path", fixtures("valid") + fixtures("invalid"))
def test_official(path: Path, official: judges.Official) -> None:
    config = judges.load(path)
    assert judges.disagreements(judges.ours(config), official.judge(config)) == []
