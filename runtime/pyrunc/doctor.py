"""Decides what a host's facts mean for containers: which work, which do not, and what would help.

It must not change anything, nor make a container to find out.
"""

from __future__ import annotations

import posix

from pyrunc import host
from pyrunc.cgroup.files import read_or_empty
from pyrunc.errors import Failure
from pyrunc.record import record
from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.host import Host

OK, LIMITED, BROKEN = "ok", "limited", "broken"


@record
class Finding:
    """`verdict`: "ok", "limited" (some containers cannot run, or with less), "broken" (none can)."""

    check: str
    verdict: str
    text: str
    hint: str = ""


def examine(root: str) -> list[Finding]:
    """Return what was found, in an order to be read; `root` is where states would be kept."""
    facts = host.read()
    findings = [check(facts) for check in CHECKS]
    findings.append(_state_directory(root))
    return findings


def _kernel(facts: Host) -> Finding:
    major, minor = facts.kernel
    text = f"Linux {major}.{minor}"
    lacks = [what for version, what in _KERNEL_STEPS if facts.kernel < version]
    if facts.kernel < (5, 6):
        return Finding("kernel", BROKEN, f"{text}: {'; '.join(lacks)}", "Linux 5.6 or later")
    if lacks:
        return Finding("kernel", LIMITED, f"{text}: {'; '.join(lacks)}")
    return Finding("kernel", OK, text)


_KERNEL_STEPS = (
    ((5, 2), "no file-descriptor mount calls"),
    ((5, 6), "no openat2(2), which paths in a rootfs are resolved by"),
    ((5, 7), "containers are moved into cgroup v2 instead of being born there"),
    ((5, 12), "no recursive mount attributes (rro) and id-mapped mounts"),
    ((5, 14), "no cgroup.kill"),
)


def _namespaces(_facts: Host) -> Finding:
    names = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time")
    missing = [name for name in names if not posix.access(f"/proc/self/ns/{name}", posix.F_OK)]
    if {"mnt", "pid"} & set(missing):
        return Finding("namespaces", BROKEN, f"missing: {', '.join(missing)}", "is /proc mounted?")
    if missing:
        return Finding("namespaces", LIMITED, f"missing: {', '.join(missing)}")
    return Finding("namespaces", OK, "all eight kinds")


