"""docs/architecture.md names every module, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "runtime/pyrunc"
# Packages that say nothing but what they hold; a command's row is `commands.X`.
BARE = {"", "plan", "spec", "commands"}


def modules() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found.add(name.removesuffix("__init__").removesuffix("."))
    commands = {name for name in found if name.startswith("commands.")}
    assert commands
    return found - commands - BARE | {"commands.X"}


def rows() -> list[str]:
    text = (TOP / "docs/architecture.md").read_text()
    table = text.partition("| module | call | note |\n")[2].partition("\n\n")[0]
    return [
        name
        for line in table.splitlines()[1:]
        for name in re.findall("`([^`]+)`", line.split("|")[1])
    ]


def test_every_module_has_one_row() -> None:
    assert sorted(rows()) == sorted(modules())
