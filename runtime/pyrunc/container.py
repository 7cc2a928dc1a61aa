"""Decides what may be done to a container in which state, and carries out start, kill and delete.

It must not make containers: `launch` does. A recorded pid counts only while its start time agrees.
"""

from __future__ import annotations

import fcntl
import posix
import select

from pyrunc import cgroup, state
from pyrunc.errors import Failure, HostFailure, StateFailure
from pyrunc.liveness import alive, open_init
from pyrunc.shim import constants as C
from pyrunc.shim import process
from pyrunc.state import DamagedRecord, StateDirectory, missing
from pyrunc.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.notify import Proxy
    from pyrunc.state import Record

ENXIO = 6
# How long a killed init may take to go: runc's hundred rounds of 100 ms.
END_WAIT_MS = 10_000
END_LOOK_MS = 100


def load(root: str, container_id: str) -> tuple[StateDirectory, Record]:
    """Return the directory, not locked, and the record of a container that is there."""
    directory = StateDirectory(root, container_id)
    record = directory.read_record()
    if record is None:
        raise missing()
    return directory, record


def load_locked(root: str, container_id: str) -> tuple[StateDirectory, Record]:
    directory = StateDirectory(root, container_id)
    directory.lock()
    record = directory.read_record()
    if record is None:
        directory.unlock()
        raise missing()
    return directory, record


def status(directory: StateDirectory, record: Record) -> str:
    """Return "creating", "created", "running", "paused" or "stopped", from what is there now."""
    if record["phase"] == "creating":
        return "creating" if _is_locked(directory) else "stopped"
    if not alive(record):
        return "stopped"
    if cgroup.is_frozen(record["cgroup_paths"]):
        return "paused"
    return "created" if _awaits_start(directory) else "running"


