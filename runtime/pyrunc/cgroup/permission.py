"""Decides in which cgroup hierarchies a runtime without privileges may make a cgroup.

It must not make one to find out: a fact is read, before there is a plan.
"""

from __future__ import annotations

import posix

from pyrunc.cgroup.files import link_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.layout import CgroupLayout


def denied(paths: dict[str, str], layout: CgroupLayout) -> tuple[str, ...]:
    """Return which hierarchies (their names, "" for v2) refuse this user the directory of `paths`.

    On v2 a process is moved, or cloned, into a cgroup by whoever may write to cgroup.procs of both
    the cgroup and the nearest one above it and the process (cgroup-v2, "Delegation Containment").
    """
    refused = [
        hierarchy.name
        for hierarchy in layout.v1
        if not posix.access(_existing(paths[hierarchy.name]), posix.W_OK)
    ]
    if "" in paths:
        directory = _existing(paths[""])
        above = _common((layout.unified or "") + layout.unified_own, directory)
        if not (
            posix.access(directory, posix.W_OK)
            and posix.access(directory + "/cgroup.procs", posix.W_OK)
            and posix.access(above + "/cgroup.procs", posix.W_OK)
        ):
            refused.append("")
    return tuple(refused)


def _existing(path: str) -> str:
    while not link_count(path):
        path = path.rpartition("/")[0]
    return path


def _common(one: str, other: str) -> str:
    above = []
    for name, same in zip(one.rstrip("/").split("/"), other.split("/"), strict=False):
        if name != same:
            break
        above.append(name)
    return "/".join(above)
