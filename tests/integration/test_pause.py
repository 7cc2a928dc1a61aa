"""pause and resume."""

from __future__ import annotations

import os
import time

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Call, Make

pytestmark = pytest.mark.needs("cgroup:freezer")

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"


def paused(c: Container) -> Container:
    c.call("pause", c.id).ok()
    assert c.status == "paused"
    return c


def stands_still(c: Container) -> bool:
    """That nothing comes cannot be waited for: a moment in which it would have counted often."""
    before = c.out()
    time.sleep(0.2)
    return c.out() == before


def counting(container: Make) -> Container:
    c = container("/bin/sh", "-c", COUNT)
    c.create().ok()
    c.start().ok()
    c.wait_for_output("3\n")
    return c


def test_b15_pause_and_resume(container: Make) -> None:
    c = paused(counting(container))
    assert stands_still(c)
    before = c.out()
    result = c.call("resume", c.id).ok()
    assert (result.out, result.err) == ("", "")
    assert c.status == "running"
    kernel.wait_until(lambda: c.out() != before, "more counted")


def test_processes_of_exec_are_paused(container: Make) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    c.exec("/bin/sleep", "1000", options=["-d", "--pid-file", str(pid_file)]).ok()
    paused(c)
    frozen = [c.cgroup("freezer") / name for name in ("freezer.state", "cgroup.events")]
    text = "".join(path.read_text() for path in frozen if path.exists())
    assert "FROZEN" in text or "frozen 1" in text
    c.kill("KILL").ok()
    # Its container cannot end before somebody reaps it.
    os.waitpid(int(pid_file.read_text()), 0)


def test_created_container(container: Make) -> None:
    c = paused(container().created())
    c.call("resume", c.id).ok()
    assert c.status == "created"
    c.start().ok()


def test_twice(container: Make) -> None:
    c = paused(container().running())
    c.call("pause", c.id).failed("container not running")
    assert c.status == "paused"
    c.call("resume", c.id).ok()
    c.call("resume", c.id).failed("container not paused")


@pytest.mark.parametrize(
    ("verb", "text"), [("pause", "container not running"), ("resume", "container not paused")]
)
def test_stopped_container(container: Make, verb: str, text: str) -> None:
    c = container("/bin/true")
    c.create().ok()
    c.start().ok()
    c.wait()
    c.call(verb, c.id).failed(text)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_missing_container(call: Call, verb: str) -> None:
    call(verb, "nope").failed("container does not exist")


def test_b15_delete_of_a_paused_one(container: Make) -> None:
    """Which would give up when processes that are frozen did not end."""
    c = paused(container().running())
    c.delete().failed("cannot delete container", "that is not stopped: paused")
    c.delete(force=True).ok()
    c.nothing_left()


def test_killing_a_paused_one(container: Make) -> None:
    c = paused(container().running())
    c.kill("KILL").ok()
    assert c.wait() == 137
    assert c.status == "stopped"


def test_other_signals_wait_for_resume(container: Make) -> None:
    c = paused(container().running())
    c.kill("USR1").ok()
    assert "signal 10" not in c.out()
    c.call("resume", c.id).ok()
    c.wait_for_output("signal 10\n")


def test_start_of_a_paused_one(container: Make) -> None:
    c = paused(container().created())
    assert c.start().status != 0
    c.call("resume", c.id).ok()
    c.start().ok()
    c.wait_for_output("ready\n")
