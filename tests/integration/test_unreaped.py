# SPDX-License-Identifier: Apache-2.0
"""Decides that a container ends although somebody does not wait for a process that it has brought into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make


@pytest.fixture
def visited(container: Make) -> tuple[Container, int]:
    """A running container with a process of exec, a child of the harness that nobody has waited for yet."""
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    c.exec("/bin/probe", "wait", options=["-d", "--pid-file", str(pid_file)]).ok()
    return c, int(pid_file.read_text())


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.runc_fails(
    "it waits for init, which waits for all of its pid namespace: 10 s, in vain"
)
def test_forced_delete(container: Make, visited: tuple[Container, int]) -> None:
    c, pid = visited
    c.delete(force=True).ok()
    assert not (c.root / c.id).exists()
    assert not c.all_cgroups()
    # Init is there in name alone.
    assert (state_of(pid), os.path.exists(f"/proc/{c.pid}/exe")) == ("Z", False)
    again = container()
    again.id = c.id
    again.run().ok()
    os.waitpid(pid, 0)
    assert c.wait() == 137


@pytest.mark.runc_fails("init counts as running until it can be waited for")
def test_killed_container_is_stopped(visited: tuple[Container, int]) -> None:
    c, pid = visited
    c.kill("KILL").ok()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    kernel.wait_until(lambda: c.status == "stopped", "a stopped container")
    c.delete().ok()
    assert not (c.root / c.id).exists()
    assert not c.all_cgroups()
    os.waitpid(pid, 0)
    assert c.wait() == 137


@pytest.mark.runc_fails("it takes the state of the first thread for that of the process")
def test_container_whose_first_thread_has_ended(container: Make) -> None:
    """A zombie among threads that live: the process runs on."""
    c = container("/bin/probe", "leave")
    c.create().ok()
    c.start().ok()
    c.wait_for_output("left\n")
    kernel.wait_until(lambda: state_of(c.pid) == "Z", "the end of the first thread")
    assert c.status == "running"
    c.delete().failed("is not stopped: running")
    c.kill("KILL").ok()
    assert c.wait() == 137
    assert c.status == "stopped"
