"""Decides which calls on cgroups the rest of the runtime has.

It must not hold policy: what is created and written comes in operations from `plan.cgroups`, and
the other calls act on recorded paths, {controller, or "" for v2: directory}.
"""

from __future__ import annotations

from pyrunc.cgroup.control import (
    check_unused,
    exists,
    freeze,
    is_empty,
    is_frozen,
    kill_all,
    oom_killed,
    processes,
    remove,
    remove_unused,
    thaw,
    wait_empty,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op

_SIGKILL = 9

__all__ = [
    "carry_out",
    "check_unused",
    "exists",
    "freeze",
    "is_empty",
    "is_frozen",
    "join",
    "kill_all",
    "kill_and_remove",
    "oom_killed",
    "processes",
    "remove",
    "remove_unused",
    "thaw",
    "wait_empty",
]


def carry_out(op: Op) -> tuple[str, ...]:
    """Carry out a create_cgroup, write_cgroup or attach_device_program operation: `apply`."""
    from pyrunc.cgroup import apply

    return apply.carry_out(op)


def kill_and_remove(paths: dict[str, str], record: dict[str, Any] | None = None) -> None:
    """End every process in the cgroups, and remove them, with the unit that the record names."""
    if processes(paths):
        kill_all(paths, _SIGKILL)
    if record and record.get("systemd_unit"):
        from pyrunc.cgroup import systemd

        systemd.remove(record)
    remove(paths)


def join(path: str, pid: int, origin: str = "") -> None:
    """Put the process `pid` into the cgroup directory `path`: `apply`."""
    from pyrunc.cgroup import apply

    apply.join(path, pid, origin)
