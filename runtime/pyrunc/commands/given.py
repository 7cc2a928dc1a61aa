"""Decides how a command reads the file that its caller names.

It must not know what is in it. Not a command itself.
"""

from __future__ import annotations

import posix

from pyrunc.errors import HostFailure


def read(path: str, noun: str) -> bytes:
    """Return the bytes of the file, of standard input for "-"; `noun` is what failures call it."""
    fd = 0
    if path != "-":
        try:
            fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError as error:
            raise HostFailure(error.errno or 0, f"open {noun}") from error
    data = b""
    try:
        while chunk := posix.read(fd, 65536):
            data += chunk
    except OSError as error:
        raise HostFailure(error.errno or 0, f"read {noun}") from error
    finally:
        if fd:
            posix.close(fd)
    return data