def _user_namespaces(facts: Host) -> Finding:
    limit = read_or_empty("/proc/sys/user/max_user_namespaces").strip()
    if limit == "0":
        return Finding(
            "user namespaces",
            LIMITED if facts.euid == 0 else BROKEN,
            "user.max_user_namespaces is 0",
            "sysctl user.max_user_namespaces=15000",
        )
    for name, refusing in (
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        if read_or_empty(f"/proc/sys/{name}").strip() == refusing:
            key = name.replace("/", ".")
            verdict = LIMITED if facts.euid == 0 else BROKEN
            other = "1" if refusing == "0" else "0"
            text = f"{key} is {refusing}: rootless containers cannot run"
            return Finding("user namespaces", verdict, text, f"sysctl {key}={other}")
    return Finding("user namespaces", OK, f"up to {limit or 'any number'}")


def _id_mapping(facts: Host) -> Finding:
    places = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin")
    missing = [
        name
        for name in ("newuidmap", "newgidmap")
        if not any(posix.access(f"{place}/{name}", posix.X_OK) for place in places)
    ]
    if missing:
        return Finding(
            "id mapping",
            LIMITED,
            f"{' and '.join(missing)} missing: rootless containers have a single id",
            "install the package uidmap (shadow-utils)",
        )
    if facts.euid != 0 and not _has_subids(facts.euid):
        text = f"no range for user {facts.euid} in /etc/subuid: rootless containers have one id"
        return Finding("id mapping", LIMITED, text, "usermod --add-subuids 100000-165535 USER")
    return Finding("id mapping", OK, "newuidmap and newgidmap are there")


def _has_subids(uid: int) -> bool:
    names = {str(uid)}
    for line in read_or_empty("/etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            names.add(fields[0])
    return any(
        line.split(":")[0] in names for line in read_or_empty("/etc/subuid").splitlines() if line
    )


def _cgroups(facts: Host) -> Finding:
    layout = facts.cgroup
    if layout.mode == "none":
        return Finding("cgroups", BROKEN, "no cgroup file system is mounted")
    names = sorted({name for one in layout.v1 for name in one.controllers})
    parts = []
    if names:
        parts.append("v1: " + " ".join(names))
    if layout.unified is not None:
        parts.append("v2: " + (" ".join(layout.unified_controllers) or "no controller"))
    available = {*names, *layout.unified_controllers}
    lacks = [name for name in ("memory", "cpu", "pids", "cpuset") if name not in available]
    if not {"blkio", "io"} & available:
        lacks.append("io")
    text = f"{layout.mode} ({'; '.join(parts)})"
    if lacks:
        return Finding("cgroups", LIMITED, f"{text}; no limits of {', '.join(lacks)}")
    return Finding("cgroups", OK, text)


def _cgroup_access(facts: Host) -> Finding:
    layout = facts.cgroup
    places = [one.mount + one.own for one in layout.v1]
    if layout.unified is not None:
        places.append(layout.unified + layout.unified_own)
    closed = [place for place in places if not posix.access(place, posix.W_OK)]
    if not closed:
        return Finding("cgroup access", OK, "cgroups can be made")
    verdict = LIMITED if facts.euid else BROKEN
    text = f"cannot make cgroups in {closed[0]}"
    hint = "systemd-run --user --scope -p Delegate=yes" if facts.euid else "is it read-only?"
    return Finding("cgroup access", verdict, f"{text}: containers without limits only", hint)


def _systemd(facts: Host) -> Finding:
    """Whether --systemd-cgroup works: by asking the manager that it would ask, for its version."""
    if not posix.access("/run/systemd/system", posix.F_OK):
        return Finding("systemd", LIMITED, "pid 1 is not systemd: --systemd-cgroup is refused")
    from pyrunc.cgroup import systemd

    kind = "user" if facts.euid or facts.in_user_namespace else "system"
    if kind == "user" and facts.cgroup.mode != "v2":
        text = "no --systemd-cgroup for rootless containers without the unified hierarchy"
        return Finding("systemd", LIMITED, text, "systemd.unified_cgroup_hierarchy=1")
    try:
        manager = systemd.ask(kind, 3)
    except Failure as failure:
        hint = "loginctl enable-linger, or log in" if kind == "user" else "start dbus.service"
        return Finding("systemd", LIMITED, str(failure), hint)
    return Finding("systemd", OK, f"the {kind}'s manager answers, version {manager.version}")


def _capabilities(facts: Host) -> Finding:
    missing = [
        name
        for name, bit in sorted(C.CAPABILITIES.items(), key=lambda pair: pair[1])
        if bit <= facts.last_capability and not facts.capabilities >> bit & 1
    ]
    if facts.euid != 0:
        return Finding("capabilities", OK, "an ordinary user: rootless containers only")
    if "CAP_SYS_ADMIN" in missing:
        return Finding("capabilities", BROKEN, "CAP_SYS_ADMIN is missing")
    if missing:
        lost = "; ".join(_LOST[name] for name in missing if name in _LOST)
        text = f"missing: {', '.join(missing)}" + (f" ({lost})" if lost else "")
        return Finding("capabilities", LIMITED, text)
    return Finding("capabilities", OK, "all")


_LOST = {
    "CAP_SYS_RESOURCE": "hard limits cannot be raised, oom_score_adj not lowered",
    "CAP_MKNOD": "device nodes are bound from the host",
    "CAP_BPF": "no device rules on cgroup v2",
    "CAP_NET_ADMIN": "no loopback in new network namespaces",
}


def _security_modules(facts: Host) -> Finding:
    present = [
        name for name, there in (("AppArmor", facts.apparmor), ("SELinux", facts.selinux)) if there
    ]
    if present:
        return Finding("security modules", OK, ", ".join(present))
    text = "neither AppArmor nor SELinux is active: apparmorProfile and selinuxLabel are refused"
    return Finding("security modules", LIMITED, text)


def _seccomp(_facts: Host) -> Finding:
    actions = read_or_empty("/proc/sys/kernel/seccomp/actions_avail").split()
    if "errno" not in actions:
        return Finding("seccomp", LIMITED, "the kernel has no seccomp filters")
    return Finding("seccomp", OK, " ".join(actions))


def _init_program(_facts: Host) -> Finding:
    if read_or_empty("/proc/sys/vm/memfd_noexec").strip() == "2":
        text = "vm.memfd_noexec is 2: init cannot be executed from sealed memory"
        return Finding("sealed init", BROKEN, text, "sysctl vm.memfd_noexec=1")
    return Finding("sealed init", OK, "executable memfds are allowed")


def _file_systems(_facts: Host) -> Finding:
    known = {line.split()[-1] for line in read_or_empty("/proc/filesystems").splitlines() if line}
    lacks = [name for name in ("proc", "sysfs", "tmpfs", "devpts", "mqueue") if name not in known]
    if lacks:
        return Finding("file systems", LIMITED, f"missing: {', '.join(lacks)}")
    extra = [name for name in ("overlay", "fuse", "erofs") if name in known]
    return Finding("file systems", OK, "those of containers; " + ", ".join(extra or ["no overlay"]))


def _checkpoint(_facts: Host) -> Finding:
    places = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
    if any(posix.access(f"{place}/criu", posix.X_OK) for place in places):
        return Finding("checkpoint", OK, "criu is there")
    return Finding("checkpoint", LIMITED, "no criu: no checkpoint and restore", "install criu")


def _resource_director(_facts: Host) -> Finding:
    if posix.access("/sys/fs/resctrl/schemata", posix.F_OK):
        return Finding("intelRdt", OK, "resctrl is mounted")
    return Finding("intelRdt", LIMITED, "resctrl is not mounted: intelRdt is refused")


def _state_directory(root: str) -> Finding:
    place = root
    while place and not posix.access(place, posix.F_OK):
        place = place.rpartition("/")[0]
    if posix.access(place or "/", posix.W_OK):
        return Finding("state directory", OK, root)
    return Finding("state directory", BROKEN, f"{place} cannot be written", "use --root")


CHECKS: tuple[Callable[[Host], Finding], ...] = (
    _kernel,
    _namespaces,
    _user_namespaces,
    _id_mapping,
    _cgroups,
    _cgroup_access,
    _systemd,
    _capabilities,
    _security_modules,
    _seccomp,
    _init_program,
    _file_systems,
    _checkpoint,
    _resource_director,
)
