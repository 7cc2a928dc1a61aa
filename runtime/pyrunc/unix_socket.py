"""Decides how the runtime speaks to a UNIX stream socket of its caller's, descriptors included.

It must not know what is said; it is imported only where there is such a socket.
"""

from __future__ import annotations

import _socket
import posix

from pyrunc import output
from pyrunc.errors import HostFailure

# sun_path of unix(7), without its NUL.
PATH_LIMIT = 107


def connect(path: str, noun: str) -> int:
    """Connect to the socket at `path`, of any length; the descriptor."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    directory, _slash, name = path.rpartition("/")
    directory_fd = -1
    try:
        if len(output.encode(path)) > PATH_LIMIT:
            directory_fd = posix.open(directory or "/", posix.O_PATH | posix.O_CLOEXEC)
            path = f"/proc/self/fd/{directory_fd}/{name}"
        connection.connect(output.encode(path))
    except OSError as error:
        connection.close()
        raise HostFailure(error.errno or 0, f'connect to {noun} "{path}"') from error
    finally:
        if directory_fd >= 0:
            posix.close(directory_fd)
    return connection.detach()


def send_descriptor(path: str, noun: str, message: bytes, fd: int) -> None:
    """Connect, send one message with one descriptor (SCM_RIGHTS), and close."""
    connection = _socket.socket(fileno=connect(path, noun))
    try:
        rights = fd.to_bytes(4, "little")
        sent = connection.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        if sent < len(message):
            connection.sendall(message[sent:])
    except OSError as error:
        raise HostFailure(error.errno or 0, f'send to {noun} "{path}"') from error
    finally:
        connection.close()
