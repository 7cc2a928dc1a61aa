"""Hooks: order, namespaces, standard input, environment, timeout, failure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, programs
from harness.container import Container
from harness.signatures import Make

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
SHELL = str(programs.busybox())


def hook(script: str, **more: Any) -> dict[str, Any]:
    return {"path": SHELL, "args": ["sh", "-c", script], **more}


def record_all(c: Container, log: Path) -> None:
    """Every kind of hook writes its name, its namespace and the state it was given."""
    hooks = {}
    for kind in KINDS:
        if kind == "startContainer":
            script = f"cat >/log/{kind}.state; readlink /proc/self/ns/mnt >/log/{kind}.mnt; echo {kind} >>/log/order"
            hooks[kind] = [
                {"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
            ]
        else:
            script = (
                f"{SHELL} cat >{log}/{kind}.state; "
                f"{SHELL} readlink /proc/self/ns/mnt >{log}/{kind}.mnt; echo {kind} >>{log}/order"
            )
            hooks[kind] = [hook(script)]
    c.bundle.config["hooks"] = hooks
    c.bundle.mounts.append(
        {"destination": "/log", "type": "bind", "source": str(log), "options": ["bind"]}
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.mkdir()
    return path


@pytest.mark.runc_fails("1.1 runs poststart without waiting for the container process")
def test_order(container: Make, log: Path) -> None:
    c = container("/bin/sh", "-c", "echo process >>/log/order; exec sleep 1000")
    record_all(c, log)
    order = log / "order"
    c.create().ok()
    assert order.read_text().split() == KINDS[:3]
    c.start().ok()
    names = order.read_text().split()
    assert names[:4] == KINDS[:4]
    assert "poststart" in names
    kernel.wait_until(lambda: "process" in order.read_text(), "the process")
    c.delete(force=True).ok()
    names = order.read_text().split()
    assert sorted(names) == sorted([*KINDS, "process"])
    assert names[-1] == "poststop"


@pytest.mark.runc_fails("1.1 runs poststart with the state created")
def test_namespaces_and_states(container: Make, log: Path) -> None:
    c = container("/bin/sh", "-c", "exec sleep 1000")
    c.bundle.config["annotations"] = {"org.example": "x"}
    record_all(c, log)
    c.create().ok()
    inside = os.readlink(f"/proc/{c.pid}/ns/mnt")
    c.start().ok()
    c.delete(force=True).ok()
    mine = os.readlink("/proc/self/ns/mnt")
    spaces = {kind: (log / f"{kind}.mnt").read_text().strip() for kind in KINDS}
    assert spaces == {
        "prestart": mine, "createRuntime": mine, "createContainer": inside, "startContainer": inside,
        "poststart": mine, "poststop": mine,
    }  # fmt: skip
    for kind in KINDS:
        state = json.loads((log / f"{kind}.state").read_text())
        assert state["id"] == c.id
        assert state["bundle"] == str(c.bundle.path)
        assert state["annotations"]["org.example"] == "x"
        assert state["ociVersion"]
        if kind != "poststop":
            assert state["pid"] in ((c.pid, 1) if kind.endswith("Container") else (c.pid,)), kind
    statuses = {kind: json.loads((log / f"{kind}.state").read_text())["status"] for kind in KINDS}
    for kind in KINDS[:3]:
        assert statuses[kind] in ("creating", "created")
    assert statuses["poststart"] == "running"
    assert statuses["poststop"] == "stopped"


def test_create_runtime_sees_the_mounts_and_can_enter(container: Make, log: Path) -> None:
    """The container's namespaces exist and its root is not pivoted yet: what nvidia's hook needs."""
    c = container("/bin/true")
    script = (
        f"{SHELL} sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p' >{log}/pid; "
        f"{SHELL} ls -l /proc/$({SHELL} cat {log}/pid)/ns >{log}/ns"
    )
    c.bundle.config["hooks"] = {"createRuntime": [hook(script)]}
    c.create().ok()
    assert (log / "pid").read_text().strip() == str(c.pid)
    assert os.readlink(f"/proc/{c.pid}/ns/mnt") in (log / "ns").read_text()


def test_arguments_and_environment_are_exact(container: Make, log: Path) -> None:
    c = container("/bin/true")
    command = f"{SHELL} env >{log}/env; {SHELL} tr '\\0' '\\n' </proc/$$/cmdline >{log}/args; true"
    c.bundle.config["hooks"] = {
        "createRuntime": [
            {"path": SHELL, "args": ["sh", "-c", command, "zero", "one"], "env": ["A=1", "B=2"]}
        ]
    }
    c.run(env={"LEAK": "1"}).ok()
    names = {line.split("=")[0] for line in (log / "env").read_text().splitlines()} - {
        "PATH",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }  # the shell's own
    assert names == {"A", "B"}
    assert (log / "args").read_text().splitlines()[0] == "sh"
    assert (log / "args").read_text().splitlines()[-2:] == ["zero", "one"]


@pytest.mark.runc_fails("1.1 hands its own environment on")
def test_environment_is_empty_when_unset(container: Make, log: Path) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {
        "createRuntime": [{"path": SHELL, "args": ["sh", "-c", f"{SHELL} env >{log}/env"]}]
    }
    c.run(env={"LEAK": "1"}).ok()
    assert "LEAK" not in (log / "env").read_text()


def test_several_hooks_of_a_kind_keep_their_order(container: Make, log: Path) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {
        "createRuntime": [hook(f"echo {number} >>{log}/order") for number in range(4)]
    }
    c.run().ok()
    assert (log / "order").read_text().split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_failure_before_the_end_of_create(container: Make, log: Path, kind: str) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {
        kind: [hook("echo hook says no >&2; exit 3"), hook(f"touch {log}/second")],
        "poststop": [hook(f"touch {log}/poststop")],
    }
    result = c.create()
    assert result.status != 0
    assert "hook" in result.err
    assert "exit status 3" in result.err
    assert "hook says no" in result.err
    c.nothing_left()
    assert not (log / "second").exists()
    if c.runtime.kind == "pyrunc":  # runc calls poststop for some kinds alone
        assert (log / "poststop").exists()


def test_failure_of_start_container(container: Make) -> None:
    c = container("/bin/echo", "never")
    c.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    c.create().ok()
    result = c.start()
    if c.runtime.kind == "pyrunc":
        assert result.status != 0
    c.wait()
    assert "never" not in c.out()
    c.clean_up()


@pytest.mark.needs("runtime:pyrunc")
def test_which_start_container_hook_has_failed(container: Make) -> None:
    """`start` has no plan to look it up in: init itself tells, through the exec fifo."""
    c = container("/bin/echo", "never")
    c.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}, {"path": "/bin/false"}]}
    c.create().ok()
    c.start().failed("error running startContainer hook #1: exit status 1")
    c.nothing_left()


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_hook_that_a_signal_ends(container: Make, kind: str) -> None:
    """By the signal's description, as runc has it: a filter's SIGSYS is "bad system call"."""
    c = container("/bin/true")
    c.bundle.config["hooks"] = {kind: [{"path": SHELL, "args": ["sh", "-c", "kill -SYS $$"]}]}
    c.run().failed(f"error running {kind} hook #0: signal: bad system call")
    c.nothing_left()


@pytest.mark.runc_fails("1.1 runs poststart without waiting for the container process")
def test_failure_of_poststart(container: Make) -> None:
    c = container("/bin/probe", "wait")
    c.bundle.config["hooks"] = {"poststart": [hook("exit 3")]}
    c.create().ok()
    assert c.start().status != 0
    assert c.wait() == 137
    c.clean_up()


@pytest.mark.runc_fails(
    "the specification says that a failing poststop is a warning; runc makes delete fail"
)
def test_failure_of_poststop_is_no_failure(container: Make, log: Path) -> None:
    c = container("/bin/probe", "wait")
    c.bundle.config["hooks"] = {"poststop": [hook("exit 3"), hook(f"touch {log}/second")]}
    c.created()
    c.delete(force=True).ok()
    c.nothing_left()
    assert (log / "second").exists()


def test_timeout(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {
        "createRuntime": [{"path": SHELL, "args": ["sleep", "100"], "timeout": 1}]
    }
    result = c.create()
    assert result.status != 0
    assert "hook ran past specified timeout of 1" in result.err
    c.nothing_left()


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_hook_that_is_not_there(container: Make, kind: str) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {kind: [{"path": "/no/such/hook"}]}
    result = c.run()
    assert result.status != 0
    assert "/no/such/hook" in result.err
    if c.runtime.kind == "pyrunc":  # runc counts no hook in 1.1 where it cannot be started
        assert f"error running {kind} hook #0: " in result.err
    c.nothing_left()


@pytest.mark.runc_fails("it looks for a relative path in the bundle")
def test_relative_path_is_refused(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {"createRuntime": [{"path": "hook"}]}
    c.create().failed("/hooks/createRuntime/0")
    c.nothing_left()


def test_hook_that_does_not_read(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.config["annotations"] = {"big": "x" * 200000}
    c.bundle.config["hooks"] = {"createRuntime": [{"path": SHELL, "args": ["true"]}]}
    assert c.run().ok().out == "fine\n"


@pytest.mark.parametrize("size", [3_000, 5_000, 300_000, 3_000_000])
def test_large_state_document(container: Make, log: Path, size: int) -> None:
    """Larger than a socket's buffer, and every hook reads it whole."""
    c = container("/bin/echo", "fine")
    record_all(c, log)
    c.bundle.config["annotations"] = {"big": "x" * size}
    assert c.run().ok().out == "fine\n"
    for kind in KINDS:
        state = json.loads((log / f"{kind}.state").read_text())
        assert state["annotations"] == c.bundle.config["annotations"], kind
    c.nothing_left()


