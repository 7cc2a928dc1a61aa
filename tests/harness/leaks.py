"""Decides what a test may not leave behind; must not clean up before it has told."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from harness import kernel, lanes
from harness.lanes import Lane


def _reap() -> None:
    """Takes the status of every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


class Watch:
    """The state before a test; `complaints()` tells what is more after it.

    A network namespace outlives its processes only while something is mounted on it or has it open,
    so the mount table, the processes and the descriptors cover it.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.mounts = kernel.mountinfo()
        self.descriptors = self._descriptors()

    @staticmethod
    def _descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def _processes(self) -> list[str]:
        _reap()
        found = {*kernel.children(), *self.lane.members()} - {os.getpid()}
        return [f"{pid} {_command(pid)}" for pid in sorted(found)]

    def _changed_mounts(self) -> list[str]:
        """Who removes a directory of the machine takes what is mounted on it away, here too."""
        before, now = Counter(self.mounts), Counter(kernel.mountinfo())
        lost = [line for line in (before - now).elements() if os.path.lexists(_place(line))]
        return sorted([*(now - before).elements(), *lost])

    def complaints(self, roots: list[Path]) -> list[str]:
        found = []
        try:
            kernel.wait_until(lambda: not self._processes(), "end of processes")
        except AssertionError:
            found.append(f"processes left: {self._processes()}")
        changed = self._changed_mounts()
        if changed:
            found.append(f"mount table changed: {changed}")
        cgroups = [path for path in self.lane.ours() if Path(path).name != lanes.TOKEN]
        if cgroups:
            found.append(f"cgroups left: {cgroups}")
        for root in roots:
            states = (
                [name for name in os.listdir(root) if not name.startswith(".")]
                if root.exists()
                else []
            )
            if states:
                found.append(f"state left in {root}: {states}")
        if self._descriptors() > self.descriptors:
            found.append(f"descriptors: {self.descriptors} before, {self._descriptors()} after")
        return found

    def clean_up(self) -> None:
        """Ends what a failed test left, so that the next one starts well."""
        for top in self.lane.ours():
            frozen = Path(top, "freezer.state")
            if frozen.exists():
                frozen.write_text("THAWED")
            if Path(top, "cgroup.freeze").exists():
                Path(top, "cgroup.freeze").write_text("0")
        for pid in {*kernel.children(), *self.lane.members()} - {os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            kernel.wait_until(lambda: not self._processes(), "end of killed processes")
        except AssertionError:
            pass
        before = set(self.mounts)
        for line in reversed(kernel.mountinfo()):
            if line not in before:
                kernel.unmount(_place(line), kernel.MNT_DETACH)
        lanes.remove([path for path in self.lane.ours() if Path(path).name != lanes.TOKEN])


def _place(line: str) -> str:
    """The mount point in a line of `kernel.mountinfo`, whose octal escapes stand for bytes."""
    text = line.split()[2].encode().decode("unicode_escape")
    return os.fsdecode(text.encode("latin-1"))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "?"
