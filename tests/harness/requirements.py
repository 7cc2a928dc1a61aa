"""Decides whether this machine and runtime can run a test, and why not; must not run it."""

from __future__ import annotations

import functools
import os
import platform
import subprocess

from harness import kernel, programs
from harness.lanes import Lane
from harness.runtime import Runtime, program


def _kernel() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))


def _cgroup(version: str, controller: str, lane: Lane) -> str | None:
    found = (
        lane.version_of(controller)
        if controller
        else {"v1": 1, "hybrid": 1, "v2": 2}.get(lane.mode, 0)
    )
    if version in ("", str(found)) and found:
        return None
    where = f"cgroup {version or 'v1 or v2'}"
    return (
        f"no controller {controller} in {where}"
        if controller
        else f"the lane is {lane.mode}, not {where}"
    )


@functools.cache
def _criu() -> str | None:
    """Why CRIU does not work here: not by its version, but by what it says of this kernel."""
    path = program("criu")
    if path is None:
        return "criu is not installed"
    done = subprocess.run([path, "check"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return f"criu does not work here: {' '.join(last)} (exit status {done.returncode})"


def _systemd() -> str | None:
    if not os.path.isdir("/run/systemd/system"):
        return "pid 1 is not systemd"
    return None if program("systemctl") else "systemctl is not installed"


def missing(need: str, runtime: Runtime, lane: Lane) -> str | None:
    """The reason why `need` is not met, or None.

    root, busybox, userns, criu, systemd, runtime:NAME, program:NAME, file:PATH, kernel:5.12,
    capability:NUMBER,
    cgroup:CONTROLLER (either version), cgroup1[:CONTROLLER], cgroup2[:CONTROLLER].
    """
    name, _, value = need.partition(":")
    if name == "root":
        return None if os.geteuid() == 0 else "needs root"
    if name == "busybox":
        return None if programs.busybox() else "no static busybox here"
    if name == "criu":
        return _criu()
    if name == "systemd":
        return _systemd()
    if name == "userns":
        return None if os.path.exists("/proc/self/ns/user") else "the kernel has no user namespaces"
    if name == "runtime":
        return (
            None
            if runtime.kind == value
            else f"{runtime.kind} does not have what this asks of {value}"
        )
    if name == "program":
        return None if program(value) else f"{value} is not installed"
    if name == "file":
        return None if os.path.exists(value) else f"{value} is not here"
    if name == "kernel":
        wanted = tuple(int(part) for part in value.split("."))
        return None if _kernel() >= wanted else f"kernel {platform.release()} is older than {value}"
    if name == "capability":
        held = int(kernel.status_fields(os.getpid())["CapEff"], 16)
        return None if held >> int(value) & 1 else f"capability {value} is not permitted here"
    if name in ("cgroup", "cgroup1", "cgroup2"):
        return _cgroup(name.removeprefix("cgroup"), value, lane)
    raise ValueError(f"unknown need {need!r}")
