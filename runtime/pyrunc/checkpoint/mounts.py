"""Decides which mounts of a container are the host's, so that an image names them only.

It must not mount. The name of such a mount in an image is its destination, as runc has it, and
/dev/null for a file that is masked: either runtime can restore from the other's images.
"""

from __future__ import annotations

import posix

from pyrunc.cgroup.files import read_file
from pyrunc.errors import Failure, HostFailure
from pyrunc.hostpath import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.records import Plan
    from pyrunc.spec.types import Spec

_NULL = "/dev/null"
# Bound from the host where mknod(2) is refused.
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_LINK_LIMIT = 40


def is_bind(mount: Any) -> bool:
    """Tell whether a mount of the config comes from the host."""
    options = mount.get("options") or ()
    return mount.get("type") == "bind" or "bind" in options or "rbind" in options


def mounted(text: str) -> list[tuple[str, str]]:
    """Return (mount point, file system type) of a mountinfo text, in its order."""
    found = []
    for line in text.split("\n"):
        left, dash, right = line.partition(" - ")
        if dash:
            found.append((unescape(left.split(" ")[4]), right.partition(" ")[0]))
    return found


def unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo (proc(5))."""
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def to_dump(spec: Spec, pid: int) -> list[str]:
    """Return CRIU's `external` entries for the mounts of the process `pid` that are the host's."""
    root = f"/proc/{pid}/root"
    try:
        present = mounted(read_file(f"/proc/{pid}/mountinfo"))
    except OSError as error:
        raise HostFailure(error.errno or 0, "read the container's mounts") from error
    points = {point for point, _kind in present}
    names: dict[str, str] = {}
    for mount in spec["mounts"]:
        if not is_bind(mount):
            continue
        point = resolve(root, mount["destination"])
        if point not in points:
            continue
        names[point] = mount["destination"]
        if "rbind" in (mount.get("options") or ()):
            for below in points:
                if below.startswith(point + "/"):
                    names.setdefault(below, mount["destination"] + below[len(point) :])
    for mount in spec["mounts"]:
        # What the config mounts itself below one of these is no part of it.
        if not is_bind(mount):
            names.pop(resolve(root, mount["destination"]), None)
    names.update(_cgroups(spec, root, present))
    for path in spec["linux"]["maskedPaths"]:
        point = resolve(root, path)
        if point in points and not _is_directory(root + point):
            names[point] = _NULL
    for point, kind in present:
        if kind == "devtmpfs" and point in _DEVICES:
            names.setdefault(point, point)
    return [f"mnt[{point}]:{name}" for point, name in names.items()]


def _cgroups(spec: Spec, root: str, present: list[tuple[str, str]]) -> dict[str, str]:
    """Return the mounts of cgroups that are binds of the host's: without a namespace of its own."""
    if any(entry["type"] == "cgroup" for entry in spec["linux"]["namespaces"]):
        return {}
    names = {}
    for mount in spec["mounts"]:
        if mount.get("type") not in ("cgroup", "cgroup2"):
            continue
        top = resolve(root, mount["destination"])
        for point, kind in present:
            if kind in ("cgroup", "cgroup2") and (point == top or point.startswith(top + "/")):
                names[point] = mount["destination"] + point[len(top) :]
    return names


def to_restore(spec: Spec, plan: Plan) -> list[str]:
    """Return CRIU's `external` entries that give names of `to_dump` their sources here.

    One that the image does not have does no harm. What create would bind, `plan` tells.
    """
    sources = {path: path for path in _DEVICES}
    sources[_NULL] = _NULL
    sources.update({op.args[1]: op.args[0] for op in plan.ops if op.kind == "bind"})
    here = None
    for mount in spec["mounts"]:
        if not is_bind(mount):
            continue
        name, source = mount["destination"], absolute(mount["source"])
        sources[name] = source
        if "rbind" in (mount.get("options") or ()):
            if here is None:
                here = mounted(read_file("/proc/self/mountinfo"))
            for point, _kind in here:
                if point.startswith(source.rstrip("/") + "/"):
                    sources.setdefault(name + point[len(source.rstrip("/")) :], point)
    return [f"mnt[{name}]:{source}" for name, source in sources.items()]


def resolve(root: str, path: str) -> str:
    """Return where `path` leads to inside of `root`, links followed as the container sees them.

    It is compared with mount points and never opened: a container that changes the answer
    meanwhile has a mount left in its image that CRIU then refuses.
    """
    done: list[str] = []
    left = path.split("/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        try:
            text = posix.readlink(root + "/" + "/".join([*done, part]))
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _LINK_LIMIT:
            raise Failure(f"too many symbolic links in {path}")
        if text.startswith("/"):
            done = []
        left += text.split("/")[::-1]
    return "/" + "/".join(done)


def _is_directory(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def make_points(spec: Spec, rootfs: str) -> None:
    """Make the mount points that lack in the rootfs, which may be fresh from an image.

    A child does it with the rootfs as its root: whatever links are in there, they stay inside.
    """
    wanted = []
    destinations = [mount["destination"].rstrip("/") for mount in spec["mounts"]]
    for mount in spec["mounts"]:
        destination = mount["destination"]
        if any(destination.startswith(other + "/") for other in destinations if other):
            # On a mount that CRIU makes, with what was in it.
            continue
        directory = not is_bind(mount) or _is_directory(mount["source"])
        wanted.append((destination, directory))
    pid = posix.fork()
    if pid == 0:
        posix._exit(_make_points(rootfs, wanted))
    _pid, status = posix.waitpid(pid, 0)
    if status:
        raise HostFailure(posix.WEXITSTATUS(status), f'make mount points in "{rootfs}"')


def _make_points(rootfs: str, wanted: list[tuple[str, bool]]) -> int:
    try:
        posix.chroot(rootfs)
        posix.chdir("/")
        for path, directory in wanted:
            parts = [part for part in path.split("/") if part]
            for number in range(1, len(parts) + 1):
                name = "/" + "/".join(parts[:number])
                if posix.access(name, posix.F_OK):
                    continue
                if number < len(parts) or directory:
                    posix.mkdir(name, 0o755)
                else:
                    flags = posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_CLOEXEC
                    posix.close(posix.open(name, flags, 0o644))
    except OSError as error:
        return error.errno or 1
    return 0
