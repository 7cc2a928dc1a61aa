"""Decides what of a container's sd_notify(3) messages reaches the service manager, and who waits for it.

It must not release the container. Imported only where NOTIFY_SOCKET is set for create or run.
The container is not trusted: it may say how it fares, never which processes are the service's.
"""

from __future__ import annotations

import _socket
import posix
import select

from pyrunc import log, output
from pyrunc.errors import Failure, HostFailure
from pyrunc.liveness import open_init
from pyrunc.shim import process
from pyrunc.state import NOTIFY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.spec.types import Spec
    from pyrunc.state import Record, StateDirectory

NAME = "notify.sock"
READY = b"READY=1"
# About the service itself. Not MAINPID, FDSTORE and their like: they would be about the host.
PASSED = (
    *(b"STATUS=", b"ERRNO=", b"BUSERROR=", b"EXTEND_TIMEOUT_USEC="),
    *(b"RELOADING=", b"MONOTONIC_USEC=", b"STOPPING=", b"WATCHDOG="),
)
# What systemd reads of a message (NOTIFY_BUFFER_MAX).
MESSAGE_LIMIT = 4096
# sun_path of unix(7), without its NUL.
PATH_LIMIT = 107
# How long the service manager may take for what it was told: runc's.
BARRIER_MS = 30_000


def directory(container_directory: str, spec: Spec) -> str:
    """Where the socket is made by which the container says that it is ready; "" for nowhere."""
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] == "mount" and not entry.get("path"):
            return f"{container_directory}/{NOTIFY}"
    # It would be mounted in somebody else's namespace, and outlive the container there.
    log.warning("NOTIFY_SOCKET is ignored without a new mount namespace")
    return ""


def check(host_socket: str) -> None:
    """Failure where nobody could be told: better now than when the container is ready."""
    if host_socket[0] not in "/@":
        raise Failure(
            f'NOTIFY_SOCKET "{host_socket}": neither an absolute path nor an abstract socket'
        )
    try:
        _at(host_socket, lambda socket, address: socket.connect(address))
    except OSError as error:
        raise HostFailure(error.errno or 0, f'connect to NOTIFY_SOCKET "{host_socket}"') from error


def make_directory(path: str) -> None:
    """Make what the container sees; any user of it may look for the socket, whatever our umask."""
    try:
        posix.mkdir(path, 0o755)
        posix.chmod(path, 0o755)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'make directory "{path}"') from error


def remove_directory(path: str) -> None:
    """Remove it with all that is in it: who may remount could have made something there."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    try:
        _empty(fd)
    finally:
        posix.close(fd)
    posix.rmdir(path)


def _empty(directory_fd: int) -> None:
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    for name in posix.listdir(directory_fd):
        try:
            posix.unlink(name, dir_fd=directory_fd)
        except IsADirectoryError:
            fd = posix.open(name, flags, dir_fd=directory_fd)
            try:
                _empty(fd)
            finally:
                posix.close(fd)
            posix.rmdir(name, dir_fd=directory_fd)


class Proxy:
    """The socket of one container, from before its process runs; `record` as in state.json."""

    def __init__(self, directory: StateDirectory, record: Record) -> None:
        self.host_socket: str = record["notify_socket"]
        self.pid: int = record["init_process_pid"]
        self.socket = _listen(directory.file(NOTIFY))
        self.ends = [open_init(record)]
        self.ended = self.ends[0] < 0
        self.sender = 0
        self.poll = select.poll()
        self.poll.register(self.socket.fileno(), select.POLLIN)

    def wait(self) -> None:
        """Return when the container has said that it is ready, or has ended."""
        while (message := self._next()) is not None:
            if self._forward(message):
                return

    def in_background(self, ptmx_fd: int) -> int:
        """Leave it to a child until the container ends, or we do; a pidfd of the child."""
        own = posix.getpid()
        self.ends.append(process.open_pidfd(own))
        pid = posix.fork()
        if pid == 0:
            try:
                if ptmx_fd >= 0:
                    # Its terminal hangs up when the runtime's end is the last.
                    posix.close(ptmx_fd)
                self.sender = own
                while (message := self._next()) is not None:
                    self._forward(message)
            except Failure as failure:
                log.warning(str(failure))
            finally:
                posix._exit(0)
        child_fd = process.open_pidfd(pid)
        posix.close(self.ends.pop())
        self.socket.close()
        return child_fd

    def _next(self) -> bytes | None:
        """Return the next message; None when no more can come. Descriptors with it are dropped."""
        while True:
            try:
                return self.socket.recv(MESSAGE_LIMIT, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                if self.ended:
                    return None
            for fd in self.ends:
                if fd >= 0:
                    self.poll.register(fd, select.POLLIN)
            # What was sent before the end is still there after it.
            self.ended = any(fd in self.ends for fd, _event in self.poll.poll())

    def _forward(self, message: bytes) -> bool:
        """Tell the service manager; whether the container is ready."""
        lines = message.split(b"\n")
        ready = READY in lines
        passed = [READY] if ready else []
        passed += [line for line in lines if line.startswith(PASSED)]
        if passed:
            self._send(b"\n".join(passed))
        if ready:
            self._send(b"MAINPID=%d" % self.pid)
            self._await_barrier()
        return ready

    def _await_barrier(self) -> None:
        """sd_notify_barrier(3): the other end closes the pipe when it has seen what was sent before.

        Until then it may look our process up, to tell which service the messages are from. One that
        knows no barrier closes the pipe too, by dropping the descriptor.
        """
        read_fd, write_fd = posix.pipe2(posix.O_CLOEXEC)
        try:
            self._send(b"BARRIER=1", write_fd)
        finally:
            posix.close(write_fd)
        poll = select.poll()
        poll.register(read_fd, 0)
        if not poll.poll(BARRIER_MS):
            log.warning("the service manager did not answer the notification barrier")
        posix.close(read_fd)

    def _send(self, message: bytes, fd: int = -1) -> None:
        control = []
        if fd >= 0:
            control.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little")))
        try:
            if self.sender:
                # sd_pid_notify(3): NotifyAccess=main hears the process that was started alone.
                ids = (self.sender, posix.geteuid(), posix.getegid())
                ucred = b"".join([number.to_bytes(4, "little") for number in ids])
                as_parent = (_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS, ucred)
                try:
                    self._send_to([*control, as_parent], message)
                    return
                except PermissionError:
                    # It takes CAP_SYS_ADMIN (unix(7)).
                    self.sender = 0
            self._send_to(control, message)
        except OSError as error:
            raise HostFailure(
                error.errno or 0, f'send to NOTIFY_SOCKET "{self.host_socket}"'
            ) from error

    def _send_to(self, control: list[tuple[int, int, bytes]], message: bytes) -> None:
        _at(
            self.host_socket,
            lambda socket, address: socket.sendmsg([message], control, 0, address),
        )


def _listen(directory: str) -> _socket.socket:
    """Make the socket, which each user of the container may send to; the path may have any length."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    directory_fd = -1
    try:
        directory_fd = posix.open(directory, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            # Of a start that was killed before it let init go.
            posix.unlink(NAME, dir_fd=directory_fd)
        except FileNotFoundError:
            pass
        socket.bind(b"/proc/self/fd/%d/%s" % (directory_fd, NAME.encode()))
        posix.chmod(NAME, 0o777, dir_fd=directory_fd)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'bind socket "{directory}/{NAME}"') from error
    finally:
        if directory_fd >= 0:
            posix.close(directory_fd)
    return socket


def _at(host_socket: str, act: Callable[[_socket.socket, bytes], object]) -> None:
    """Call `act` with a new socket and the address of the service manager's; OSError passes."""
    address = output.encode(host_socket)
    directory_fd = -1
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        if address[:1] == b"@":
            address = b"\0" + address[1:]
        elif len(address) > PATH_LIMIT:
            directory, _slash, name = address.rpartition(b"/")
            directory_fd = posix.open(directory or b"/", posix.O_PATH | posix.O_CLOEXEC)
            address = b"/proc/self/fd/%d/%s" % (directory_fd, name)
        act(socket, address)
    finally:
        socket.close()
        if directory_fd >= 0:
            posix.close(directory_fd)