def test_hook_that_writes_much(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.config["hooks"] = {
        "createRuntime": [{"path": SHELL, "args": ["dd", "if=/dev/zero", "bs=1M", "count=2"]}]
    }
    assert c.run().ok().out == "fine\n"


def test_hook_gets_no_descriptors(container: Make, log: Path) -> None:
    c = container("/bin/true")
    script = f"{SHELL} ls /proc/$$/fd >{log}/fds; true"
    c.bundle.config["hooks"] = {
        kind: [hook(script.replace("fds", kind))] for kind in ("createRuntime", "createContainer")
    }
    c.run().ok()
    for kind in ("createRuntime", "createContainer"):
        assert set((log / kind).read_text().split()) <= {"0", "1", "2", "10"}, kind


def test_hooks_leave_no_zombie(container: Make) -> None:
    c = container()
    c.bundle.config["hooks"] = {
        kind: [hook("true")] for kind in ("prestart", "createRuntime", "createContainer")
    }
    c.created()
    children = Path(f"/proc/{c.pid}/task/{c.pid}/children").read_text().split()
    assert children == []


def test_children_of_a_hook_may_hold_its_output(container: Make, log: Path) -> None:
    """The end of the hook counts, not the end of what it leaves behind."""
    c = container("/bin/probe", "wait")
    # In the container's pid namespace they end with it; a pid that they told would be another's.
    inside = [
        {"path": "/bin/busybox", "args": ["sh", "-c", "sleep 100 & exit 0"], "env": ["PATH=/bin"]}
    ]
    outside = [hook(f"{SHELL} sleep 100 & echo $! >>{log}/left; exit 0")]
    c.bundle.config["hooks"] = {
        "createRuntime": outside,
        "createContainer": [hook(f"{SHELL} sleep 100 & exit 0")],
        "startContainer": inside,
        "poststart": outside,
    }
    begun = time.monotonic()
    c.create().ok()
    c.start().ok()
    c.delete(force=True).ok()
    elapsed = time.monotonic() - begun
    for pid in map(int, (log / "left").read_text().split()):
        if Path(f"/proc/{pid}/comm").read_text() in ("sleep\n", "busybox\n"):
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    assert elapsed < 60


@pytest.mark.needs("runtime:pyrunc")
def test_timeout_of_a_hook_that_never_stops_printing(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {
        "createRuntime": [{**hook(f"while :; do {SHELL} echo x; done"), "timeout": 1}]
    }
    c.create().failed("hook ran past specified timeout of 1.0s")
    c.nothing_left()


@pytest.mark.needs("runtime:pyrunc")
def test_output_is_told_by_stream(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.config["hooks"] = {"createRuntime": [hook("echo one; echo two >&2; exit 4")]}
    c.create().failed(
        "error running createRuntime hook #0: exit status 4, stdout: one, stderr: two"
    )


@pytest.mark.needs("runtime:pyrunc")
def test_statuses(container: Make, log: Path) -> None:
    c = container("/bin/true")
    record_all(c, log)
    c.run().ok()
    statuses = {kind: json.loads((log / f"{kind}.state").read_text())["status"] for kind in KINDS}
    assert statuses == {
        "prestart": "created", "createRuntime": "created", "createContainer": "created",
        "startContainer": "created", "poststart": "running", "poststop": "stopped",
    }  # fmt: skip
