"""Decides how the runtime sets of init what init may not set itself: ids, time offsets, limits.

It must not decide the values: they come in operations. Whatever a container without a user namespace
of its own needs of this is rare, so that the module is imported for it alone.
"""

from __future__ import annotations

import posix

from pyrunc.cgroup.files import read_or_empty
from pyrunc.errors import Failure, HostFailure, SpecFailure
from pyrunc.shim import constants as C
from pyrunc.shim import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op

EACCES, EINVAL, ENOSPC, EPERM, ERANGE = 13, 22, 28, 1, 34
# Where distributions have newuidmap(1) and newgidmap(1).
MAPPER_DIRECTORIES = (b"/usr/bin", b"/bin", b"/usr/sbin", b"/sbin", b"/usr/local/bin")
# Of what a mapper prints, this much goes into the error.
OUTPUT_LIMIT = 1024


def carry_out(op: Op, pid: int) -> None:
    """Carry out one of `plan.ops.INIT_SETUP_KINDS` on init; Failure where the kernel refuses."""
    kind = op.kind
    if kind == "write_id_map":
        _write_id_map(op, pid)
    elif kind == "deny_setgroups":
        _write(pid, "setgroups", "deny", op.origin)
    elif kind == "run_id_mapper":
        _run_mapper(op, pid)
    elif kind == "check_id_map":
        _check_id_map(op, pid)
    elif kind == "write_time_offsets":
        _write_time_offsets(op, f"/proc/{pid}/timens_offsets")
    elif kind == "raise_init_rlimit":
        _raise_rlimit(op, pid)
    elif kind == "set_init_scheduler":
        process.set_scheduler_of(pid, op.origin, *op.args)
    elif kind == "set_init_io_priority":
        process.set_io_priority_of(pid, op.origin, *op.args)
    else:
        _set_oom_score_adj(op, pid)


def unshare_time(op: Op) -> None:
    """Carry out new_time_namespace: for the runtime's children, until it returns to its own."""
    try:
        process.unshare(C.CLONE_NEWTIME)
    except HostFailure as failure:
        failure.pointer = op.origin
        raise
    _write_time_offsets(op, "/proc/self/timens_offsets")


def explained(failure: Failure) -> Failure:
    """Return the failure with what an administrator may have set against user namespaces."""
    for name, value, wanted in (
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns is 1, and no profile allows user namespaces",
        ),
    ):
        if read_or_empty(f"/proc/sys/{name}").strip() == value:
            return Failure(
                f"{failure.reason()} ({wanted})", pointer=failure.pointer, subject=failure.subject
            )
    if failure.errno == ENOSPC:
        return Failure(
            f"{failure.reason()} (see user.max_user_namespaces and the limits beside it)",
            pointer=failure.pointer,
        )
    return failure


def _write(pid: int, name: str, text: str, origin: str) -> None:
    try:
        _write_file(f"/proc/{pid}/{name}", text)
    except OSError as error:
        raise HostFailure(error.errno or 0, f"write {name} of init", pointer=origin) from error


def _write_file(path: str, text: str) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)


def _write_id_map(op: Op, pid: int) -> None:
    which, mappings = op.args
    text = "".join([f"{inside} {outside} {size}\n" for inside, outside, size in mappings])
    page = posix.sysconf("SC_PAGE_SIZE")
    if len(text) >= page:
        # map_write() of kernel/user_namespace.c takes less than a page, in one write(2).
        raise SpecFailure(
            op.origin, f"the kernel takes mappings of less than {page} bytes, got {len(text)}"
        )
    try:
        _write_file(f"/proc/{pid}/{which}", text)
    except OSError as error:
        if error.errno == EINVAL:
            raise SpecFailure(op.origin, "the kernel refuses mappings that overlap") from error
        raise HostFailure(error.errno or 0, f"write {which} of init", pointer=op.origin) from error


def find_mapper(program: str) -> bytes | None:
    """Return the path of a mapper, from $PATH or where distributions have it."""
    given = posix.environ.get(b"PATH", b"").split(b":")
    for directory in (*(path for path in given if path[:1] == b"/"), *MAPPER_DIRECTORIES):
        path = directory + b"/" + program.encode()
        if posix.access(path, posix.X_OK):
            return path
    return None


def _run_mapper(op: Op, pid: int) -> None:
    program, _which, mappings = op.args
    path = find_mapper(program)
    if path is None:
        raise Failure(
            f"{program} is missing, which maps more ids than one's own without privileges"
            " (install the package uidmap or shadow-utils)",
            pointer=op.origin,
        )
    numbers = [str(number) for mapping in mappings for number in mapping]
    arguments = [program, str(pid), *numbers]
    status, printed = _run(path, arguments)
    if status:
        file = program.replace("new", "/etc/sub").replace("map", "")
        raise Failure(
            f"{program} failed: {printed or f'wait status {status}'} (are the ids in {file} given"
            " to this user, and is the program setuid root?)",
            pointer=op.origin,
        )


def _run(path: bytes, arguments: list[str]) -> tuple[int, str]:
    """Run a program to its end: wait status and what it wrote, on one line."""
    out_read, out_write = posix.pipe2(posix.O_CLOEXEC)
    actions: Any = [(posix.POSIX_SPAWN_DUP2, out_write, 1), (posix.POSIX_SPAWN_DUP2, out_write, 2)]
    try:
        pid = posix.posix_spawn(
            path, arguments, {}, file_actions=actions, setsigmask=(), setsigdef=(C.SIGPIPE,)
        )
    except OSError as error:
        posix.close(out_read)
        name = path.decode("utf-8", "replace")
        raise HostFailure(error.errno or 0, f'start "{name}"') from error
    finally:
        posix.close(out_write)
    printed = b""
    while part := posix.read(out_read, 4096):
        printed += part
    posix.close(out_read)
    _pid, status = posix.waitpid(pid, 0)
    text = printed[:OUTPUT_LIMIT].decode("utf-8", "replace").strip()
    return status, "; ".join(text.split("\n"))


def _check_id_map(op: Op, pid: int) -> None:
    which, mappings = op.args
    found = [
        tuple(int(word) for word in line.split())
        for line in read_or_empty(f"/proc/{pid}/{which}").split("\n")
        if line
    ]
    if sorted(found) != sorted(mappings):
        raise SpecFailure(
            op.origin,
            "differs from the mappings of the user namespace to join: "
            + (", ".join(" ".join(map(str, entry)) for entry in found) or "none"),
        )


def _write_time_offsets(op: Op, path: str) -> None:
    text = "".join([f"{clock} {seconds} {rest}\n" for clock, seconds, rest in op.args[0]])
    try:
        _write_file(path, text)
    except OSError as error:
        if error.errno == ERANGE:
            raise SpecFailure(
                op.origin, "an offset leads to a time before boot, or beyond 146 years"
            ) from error
        raise HostFailure(error.errno or 0, "write timens_offsets", pointer=op.origin) from error


def _raise_rlimit(op: Op, pid: int) -> None:
    try:
        process.raise_rlimit_of(pid, *op.args)
    except HostFailure as failure:
        failure.pointer = op.origin
        raise


def _set_oom_score_adj(op: Op, pid: int) -> None:
    value, flags = op.args
    try:
        _write(pid, "oom_score_adj", str(value), op.origin)
    except HostFailure as failure:
        if not (flags & C.TOLERATE_EPERM and failure.errno in (EACCES, EPERM)):
            raise
