"""Decides what the cgroup hierarchies of this machine and lane are; must not change them except below its token."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Of one length, so that the token of a session is never the beginning of another one's.
TOKEN = f"pyrunc-test-{os.getpid():07}"


def _mounts() -> list[tuple[Path, str, set[str]]]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        device, target = before.split()[2], Path(before.split()[4])
        if not _visible(target, device):
            continue
        if kind in ("cgroup", "cgroup2") and ROOT in (target, *target.parents):
            found.append((target, kind, set(options.split(","))))
    return found


def _visible(target: Path, device: str) -> bool:
    """Whether the path still leads to this mount, and not to one above it."""
    try:
        found = target.stat().st_dev
    except OSError:
        return False
    return device == f"{os.major(found)}:{os.minor(found)}"


class Lane:
    """Which cgroup version is visible, and where the files of a controller are."""

    def __init__(self) -> None:
        self.hierarchies: dict[str, Path] = {}
        self.unified: Path | None = None
        for target, kind, options in _mounts():
            if kind == "cgroup2":
                self.unified = target
                continue
            for option in options - {"rw", "ro", "xattr", "none"}:
                self.hierarchies[option] = target
        if self.unified is None:
            self.mode = "v1" if self.hierarchies else "none"
        else:
            self.mode = "hybrid" if self.hierarchies else "v2"
        self.name = os.environ.get("PYRUNC_TEST_LANE", self.mode)

    def version_of(self, controller: str) -> int:
        """1 or 2, or 0 where this lane does not have the controller."""
        if controller in self.hierarchies:
            return 1
        if self.unified is None:
            return 0
        implicit = {"devices": self.mode == "v2", "freezer": self.mode == "v2"}
        if controller in implicit:
            return 2 if implicit[controller] else 0
        return 2 if controller in (self.unified / "cgroup.controllers").read_text().split() else 0

    def directory(self, controller: str, cgroup: str) -> Path:
        """Where the files of `controller` are for the cgroup path `cgroup` (as in config.json)."""
        top = self.hierarchies.get(controller, self.unified)
        assert top is not None, f"no hierarchy for {controller}"
        return top / cgroup.lstrip("/")

    def tops(self) -> list[Path]:
        """Mount points of all hierarchies."""
        unified = [self.unified] if self.unified else []
        return sorted({*self.hierarchies.values(), *unified})

    def ours(self) -> list[str]:
        """Every cgroup directory that carries the token of this session, deepest first."""
        # Not os.walk, which recurses: the cgroups of others can be nested as deep as they like.
        found, left = set(), [str(top) for top in self.tops()]
        while left:
            below = _subdirectories(left.pop())
            found.update(path for path in below if TOKEN in path)
            left.extend(path for path in below if not path.endswith("/process_api"))
        return sorted(found, key=len, reverse=True)

    def members(self) -> set[int]:
        """Processes in cgroups of this session."""
        found = set()
        for directory in self.ours():
            try:
                found.update(
                    int(pid) for pid in Path(directory, "cgroup.procs").read_text().split()
                )
            except OSError:
                continue
        return found


def _subdirectories(path: str) -> list[str]:
    """None where it is gone by now, or where its path is too long to be one."""
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def remove(directories: list[str]) -> None:
    """Removes cgroup directories that no process is in; keeps others."""
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            continue
