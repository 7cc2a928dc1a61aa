"""Containers of an ordinary user as units of the user's own systemd."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, lanes
from harness.container import Container
from harness.lanes import Lane
from harness.rootless import User, UserContainer
from harness.runtime import Runtime
from harness.signatures import Make
from harness.units import is_there, show

pytestmark = [pytest.mark.needs("systemd", "cgroup2", "runtime:pyrunc", "program:runuser")]

Attach = Callable[[], None]


class Session:
    """The systemd of a user of this machine, and where others see its sockets."""

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name = entry.pw_name
        self.user = User(entry.pw_uid, entry.pw_gid)
        self.variables = {"XDG_RUNTIME_DIR": f"/run/user/{entry.pw_uid}"}

    def become(self) -> Attach:
        """The tests have mounts of their own, and the user's directory came later."""
        switch = self.user.become()

        def enter() -> None:
            fd = os.open("/proc/1/ns/mnt", os.O_RDONLY)
            kernel.setns(fd, kernel.CLONE_NEWNS)
            os.close(fd)
            switch()

        return enter


def _someone() -> pwd.struct_passwd | None:
    for line in Path("/etc/subuid").read_text().splitlines():
        try:
            entry = pwd.getpwnam(line.split(":")[0])
        except KeyError:
            continue
        if entry.pw_uid:
            return entry
    return None


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    if not Path("/run/systemd/system").is_dir():
        pytest.skip("pid 1 is not systemd")
    entry = _someone()
    if entry is None:
        pytest.skip("no user of /etc/subuid is a user of this machine")
    service = f"user@{entry.pw_uid}.service"
    was_active = subprocess.run(["systemctl", "-q", "is-active", service], check=False)
    subprocess.run(["systemctl", "start", service], check=True, timeout=60)
    yield Session(entry)
    if was_active.returncode != 0:
        subprocess.run(["systemctl", "stop", service], check=True, timeout=60)


class UserUnit(UserContainer):
    """A container in the slice of its user."""

    def __init__(self, *arguments: Any, session: Session) -> None:
        super().__init__(*arguments, session.user)
        self.session = session
        self.variables = dict(session.variables)
        self.globals = ("--root", str(self.root), "--systemd-cgroup")
        name = self.id.removeprefix(lanes.TOKEN + "-")
        self.bundle.linux["cgroupsPath"] = f":{lanes.TOKEN}:{name}"
        self.unit = f"{lanes.TOKEN}-{name}.scope"
        self.single()

    def call(self, *arguments: str, **options: Any) -> Any:
        options.setdefault("preexec_fn", self.session.become())
        return super().call(*arguments, **options)

    def path(self) -> str:
        return Path(f"/proc/{self.pid}/cgroup").read_text().strip().removeprefix("0::")


@pytest.fixture
def unit(container: Make, runtime: Runtime, lane: Lane, session: Session) -> Iterator[UserUnit]:
    made: Container = container()
    root = made.bundle.path / "root"
    one = UserUnit(runtime, root, made.id, made.bundle, lane, made.work, session=session)
    yield one
    one.clean_up()


def test_life(unit: UserUnit, session: Session) -> None:
    unit.bundle.resources["pids"] = {"limit": 31}
    unit.running()
    service = f"/user.slice/user-{session.user.uid}.slice/user@{session.user.uid}.service"
    assert unit.path() == f"{service}/user.slice/{unit.unit}"
    assert show(unit.unit, "TasksMax", user=session.name) == {"TasksMax": "31"}
    assert Path(f"/sys/fs/cgroup{unit.path()}/pids.max").read_text() == "31\n"
    unit.call("update", "--pids-limit", "37", unit.id).ok()
    assert show(unit.unit, "TasksMax", user=session.name) == {"TasksMax": "37"}
    # The caller is in no cgroup of the user's systemd, which has to move the process.
    assert unit.exec("cat", "/proc/self/cgroup").ok().out == f"0::{unit.path()}\n"
    unit.call("pause", unit.id).ok()
    assert unit.status == "paused"
    unit.delete(force=True).ok()
    kernel.wait_until(lambda: not is_there(unit.unit, session.name), "end of the unit", 10.0)


def test_without_the_manager(unit: UserUnit) -> None:
    unit.variables = {"XDG_RUNTIME_DIR": "/nowhere"}
    unit.create().failed("the user's systemd cannot be reached")
    unit.variables = {}
    unit.create().failed("the user's systemd cannot be found")
    unit.nothing_left()


def test_what_is_left_when_the_manager_cannot_be_reached(unit: UserUnit, session: Session) -> None:
    """A user who has logged out: the unit ends with its last process."""
    unit.running()
    unit.variables = {"XDG_RUNTIME_DIR": "/nowhere"}
    unit.delete(force=True).ok()
    unit.variables = dict(session.variables)
    kernel.wait_until(lambda: not is_there(unit.unit, session.name), "end of the unit", 10.0)
