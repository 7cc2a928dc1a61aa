"""SIGKILL of the runtime at any instant of create leaves nothing, or what `delete --force` removes whole."""

from __future__ import annotations

import random
import signal
import subprocess
import time

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make, Popen

MOMENTS = 200
SEED = 20260101


def begin(c: Container, popen: Popen, verb: str = "create") -> subprocess.Popen[bytes]:
    c.bundle.write()
    arguments = ["--root", str(c.root), verb, "--bundle", str(c.bundle.path)]
    return popen(
        [*arguments, *(["-d"] if verb == "run" else []), c.id],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def duration(container: Make, popen: Popen) -> float:
    """Seconds that one undisturbed create takes here."""
    taken = []
    for _ in range(5):
        c = container("/bin/probe", "wait")
        start = time.monotonic()
        process = begin(c, popen)
        assert process.wait(kernel.PATIENCE) == 0
        taken.append(time.monotonic() - start)
        c.call("delete", "--force", c.id).ok()
    return sorted(taken)[2]


def remove(c: Container) -> None:
    """What a caller does after the death of its runtime."""
    c.call("delete", "--force", c.id).ok()
    c.nothing_left()
    kernel.wait_until(lambda: not c.lane.members(), f"end of the processes {c.lane.members()}")
    c.call("state", c.id).failed("does not exist")


def with_everything(c: Container) -> Container:
    """More work between the first and the last system call."""
    c.bundle.namespace("network")
    c.bundle.namespace("cgroup")
    c.bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/true"}],
        "createContainer": [{"path": "/bin/true"}],
    }
    c.bundle.resources["hugepageLimits"] = []
    return c


@pytest.mark.runc_fails(
    "it records the container late, so that a death before leaks cgroups and processes"
)
@pytest.mark.parametrize("part", range(4))
def test_killed_at_random_moments(container: Make, popen: Popen, part: int) -> None:
    whole = duration(container, popen)
    moments = random.Random(SEED + part)
    wanted = MOMENTS // 4
    died = 0
    for _ in range(4 * wanted):
        c = container("/bin/probe", "wait")
        if part % 2:
            with_everything(c)
        start = time.monotonic()
        process = begin(c, popen)
        try:
            process.wait(moments.uniform(0, whole))
            # The machine's pace changes: the moments follow it.
            whole = time.monotonic() - start
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            whole *= 1.02
        died += process.wait() == -signal.SIGKILL
        remove(c)
        if died == wanted:
            break
    assert died == wanted, f"only {died} creates were killed in time"


@pytest.mark.runc_fails(
    "it records the container late, so that a death before leaks cgroups and processes"
)
def test_same_id_after_each_death(container: Make, popen: Popen) -> None:
    """The id is free again, and the cgroup is not taken for another container's."""
    c = container("/bin/probe", "wait")
    whole = duration(container, popen)
    moments = random.Random(SEED)
    for _ in range(20):
        process = begin(c, popen)
        try:
            process.wait(moments.uniform(0, whole))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        c.call("delete", "--force", c.id).ok()
    c.create().ok()
    c.start().ok()
    c.wait_for_output("ready")


def test_run_killed_in_the_foreground(container: Make, popen: Popen) -> None:
    """A container whose `run` died can be seen and removed."""
    c = container("/bin/probe", "wait")
    c.bundle.write()
    process = popen(["--root", str(c.root), "run", "--bundle", str(c.bundle.path), c.id])
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert c.status in ("running", "stopped")
    remove(c)


@pytest.mark.parametrize("verb", ["start", "kill", "delete"])
def test_other_verbs_killed_at_random_moments(container: Make, popen: Popen, verb: str) -> None:
    moments = random.Random(SEED)
    for _ in range(12):
        c = container().created()
        words = {"start": [c.id], "kill": [c.id, "KILL"], "delete": ["--force", c.id]}[verb]
        process = popen(["--root", str(c.root), verb, *words])
        try:
            process.wait(moments.uniform(0, 0.02))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        remove(c)


def test_terminated_create_leaves_nothing(container: Make, popen: Popen) -> None:
    """SIGTERM ends create too; what is left is removable."""
    moments = random.Random(SEED)
    for _ in range(12):
        c = container("/bin/probe", "wait")
        process = begin(c, popen)
        time.sleep(moments.uniform(0, 0.02))
        process.send_signal(signal.SIGTERM)
        process.wait(kernel.PATIENCE)
        remove(c)
