"""Decides how a test answers for system calls, as the agent behind a seccomp listener; must not assert."""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

# linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp).
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


class Agent:
    """Listens at `path`; answers each call with its errno of `answers` (number: errno), or lets it pass.

    `documents` are the container process states that came, with `descriptors` the number of fds each.
    """

    def __init__(self, path: Path, answers: dict[int, int]) -> None:
        self.path = path
        self.answers = answers
        self.documents: list[dict[str, Any]] = []
        self.descriptors: list[int] = []
        self.calls: list[int] = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.stop_read, self.stop_write = os.pipe()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Agent:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.stop_write)
        self.thread.join()
        os.close(self.stop_read)
        self.listener.close()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self.stop_read)
        poll.register(self.listener, select.POLLIN)
        notifiers: list[int] = []
        try:
            while True:
                for fd, event in poll.poll():
                    if fd == self.stop_read:
                        return
                    if fd == self.listener.fileno():
                        for notifier in self._accept():
                            notifiers.append(notifier)
                            poll.register(notifier, select.POLLIN)
                    elif event & select.POLLIN:
                        self._answer(fd)
                    else:
                        poll.unregister(fd)
        finally:
            for notifier in notifiers:
                os.close(notifier)

    def _accept(self) -> list[int]:
        connection, _ = self.listener.accept()
        fds = array.array("i")
        with connection:
            data, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(16))
        for level, kind, rights in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(rights)
        self.documents.append(json.loads(data))
        self.descriptors.append(len(fds))
        return list(fds)

    def _answer(self, fd: int) -> None:
        buffer = bytearray(80)
        try:
            fcntl.ioctl(fd, NOTIF_RECV, buffer)
            cookie, _pid, _flags, number = struct.unpack_from("=QIIi", buffer)
            self.calls.append(number)
            error = self.answers.get(number)
            response = struct.pack("=QqiI", cookie, 0, 0, CONTINUE)
            if error is not None:
                response = struct.pack("=QqiI", cookie, 0, -error, 0)
            fcntl.ioctl(fd, NOTIF_SEND, response)
        except FileNotFoundError:
            return  # the caller has ended meanwhile
