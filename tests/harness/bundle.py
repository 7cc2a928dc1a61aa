"""Decides what an ordinary bundle of the tests looks like; must not call the runtime."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from harness import programs

APPLETS = (
    "sh cat ls echo true false sleep id env pwd mount umount grep stat touch mkdir rm ln dd test head "
    "readlink kill ps hostname sort find wc tr cut sed awk mknod chown chmod stty tty df dmesg sha256sum"
).split()
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
MASKED = (
    "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list "
    "/proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi"
).split()
READONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
    if options:
        entry["options"] = list(options)
    return entry


def default_mounts() -> list[dict[str, Any]]:
    return [
        mount("/proc", "proc", "proc"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount(
            "/dev/pts", "devpts", "devpts",
            "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
        ),
        mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
    ]  # fmt: skip


def default_config(args: list[str], cgroup: str) -> dict[str, Any]:
    """What `runc spec` writes, without a terminal and without a network namespace.

    Making and unmaking a network namespace holds a kernel lock for tens of milliseconds, so only
    the tests that look at one ask for it.
    """
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": [DEFAULT_PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "container",
        "mounts": default_mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def make_rootfs(rootfs: Path, store: Path) -> None:
    """A root filesystem of busybox and the probe, hard links to the copies in `store`."""
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin"):
        (rootfs / name).mkdir(parents=True)
    (rootfs / "tmp").chmod(0o1777)
    for name, origin in (("busybox", programs.busybox()), ("probe", programs.probe())):
        if origin is None:
            continue
        kept = store / name
        if not kept.exists():
            kept.write_bytes(origin.read_bytes())
            kept.chmod(0o755)
        os.link(kept, rootfs / "bin" / name)
    for applet in APPLETS:
        (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
    )
    (rootfs / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")


class Bundle:
    """A directory with config.json and rootfs; `config` is changed freely until `write()`."""

    def __init__(self, path: Path, store: Path, args: list[str], cgroup: str) -> None:
        self.path = path
        self.rootfs = path / "rootfs"
        make_rootfs(self.rootfs, store)
        self.config = default_config(args, cgroup)

    @property
    def process(self) -> dict[str, Any]:
        return self.config["process"]  # type: ignore[no-any-return]

    @property
    def linux(self) -> dict[str, Any]:
        return self.config["linux"]  # type: ignore[no-any-return]

    @property
    def mounts(self) -> list[dict[str, Any]]:
        return self.config["mounts"]  # type: ignore[no-any-return]

    @property
    def resources(self) -> dict[str, Any]:
        return self.linux["resources"]  # type: ignore[no-any-return]

    def namespace(self, kind: str, path: str | None = None) -> None:
        """Asks for a new namespace of `kind`, or to join the one at `path`."""
        entries = self.linux["namespaces"]
        entries[:] = [entry for entry in entries if entry["type"] != kind]
        entries.append({"type": kind, "path": path} if path else {"type": kind})

    def without_namespace(self, kind: str) -> None:
        entries = self.linux["namespaces"]
        entries[:] = [entry for entry in entries if entry["type"] != kind]

    def without_mount(self, destination: str) -> None:
        self.mounts[:] = [entry for entry in self.mounts if entry["destination"] != destination]

    def capabilities(self, *names: str) -> None:
        """Gives the process these capabilities besides the default ones."""
        for entries in self.process["capabilities"].values():
            entries.extend(names)

    def writable(self) -> None:
        self.config["root"]["readonly"] = False

    def write(self) -> None:
        (self.path / "config.json").write_text(json.dumps(self.config))
