"""Decides whether the process that a record names is still that process.

It must not send signals: a number alone proves nothing, since the kernel gives it to others.
"""

from __future__ import annotations

import posix

from pyrunc.shim import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEAD = (b"Z", b"X", b"x")
_EXITING = 0x4  # PF_EXITING of linux/sched.h


def start_time(pid: int) -> int:
    """Return field 22 of /proc/PID/stat, in clock ticks since boot; 0 for one that has ended.

    The name in parentheses may hold anything, so fields are counted from the last one. State (3),
    flags (9) and threads (20) tell of the end: a first thread that has ended is a zombie, though
    the others go on.
    """
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    try:
        fields = posix.read(fd, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return 0
    finally:
        posix.close(fd)
    if len(fields) < 20:
        return 0
    exiting = int(fields[6]) & _EXITING
    alone = int(fields[17]) <= 1
    if alone and (fields[0] in _DEAD or (exiting and _has_let_go(pid))):
        return 0
    return int(fields[19])


def _has_let_go(pid: int) -> bool:
    """Whether an ending process has let go of all that it had: its namespaces are the last of it.

    The first process of a pid namespace is then still there until all others in it have been waited
    for (zap_pid_ns_processes() of the kernel), one of exec by its parent, who need not ever do that.
    """
    try:
        posix.readlink(f"/proc/{pid}/ns/mnt")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False
    return False


def alive(record: dict[str, Any]) -> bool:
    pid: int = record.get("init_process_pid", 0)
    started: int = record.get("init_process_start", 0)
    return pid > 0 and started > 0 and start_time(pid) == started


def open_init(record: dict[str, Any]) -> int:
    """Return a pidfd of the recorded init, or -1 where it has ended.

    The descriptor is opened first and the start time compared after: only then does it stand for
    the process that was compared.
    """
    pid = record.get("init_process_pid", 0)
    if pid <= 0:
        return -1
    fd = process.open_pidfd(pid)
    if fd >= 0 and not alive(record):
        posix.close(fd)
        return -1
    return fd
