"""Decides how the processes of a container's cgroups are found, frozen, signalled and cleared away.

It must not create or limit: `apply` does. Every function takes the recorded paths: {controller:
directory}, "" for v2. A directory that is gone counts as empty.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrunc.cgroup.files import link_count, read_file, read_or_empty, write_file
from pyrunc.errors import HostFailure, StateFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Paths = Mapping[str, str]

# Where the processes are read: any hierarchy has them all, these are on most machines.
_PREFERRED = ("devices", "pids", "freezer", "memory", "name=systemd", "")

_GONE = (errno.ENOENT, errno.ENODEV)
_FREEZE_SECONDS = 5.0
_REMOVE_SECONDS = 10.0
_SHORTEST, _LONGEST = 0.0005, 0.05
_SIGKILL = 9


def exists(paths: Paths) -> bool:
    """Tell whether any of the directories is there."""
    return any(link_count(path) for path in _directories(paths))


def processes(paths: Paths, recursive: bool = True) -> list[int]:
    """Return the ids, sorted and in the runtime's pid namespace, of the processes in the cgroup.

    `recursive`: those of all cgroups below as well, which a container can make for itself.
    """
    path = _process_directory(paths)
    return sorted(_collect(path, recursive)) if path else []


def is_empty(paths: Paths) -> bool:
    """Tell whether no living process is in any of the cgroups or below them."""
    return not any(_is_populated(path) for path in _directories(paths))


def is_frozen(paths: Paths) -> bool:
    """Tell whether the cgroup was asked to freeze, by `freeze` or by anyone else."""
    if "freezer" in paths:
        return read_or_empty(paths["freezer"] + "/freezer.state").strip() in ("FROZEN", "FREEZING")
    if "" in paths:
        return read_or_empty(paths[""] + "/cgroup.freeze").strip() == "1"
    return False


def freeze(paths: Paths) -> None:
    """Freeze the cgroup and wait until every process in it stands still.

    HostFailure where that does not happen within 5 s; the cgroup is thawed again then.
    """
    try:
        frozen = _freeze_v1(paths["freezer"]) if "freezer" in paths else _freeze_v2(_unified(paths))
    except OSError as error:
        raise HostFailure(error.errno or 0, "freeze the container's cgroup") from error
    if not frozen:
        thaw(paths)
        raise HostFailure(errno.EBUSY, "freeze the container's cgroup: a process does not stop")


def thaw(paths: Paths) -> None:
    """Let a frozen cgroup go on; nothing happens to one that is not frozen."""
    try:
        if "freezer" in paths:
            write_file(paths["freezer"] + "/freezer.state", "THAWED")
        else:
            write_file(_unified(paths) + "/cgroup.freeze", "0")
    except OSError as error:
        if error.errno not in _GONE:
            raise HostFailure(error.errno or 0, "thaw the container's cgroup") from error


def kill_all(paths: Paths, signal: int) -> None:
    """Send `signal` to every process in the cgroup and below it.

    SIGKILL reaches also those of a frozen cgroup, which it thaws, and those that are forked
    meanwhile. Another signal is sent while the cgroup stands still, and leaves a frozen one frozen.
    """
    if signal == _SIGKILL and "" in paths and _kill_v2(paths[""]) and len(paths) == 1:
        return
    was_frozen = is_frozen(paths)
    try:
        if not was_frozen:
            freeze(paths)
        frozen = True
    except HostFailure:
        frozen = False
    try:
        _signal_each(processes(paths), signal)
    finally:
        if frozen and (signal == _SIGKILL or not was_frozen):
            thaw(paths)
    if not frozen and signal == _SIGKILL:
        _wait(lambda: not _signal_each(processes(paths), signal), 1.0)


def wait_empty(paths: Paths, seconds: float) -> bool:
    """Wait until no process is left in the cgroups; False when `seconds` have passed before."""
    if list(paths) == [""]:
        return _wait_event(paths[""], "populated 0", seconds)
    return _wait(lambda: is_empty(paths), seconds)


def remove(paths: Paths) -> None:
    """Remove the cgroups with all cgroups below them; their parents stay.

    A process that was killed a moment ago can still be on its way out, so a busy one is tried
    again, up to 10 s in all. HostFailure when it is not empty then; all others are removed all the
    same.
    """
    deadline = time.monotonic() + _REMOVE_SECONDS
    failure: HostFailure | None = None
    for path in _directories(paths):
        try:
            _remove_tree(path, deadline)
        except OSError as error:
            left = len(_read_procs(path))
            text = f"remove cgroup {path}" + (f" with {left} process(es) in it" if left else "")
            failure = failure or HostFailure(error.errno or 0, text)
    if failure is not None:
        raise failure


def remove_unused(paths: Paths) -> None:
    """Remove those of the directories that are empty, at once, and leave all others as they are."""
    for path in _directories(paths):
        try:
            posix.rmdir(path)
        except OSError:
            continue


def check_unused(paths: Paths, origin: str = "") -> None:
    """Refuse cgroups that exist and are somebody's: with processes in them, or frozen.

    StateFailure. The words are runc's, which its callers look for.
    """
    for name, path in paths.items():
        if not link_count(path):
            continue
        count = len(set(_read_all_procs(path)))
        if count:
            text = f"container's cgroup is not empty: {count} process(es) found"
            raise StateFailure(text, subject=path, pointer=origin)
        if is_frozen({name: path}):
            text = "container's cgroup unexpectedly frozen"
            raise StateFailure(text, subject=path, pointer=origin)


def oom_killed(paths: Paths) -> bool:
    """Tell whether the kernel has killed a process of the cgroup for want of memory.

    Both memory.events of v2 and memory.oom_control of v1 count that in a line "oom_kill N".
    """
    if "memory" in paths:
        text = read_or_empty(paths["memory"] + "/memory.oom_control")
    else:
        text = read_or_empty(paths.get("", "") + "/memory.events")
    for line in text.split("\n"):
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return count != "0"
    return False


def _directories(paths: Paths) -> list[str]:
    """Return each directory once: controllers that are mounted together share theirs."""
    return list(dict.fromkeys(paths.values()))


def _process_directory(paths: Paths) -> str:
    for name in _PREFERRED:
        if name in paths:
            return paths[name]
    return next(iter(paths.values()), "")


def _unified(paths: Paths) -> str:
    if "" not in paths:
        raise OSError(errno.EOPNOTSUPP, "no freezer")
    return paths[""]


def _read_all_procs(path: str) -> list[str]:
    """Return the lines of cgroup.procs of `path` and of all cgroups below it."""
    found = _read_procs(path)
    if _has_children(path):
        from pyrunc.cgroup import nested

        found += nested.read_processes(path)
    return found


def _has_children(path: str) -> bool:
    # kernfs counts the directories in a directory as links to it: most cgroups need no second look.
    return link_count(path) > 2


def _collect(path: str, recursive: bool) -> set[int]:
    lines = _read_all_procs(path) if recursive else _read_procs(path)
    result = {int(line) for line in lines}
    # 0 stands for a process that this pid namespace does not see (cgroups(7)).
    result.discard(0)
    return result


def _read_procs(path: str) -> list[str]:
    try:
        return read_file(path + "/cgroup.procs").split()
    except OSError as error:
        if error.errno in _GONE:
            return []
        # A threaded cgroup (v2) has threads only; its processes are listed in the domain above.
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise HostFailure(error.errno or 0, f"read the processes of cgroup {path}") from error


def _is_populated(path: str) -> bool:
    events = read_or_empty(path + "/cgroup.events")
    if events:
        return "populated 1" in events
    return bool(_read_all_procs(path))


def _freeze_v1(path: str) -> bool:
    """Freeze by freezer.state: a process that is just being forked can hold it at FREEZING, until
    the state is written once more (kernel documentation, freezer-subsystem)."""
    file = path + "/freezer.state"
    attempts = 0

    def is_done() -> bool:
        nonlocal attempts
        attempts += 1
        if attempts % 20 == 0:
            write_file(file, "THAWED")
        write_file(file, "FROZEN")
        return read_file(file).strip() == "FROZEN"

    return _wait(is_done, _FREEZE_SECONDS)


def _freeze_v2(path: str) -> bool:
    write_file(path + "/cgroup.freeze", "1")
    return _wait_event(path, "frozen 1", _FREEZE_SECONDS)


def _kill_v2(path: str) -> bool:
    """Kill by cgroup.kill (Linux 5.14): atomic, and frozen processes die as well."""
    try:
        write_file(path + "/cgroup.kill", "1")
    except OSError as error:
        # EOPNOTSUPP: a threaded cgroup cannot be killed as a whole.
        if error.errno in (*_GONE, errno.EOPNOTSUPP, errno.EACCES):
            return False
        raise HostFailure(error.errno or 0, f"kill the processes of cgroup {path}") from error
    return True


def _signal_each(pids: list[int], signal: int) -> list[int]:
    for pid in pids:
        try:
            posix.kill(pid, signal)
        except ProcessLookupError:
            continue
        except OSError as error:
            raise HostFailure(error.errno or 0, f"send signal {signal} to process {pid}") from error
    return pids


def _remove_tree(path: str, deadline: float) -> None:
    pause = _SHORTEST
    emptied = False
    while True:
        try:
            posix.rmdir(path)
            return
        except OSError as error:
            if error.errno in _GONE:
                return
            if error.errno != errno.EBUSY:
                raise
            if not emptied and _has_children(path):
                from pyrunc.cgroup import nested

                nested.remove(path)
                emptied = True
                continue
            if time.monotonic() >= deadline:
                raise
        emptied = False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)


def _wait(is_done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    pause = _SHORTEST
    while not is_done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)
    return True


def _wait_event(path: str, line: str, seconds: float) -> bool:
    """Wait until cgroup.events has `line`; a change of it wakes a poll(2) for POLLPRI."""
    import select

    try:
        fd = posix.open(path + "/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return True
        raise
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + seconds
        while True:
            if line in posix.pread(fd, 4096, 0).decode().split("\n"):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
    except OSError as error:
        if error.errno in _GONE:
            return True
        raise
    finally:
        posix.close(fd)
