"""Decides how calls on processes look from Python: numbers in, numbers or HostFailure out.

It must not know what a container is.
"""

from __future__ import annotations

from _pyrunc_shim import ffi, lib

from pyrunc.errors import HostFailure
from pyrunc.shim.constants import ECONNRESET, EPIPE, ESRCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrunc.shim.plan_buffer import PlanBuffer


def _check(result: int, what: str) -> int:
    if result < 0:
        raise HostFailure(-result, what)
    return result


class Report:
    """What init said: `kind` (REPORT_*), `stage`, `op` (index or -1), `call` (CALL_*), `error`
    (errno), `pid` (of REPORT_BORN), `detail` (text), `fd` (-1, the ptmx end or a pidfd),
    `listener_fd` (init's, at STAGE_SECCOMP).
    """

    __slots__ = ("call", "detail", "error", "fd", "kind", "listener_fd", "op", "pid", "stage")

    def __init__(self, raw: object, fd: int) -> None:
        self.kind: int = raw.kind  # type: ignore[attr-defined]
        self.stage: int = raw.stage  # type: ignore[attr-defined]
        self.op: int = raw.op  # type: ignore[attr-defined]
        self.call: int = raw.call  # type: ignore[attr-defined]
        self.pid: int = raw.pid  # type: ignore[attr-defined]
        self.error: int = raw.error  # type: ignore[attr-defined]
        self.listener_fd: int = raw.listener_fd  # type: ignore[attr-defined]
        detail = ffi.buffer(raw.detail, raw.detail_size)[:]  # type: ignore[attr-defined]
        self.detail: str = detail.decode("utf-8", "replace")
        self.fd = fd


def spawn(
    buffer: PlanBuffer, flags: int, cgroup_fd: int, enter: Iterable[int], keep: Sequence[int]
) -> tuple[int, int, int, int]:
    """Clone init: its pid, a pidfd, the sync socket, and a bit for each of `enter` (files "tasks" of
    cgroup v1) that it has entered; HostFailure where the kernel refuses."""
    child = ffi.new("struct shim_child *")
    kept, entered = list(keep), list(enter)
    _check(
        lib.shim_spawn(
            buffer.plan, flags, cgroup_fd, entered, len(entered), kept, len(kept), child
        ),
        "clone init",
    )
    return child.pid, child.pid_fd, child.sync_fd, child.entered


def read_report(sync_fd: int) -> Report | None:
    """Return init's next report, None at its end."""
    raw = ffi.new("struct shim_report *")
    fd = ffi.new("int *")
    if _check(lib.shim_read_report(sync_fd, raw, fd), "hear from init") == 0:
        return None
    return Report(raw, fd[0])


def parse_report(data: bytes) -> Report | None:
    """Return the report that init left in the exec fifo, None where there is none."""
    raw = ffi.new("struct shim_report *")
    if len(data) < ffi.sizeof(raw[0]) - len(raw.detail):
        return None
    ffi.memmove(raw, data, min(len(data), ffi.sizeof(raw[0])))
    raw.detail_size = min(raw.detail_size, len(raw.detail))
    return Report(raw, -1)


def go(sync_fd: int, payload: bytes) -> None:
    """Let init go on; where it is dead already, its end is seen at the next report.

    HostFailure where the message cannot be sent: init would wait for it, and we for init.
    """
    error: int = lib.shim_go(sync_fd, payload, len(payload))
    if error not in (-EPIPE, -ECONNRESET):
        _check(error, "let init go on")


def open_pidfd(pid: int) -> int:
    """Return a pidfd, -1 where there is no such process."""
    fd: int = lib.shim_pidfd_open(pid)
    if fd == -ESRCH:
        return -1
    return _check(fd, "open pidfd")


def send_signal(pid_fd: int, signal: int) -> bool:
    """Send a signal; False where the process has ended."""
    result = lib.shim_pidfd_send_signal(pid_fd, signal)
    if result == -ESRCH:
        return False
    _check(result, f"send signal {signal}")
    return True


def copy_descriptor(pid_fd: int, fd: int, what: str) -> int:
    """pidfd_getfd(2): a copy of descriptor `fd` of another process."""
    return _check(lib.shim_pidfd_getfd(pid_fd, fd), what)


