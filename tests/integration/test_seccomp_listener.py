"""Seccomp with a listener: an agent that answers for system calls gets the filter's descriptor."""

from __future__ import annotations

import errno
import platform
from pathlib import Path
from typing import Any

import pytest

from conftest import Make
from harness import kernel, seccomp_agent
from harness.container import Container, error_number
from harness.seccomp_agent import Agent

pytestmark = pytest.mark.needs("kernel:5.9")

X86_64 = platform.machine() == "x86_64"
GETPPID = 110 if X86_64 else 173


def listening(container: Make, path: Path, *names: str, **more: Any) -> Container:
    c = container("/bin/probe", "syscall", str(GETPPID))
    rule = {"names": list(names), "action": "SCMP_ACT_NOTIFY"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": str(path)}
    c.bundle.linux["seccomp"] = {**profile, **more}
    return c


@pytest.mark.parametrize(
    "no_new_privileges", [True, False], ids=["no-new-privileges", "new-privileges"]
)
def test_agent_answers(container: Make, tmp_path: Path, no_new_privileges: bool) -> None:
    path = tmp_path / "agent"
    c = listening(container, path, "getppid", listenerMetadata="what I am")
    c.bundle.process["noNewPrivileges"] = no_new_privileges
    c.bundle.config["annotations"] = {"a": "b"}
    with Agent(path, {GETPPID: errno.ENOTUNIQ}) as agent:
        c.create().ok()
        kernel.wait_until(lambda: len(agent.documents) == 1, "the listener that create hands over")
        c.start().ok()
        assert c.wait() == 0
        assert error_number(c.out()) == errno.ENOTUNIQ
    document = agent.documents[0]
    assert document["fds"] == ["seccompFd"]
    assert agent.descriptors == [1]
    assert document["pid"] == c.pid
    assert document["metadata"] == "what I am"
    state = document["state"]
    assert state["id"] == c.id
    assert state["status"] == "creating"
    assert state["pid"] == c.pid
    assert state["bundle"] == str(c.bundle.path)
    assert state["annotations"] == {"a": "b"}
    assert "ociVersion" in state
    assert "ociVersion" in document


def test_agent_lets_a_call_pass(container: Make, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    c = listening(container, path, "getppid")
    with Agent(path, {}) as agent:
        assert error_number(c.run().ok().out) == 0
        assert GETPPID in agent.calls
        assert "metadata" not in agent.documents[0]


@pytest.mark.runc_fails("its own calls are those of a Go program")
@pytest.mark.parametrize(
    "no_new_privileges", [True, False], ids=["no-new-privileges", "new-privileges"]
)
def test_agent_answers_for_the_calls_of_init_too(
    container: Make, tmp_path: Path, no_new_privileges: bool
) -> None:
    """Even those by which init talks to the runtime, but write(2)."""
    path = tmp_path / "agent"
    names = (
        "getppid",
        "sendmsg",
        "sendto",
        "recvfrom",
        "read",
        "prctl",
        "close_range",
        "execve",
        "munmap",
    )
    c = listening(container, path, *names, "setresuid", "capset", "chdir")
    c.bundle.process["noNewPrivileges"] = no_new_privileges
    with Agent(path, {GETPPID: errno.EXDEV}) as agent:
        assert error_number(c.run().ok().out) == errno.EXDEV
        assert len(set(agent.calls)) > 3


@pytest.mark.runc_fails("it refuses TSYNC beside a listener in 1.1")
def test_all_flags(container: Make, tmp_path: Path) -> None:
    flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]
    path = tmp_path / "agent"
    c = listening(
        container, path, "getppid", flags=[f"SECCOMP_FILTER_FLAG_{name}" for name in flags]
    )
    with Agent(path, {GETPPID: errno.EXDEV}):
        assert error_number(c.run().ok().out) == errno.EXDEV


def test_path_longer_than_an_address(container: Make, tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    (tmp_path / "short").symlink_to(directory)
    if container().runtime.kind == "runc":
        pytest.skip("runc takes no path longer than an address")
    c = listening(container, directory / "agent", "getppid")
    with Agent(tmp_path / "short/agent", {GETPPID: errno.EXDEV}):
        assert error_number(c.run().ok().out) == errno.EXDEV


def test_startcontainer_hooks_are_filtered(container: Make, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    c = listening(container, path, "getppid")
    c.bundle.process["args"] = ["/bin/true"]
    hook = {"path": "/bin/probe", "args": ["probe", "syscall", str(GETPPID)]}
    c.bundle.config["hooks"] = {"startContainer": [hook]}
    with Agent(path, {}) as agent:
        c.run().ok()
        assert GETPPID in agent.calls


def test_agent_is_not_there(container: Make, tmp_path: Path) -> None:
    c = listening(container, tmp_path / "nobody", "getppid")
    result = c.create()
    if c.runtime.kind == "pyrunc":
        result.failed("/linux/seccomp/listenerPath", str(tmp_path / "nobody"))
    assert result.status != 0
    c.nothing_left()


def test_path_is_ignored_without_a_rule_for_it(container: Make, tmp_path: Path) -> None:
    c = listening(container, tmp_path / "nobody", "getppid")
    c.bundle.linux["seccomp"]["syscalls"][0]["action"] = "SCMP_ACT_ERRNO"
    assert error_number(c.run().ok().out) == errno.EPERM


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"listenerPath": ""}, "listenerPath"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "default"),
        ({"syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]}, "write"),
    ],
    ids=["no-path", "default", "write"],
)
def test_refused(container: Make, tmp_path: Path, change: dict[str, Any], text: str) -> None:
    c = listening(container, tmp_path / "agent", "getppid", **change)
    with Agent(tmp_path / "agent", {}) as agent:
        result = c.create()
        assert result.status != 0
        if c.runtime.kind == "pyrunc":
            result.failed("/linux/seccomp", text)
        assert agent.documents == []
    c.nothing_left()


def test_constants_of_the_agent() -> None:
    """_IOWR of asm-generic/ioctl.h with the sizes of both structures."""

    def iowr(number: int, size: int) -> int:
        return 3 << 30 | size << 16 | ord("!") << 8 | number

    assert iowr(0, 80) == seccomp_agent.NOTIF_RECV
    assert iowr(1, 24) == seccomp_agent.NOTIF_SEND


@pytest.mark.parametrize(
    "no_new_privileges", [True, False], ids=["no-new-privileges", "new-privileges"]
)
def test_exec_has_a_listener_of_its_own(
    container: Make, tmp_path: Path, no_new_privileges: bool
) -> None:
    path = tmp_path / "agent"
    c = listening(container, path, "getppid")
    c.bundle.process["noNewPrivileges"] = no_new_privileges
    with Agent(path, {GETPPID: errno.EXDEV}) as agent:
        c.running()
        result = c.call("exec", c.id, "/bin/probe", "syscall", str(GETPPID)).ok()
        assert error_number(result.out) == errno.EXDEV
        created, executed = agent.documents
    assert created["state"]["status"] == "creating"
    assert executed["state"]["status"] == "running"
    assert executed["state"]["pid"] == c.pid
    assert executed["pid"] not in (c.pid, 0)
