"""Decides how cgroups below a cgroup are walked: a container nests them as deeply as it likes.

Beyond the length of a path, then, and beyond the depth of a recursion. It must not decide what becomes of
them. Most cgroups have none below, so that it is imported for those that have.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GONE = (errno.ENOENT, errno.ENODEV)
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def read_processes(path: str) -> list[str]:
    """Return the lines of cgroup.procs of all cgroups below `path`."""
    found: list[str] = []
    for parent_fd, name in _walk(path):
        try:
            fd = posix.open(
                f"{name}/cgroup.procs", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=parent_fd
            )
            try:
                part = posix.read(fd, 65536)
                data = part
                while part:
                    part = posix.read(fd, 65536)
                    data += part
            finally:
                posix.close(fd)
        except OSError as error:
            # A threaded cgroup (v2) has threads only; its processes are listed in the domain above.
            if error.errno in (*_GONE, errno.EOPNOTSUPP):
                continue
            raise HostFailure(
                error.errno or 0, f"read the processes of cgroup {name} below {path}"
            ) from error
        found += data.decode().split()
    return found


def remove(path: str) -> None:
    """Remove all cgroups below `path` that are not in use."""
    for parent_fd, name in _walk(path):
        try:
            posix.rmdir(name, dir_fd=parent_fd)
        except OSError as error:
            if error.errno not in (*_GONE, errno.EBUSY):
                raise


def _walk(path: str) -> Iterator[tuple[int, str]]:
    """Each cgroup below, after those below it: a descriptor of its parent, and its name."""
    try:
        fd = posix.open(path, _DIRECTORY)
    except OSError as error:
        if error.errno in _GONE:
            return
        raise
    above: list[str] = []
    left = [_names(fd)]
    try:
        while True:
            if left[-1]:
                name = left[-1].pop()
                try:
                    next_fd = posix.open(name, _DIRECTORY, dir_fd=fd)
                except OSError as error:
                    if error.errno in _GONE:
                        continue
                    raise
                above.append(name)
            elif above:
                next_fd = posix.open("..", _DIRECTORY, dir_fd=fd)
            else:
                return
            posix.close(fd)
            fd = next_fd
            if len(left) == len(above):
                left.append(_names(fd))
            else:
                left.pop()
                yield fd, above.pop()
    finally:
        posix.close(fd)


def _names(fd: int) -> list[str]:
    try:
        with posix.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise
