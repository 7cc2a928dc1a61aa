"""Decides what a container's state directory holds, and how its record is written and found again.

It must not judge what a container may do next: `container` does. The order of the writes is what lets
`delete --force` remove the whole of a container whose creation was killed at any instant.
"""

from __future__ import annotations

import fcntl
import posix

from pyrunc import jsontext, output
from pyrunc.errors import HostFailure, StateFailure
from pyrunc.shim.jsonload import JsonError, json_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

ELOOP = 40
VERSION = 1
RECORD = "state.json"
CONFIG = "config.json"
FIFO = "exec.fifo"
LOCK = "lock"
NOTIFY = "notify"
# What every record has; a file may be there and of the right id, and still not be one.
_FIELDS = {
    "phase": str,
    "init_process_pid": int,
    "init_process_start": int,
    "created": str,
    "bundle": str,
    "rootfs": str,
    "annotations": dict,
    "owner": int,
    "rootless": bool,
    "cgroup_paths": dict,
    "private_pid_namespace": bool,
}
# A sibling of the containers, whose ids begin with no dot: who makes one holds a byte of it.
CGROUPS_LOCK = ".cgroups.lock"
# Everything that a state directory may contain; what else is in it is not ours to remove.
FILES = (NOTIFY, FIFO, CONFIG, RECORD, RECORD + ".new", LOCK)


class DamagedRecord(StateFailure):
    """state.json is there and cannot be read as this container's record."""


