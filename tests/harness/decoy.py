"""Decides what a host directory must keep: every name, type, mode, owner and content in it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """Each path below `top` with what an intruder could change of it."""
    found: dict[str, tuple[object, ...]] = {".": _facts(top)}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = Path(directory, name)
            found[str(path.relative_to(top))] = _facts(path)
    return found


def _facts(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    content = ""
    if stat.S_ISREG(info.st_mode):
        content = digest(path)
    elif stat.S_ISLNK(info.st_mode):
        content = os.readlink(path)
    return (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, content)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Decoy:
    """A host directory with tempting names; `untouched()` asserts that it is as it was made."""

    NAMES = ("null", "ptmx", "console", "pts", "shm", "mqueue", "fd", "stdin", "core", "self")

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "secret").write_text("secret of the host\n")
        (path / "ptmx").write_text("a file of the host\n")
        (path / "sub").mkdir()
        (path / "sub/null").write_text("another file of the host\n")
        self.before = snapshot(path)

    def untouched(self) -> None:
        assert snapshot(self.path) == self.before, "the host's directory has changed"
