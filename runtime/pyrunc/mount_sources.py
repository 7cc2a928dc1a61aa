"""Decides how init gets a mount that only the runtime has the rights to make.

It must not decide where the mount goes, which is init's. Imported only when init asks: for an
id-mapped mount, or for a source in a directory that the container's root may not enter.
"""

from __future__ import annotations

import posix

from pyrunc.errors import Failure, HostFailure
from pyrunc.shim import constants as C
from pyrunc.shim import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.ops import IdMap, Mappings, Op

ENOENT, EPERM, EACCES, EINVAL, ENOSYS = 2, 1, 13, 22, 38


def answer(sync_fd: int, pid: int, op: Op) -> None:
    """Send init, whose `bind` operation is `op`, the detached mount of its source.

    Raises HostFailure with the operation's origin.
    """
    if op.kind != "bind":
        raise Failure(f"init asks for the source of its operation {op.kind}")
    source, flags, idmap = op.args[0], op.args[3], op.args[8]
    mount_ns_fd = userns_fd = mount_fd = -1
    try:
        mount_ns_fd = _open_namespace(pid, "mnt", op.origin)
        if idmap is not None:
            userns_fd = _user_namespace(pid, idmap, op.origin)
        error, call, mount_fd = process.open_source(
            mount_ns_fd, source, flags, userns_fd, idmap is not None and idmap[0]
        )
        if error and not (error == ENOENT and call == C.CALL_OPEN_TREE):
            raise _failure(op, error, call)
        process.send_mount(sync_fd, mount_fd)
    finally:
        for fd in (mount_ns_fd, userns_fd, mount_fd):
            if fd >= 0:
                posix.close(fd)


def _failure(op: Op, error: int, call: int) -> Failure:
    source = op.args[0]
    if call == C.CALL_SETNS:
        # Rootless: nobody has more rights than init.
        return HostFailure(EACCES, f"open mount source {source}", pointer=op.origin)
    if call == C.CALL_OPEN_TREE:
        return HostFailure(error, f"open mount source {source}", pointer=op.origin)
    if error == EINVAL:
        return Failure(
            f"{source}: its file system does not support id-mapped mounts", pointer=op.origin
        )
    if error == ENOSYS:
        return Failure("id-mapped mounts take Linux 5.12", pointer=op.origin)
    return HostFailure(error, f"map the ids of {source}", pointer=op.origin)


def _user_namespace(pid: int, idmap: IdMap, origin: str) -> int:
    """A descriptor of the user namespace with the wanted mappings."""
    _recursive, uids, gids = idmap
    if not uids:
        return _open_namespace(pid, "user", origin)
    child = process.new_user_namespace()
    try:
        _write_map(child, "gid_map", gids, origin)
        _write_map(child, "uid_map", uids, origin)
        return _open_namespace(child, "user", origin)
    finally:
        posix.kill(child, C.SIGKILL)
        posix.waitpid(child, 0)


def _write_map(pid: int, name: str, mappings: Mappings, origin: str) -> None:
    text = "".join([f"{inside} {outside} {size}\n" for inside, outside, size in mappings])
    try:
        fd = posix.open(f"/proc/{pid}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise HostFailure(error.errno or 0, f"write {name} of a mount", pointer=origin) from error


def _open_namespace(pid: int, name: str, origin: str) -> int:
    try:
        return posix.open(f"/proc/{pid}/ns/{name}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise HostFailure(
            error.errno or 0, f"open init's {name} namespace", pointer=origin
        ) from error
