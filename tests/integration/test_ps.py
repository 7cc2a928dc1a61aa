"""ps: the processes of a container."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Call, Make


def listed(c: Container) -> list[int]:
    result = c.call("ps", "--format", "json", c.id).ok()
    assert result.err == ""
    assert result.out.count("\n") == 1
    return json.loads(result.out) or []


def test_b11_json(container: Make) -> None:
    """In the caller's pid namespace, with those of exec and their children."""
    c = container().running()
    assert listed(c) == [c.pid]
    pid_file = c.bundle.path / "exec.pid"
    script = "sleep 1000 & sleep 1000; true"
    c.exec("/bin/sh", "-c", script, options=["-d", "--pid-file", str(pid_file)]).ok()
    pid = int(pid_file.read_text())
    kernel.wait_until(lambda: len(listed(c)) == 4, "both children")
    assert {c.pid, pid} < set(listed(c))
    c.kill("KILL").ok()
    os.waitpid(pid, 0)


def test_b11_cgroups_below(container: Make) -> None:
    c = container().running()
    below = [path / "below" for path in c.all_cgroups()]
    pid_file = c.bundle.path / "exec.pid"
    c.exec("/bin/sleep", "1000", options=["-d", "--pid-file", str(pid_file)]).ok()
    pid = int(pid_file.read_text())
    for path in below:
        path.mkdir()
        if (path / "cpuset.cpus").exists():
            for name in ("cpuset.cpus", "cpuset.mems"):
                (path / name).write_text((path.parent / name).read_text())
        (path / "cgroup.procs").write_text(str(pid))
    assert listed(c) == sorted([c.pid, pid])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_table(container: Make) -> None:
    c = container().running()
    lines = c.call("ps", c.id).ok().out.splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"]
    assert [line.split()[1] for line in lines[1:]] == [str(c.pid)]
    assert "/bin/probe wait" in lines[1]


@pytest.mark.parametrize("options", [["-o", "pid,args"], ["-aux"], ["-e", "-o", "user,pid"]])
def test_options_of_ps(container: Make, options: list[str]) -> None:
    c = container().running()
    header, *lines = c.call("ps", c.id, *options).ok().out.splitlines()
    column = header.split().index("PID")
    assert [int(line.split()[column]) for line in lines] in ([c.pid], [])


def test_column_that_is_missing(container: Make) -> None:
    container().running().call("ps", container().id).failed("does not exist")
    c = container().running()
    c.call("ps", c.id, "-o", "args").failed("couldn't find PID field in ps output")


def test_options_that_ps_refuses(container: Make) -> None:
    c = container().running()
    assert c.call("ps", c.id, "--no-such-option").status == 1


def test_format_that_is_none(container: Make) -> None:
    c = container().running()
    c.call("ps", "--format", "xml", c.id).failed("invalid format option")


def test_stopped_container(container: Make) -> None:
    c = container("/bin/true")
    c.create().ok()
    c.start().ok()
    c.wait()
    assert listed(c) == []
    result = c.call("ps", c.id).ok()
    assert len(result.out.splitlines()) <= 1


def test_missing_container(call: Call) -> None:
    call("ps", "nope").failed("container does not exist")


@pytest.mark.needs("runtime:pyrunc")
def test_without_ps(container: Make, tmp_path: Path) -> None:
    c = container().running()
    c.call("ps", c.id, env={"PATH": str(tmp_path)}).failed("run ps")
