"""Decides what the `spec` command writes: the config that a new bundle begins with.

It must not write the file; it gives the same container as `runc spec` of 1.3 and later. Against
runc 1.1 it leaves out ambient capabilities, which that version asked for in vain (capabilities(7):
none is ambient without being inheritable), and names the specification 1.3.0.
"""

from __future__ import annotations

from pyrunc.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOSTNAME = "pyrunc"
_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
)
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def build(*, cgroup2: bool, rootless_ids: tuple[int, int] | None = None) -> dict[str, Any]:
    """The config as a dict, in the order in which it is written (with a tab as indentation).

    `cgroup2`: the host has cgroup v2 only, where a cgroup namespace hides the host's tree.
    `rootless_ids`: the effective uid and gid to map to root, for a container that its user starts
    without privileges.
    """
    rootless = rootless_ids is not None
    linux: dict[str, Any] = {}
    if rootless_ids is not None:
        for key, number in zip(("uidMappings", "gidMappings"), rootless_ids, strict=True):
            linux[key] = [{"containerID": 0, "hostID": number, "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    linux["namespaces"] = [{"type": kind} for kind in _namespaces(cgroup2, rootless)]
    linux["maskedPaths"] = list(_MASKED_PATHS)
    linux["readonlyPaths"] = list(_READONLY_PATHS)
    return {
        "ociVersion": SPEC_VERSION,
        "process": _process(),
        "root": {"path": "rootfs", "readonly": True},
        "hostname": HOSTNAME,
        "mounts": _mounts(rootless),
        "linux": linux,
    }


def _namespaces(cgroup2: bool, rootless: bool) -> list[str]:
    kinds = ["pid", "network", "ipc", "uts", "mount"]
    if rootless:
        # Nobody without privileges could give it an interface: the host's is of more use.
        kinds.remove("network")
        kinds.append("user")
    if cgroup2:
        kinds.append("cgroup")
    return kinds


def _process() -> dict[str, Any]:
    return {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ],
        "cwd": "/",
        # No inheritable set: CVE-2022-24769.
        "capabilities": {
            kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = list(options)
    return mount


def _mounts(rootless: bool) -> list[dict[str, Any]]:
    quiet = ("nosuid", "noexec", "nodev")
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not rootless:
        # Group tty; a single mapped id cannot name it.
        pts.append("gid=5")
        sys = _mount("/sys", "sysfs", "sysfs", *quiet, "ro")
    else:
        # sysfs can be mounted only by the owner of the network namespace.
        sys = _mount("/sys", "none", "/sys", "rbind", *quiet, "ro")
    return [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *pts),
        _mount("/dev/shm", "tmpfs", "shm", *quiet, "mode=1777", "size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", *quiet),
        sys,
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *quiet, "relatime", "ro"),
    ]
