"""Decides which facts about the host a plan may depend on, and reads them.

It must not decide anything by them, nor be read again: a plan is made of one reading.
"""

from __future__ import annotations

import posix

from pyrunc.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.layout import CgroupLayout


@record
class Host:
    """`capabilities` is the runtime's permitted set, bit N for capability N; `kernel` (6, 1) and such.

    `listen_fds` counts the descriptors of socket activation that are the runtime's to pass on, and
    `notify_socket` is where sd_notify(3) messages of a container may go.
    """

    euid: int
    egid: int
    kernel: tuple[int, int]
    last_capability: int
    capabilities: int
    apparmor: bool
    selinux: bool
    in_user_namespace: bool
    has_kcore: bool
    cgroup: CgroupLayout
    listen_fds: int = 0
    notify_socket: str | None = None


def read(with_cgroup: bool = True) -> Host:
    """Read the facts; what cannot be read is taken for absent.

    `with_cgroup`: exec asks nothing about cgroups but what the container's record says.
    """
    from pyrunc.cgroup import layout

    return Host(
        euid=posix.geteuid(),
        egid=posix.getegid(),
        kernel=parse_kernel(posix.uname().release),
        last_capability=int(_read("/proc/sys/kernel/cap_last_cap") or "40"),
        capabilities=parse_permitted(_read("/proc/self/status")),
        apparmor=_has_apparmor(),
        selinux=posix.access("/sys/fs/selinux/enforce", posix.F_OK),
        in_user_namespace=not maps_all(_read("/proc/self/uid_map")),
        has_kcore=posix.access("/proc/kcore", posix.F_OK),
        cgroup=layout.read() if with_cgroup else layout.CgroupLayout("none", None, "/", (), ()),
        listen_fds=listen_fds(posix.environ, posix.getpid()),
        notify_socket=posix.environ.get(b"NOTIFY_SOCKET", b"").decode("utf-8", "surrogateescape")
        or None,
    )


def parse_kernel(release: str) -> tuple[int, int]:
    """Two leading numbers of uname(2)'s release: "6.1.0-18-amd64" is (6, 1)."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = ""
        for character in part:
            if not "0" <= character <= "9":
                break
            digits += character
        numbers.append(int(digits or "0"))
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def parse_permitted(status: str) -> int:
    """CapPrm of the text of /proc/PID/status."""
    head, found, tail = status.partition("\nCapPrm:")
    return int(tail.split("\n", 1)[0].strip(), 16) if found else 0


def maps_all(uid_map: str) -> bool:
    """Whether a uid_map maps every id to itself, as in the initial user namespace alone."""
    return uid_map.split() in (["0", "0", "4294967295"], [])


def listen_fds(environ: dict[bytes, bytes], pid: int) -> int:
    """sd_listen_fds(3): LISTEN_FDS counts only for the process that LISTEN_PID names."""
    count = environ.get(b"LISTEN_FDS", b"")
    if environ.get(b"LISTEN_PID") == str(pid).encode() and count.isdigit():
        return int(count)
    return 0


def _has_apparmor() -> bool:
    if not posix.access("/sys/kernel/security/apparmor", posix.F_OK):
        return False
    return _read("/sys/module/apparmor/parameters/enabled").startswith("Y")


def _read(path: str) -> str:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(fd, 65536).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        posix.close(fd)
