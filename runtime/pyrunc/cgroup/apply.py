"""Decides how cgroups are made, limited and entered, with what the kernel's answers ask for.

It must not choose a limit or a place: both come in operations from `plan.cgroups`.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.cgroup.control import check_unused
from pyrunc.cgroup.files import link_count, read_file, read_or_empty, write_file
from pyrunc.errors import HostFailure, SpecFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrunc.plan.ops import Op


def carry_out(op: Op) -> tuple[str, ...]:
    """Carry out a create_cgroup, adopt_cgroup, write_cgroup, attach_device_program or own_cgroup
    operation.

    Returns the directories that it has made, parents first: () unless the operation is
    create_cgroup or adopt_cgroup. Raises HostFailure, SpecFailure or StateFailure with the operation's origin.
    """
    if op.kind == "write_cgroup":
        path, value, tolerate, instead = op.args
        _limit(op.origin, path, value, tolerate, instead)
        return ()
    if op.kind in ("create_cgroup", "adopt_cgroup"):
        hierarchy, path, controllers = op.args
        is_ours = op.kind == "adopt_cgroup"
        return create(op.origin, hierarchy, path, controllers, is_ours=is_ours)
    if op.kind == "attach_device_program":
        attach_device_program(op.origin, *op.args)
        return ()
    if op.kind == "own_cgroup":
        _give_away(op.origin, *op.args)
        return ()
    raise AssertionError(op.kind)


def join(path: str, pid: int, origin: str = "") -> None:
    """Put the process `pid` into the cgroup directory `path`; HostFailure where it cannot be."""
    try:
        write_file(path + "/cgroup.procs", str(pid))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise _threaded(path, origin) from error
        raise HostFailure(
            error.errno or 0, f"put process {pid} into cgroup {path}", pointer=origin
        ) from error


def create(
    origin: str, hierarchy: str, path: str, controllers: Sequence[str], *, is_ours: bool = False
) -> tuple[str, ...]:
    """Make the cgroup directory `path` with its parents (0755), ready to be limited and joined.

    On v2 ("" as `hierarchy`) `controllers` are those to be enabled for it, as far as the cgroups
    above allow that: a limit that needs a missing one fails at its own write. On v1 a new cpuset
    inherits its parent's cpus and memory nodes, without which no process can enter (cpuset(7)).
    A directory that exists already must be empty of processes and not frozen, unless it `is_ours`:
    StateFailure.
    Returns the directories that were made, parents first.
    """
    try:
        made = _make(path)
    except OSError as error:
        raise HostFailure(error.errno or 0, f"make cgroup {path}", pointer=origin) from error
    if path not in made and not is_ours:
        check_unused({hierarchy: path}, origin)
    if hierarchy == "":
        if controllers:
            _enable(path, controllers)
        if read_or_empty(path + "/cgroup.type").strip() in ("domain invalid", "threaded"):
            raise _threaded(path, origin)
    elif "cpuset" in controllers:
        try:
            for name in ("cpuset.cpus", "cpuset.mems"):
                _inherit(path, name)
        except OSError as error:
            raise HostFailure(error.errno or 0, f"prepare cpuset {path}", pointer=origin) from error
    return made


def _make(path: str) -> tuple[str, ...]:
    """Make the directory and the missing ones above: all of them or, where one is refused, none."""
    made: list[str] = []
    wanted = [path]
    # Another container's end may take a parent away again, but not for ever.
    tries = 2 * path.count("/") + 100
    try:
        while wanted:
            try:
                posix.mkdir(wanted[-1], 0o755)
                made.append(wanted[-1])
            except FileExistsError:
                pass
            except FileNotFoundError:
                parent = wanted[-1].rpartition("/")[0]
                tries -= 1
                if not parent or not tries:
                    raise
                wanted.append(parent)
                continue
            wanted.pop()
    except OSError:
        for directory in reversed(made):
            try:
                posix.rmdir(directory)
            except OSError:
                break
        raise
    return tuple(made)


def _inherit(path: str, name: str) -> None:
    empty = []
    # Above a mount point there is no such file: ENOENT ends a hierarchy that is empty throughout.
    while not (value := read_file(f"{path}/{name}").strip()):
        empty.append(path)
        path = path.rpartition("/")[0]
    for directory in reversed(empty):
        write_file(f"{directory}/{name}", value)


def _enable(path: str, controllers: Sequence[str]) -> None:
    """Enable `controllers` for the cgroup v2 directory `path`, from the root downwards.

    In most cases an earlier container or the system has done so: one read then tells it.
    """
    if not set(controllers).difference(read_or_empty(path + "/cgroup.controllers").split()):
        return
    above = []
    parent = path.rpartition("/")[0]
    while link_count(parent + "/cgroup.subtree_control"):
        above.append(parent)
        parent = parent.rpartition("/")[0]
    for directory in reversed(above):
        file = directory + "/cgroup.subtree_control"
        available = set(read_or_empty(directory + "/cgroup.controllers").split())
        missing = available.intersection(controllers).difference(read_or_empty(file).split())
        if not missing:
            continue
        names = sorted(missing)
        try:
            write_file(file, " ".join("+" + name for name in names))
        except OSError:
            # The kernel takes all of a line or nothing: one by one, each that can be.
            for name in names:
                try:
                    write_file(file, "+" + name)
                except OSError:
                    continue


def _limit(
    origin: str,
    path: str,
    value: str,
    tolerate: Sequence[int],
    instead: tuple[str, str] | None,
) -> None:
    try:
        write_file(path, value)
    except OSError as error:
        if error.errno == errno.ENOENT and instead is not None:
            _limit(origin, *instead, tolerate, None)
            return
        if error.errno in tolerate:
            return
        directory, _, file = path.rpartition("/")
        # Device rules bind an unprivileged user anyway: mknod(2) is not for user namespaces.
        if error.errno in (errno.EPERM, errno.EACCES) and _is_device_rule(file):
            return
        if error.errno == errno.ENOENT:
            raise SpecFailure(origin, _why_missing(directory, file)) from error
        raise HostFailure(error.errno or 0, f'write "{value}" to {file}', pointer=origin) from error


def _is_device_rule(file: str) -> bool:
    ours = posix.geteuid() != 0 or in_user_namespace()
    return ours and file in ("devices.allow", "devices.deny")


def _why_missing(directory: str, file: str) -> str:
    """Say why `file` is not in the cgroup `directory`, in words that engines do not grep for."""
    controller = file.partition(".")[0]
    if not link_count(directory):
        return f"cgroup {directory} is gone"
    if not link_count(directory + "/cgroup.controllers"):
        return f"the kernel's cgroup v1 has no file {file}"
    if (
        controller == "cgroup"
        or controller in read_or_empty(directory + "/cgroup.controllers").split()
    ):
        return f"the kernel's cgroup v2 has no file {file}"
    parent = directory.rpartition("/")[0]
    while link_count(parent + "/cgroup.subtree_control"):
        if controller in read_or_empty(parent + "/cgroup.controllers").split():
            busy = (
                ", which has processes of its own"
                if read_or_empty(parent + "/cgroup.procs")
                else ""
            )
            return f"controller {controller} cannot be enabled below cgroup {parent}{busy}"
        parent = parent.rpartition("/")[0]
    return f"controller {controller} is not available"


def attach_device_program(origin: str, path: str, program: bytes) -> None:
    """Attach the device program to the cgroup v2 directory `path`; HostFailure where refused.

    In a user namespace the kernel refuses every such program (it asks for capabilities of the
    initial one), and mknod(2) of a device as well: there the rules are not needed.
    """
    from pyrunc.shim.cgroup import attach_device_program as attach

    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            attach(fd, program)
        finally:
            posix.close(fd)
    except OSError as error:
        if error.errno == errno.EPERM and (posix.geteuid() != 0 or in_user_namespace()):
            return
        raise HostFailure(
            error.errno or 0, f"attach the device program to cgroup {path}", pointer=origin
        ) from error


def _give_away(origin: str, path: str, uid: int) -> None:
    """Change the owner of a cgroup v2 directory, and of the files that the kernel names for that."""
    names = read_or_empty("/sys/kernel/cgroup/delegate").split()
    for name in ("", *(names or ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"))):
        try:
            posix.chown(f"{path}/{name}", uid, -1)
        except OSError as error:
            # Files of controllers that are not enabled here.
            if error.errno != errno.ENOENT or not name:
                raise HostFailure(
                    error.errno or 0, f"change the owner of cgroup {path}", pointer=origin
                ) from error


def in_user_namespace() -> bool:
    """Tell whether this process is in a user namespace with a mapping of its own."""
    return read_or_empty("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def _threaded(path: str, origin: str) -> HostFailure:
    return HostFailure(
        errno.EOPNOTSUPP,
        f"cannot enter cgroupv2 {path} with domain controllers -- it is in threaded mode",
        pointer=origin,
    )