class StateDirectory:
    """One container's directory, with its lock held where `lock_fd` is not -1."""

    __slots__ = ("cgroups_fd", "container_id", "lock_fd", "path", "root")

    def __init__(self, root: str, container_id: str) -> None:
        self.container_id = container_id
        self.root = root
        self.path = f"{root}/{container_id}"
        self.lock_fd = -1
        self.cgroups_fd = -1

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    def lock(self) -> None:
        """Wait for the lock; StateFailure where the directory has gone meanwhile."""
        try:
            fd = posix.open(self.file(LOCK), posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise missing() from None
        except OSError as error:
            raise HostFailure(error.errno or 0, f'open "{self.file(LOCK)}"') from error
        fcntl.flock(fd, fcntl.LOCK_EX)
        # Who held the lock may have removed the directory, and another container may have its
        # name by now: only the file that the name still leads to counts.
        try:
            here = posix.stat(self.file(LOCK))
        except FileNotFoundError:
            here = None
        held = posix.fstat(fd)
        if here is None or (here.st_dev, here.st_ino) != (held.st_dev, held.st_ino):
            posix.close(fd)
            raise missing()
        self.lock_fd = fd

    def unlock(self) -> None:
        if self.lock_fd >= 0:
            posix.close(self.lock_fd)
            self.lock_fd = -1

    def lock_cgroups(self, paths: dict[str, str]) -> None:
        """Wait until nobody else below this root makes a container in the cgroups `paths`.

        An empty cgroup is free for the taking only until somebody has begun to. The lock is no
        directory's of cgroupfs, since whoever may read that could hold it for ever.
        """
        for path in paths.values():
            # All of them end alike. Of paths that do so by chance one waits for the other.
            start = int.from_bytes(output.encode(path)[-7:], "big")
            file = f"{self.root}/{CGROUPS_LOCK}"
            flags = posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW
            try:
                self.cgroups_fd = posix.open(file, flags, 0o600)
                fcntl.lockf(self.cgroups_fd, fcntl.LOCK_EX, 1, start)
            except OSError as error:
                raise HostFailure(error.errno or 0, f'lock "{file}"') from error
            return

    def unlock_cgroups(self) -> None:
        """Once the container's process is in its cgroups, or nothing is left of it."""
        if self.cgroups_fd >= 0:
            posix.close(self.cgroups_fd)
            self.cgroups_fd = -1

    def write_record(self, record: Record) -> None:
        """Replace state.json as a whole: a reader sees the old or the new one, never a part."""
        new = self.file(RECORD + ".new")
        write_file(new, output.encode(jsontext.dumps(record, exact=True)))
        try:
            posix.rename(new, self.file(RECORD))
        except OSError as error:
            raise HostFailure(error.errno or 0, f'rename "{new}"') from error

    def read_record(self) -> Record | None:
        """Return the record, or None where creation was killed before it was written.

        DamagedRecord where the file is not what this project has written.
        """
        path = self.file(RECORD)
        try:
            fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise missing() from None
        except OSError as error:
            if error.errno == ELOOP:
                raise DamagedRecord(f'"{path}" is damaged: it is a loop of links') from error
            raise HostFailure(error.errno or 0, f'open "{path}"') from error
        try:
            text = b""
            while chunk := posix.read(fd, 65536):
                text += chunk
        except OSError as error:
            raise DamagedRecord(f'"{path}" is damaged: it is no file to read from') from error
        finally:
            posix.close(fd)
        try:
            record: Record = json_loads(text)
        except JsonError as error:
            raise DamagedRecord(f'"{path}" is damaged: {error}') from error
        if not isinstance(record, dict) or record.get("id") != self.container_id:
            raise DamagedRecord(f'"{path}" is damaged: it is no record of this container')
        for name, kind in _FIELDS.items():
            if not isinstance(record.get(name), kind):
                raise DamagedRecord(f'"{path}" is damaged: {name} is missing or wrong')
        return record

    def exists(self) -> bool:
        try:
            posix.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HostFailure(error.errno or 0, f'look at "{self.path}"') from error
        return True

    def remove(self) -> None:
        """Remove the directory with the files that are ours, the lock last."""
        for name in FILES:
            try:
                posix.unlink(self.file(name))
            except (FileNotFoundError, NotADirectoryError):
                pass
            except IsADirectoryError:
                if name == NOTIFY:
                    self._remove_notify()
                else:
                    # Not of our making, but what bears this name is ours to remove.
                    remove_directory(self.file(name))
            except OSError as error:
                raise HostFailure(error.errno or 0, f'remove "{self.file(name)}"') from error
        remove_directory(self.path)

    def _remove_notify(self) -> None:
        from pyrunc import notify

        try:
            notify.remove_directory(self.file(NOTIFY))
        except OSError as error:
            raise HostFailure(error.errno or 0, f'remove "{self.file(NOTIFY)}"') from error


def remove_directory(path: str) -> None:
    """Remove an empty directory, which may be gone."""
    try:
        posix.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostFailure(error.errno or 0, f'remove "{path}"') from error


def missing() -> StateFailure:
    """The words that containerd and podman know a missing container by."""
    return StateFailure("container does not exist")


def claim(root: str, container_id: str) -> StateDirectory:
    """Make the directory of a new container and lock it.

    mkdir decides which of several callers gets an id; the others get StateFailure.
    """
    directory = StateDirectory(root, container_id)
    try:
        make_directory(directory.path)
    except FileNotFoundError:
        make_parents(root)
        try:
            make_directory(directory.path)
        except FileNotFoundError as error:
            # A link in `root` leads nowhere.
            what = f'make state directory "{directory.path}"'
            raise HostFailure(error.errno or 0, what) from error
    try:
        directory.lock()
    except HostFailure:
        posix.rmdir(directory.path)
        raise
    return directory


def make_directory(path: str) -> None:
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        raise StateFailure("container with given ID already exists") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HostFailure(error.errno or 0, f'make state directory "{path}"') from error


def make_parents(root: str) -> None:
    """Make the root of all state directories, 0700 with sticky bit where it is below XDG_RUNTIME_DIR.

    The sticky bit keeps systemd-tmpfiles from removing it (file-system hierarchy of XDG).
    """
    path = ""
    for part in root.strip("/").split("/"):
        path += "/" + part
        try:
            posix.mkdir(path, 0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise HostFailure(error.errno or 0, f'make directory "{path}"') from error
    runtime_directory = posix.environ.get(b"XDG_RUNTIME_DIR")
    if runtime_directory and output.encode(root).startswith(runtime_directory + b"/"):
        try:
            posix.chmod(root, 0o1700)
        except OSError as error:
            raise HostFailure(error.errno or 0, f'change mode of "{root}"') from error


def list_ids(root: str) -> list[str]:
    """Return the names of all state directories below `root`, sorted; FileNotFoundError passes."""
    try:
        names = posix.listdir(root)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HostFailure(error.errno or 0, f'read directory "{root}"') from error
    return sorted(name for name in names if name[0] != ".")


def write_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a new or emptied file; what was written of it is removed where that fails."""
    try:
        fd = posix.open(
            path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, mode
        )
    except OSError as error:
        raise HostFailure(error.errno or 0, f'create "{path}"') from error
    try:
        output.write_fd(fd, data)
    except OSError as error:
        posix.unlink(path)
        raise HostFailure(error.errno or 0, f'write "{path}"') from error
    finally:
        posix.close(fd)


def write_pid_file(path: str, pid: int) -> None:
    """Make the pid file appear whole: the digits alone, as go-runc and conmon read them."""
    directory, _slash, name = path.rpartition("/")
    new = f"{directory}/.{name}"
    try:
        fd = posix.open(new, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
        try:
            output.write_fd(fd, str(pid).encode())
            posix.rename(new, path)
        except OSError:
            posix.unlink(new)
            raise
        finally:
            posix.close(fd)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'write pid file "{path}"') from error
