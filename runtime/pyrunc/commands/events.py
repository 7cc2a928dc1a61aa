"""events: print what a container uses, once or again and again, and when it ran out of memory."""

from __future__ import annotations

import posix
import select
import time

from pyrunc import output
from pyrunc.errors import Failure, StateFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request

    Paths = dict[str, str]


def run(request: Request) -> int:
    from pyrunc import container
    from pyrunc.liveness import open_init
    from pyrunc.sizes import parse_duration

    interval = parse_duration(request.options["interval"])
    if interval <= 0:
        raise Failure("duration interval must be greater than 0")
    directory, record = container.load(request.root, request.id)
    pid_fd = -1
    if container.status(directory, record) in ("created", "running", "paused"):
        pid_fd = open_init(record)
    if pid_fd < 0:
        raise StateFailure(f"container with id {request.id} is not running")
    paths: Paths = record["cgroup_paths"]
    if request.options["stats"]:
        _print_stats(request.id, paths)
        return 0
    _stream(request.id, paths, pid_fd, interval)
    return 0


def _print(container_id: str, kind: str, data: dict[str, Any] | None) -> None:
    from pyrunc.jsontext import dumps

    event: dict[str, Any] = {"type": kind, "id": container_id}
    if data is not None:
        event["data"] = data
    output.write(dumps(event) + "\n")


def _print_stats(container_id: str, paths: Paths) -> None:
    from pyrunc.cgroup import stats

    _print(container_id, "stats", stats.read(paths))


def _stream(container_id: str, paths: Paths, pid_fd: int, interval: float) -> None:
    """Print statistics every `interval` seconds and every OOM kill, until the container's end."""
    from pyrunc.cgroup import stats

    poll = select.poll()
    poll.register(pid_fd, select.POLLIN)
    wake_fd = _watch_memory(paths, poll)
    killed = stats.oom_kills(paths)
    due = time.monotonic() + interval
    ended = False
    while not ended:
        for fd, event in poll.poll(max(0, int((due - time.monotonic()) * 1000) + 1)):
            if fd == pid_fd:
                ended = True
            elif event & (select.POLLERR | select.POLLHUP) and not event & select.POLLPRI:
                poll.unregister(fd)
            else:
                _drain(fd, wake_fd)
        now = stats.oom_kills(paths)
        for _kill in range(now - killed):
            _print(container_id, "oom", None)
        killed = max(killed, now)
        if not ended and time.monotonic() >= due:
            _print_stats(container_id, paths)
            due += interval


def _watch_memory(paths: Paths, poll: Any) -> int:
    """Let `poll` wake up when memory runs out; the eventfd of cgroup v1, or -1."""
    if "memory" not in paths:
        try:
            fd = posix.open(paths.get("", "") + "/memory.events", posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            return -1
        posix.read(fd, 4096)
        # A change of memory.events wakes for POLLPRI (cgroup-v2.rst, "[Un]populated Notification").
        poll.register(fd, select.POLLPRI)
        return -1
    wake_fd = posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK)
    try:
        oom_fd = posix.open(
            paths["memory"] + "/memory.oom_control", posix.O_RDONLY | posix.O_CLOEXEC
        )
        control = posix.open(
            paths["memory"] + "/cgroup.event_control", posix.O_WRONLY | posix.O_CLOEXEC
        )
        posix.write(control, f"{wake_fd} {oom_fd}".encode())
        posix.close(control)
    except OSError:
        return wake_fd
    poll.register(wake_fd, select.POLLIN)
    return wake_fd


def _drain(fd: int, wake_fd: int) -> None:
    """Make `fd` ready to wake us again: eventfds are read empty, cgroup files from their start."""
    try:
        if fd == wake_fd:
            posix.read(fd, 8)
        else:
            posix.lseek(fd, 0, 0)
            posix.read(fd, 4096)
    except OSError:
        pass
