"""--cgroup-manager disabled: the container stays in the cgroups of its caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.container import Container
from harness.signatures import Make

pytestmark = pytest.mark.needs("runtime:pyrunc")


@pytest.fixture
def disabled(container: Make) -> Container:
    c = container()
    c.globals = ("--cgroup-manager", "disabled")
    return c


def test_the_cgroups_are_those_of_the_caller(disabled: Container) -> None:
    c = disabled.running()
    own = Path("/proc/self/cgroup").read_text()
    assert Path(f"/proc/{c.pid}/cgroup").read_text() == own
    assert c.exec("cat", "/proc/self/cgroup").ok().out == own
    assert c.all_cgroups() == []
    c.kill("KILL").ok()
    c.wait()
    assert c.status == "stopped"
    c.delete().ok()


def test_delete_by_force(disabled: Container) -> None:
    c = disabled.running()
    c.delete(force=True).ok()
    assert c.wait() == 128 + 9


def test_limits_are_refused(disabled: Container) -> None:
    disabled.bundle.resources["pids"] = {"limit": 5}
    disabled.create().failed("/linux/resources/pids", "no limits without a cgroup manager")
    disabled.nothing_left()


def test_what_needs_a_cgroup_is_refused(disabled: Container) -> None:
    c = disabled.running()
    c.call("pause", c.id).failed("pause")
    assert c.call("update", "--pids-limit", "7", c.id).status != 0
    assert c.status == "running"
