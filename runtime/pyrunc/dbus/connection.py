"""Decides how the runtime speaks to a D-Bus peer: connects, proves who it is, calls and listens.

It must not know any service. Everything is blocking, with a limit in time.
"""

from __future__ import annotations

import _socket
import fcntl
import posix
import time

from pyrunc.dbus import message
from pyrunc.errors import Failure, HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.dbus.message import Message

# The default of sd-bus and libdbus.
CALL_SECONDS = 25.0
_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_TIMED_OUT = 110
# unix(7), sun_path.
_PATH_LIMIT = 107


class CallFailure(Failure):
    """A call was answered by an error; `name` is its D-Bus name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


def socket_path(address: str) -> str:
    """Return the path of the first UNIX socket of a D-Bus address, with a leading NUL if abstract.

    "" where it names none (D-Bus Specification, "Server Addresses").
    """
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        if transport != "unix":
            continue
        for pair in rest.split(","):
            key, _, value = pair.partition("=")
            if key in ("path", "abstract"):
                return ("\0" if key == "abstract" else "") + _unescape(value)
    return ""


def _unescape(text: str) -> str:
    first, *rest = text.split("%")
    try:
        return first + "".join([chr(int(part[:2], 16)) + part[2:] for part in rest])
    except ValueError:
        return ""


class Connection:
    """A peer that has accepted us. With `is_bus` there is a bus between us and services.

    HostFailure where the socket cannot be reached, Failure where the peer does not want us.
    The descriptor is `first_fd` or above, so that it is none of those that a caller hands on.
    """

    def __init__(self, path: str, is_bus: bool, first_fd: int = 3) -> None:
        self.is_bus = is_bus
        self.path = path.replace("\0", "@")
        self.serial = 0
        self.data = b""
        self.signals: list[Message] = []
        self.socket = self._connect(path, first_fd)
        self._authenticate()
        if is_bus:
            self.call(*_BUS, "Hello")

    def _connect(self, path: str, first_fd: int) -> _socket.socket:
        opened = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            # Another's number is given back by the close at the end of this function.
            fd = fcntl.fcntl(opened.fileno(), fcntl.F_DUPFD_CLOEXEC, first_fd)
        except OSError as error:
            raise HostFailure(error.errno or 0, f"connect to {self.path}") from error
        finally:
            opened.close()
        connection = _socket.socket(fileno=fd)
        try:
            if len(path) > _PATH_LIMIT:
                raise OSError(36, "File name too long")
            connection.connect(path.encode("utf-8", "surrogateescape"))
        except OSError as error:
            connection.close()
            raise HostFailure(error.errno or 0, f"connect to {self.path}") from error
        return connection

    def _authenticate(self) -> None:
        """SASL EXTERNAL without an identity: the peer takes that of the socket (SO_PEERCRED).

        In a user namespace we do not know the number that the peer has for us, and need not.
        """
        deadline = time.monotonic() + CALL_SECONDS
        self._send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", deadline)
        while True:
            while b"\r\n" not in self.data:
                self._receive(deadline)
            line, _, self.data = self.data.partition(b"\r\n")
            if line.startswith(b"OK "):
                return
            if line.partition(b" ")[0] in (b"REJECTED", b"ERROR"):
                raise Failure(f"{self.path} does not accept user {posix.geteuid()}")

    def close(self) -> None:
        self.socket.close()

    def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *values: Any,
    ) -> tuple[Any, ...]:
        """Call a method and return the values of its answer; CallFailure where that is an error."""
        sent = self.send(destination, path, interface, member, signature, *values)
        return self.answer(sent)

    def send(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *values: Any,
    ) -> int:
        """Send a call; return what `answer` is asked by."""
        self.serial += 1
        if not self.is_bus:
            destination = ""
        data = message.method_call(
            self.serial, destination, path, interface, member, signature, values
        )
        self._send(data, time.monotonic() + CALL_SECONDS)
        return self.serial

    def answer(self, serial: int) -> tuple[Any, ...]:
        """Return the values of the answer to a call; signals that come before it are kept."""
        deadline = time.monotonic() + CALL_SECONDS
        while True:
            found = self._next(deadline)
            if found.kind == message.SIGNAL:
                self.signals.append(found)
            elif found.reply_serial == serial:
                if found.kind == message.ERROR:
                    text = found.body[0] if found.body and isinstance(found.body[0], str) else ""
                    raise CallFailure(found.error, text)
                return found.body

    def add_match(self, rule: str) -> None:
        """Ask the bus for signals; a peer without a bus sends its own anyway."""
        if self.is_bus:
            self.call(*_BUS, "AddMatch", "s", rule)

    def signal(self, fits: Callable[[Message], bool], seconds: float) -> Message | None:
        """Return the first signal that fits, None where none has come after `seconds`."""
        for kept in self.signals:
            if fits(kept):
                return kept
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self._next(deadline)
            except HostFailure as failure:
                if failure.errno == _TIMED_OUT:
                    return None
                raise
            if found.kind == message.SIGNAL and fits(found):
                return found

    def _next(self, deadline: float) -> Message:
        try:
            while len(self.data) < message.FIXED:
                self._receive(deadline)
            length = message.total_length(self.data[: message.FIXED])
            while len(self.data) < length:
                self._receive(deadline)
            whole, self.data = self.data[:length], self.data[length:]
            return message.parse(whole)
        except ValueError as error:
            raise Failure(f"{self.path} sent {error}") from error

    def _send(self, data: bytes, deadline: float) -> None:
        try:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            self.socket.sendall(data)
        except OSError as error:
            raise HostFailure(error.errno or _TIMED_OUT, f"send to {self.path}") from error

    def _receive(self, deadline: float) -> None:
        try:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            part = self.socket.recv(65536)
        except OSError as error:
            # A timeout has no errno.
            raise HostFailure(error.errno or _TIMED_OUT, f"wait for {self.path}") from error
        if not part:
            raise Failure(f"{self.path} has closed the connection")
        self.data += part
