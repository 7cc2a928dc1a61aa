"""Decides how the harness speaks to the kernel where Python has no call; must not judge answers."""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2

PR_SET_CHILD_SUBREAPER = 36

# Seconds that a test waits for what has to come: a busy machine takes its time, what never comes fails all the same.
PATIENCE = 60.0


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str = "none", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )
    _check(result, f"mount {target}")


def unmount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def become_subreaper() -> None:
    """Containers are then children of the harness once the runtime has ended, as with conmon."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def mountinfo() -> list[str]:
    """Lines of the mount table of this process, without the ids, which say nothing."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(" ".join(line.split()[2:]) for line in lines)


def children(of: int | None = None) -> list[int]:
    """Children of a process with one thread, by default this one; zombies too."""
    parent = of or os.getpid()
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]


@functools.cache
def processors() -> frozenset[int]:
    """Those that the cpuset of the harness has, whatever the harness itself was confined to."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(8192))
    try:
        return frozenset(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, own)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def status_fields(pid: int) -> dict[str, str]:
    return parse_status(Path(f"/proc/{pid}/status").read_text())


def parse_status(text: str) -> dict[str, str]:
    """Fields of /proc/PID/status: name to text."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Polls until `condition()` is true; fails the test after `seconds`."""
    end = time.monotonic() + seconds
    pause = 0.001
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