def wait(pid_fd: int, milliseconds: int) -> bool:
    """Wait for the end of a process (-1: without limit); False where it is still there."""
    return _check(lib.shim_pidfd_wait(pid_fd, milliseconds), "wait for init") == 1


def describe_signal(number: int) -> str:
    """Return "bad system call", as Go has it and those who read runc's errors."""
    text: str = ffi.string(lib.shim_describe_signal(number)).decode()
    return text[0].lower() + text[1:]


def set_subreaper(on: bool) -> None:
    _check(lib.shim_set_subreaper(int(on)), "become subreaper")


def close_on_exec_from(first: int) -> None:
    _check(lib.shim_close_on_exec_from(first), "mark descriptors close-on-exec")


def raise_rlimit_of(pid: int, resource: int, hard: int) -> None:
    _check(lib.shim_raise_rlimit_of(pid, resource, hard), "raise resource limit")


def set_scheduler_of(pid: int, pointer: str, *attributes: int) -> None:
    """sched_setattr(2) with the arguments of the operation set_scheduler; `pointer` asks for it."""
    result = lib.shim_set_scheduler_of(pid, *attributes)
    if result < 0:
        raise HostFailure(-result, "set the scheduler", pointer=pointer)


def set_io_priority_of(pid: int, pointer: str, value: int) -> None:
    result = lib.shim_set_io_priority_of(pid, value)
    if result < 0:
        raise HostFailure(-result, "set the I/O priority", pointer=pointer)


def setns(fd: int, nstype: int) -> None:
    _check(lib.shim_setns(fd, nstype), "setns")


def copy_window_size(ptmx_fd: int) -> None:
    """Give the container's terminal the size of ours, where ours is one."""
    lib.shim_copy_window_size(ptmx_fd)


def unshare(flags: int) -> None:
    _check(lib.shim_unshare(flags), "unshare")


def enter_restore_root(rootfs: str) -> None:
    """Enter a new mount namespace where the directory `rootfs` is a mount."""
    path = rootfs.encode("utf-8", "surrogateescape")
    _check(lib.shim_enter_restore_root(path), "make the rootfs a mount")


def make_root_readonly(mount_ns_fd: int) -> None:
    """Enter the mount namespace, and make the mount at its root read-only."""
    _check(lib.shim_make_root_readonly(mount_ns_fd), "make the root read-only")


def set_no_new_privs() -> None:
    """For a child: have what it executes gain no privileges by it, and with no signal blocked."""
    _check(lib.shim_set_no_new_privs(), "set no_new_privs")


def set_superblock_flags(mount_point: str, flags: str) -> None:
    """Set the flags "one,two" of the file system that is mounted there."""
    path = mount_point.encode("utf-8", "surrogateescape")
    _check(lib.shim_set_superblock_flags(path, flags.encode()), f"set {flags} of {mount_point}")


def block_signals() -> None:
    _check(lib.shim_block_signals(), "block signals")


def foreground(pid: int, pid_fd: int, ptmx_fd: int) -> int:
    """Stand in for the container until it ends; its wait status."""
    return _check(lib.shim_foreground(pid, pid_fd, ptmx_fd), "wait for the container")


def open_source(
    mount_ns_fd: int, path: str, flags: int, userns_fd: int, recursive: bool
) -> tuple[int, int, int]:
    """Copy the mount at `path` as the mount namespace has it, detached: (errno, CALL_*, descriptor).

    `flags`: BIND_*; `userns_fd`: whose mappings it gets, or -1; `recursive`: those below it too.
    """
    name = ffi.new("char[]", path.encode("utf-8", "surrogateescape"))
    source = ffi.new("struct shim_source *")
    source.path, source.bind = name, flags
    source.userns_fd, source.recursive = userns_fd, recursive
    fd = lib.shim_open_source(mount_ns_fd, source)
    return (-fd, source.call, -1) if fd < 0 else (0, 0, fd)


def send_mount(sync_fd: int, mount_fd: int) -> None:
    """Answer init with the mount, -1 where the source is missing."""
    _check(lib.shim_send_mount(sync_fd, mount_fd), "answer init")


def new_user_namespace() -> int:
    """Return the pid of a child that sleeps in a new user namespace."""
    return _check(lib.shim_new_user_namespace(), "make a user namespace")


def has_mount_setattr() -> bool:
    return bool(lib.shim_has_mount_setattr())
