"""Decides how CRIU is found, started and spoken to: `criu swrk`, one request each.

It must not know what is asked of it.
"""

from __future__ import annotations

import _socket
import fcntl
import posix

from pyrunc import log
from pyrunc.checkpoint import messages, protobuf
from pyrunc.checkpoint.cgroup_flags import CgroupFlags
from pyrunc.errors import Failure, HostFailure
from pyrunc.output import encode
from pyrunc.shim import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Notify = Callable[[str, int, int], None]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# CRIU takes its socket's number as an argument, and what it inherits follows.
SOCKET_FD = 3
FIRST_INHERITED = 4
# Of `criu swrk`, and of runc: everything but debug messages of the restorer.
LOG_LEVEL = 4
_LOG_LIMIT = 16 << 20


def find() -> str:
    """Return the path of the program; Failure with what to do where there is none."""
    places = posix.environ.get(b"PATH", b"").decode("utf-8", "surrogateescape") + ":" + _PATH
    for place in places.split(":"):
        path = f"{place}/criu"
        if place.startswith("/") and posix.access(path, posix.X_OK):
            return path
    raise Failure(f"CRIU is not installed (no criu in {_PATH}): install the package criu")


class Criu:
    """A running `criu swrk`, which waits for its request.

    `stdio`: whether it has our standard streams, which a restored process may inherit; `inherited`:
    descriptors of ours that it has from FIRST_INHERITED on; `no_new_privs`: whether it and all that
    it makes has that property, which CRIU does not restore (3.17; prctl(2): it is inherited).
    """

    def __init__(
        self, stdio: bool, inherited: Sequence[int] = (), no_new_privs: bool = False
    ) -> None:
        path = find()
        ours, theirs = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        )
        self.socket = ours
        self.pid = 0
        opened: list[int] = []
        try:
            places: list[tuple[int, int]] = []
            if not stdio:
                null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
                opened.append(null)
                places += [(null, number) for number in (0, 1, 2)]
            for target, fd in enumerate([theirs.fileno(), *inherited], SOCKET_FD):
                # Out of the way of all targets first.
                moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
                opened.append(moved)
                places.append((moved, target))
            self.pid = _execute(path, places, no_new_privs)
        except OSError as error:
            ours.close()
            raise HostFailure(error.errno or 0, f"start CRIU {path}") from error
        finally:
            theirs.close()
            for fd in opened:
                posix.close(fd)

    def ask(self, kind: int, options: Mapping[str, Any], notify: Notify) -> dict[str, Any]:
        """Send the one request and return the answer, whether it tells of success or not.

        `notify(script, pid, fd)` is called at each of CRIU's stages; `fd` is -1 or a descriptor
        that came with it. A Failure that it raises passes, having ended CRIU.
        """
        flags = CgroupFlags()
        self._send({"type": kind, "opts": options})
        while True:
            answer, fd = self._receive()
            flags.keep()
            if answer.get("type") != messages.NOTIFY:
                return answer
            told = answer.get("notify", {})
            try:
                notify(told.get("script", ""), told.get("pid", 0), fd)
            except BaseException:
                self._send({"type": messages.NOTIFY, "notify_success": 0})
                raise
            self._send({"type": messages.NOTIFY, "notify_success": 1})

    def _send(self, request: Mapping[str, Any]) -> None:
        try:
            self.socket.send(protobuf.encode(messages.REQUEST, request), _socket.MSG_NOSIGNAL)
        except OSError as error:
            raise HostFailure(error.errno or 0, "CRIU has ended early: send a request") from error

    def _receive(self) -> tuple[dict[str, Any], int]:
        try:
            data, ancillary, _flags, _address = self.socket.recvmsg(
                1 << 16, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise HostFailure(error.errno or 0, "CRIU has ended early: read its answer") from error
        fd = -1
        for level, kind, rights in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(rights) >= 4:
                fd = int.from_bytes(rights[:4], "little")
        if not data:
            # What a crashed one leaves; the log may say why.
            return {"type": 0, "success": 0, "cr_errmsg": "CRIU ended without an answer"}, fd
        return protobuf.decode(messages.RESPONSE, data), fd

    def close(self) -> None:
        """Let it end, and wait for that."""
        self.socket.close()
        if self.pid > 0:
            posix.waitpid(self.pid, 0)
            self.pid = 0


def _execute(path: str, places: list[tuple[int, int]], no_new_privs: bool) -> int:
    """Return the pid of `criu swrk`, with descriptors of ours in these places."""
    arguments = [b"criu", b"swrk", str(SOCKET_FD).encode()]
    environment = {b"PATH": _PATH.encode(), **posix.environ}
    if not no_new_privs:
        actions = [(posix.POSIX_SPAWN_DUP2, fd, target) for fd, target in places]
        return posix.posix_spawn(
            encode(path), arguments, environment, file_actions=actions, setsigmask=()
        )
    pid = posix.fork()
    if pid:
        return pid
    try:
        process.set_no_new_privs()
        for fd, target in places:
            posix.dup2(fd, target)
        posix.execve(encode(path), arguments, environment)
    finally:
        # Told as that CRIU ended without an answer.
        posix._exit(127)


def failure(verb: str, answer: Mapping[str, Any], log_path: str) -> Failure:
    """What CRIU could not do, with its own reason and the place of its log.

    containerd takes the first line for its message, and podman shows all of it.
    """
    number = answer.get("cr_errno", 0)
    told = first_error(log_path) or answer.get("cr_errmsg", "")
    text = f"CRIU failed to {verb}"
    if told:
        text += f": {told}"
    if number:
        from pyrunc.errors import describe_errno

        text += f": {describe_errno(number)}"
    return Failure(f"{text}; log file: {log_path}")


def first_error(log_path: str) -> str:
    """Return the first error that a log of CRIU's tells of, "" where there is none."""
    try:
        fd = posix.open(log_path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    data = b""
    try:
        while len(data) < _LOG_LIMIT and (chunk := posix.read(fd, 1 << 16)):
            data += chunk
    except OSError as error:
        log.debug(f"read {log_path}: {error}")
    finally:
        posix.close(fd)
    _before, found, rest = data.partition(b"Error (")
    if not found:
        return ""
    line = rest.partition(b"\n")[0].decode("utf-8", "replace")
    return line.partition("): ")[2].strip() or line.strip()
