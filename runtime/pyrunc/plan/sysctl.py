"""Decides which file below /proc/sys a sysctl is.

It must not decide which of them a container may set: `pyrunc.spec.linux_rules` does, by namespace.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions

_SWAP = {ord("."): "/", ord("/"): "."}


def path_of(key: str) -> str:
    """sysctl.d(5): the first separator decides; with dots, a slash stands for a dot in a name."""
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        return key.translate(_SWAP)
    return key


def operations(spec: Mapping[str, Any], options: CreateOptions) -> list[Op]:
    """One write a sysctl, in the order of config.json."""
    made = []
    for key, value in spec["linux"]["sysctl"].items():
        origin = "/linux/sysctl/" + key.replace("~", "~0").replace("/", "~1")
        path = path_of(key)
        parts = path.split("/")
        if "" in parts or "." in parts or ".." in parts:
            raise SpecFailure(origin, f'"{key}" is not the name of a sysctl')
        if parts[0] == "net" and options.network_is_own:
            raise SpecFailure(origin, f'sysctl "{key}" not allowed in host network namespace')
        made.append(ops.write_sysctl(origin, path, value))
    return made
