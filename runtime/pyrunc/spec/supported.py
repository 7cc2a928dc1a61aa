"""Decides which valid properties this version refuses because it cannot carry them out yet.

A property is never ignored in silence: it is supported, or listed here. What asks for nothing (an
empty object, list or string) is let through. Sections for other platforms are ignored, as the
specification says.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.spec.types import Finding

MESSAGE = "not supported yet"
# Properties by their place; each falls away with the work that supports it.
LINUX_PROPERTIES = ("intelRdt",)


def apply(config: dict[str, Any]) -> None:
    """Raise SpecFailure for the first property of an accepted config that is not supported yet."""
    found = unsupported(config)
    if found:
        raise SpecFailure(*found[0])


def unsupported(config: dict[str, Any]) -> list[Finding]:
    """Every property of a config, accepted by check and rules, that is not supported yet."""
    found: list[Finding] = []
    linux = config.get("linux") or {}
    _present(linux, LINUX_PROPERTIES, "/linux", found)
    return found


def _present(
    value: dict[str, Any], names: tuple[str, ...], place: str, found: list[Finding]
) -> None:
    for name in names:
        if value.get(name):
            found.append((f"{place}/{name}", MESSAGE))
