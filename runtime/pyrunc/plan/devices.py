"""Decides which device nodes and symbolic links /dev has.

It must not decide who may use a device: that is the device cgroup's.
"""

from __future__ import annotations

from pyrunc.plan import mounts, ops
from pyrunc.shim.constants import S_IFBLK, S_IFCHR, S_IFIFO, TARGET_SYMLINK_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op

# runtime-spec, "Default Devices"; console and ptmx come with the terminal and with devpts.
DEFAULTS = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
# runtime-spec, "Dev symbolic links".
LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
PTMX = "/dev/ptmx"
TYPES = {"b": S_IFBLK, "c": S_IFCHR, "u": S_IFCHR, "p": S_IFIFO}
_PERMISSIONS = 0o666


def operations(spec: Mapping[str, Any], host: Host) -> list[Op]:
    """The nodes, then the links; nothing where /dev is bound from the host, as in runc."""
    if mounts.has_bound_dev(spec):
        return []
    entries = spec["linux"]["devices"]
    own = {mounts.clean_path(entry["path"]) for entry in entries}
    made = [
        # Where mknod(2) is not allowed (a user namespace), the host's node is bound in its place.
        ops.make_node("", path, S_IFCHR | _PERMISSIONS, major, minor, 0, 0, path)
        for path, major, minor in DEFAULTS
        if path not in own
    ]
    for number, entry in enumerate(entries):
        # "/dev/ptmx: a bind-mount or symlink of the container's /dev/pts/ptmx", as runc and crun
        # have it too: engines that copy the host's /dev list the node.
        if mounts.clean_path(entry["path"]) != PTMX:
            made.append(_node(f"/linux/devices/{number}", entry))
    links: tuple[tuple[str, str], ...] = LINKS
    if host.has_kcore:
        links = (*links, ("/proc/kcore", "/dev/core"))
    made += [ops.symlink("", text, path, TARGET_SYMLINK_OK) for text, path in links]
    made.append(ops.symlink("", "pts/ptmx", PTMX, TARGET_SYMLINK_OK))
    return made


def _node(origin: str, entry: Mapping[str, Any]) -> Op:
    path = mounts.clean_path(entry["path"])
    fifo = entry["type"] == "p"
    # Only the permission bits count, since Go writes the type of the file into fileMode too.
    mode = entry.get("fileMode", _PERMISSIONS) & 0o7777
    return ops.make_node(
        origin,
        path,
        TYPES[entry["type"]] | mode,
        0 if fifo else entry["major"],
        0 if fifo else entry["minor"],
        entry.get("uid", 0),
        entry.get("gid", 0),
        None if fifo else path,
    )
