"""Decides that cgroup v2 stays as the host has set it up while CRIU is at work.

It must not choose flags. CRIU mounts cgroup2 for itself without any, and from the first cgroup
namespace that sets them for the whole system (cgroups(7), "Cgroup v2 mount options"): nsdelegate
and memory_recursiveprot, which systemd asks for, would be gone after the first checkpoint.
"""

from __future__ import annotations

from pyrunc import log
from pyrunc.cgroup.files import read_or_empty
from pyrunc.errors import Failure
from pyrunc.shim import process


class CgroupFlags:
    """The flags seen so far; `keep()` sets again what has gone.

    It is called often, so that of two runtimes at work at once neither takes what the other's CRIU
    has left for what the host wants.
    """

    def __init__(self) -> None:
        self.mount_point = ""
        self.seen: list[str] = []
        self.keep()

    def keep(self) -> None:
        self.mount_point, flags = _read()
        lacking = [flag for flag in self.seen if flag not in flags]
        self.seen += [flag for flag in flags if flag not in self.seen]
        if not lacking or not self.mount_point:
            return
        try:
            process.set_superblock_flags(self.mount_point, ",".join(self.seen))
        except Failure as failure:
            log.warning(str(failure))


def _read() -> tuple[str, list[str]]:
    """Return the mount point of cgroup v2 and its flags, ("", []) where there is none."""
    for line in read_or_empty("/proc/self/mountinfo").split("\n"):
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            options = right.rpartition(" ")[2].split(",")
            flags = [option for option in options if option not in ("rw", "ro")]
            return left.split(" ")[4], flags
    return "", []
