"""Decides which cgroup hierarchies of the machine can be used, and where they are.

It must not decide where a container's cgroups are: that is `plan.cgroups.locate`.
"""

from __future__ import annotations

import posix

from pyrunc.cgroup.files import read_file, read_or_empty
from pyrunc.errors import HostFailure
from pyrunc.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # (mount, root of the mount within its hierarchy, "major:minor")
    Mount = tuple[str, str, str]

_HOME = "/sys/fs/cgroup"


@record
class Hierarchy:
    """A usable cgroup v1 hierarchy.

    `name` is the first of `controllers`, or "name=systemd" and its like; `mount` is the mount
    point; `own` is the runtime's own cgroup as a path below `mount` ("/" where it cannot be
    seen there).
    """

    name: str
    controllers: tuple[str, ...]
    mount: str
    own: str


@record
class CgroupLayout:
    """What cgroups(7) calls the set-up of the machine, as far as this mount namespace shows it.

    `mode` is "v1", "hybrid" (v1 with a v2 hierarchy beside), "v2" or "none". `unified` is the mount
    point of v2 or None, `unified_own` the runtime's own cgroup below it, `unified_controllers` what
    cgroup.controllers at the mount point names.
    """

    mode: str
    unified: str | None
    unified_own: str
    unified_controllers: tuple[str, ...]
    v1: tuple[Hierarchy, ...]


def read() -> CgroupLayout:
    """Return the layout as /proc/self/mountinfo and /proc/self/cgroup tell it (cgroups(7))."""
    try:
        mountinfo, own_cgroups = read_file("/proc/self/mountinfo"), read_file("/proc/self/cgroup")
    except OSError as error:
        raise HostFailure(error.errno or 0, f'read "{error.filename or "/proc/self"}"') from error
    return parse(mountinfo, own_cgroups, _is_mounted, _controllers)


def parse(
    mountinfo: str,
    own_cgroups: str,
    is_mounted: Callable[[str, str], bool],
    controllers_at: Callable[[str], tuple[str, ...]],
) -> CgroupLayout:
    """Return the layout of these texts.

    `is_mounted(path, device)` tells whether `path` really leads to the file system `device`
    ("major:minor"): mountinfo lists mounts that a later mount has covered, too.
    """
    unified_mounts: dict[str, Mount] = {}
    v1_mounts: dict[str, tuple[Mount, set[str]]] = {}
    for line in mountinfo.split("\n"):
        if " - cgroup" not in line:
            continue
        left, _, right = line.rpartition(" - ")
        fields = left.split(" ")
        fstype, _, rest = right.partition(" ")
        mount = (_unescape(fields[4]), _unescape(fields[3]), fields[2])
        # Of two mounts at one place the later one is on top.
        if fstype == "cgroup2":
            unified_mounts[mount[0]] = mount
        elif fstype == "cgroup":
            v1_mounts[mount[0]] = (mount, set(rest.rpartition(" ")[2].split(",")))

    unified_own = "/"
    named: list[tuple[tuple[str, ...], str]] = []
    for line in own_cgroups.split("\n"):
        _, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if names:
            named.append((tuple(names.split(",")), path))
        elif colon:
            unified_own = path

    unified = _choose(list(unified_mounts.values()), is_mounted)
    v1: list[Hierarchy] = []
    if unified is None or unified[0] != _HOME:
        for names_, path in named:
            found = _choose(
                [m for m, options in v1_mounts.values() if names_[0] in options], is_mounted
            )
            if found is not None:
                v1.append(Hierarchy(names_[0], names_, found[0], _below(found[1], path)))
    if unified is None:
        return CgroupLayout("v1" if v1 else "none", None, "/", (), tuple(v1))
    return CgroupLayout(
        "hybrid" if v1 else "v2",
        unified[0],
        _below(unified[1], unified_own),
        controllers_at(unified[0]),
        tuple(v1),
    )


def _choose(mounts: list[Mount], is_mounted: Callable[[str, str], bool]) -> Mount | None:
    """Return the first that is really there, of those at or below /sys/fs/cgroup before others."""
    mounts.sort(key=lambda mount: (mount[0] != _HOME, not mount[0].startswith(_HOME + "/")))
    for mount in mounts:
        if is_mounted(mount[0], mount[2]):
            return mount
    return None


def _below(root: str, path: str) -> str:
    """Return the cgroup `path` as seen below a mount whose root is the cgroup `root`.

    Both are relative to the cgroup namespace, and a mount made outside of it has a root such as
    "/../.." (cgroup_namespaces(7)): names above are not known then, and "/" is the answer.
    """
    if "/.." in path or not path.startswith("/"):
        return "/"
    if root == "/":
        return path
    if path.startswith(root + "/"):
        return path[len(root) :]
    return "/"


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo for space, tab, newline and backslash (proc(5))."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _is_mounted(path: str, device: str) -> bool:
    major, _, minor = device.partition(":")
    try:
        return posix.stat(path).st_dev == posix.makedev(int(major), int(minor))
    except OSError:
        return False


def _controllers(mount: str) -> tuple[str, ...]:
    return tuple(read_or_empty(mount + "/cgroup.controllers").split())
