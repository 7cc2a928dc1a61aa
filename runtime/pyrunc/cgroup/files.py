"""Decides how a file of cgroupfs or procfs is read and written: whole, and with one write(2).

It must not word failures: who knows what the file is for does.
"""

from __future__ import annotations

import posix


def read_file(path: str) -> str:
    """Return the whole text of a file; OSError as open(2) and read(2) give."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        data = part = posix.read(fd, 65536)
        while part:
            part = posix.read(fd, 65536)
            data += part
    finally:
        posix.close(fd)
    return data.decode("utf-8", "surrogateescape")


def read_or_empty(path: str) -> str:
    """Return the whole text of a file, "" where there is none that can be read."""
    try:
        return read_file(path)
    except OSError:
        return ""


def write_file(path: str, value: str) -> None:
    """Write `value` to an existing file by one call; OSError as open(2) and write(2) give."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, value.encode("utf-8", "surrogateescape"))
    finally:
        posix.close(fd)


def link_count(path: str) -> int:
    """Return how many links `path` has, 0 where it does not exist."""
    try:
        return posix.stat(path).st_nlink
    except OSError:
        return 0
