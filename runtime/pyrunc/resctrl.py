"""Decides how resctrl groups are made, filled and removed (Documentation/arch/x86/resctrl.rst of
Linux).

It must not decide which: operations and the container's record say so. It is imported only for a
container that has linux.intelRdt.
"""

from __future__ import annotations

import posix

from pyrunc.cgroup.files import read_file, read_or_empty
from pyrunc.errors import Failure, HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrunc.plan.ops import Op

STATUS = "last_cmd_status"


def mount_point(mountinfo: str) -> str | None:
    """Where a file system of type resctrl is mounted, of the text of /proc/self/mountinfo."""
    for line in mountinfo.split("\n"):
        before, found, after = line.partition(" - ")
        if found and after.split(" ", 1)[0] == "resctrl":
            return before.split(" ")[4]
    return None


def find(origin: str) -> str:
    """Return the mount point; Failure where there is none."""
    found = mount_point(read_or_empty("/proc/self/mountinfo"))
    if found is None:
        raise Failure(
            "intelRdt: the kernel or the processor has no resource director technology, or resctrl"
            " is not mounted",
            pointer=origin,
        )
    return found


def missing_groups(ops: Iterable[Op]) -> list[str]:
    """The directories that a plan is going to make, outer ones first, which are not there yet."""
    found = []
    for op in ops:
        if op.kind == "create_resctrl_group":
            place, must_exist = op.args
            path = f"{find(op.origin)}/{place}"
            if not posix.access(path, posix.F_OK):
                if must_exist:
                    raise Failure(
                        f'intelRdt: group "{place}" is missing, which a closID without schemata'
                        " names",
                        pointer=op.origin,
                    )
                found.append(path)
    return found


def carry_out(op: Op, pid: int, root: str | None = None) -> None:
    """Carry out an operation below the mount point, or below `root`."""
    path = f"{root or find(op.origin)}/{op.args[0]}"
    if op.kind == "create_resctrl_group":
        _create(op, path)
    elif op.kind == "write_schemata":
        _write(op, path, "schemata", op.args[1] + "\n")
    else:
        _write(op, path, "tasks", str(pid))


def schemata(place: str, root: str | None = None) -> str:
    """Return the lines that hold for a group now; Failure where the group is gone."""
    path = f"{root or find('')}/{place}/schemata"
    try:
        return read_file(path)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'intelRdt: read "{path}"') from error


def _create(op: Op, path: str) -> None:
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        return
    except OSError as error:
        raise _refused(op, path.rpartition("/")[0], f'make group "{op.args[0]}"', error) from error


def _write(op: Op, directory: str, name: str, text: str) -> None:
    try:
        fd = posix.open(f"{directory}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        shown = text.rstrip("\n")
        raise _refused(op, directory, f'write "{shown}" to {name}', error) from error


def _refused(op: Op, directory: str, what: str, error: OSError) -> HostFailure:
    """The kernel says more than errno in a file at the root of the file system."""
    told = ""
    while directory and not told:
        told = read_or_empty(f"{directory}/info/{STATUS}").strip()
        directory = directory.rpartition("/")[0]
    detail = f" ({told})" if told and told != "ok" else ""
    return HostFailure(error.errno or 0, f"intelRdt: {what}{detail}", pointer=op.origin)


def remove(paths: Iterable[str]) -> None:
    """Remove groups that were made for a container, inner ones first."""
    for path in reversed(list(paths)):
        try:
            posix.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostFailure(error.errno or 0, f'remove resctrl group "{path}"') from error
