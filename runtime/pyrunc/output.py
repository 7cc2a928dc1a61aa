"""Decides how bytes leave through a descriptor: whole, or with a failure that says why not.

It must not know what they mean, nor rely on sys.stdout, which a core-initialised interpreter lacks.
"""

from __future__ import annotations

import posix

from pyrunc.errors import Failure, HostFailure


class ClosedOutput(Failure):
    """Nobody reads what the command writes any more: it ends without another word."""


def write(text: str) -> None:
    """Write `text` to the standard output; raise ClosedOutput or HostFailure where it does not get
    there.
    """
    try:
        write_fd(1, encode(text))
    except BrokenPipeError:
        raise ClosedOutput("the reader of standard output has gone") from None
    except OSError as error:
        raise HostFailure(error.errno or 0, "write to standard output") from error


def write_stderr(text: str | bytes) -> None:
    """Write `text` to the standard error; what does not get there is lost, since nobody could be
    told.
    """
    try:
        write_fd(2, encode(text) if isinstance(text, str) else text)
    except OSError:
        pass


def encode(text: str) -> bytes:
    """Return the UTF-8 bytes of `text`; bytes that came in by surrogate escapes go out as they
    were.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def write_fd(fd: int, data: bytes) -> None:
    """Write all of `data` to `fd`, waiting where it is non-blocking; raise OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(fd, view) :]
        except BlockingIOError:
            from select import select

            select([], [fd], [])
