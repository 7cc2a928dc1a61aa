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
MOUNT_PROPERTIES = ("uidMappings", "gidMappings")
MOUNT_OPTIONS = ("idmap", "ridmap")


def apply(config: dict[str, Any]) -> None:
    """Raise SpecFailure for the first property of an accepted config that is not supported yet."""
    found = unsupported(config)
    if found:
        raise SpecFailure(*found[0])


def unsupported(config: dict[str, Any]) -> list[Finding]:
    """Every property of a config, accepted by check and rules, that is not supported yet."""
    found: list[Finding] = []
    for number, mount in enumerate(config.get("mounts") or ()):
        place = f"/mounts/{number}"
        _present(mount, MOUNT_PROPERTIES, place, found)
        for index, option in enumerate(mount.get("options") or ()):
            if option.partition("=")[0] in MOUNT_OPTIONS:
                found.append((f"{place}/options/{index}", f'option "{option}" is {MESSAGE}'))
    linux = config.get("linux") or {}
    _present(linux, LINUX_PROPERTIES, "/linux", found)
    return found


def _present(
    value: dict[str, Any], names: tuple[str, ...], place: str, found: list[Finding]
) -> None:
    for name in names:
        if value.get(name):
            found.append((f"{place}/{name}", MESSAGE))
