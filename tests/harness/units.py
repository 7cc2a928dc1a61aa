"""Decides how tests see and make units of systemd; must not know the runtime."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path

from harness import lanes
from harness.container import Container


def systemctl(*arguments: str, user: str = "") -> subprocess.CompletedProcess[str]:
    """Runs systemctl for the system's manager, or for that of `user`."""
    command = ["systemctl", *arguments]
    if user:
        # Not by --machine, whose session would end the manager with itself. The directory of the user
        # came after the mounts that the tests have.
        directory = f"XDG_RUNTIME_DIR=/run/user/{pwd.getpwnam(user).pw_uid}"
        command[1:1] = ["--user"]
        command[:0] = ["nsenter", "-t", "1", "-m", "runuser", "-u", user, "--", "env", directory]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def show(unit: str, *names: str, user: str = "") -> dict[str, str]:
    """Properties of a unit, as `systemctl show` prints them."""
    wanted = [f"--property={name}" for name in names]
    done = systemctl("show", *wanted, unit, user=user)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def is_there(unit: str, user: str = "") -> bool:
    """Whether the manager has the unit loaded, in whatever state."""
    done = systemctl("list-units", "--all", "--plain", "--no-legend", unit, user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() != ""


class UnitContainer:
    """What the tests ask of a container that is a unit: its name and its cgroups."""

    def __init__(self, container: Container, above: str = "system.slice", prefix: str = "") -> None:
        self.container = container
        self.prefix = prefix or lanes.TOKEN
        self.place(above)

    def place(self, above: str, name: str = "") -> None:
        name = name or self.container.id.removeprefix(lanes.TOKEN + "-")
        self.container.bundle.linux["cgroupsPath"] = f"{above}:{self.prefix}:{name}"
        self.container.globals = ("--systemd-cgroup",)
        self.unit = f"{self.prefix}-{name}.scope"

    def cgroup(self, controller: str) -> Path:
        """Where the kernel's files are: where init is."""
        return self.container.lane.directory(controller, self.path())

    def path(self) -> str:
        for line in Path(f"/proc/{self.container.pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names in ("", "name=systemd") and path != "/":
                return path
        raise AssertionError("init is in no cgroup")
