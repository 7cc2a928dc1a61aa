"""Decides how a test is an ordinary user of this machine; must not know what a call means."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import kernel
from harness.bundle import Bundle
from harness.container import Container
from harness.lanes import Lane
from harness.runtime import Result, Runtime

NAME = "pyrunc-tester"
SUBORDINATE = 300000
COUNT = 65536


@dataclass(frozen=True)
class User:
    """An ordinary user with subordinate ids; `cgroup` is where its processes are to be, if anywhere."""

    uid: int
    gid: int
    cgroup: Path | None = None

    def become(self) -> Callable[[], None]:
        """For the child between fork and execve."""

        def switch() -> None:
            if self.cgroup:
                (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)

        return switch

    def mappings(self) -> dict[str, Any]:
        """Root is the user; the rest is subordinate."""
        return {
            key: [
                {"containerID": 0, "hostID": own, "size": 1},
                {"containerID": 1, "hostID": SUBORDINATE, "size": COUNT},
            ]
            for key, own in (("uidMappings", self.uid), ("gidMappings", self.gid))
        }


def add_user(work: Path) -> User:
    """Makes a user in a copy of /etc that this mount namespace alone sees."""
    copy = work / "etc"
    shutil.copytree("/etc", copy, symlinks=True)
    kernel.mount(str(copy), "/etc", flags=kernel.MS_BIND)
    subprocess.run(
        ["useradd", "--no-create-home", "--uid", "7001", "--user-group", NAME], check=True
    )
    for name in ("subuid", "subgid"):
        Path("/etc", name).write_text(f"{NAME}:{SUBORDINATE}:{COUNT}\n")
    line = next(
        entry for entry in Path("/etc/passwd").read_text().splitlines() if entry.startswith(NAME)
    )
    uid, gid = (int(field) for field in line.split(":")[2:4])
    return User(uid, gid)


def remove_user() -> None:
    kernel.unmount("/etc", kernel.MNT_DETACH)


class UserContainer(Container):
    """A container that an ordinary user makes, with its state in $XDG_RUNTIME_DIR."""

    def __init__(
        self,
        runtime: Runtime,
        root: Path,
        container_id: str,
        bundle: Bundle,
        lane: Lane,
        work: Path,
        user: User,
    ) -> None:
        super().__init__(runtime, root, container_id, bundle, lane, work)
        self.user = user
        self.variables: dict[str, str] = {"XDG_RUNTIME_DIR": str(root.parent)}
        linux = bundle.linux
        linux.update(user.mappings())
        bundle.namespace("user")
        del linux["cgroupsPath"]
        self.give()

    def single(self) -> UserContainer:
        """With the user's own ids alone."""
        for mappings in (self.bundle.linux["uidMappings"], self.bundle.linux["gidMappings"]):
            del mappings[1:]
        for entry in self.bundle.mounts:
            entry["options"] = [option for option in entry.get("options", []) if option != "gid=5"]
        return self

    def give(self) -> None:
        """Makes the user own the bundle, and lets it get there."""
        for directory, names, files in os.walk(self.bundle.path):
            for name in [*names, *files, "."]:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.stat(path).st_nlink > 1:
                    continue
                os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)

    def call(self, *arguments: str, **options: Any) -> Result:
        self.calls += 1
        directory = self.work / f"{self.id}.{self.calls}"
        options.setdefault("preexec_fn", self.user.become())
        options.setdefault("env", self.variables)
        return self.runtime.call(*self.globals, *arguments, directory=directory, **options)

    def all_cgroups(self) -> list[Path]:
        return [Path(path) for path in self.lane.ours() if self.id in path]

    def _bring_up(self, verb: str, *options: str, **rest: Any) -> Result:
        self.give()
        return super()._bring_up(verb, *options, **rest)
