"""What changes when resources are updated, as far as it is decided without a container."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.errors import SpecFailure
from pyrunc.plan import update


@pytest.mark.parametrize(
    "memory",
    [
        {"limit": 99},
        {"limit": 99, "checkBeforeUpdate": False},
        {"limit": 100, "checkBeforeUpdate": True},
        {"limit": -1, "checkBeforeUpdate": True},
        {"limit": 0, "checkBeforeUpdate": True},
        {"checkBeforeUpdate": True},
    ],
)
def test_usage_does_not_matter(memory: dict[str, Any]) -> None:
    update.check_usage({"memory": memory}, 100)


def test_limit_below_the_usage_is_refused_when_asked_for() -> None:
    with pytest.raises(SpecFailure, match="limit 99 < usage 100") as caught:
        update.check_usage({"memory": {"limit": 99, "checkBeforeUpdate": True}}, 100)
    assert caught.value.pointer == "/linux/resources/memory/limit"