def _is_locked(directory: StateDirectory) -> bool:
    """Whether somebody is at work on the container: its creator, when it is in the making."""
    if directory.lock_fd >= 0:
        return False
    try:
        fd = posix.open(directory.file(state.LOCK), posix.O_RDWR | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        posix.close(fd)
    return False


def _awaits_start(directory: StateDirectory) -> bool:
    """Whether init has the exec fifo open: a fifo without reader refuses a writer (fifo(7))."""
    try:
        fd = _open_fifo(directory)
    except OSError:
        return False
    posix.close(fd)
    return True


def _open_fifo(directory: StateDirectory) -> int:
    return posix.open(
        directory.file(state.FIFO), posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
    )


def state_document(root: str, container_id: str) -> dict[str, Any]:
    """Return the state of runtime.md, "State", with runc's additions; pid 0 when stopped."""
    return document(*load(root, container_id))


def document(directory: StateDirectory, record: Record) -> dict[str, Any]:
    now = status(directory, record)
    found: dict[str, Any] = {
        "ociVersion": SPEC_VERSION,
        "id": record["id"],
        "pid": 0 if now in ("stopped", "creating") else record["init_process_pid"],
        "status": now,
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "created": record["created"],
    }
    if record["annotations"]:
        found["annotations"] = record["annotations"]
    found["owner"] = ""
    return found


def list_documents(root: str) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Return the states of all containers, `owner` being a uid, and what could not be read.

    FileNotFoundError passes where `root` is not there.
    """
    documents = []
    failures = []
    for name in state.list_ids(root):
        try:
            directory, record = load(root, name)
            found = document(directory, record)
        except Failure as failure:
            failures.append(Failure(f"load container {name}: {failure}"))
            continue
        found["owner"] = record["owner"]
        documents.append(found)
    return documents, failures


def start(root: str, container_id: str) -> None:
    """Let a created container's process run; after execve, run the poststart hooks.

    Where NOTIFY_SOCKET was set at create, return when the container has said that it is ready.
    """
    directory, record = load_locked(root, container_id)
    try:
        now = status(directory, record)
        if now == "stopped":
            raise StateFailure("cannot start a container that has stopped")
        if now == "paused":
            raise StateFailure("cannot start a paused container")
        if now != "created":
            raise StateFailure("cannot start an already running container")
        proxy = notify_proxy(directory, record)
        start_locked(directory, record)
    finally:
        directory.unlock()
    if proxy is not None:
        # Not locked, so that what waits for ever can be deleted.
        proxy.wait()


def notify_proxy(directory: StateDirectory, record: Record) -> Proxy | None:
    """Listen to what the container will say to its service manager, if it has one."""
    if not record.get("notify_socket"):
        return None
    from pyrunc import notify

    return notify.Proxy(directory, record)


def start_locked(directory: StateDirectory, record: Record) -> None:
    """Start a container in state "created"; where that fails, it is removed as a whole.

    runtime.md, "Lifecycle", steps 8 to 10: a failing startContainer or poststart hook ends it.
    """
    try:
        _release(directory)
        if "poststart" in record.get("hooks", ()):
            from pyrunc import hooks

            hooks.run_poststart(record)
    except Failure as failure:
        try:
            destroy(directory, record)
        except Failure as problem:
            failure.add_undo(problem)
        raise


def _release(directory: StateDirectory) -> None:
    """Wake init and wait until it has become the process; Failure where a hook stopped it."""
    try:
        fifo_fd = _open_fifo(directory)
    except OSError as error:
        if error.errno == ENXIO:
            raise StateFailure("cannot start a container that has stopped") from error
        raise HostFailure(error.errno or 0, "open the exec fifo") from error
    try:
        posix.write(fifo_fd, b"0")
        poll = select.poll()
        poll.register(fifo_fd, 0)
        poll.poll()
        data = _left_in(directory)
    finally:
        posix.close(fifo_fd)
    posix.unlink(directory.file(state.FIFO))
    report = process.parse_report(data) if data else None
    if report is not None:
        from pyrunc import init_report

        raise init_report.start_failure(report)


def _left_in(directory: StateDirectory) -> bytes:
    """What init has written into the fifo before it ended; the fifo keeps it while we hold it open."""
    fd = posix.open(directory.file(state.FIFO), posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        return posix.read(fd, 65536)
    except BlockingIOError:
        return b""
    finally:
        posix.close(fd)


def kill(root: str, container_id: str, signal: int, everything: bool) -> None:
    """Send a signal to init, or with `everything` to all processes of the container."""
    directory, record = load(root, container_id)
    paths = record["cgroup_paths"]
    now = status(directory, record)
    shared_pids = not record["private_pid_namespace"]
    if now in ("stopped", "creating"):
        # Without a pid namespace of its own, init's end does not end the others.
        if shared_pids and signal == C.SIGKILL and cgroup.processes(paths):
            cgroup.kill_all(paths, signal)
            return
        if everything and now == "stopped":
            return
        raise StateFailure("container not running")
    if everything or (shared_pids and signal == C.SIGKILL):
        cgroup.kill_all(paths, signal)
        return
    pid_fd = open_init(record)
    if pid_fd < 0 or not process.send_signal(pid_fd, signal):
        raise StateFailure("container not running")
    posix.close(pid_fd)
    if signal == C.SIGKILL and now == "paused":
        # Frozen tasks of cgroup v1 see SIGKILL only when they are thawed.
        cgroup.thaw(paths)


def pause(root: str, container_id: str) -> None:
    """Freeze a created or running container."""
    directory, record = load_locked(root, container_id)
    try:
        if status(directory, record) not in ("created", "running"):
            raise StateFailure("container not running")
        cgroup.freeze(record["cgroup_paths"])
    finally:
        directory.unlock()


def resume(root: str, container_id: str) -> None:
    """Let a paused container go on."""
    directory, record = load_locked(root, container_id)
    try:
        if status(directory, record) != "paused":
            raise StateFailure("container not paused")
        cgroup.thaw(record["cgroup_paths"])
    finally:
        directory.unlock()


def delete(root: str, container_id: str, force: bool) -> None:
    """Remove a stopped or created container, with `force` one in any state."""
    directory = StateDirectory(root, container_id)
    try:
        directory.lock()
    except StateFailure:
        if force:
            return
        raise
    try:
        try:
            record = directory.read_record()
        except DamagedRecord:
            if not force:
                raise
            from pyrunc import salvage

            salvage.end(directory)
            directory.remove()
            return
        if record is None:
            directory.remove()
            if force:
                return
            raise missing()
        now = status(directory, record)
        if not force and now not in ("stopped", "created"):
            raise StateFailure(f"cannot delete container {container_id} that is not stopped: {now}")
        destroy(directory, record)
    finally:
        directory.unlock()


def remove_ended(directory: StateDirectory, record: Record) -> None:
    """Remove a container whose process has ended, unless delete or checkpoint already has."""
    try:
        directory.lock()
    except StateFailure:
        return
    destroy(directory, record)


def _has_ended(record: Record, pid_fd: int) -> bool:
    """Wait for init's end; the pidfd does not tell of one that only waits for others to be reaped."""
    looks = range(0, END_WAIT_MS, END_LOOK_MS)
    return any(process.wait(pid_fd, END_LOOK_MS) or not alive(record) for _ in looks)


def destroy(directory: StateDirectory, record: Record) -> None:
    """End whatever still runs, remove cgroups and directory, run the poststop hooks."""
    paths = record["cgroup_paths"]
    pid_fd = open_init(record)
    if pid_fd >= 0:
        if process.send_signal(pid_fd, C.SIGKILL) and not process.wait(pid_fd, 0):
            if cgroup.is_frozen(paths):
                cgroup.thaw(paths)
            if not _has_ended(record, pid_fd):
                raise StateFailure("container init still running")
        posix.close(pid_fd)
    cgroup.kill_and_remove(paths, record)
    if record.get("resctrl_groups"):
        from pyrunc import resctrl

        resctrl.remove(record["resctrl_groups"])
    directory.remove()
    if "poststop" in record.get("hooks", ()):
        from pyrunc import hooks

        hooks.run_poststop(record)
