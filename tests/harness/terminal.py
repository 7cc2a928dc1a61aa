"""Decides how the harness plays the engine's and the user's side of a terminal; must not judge."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import select
import socket
import struct
import termios
import time
from pathlib import Path

from harness.kernel import PATIENCE


class ConsoleReceiver:
    """An engine's console socket: takes one message with one descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.socket.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)
        self.socket.listen(4)
        self.socket.settimeout(PATIENCE)

    def receive(self) -> tuple[bytes, list[int]]:
        """Data and descriptors of the one message; asserts that the connection then ends."""
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(PATIENCE)
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16 * 4))
            fds = array.array("i")
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
            assert connection.recv(1) == b"", "more than one message"
        return data, list(fds)

    def close(self) -> None:
        self.socket.close()


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]
    return rows, columns


def set_window_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(fd: int, text: bytes, seconds: float = PATIENCE) -> bytes:
    """Reads from a terminal until `text` came or the other side is gone."""
    got = b""
    end = time.monotonic() + seconds
    while text not in got:
        left = end - time.monotonic()
        assert left > 0, f"waited {seconds} s for {text!r}, got {got!r}"
        if not select.select([fd], [], [], left)[0]:
            continue
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            break
        if not chunk:
            break
        got += chunk
    return got


class UserTerminal:
    """A terminal that a user would have started the runtime from."""

    def __init__(self, rows: int = 33, columns: int = 77) -> None:
        self.ptmx, self.pts = pty.openpty()
        set_window_size(self.ptmx, rows, columns)

    def become_controlling(self) -> None:
        """For the child between fork and execve."""
        os.setsid()
        fcntl.ioctl(self.pts, termios.TIOCSCTTY, 0)

    def close(self) -> None:
        for fd in (self.ptmx, self.pts):
            os.close(fd)
