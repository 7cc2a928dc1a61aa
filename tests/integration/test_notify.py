"""NOTIFY_SOCKET: a service manager hears when the container is ready, and only what it may say."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container, Facts, error_number
from harness.mappings import mapped
from harness.signatures import Make

pytestmark = pytest.mark.runc_fails("its start reads the environment of start, not of create")

READY = "/bin/probe notify READY=1; "
STAY = "exec sleep 1000"


class ServiceManager:
    """The receiver: `messages()` gives what came, answering barriers as systemd does."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(address)
        self.senders: list[int] = []

    def next(self, seconds: float = 20.0) -> bytes:
        """The next message, with a barrier's descriptor closed."""
        assert select.select([self.socket], [], [], seconds)[0], "no message came"
        message, control, _, _ = self.socket.recvmsg(4096, 256)
        for _level, kind, data in control:
            if kind == socket.SCM_RIGHTS:
                os.close(int.from_bytes(data, "little"))
            elif kind == socket.SCM_CREDENTIALS:
                self.senders.append(int.from_bytes(data[:4], "little"))
        return message

    def silent(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]


@pytest.fixture
def manager(tmp_path: Path, leaks: object) -> Iterator[ServiceManager]:  # noqa: ARG001
    made = ServiceManager(str(tmp_path / "manager"))
    yield made
    made.socket.close()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "manager")}


class Call:
    """A call of the runtime that goes on; the container may keep the file of its errors open."""

    def __init__(self, c: Container, *verb: str, env: dict[str, str] | None = None) -> None:
        self.errors = c.bundle.path / "errors"
        arguments = ["--root", str(c.root), *verb, c.id]
        with self.errors.open("wb") as file:
            self.process = c.runtime.popen(
                arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file
            )

    def end(self) -> tuple[int, str]:
        status = self.process.wait(kernel.PATIENCE)
        return status, self.errors.read_text()


def shell(c: Container, script: str) -> Container:
    c.bundle.process["args"] = ["/bin/sh", "-c", script]
    return c


def hears_of_readiness(manager: ServiceManager, pid: int, *others: bytes) -> None:
    assert manager.next() == b"\n".join([b"READY=1", *others])
    assert manager.next() == b"MAINPID=%d" % pid
    assert manager.next() == b"BARRIER=1"
    assert manager.silent()


def test_start_waits_until_it_is_ready(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(
        container(), "echo begun; while ! test -e /tmp/go; do sleep 0.05; done; " + READY + STAY
    )
    c.create(env=environment).ok()
    # What counts is the environment of create.
    call = Call(c, "start", env={"NOTIFY_SOCKET": "/nowhere"})
    c.wait_for_output("begun\n")
    assert c.status == "running"
    assert call.process.poll() is None
    assert manager.silent()
    (c.bundle.rootfs / "tmp/go").touch()
    hears_of_readiness(manager, c.pid)
    assert call.end() == (0, "")
    c.kill("KILL").ok()
    assert c.wait() == 128 + signal.SIGKILL
    c.delete().ok()
    c.nothing_left()


@pytest.mark.parametrize("verb", ["start", "run"])
def test_end_before_it_is_ready(
    container: Make, manager: ServiceManager, environment: dict[str, str], verb: str
) -> None:
    c = shell(container(), "exit 3")
    if verb == "start":
        c.create(env=environment).ok()
        c.start().ok()
    else:
        c.run_detached(env=environment).ok()
    assert c.wait() == 3
    assert manager.silent()
    c.delete().ok()
    c.nothing_left()


def test_killed_while_start_waits(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), "echo begun; " + STAY)
    c.create(env=environment).ok()
    call = Call(c, "start")
    c.wait_for_output("begun\n")
    # Nor is anybody kept from deleting it.
    c.delete(force=True).ok()
    assert call.end()[0] == 0
    assert manager.silent()
    c.nothing_left()


def test_said_with_the_last_breath(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), READY)
    c.create(env=environment).ok()
    call = Call(c, "start")
    hears_of_readiness(manager, c.pid)
    assert call.end()[0] == 0


def test_run_detached(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), READY + STAY)
    c.bundle.write()
    pid_file = c.bundle.path / "pid"
    call = Call(
        c, "run", "-d", "--bundle", str(c.bundle.path), "--pid-file", str(pid_file), env=environment
    )
    assert manager.next() == b"READY=1"
    c.init = int(pid_file.read_text())
    assert manager.next() == b"MAINPID=%d" % c.pid
    assert call.process.poll() is None, "the barrier is not answered yet"
    assert manager.next() == b"BARRIER=1"
    assert call.end() == (0, "")
    assert c.status == "running"


@pytest.mark.runc_fails("it forwards nothing but READY=1, and not for longer")
def test_run_in_the_foreground(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), READY + "/bin/probe notify STATUS=busy STOPPING=1; exit 7")
    c.bundle.write()
    call = Call(c, "run", "--bundle", str(c.bundle.path), env=environment)
    assert manager.next() == b"READY=1"
    assert manager.next().startswith(b"MAINPID=")
    assert manager.next() == b"BARRIER=1"
    assert manager.next() == b"STATUS=busy"
    assert manager.next() == b"STOPPING=1"
    assert call.end() == (7, "")
    # systemd's NotifyAccess=main hears none but the process that it has started.
    assert set(manager.senders) == {call.process.pid}
    c.nothing_left()


def test_run_in_the_foreground_that_is_never_ready(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), "exit 7")
    assert c.run(env=environment).status == 7
    assert manager.silent()
    c.nothing_left()


def test_killed_runtime_leaves_no_helper(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), READY + STAY)
    c.bundle.write()
    call = Call(c, "run", "--bundle", str(c.bundle.path), env=environment)
    assert manager.next() == b"READY=1"
    c.init = int(manager.next().partition(b"=")[2])
    assert manager.next() == b"BARRIER=1"
    helpers = kernel.children(call.process.pid)
    assert len(helpers) == 2
    call.process.kill()
    call.end()
    helpers.remove(c.init)
    kernel.wait_until(lambda: _reaped(helpers[0]), "end of the helper")
    c.delete(force=True).ok()
    assert c.wait() == 128 + signal.SIGKILL


def _reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


@pytest.mark.runc_fails("its own program keeps no @ apart")
def test_abstract_socket(container: Make, leaks: object) -> None:  # noqa: ARG001
    name = f"pyrunc-{os.getpid()}"
    manager = ServiceManager(b"\0" + name.encode())
    try:
        c = shell(container(), READY)
        c.create(env={"NOTIFY_SOCKET": f"@{name}"}).ok()
        call = Call(c, "start")
        hears_of_readiness(manager, c.pid)
        assert call.end() == (0, "")
    finally:
        manager.socket.close()


@pytest.mark.runc_fails("it takes no path longer than an address")
def test_paths_longer_than_an_address(container: Make, tmp_path: Path, leaks: object) -> None:  # noqa: ARG001
    directory = tmp_path / ("d" * 150)
    directory.mkdir()
    (tmp_path / "short").symlink_to(directory)
    manager = ServiceManager(str(tmp_path / "short/manager"))
    try:
        c = shell(container(), READY)
        c.root = directory / "root"
        c.create(env={"NOTIFY_SOCKET": str(directory / "manager")}).ok()
        call = Call(c, "start")
        hears_of_readiness(manager, c.pid)
        assert call.end() == (0, "")
        c.wait()
        c.delete().ok()
        c.nothing_left()
    finally:
        manager.socket.close()


@pytest.mark.runc_fails("it forwards nothing but READY=1")
def test_only_what_is_about_the_container_itself(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    said = "MAINPID=1;STATUS=up;READY=10;FDSTORE=1;NOTIFYACCESS=all"
    c = container(
        "/bin/probe", "notify", said, "MAINPID=1", "X=1;READY=1;MAINPID=1;ERRNO=2;BARRIER=1"
    )
    c.create(env=environment).ok()
    call = Call(c, "start")
    assert manager.next() == b"STATUS=up"
    hears_of_readiness(manager, c.pid, b"ERRNO=2")
    assert call.end()[0] == 0


@pytest.mark.usefixtures("manager")
def test_what_the_container_sees(container: Make, environment: dict[str, str]) -> None:
    c = container()
    c.bundle.process["env"].append("NOTIFY_SOCKET=/elsewhere")
    c.bundle.process["args"] = ["/bin/probe", "facts"]
    facts = Facts(json.loads(c.run(env=environment).ok().out))
    assert [entry for entry in facts["env"] if entry.startswith("NOTIFY_SOCKET")] == [
        "NOTIFY_SOCKET=/run/notify/notify.sock"
    ]
    assert {"ro", "nosuid", "nodev", "noexec"} <= facts.mounts()["/run/notify"]["options"]


@pytest.mark.usefixtures("manager")
def test_the_socket_cannot_be_replaced(container: Make, environment: dict[str, str]) -> None:
    c = shell(container(), "cd /run/notify; ls -l; rm notify.sock; touch x; ln -s a b; ls -A")
    result = c.run(env=environment).ok()
    lines = result.out.splitlines()
    assert lines[1].startswith("srwxrwxrwx")
    assert lines[2:] == ["notify.sock"]
    assert result.err.count("Read-only file system") == 3


@pytest.mark.usefixtures("manager")
def test_what_a_privileged_container_puts_there_is_removed(
    container: Make, environment: dict[str, str]
) -> None:
    c = shell(
        container(),
        "cd /run/notify && mount -o remount,bind,rw /run/notify && mkdir -p a/b && touch a/b/c "
        "&& ln -s / a/root && rm notify.sock && echo done",
    )
    c.bundle.capabilities("CAP_SYS_ADMIN")
    c.run_detached(env=environment).ok()
    assert c.wait() == 0
    assert c.out() == "done\n"
    assert (c.root / c.id / "notify/a/b/c").exists()
    c.delete().ok()
    c.nothing_left()


@pytest.mark.needs("userns")
def test_user_namespace(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = mapped(shell(container(), READY))
    c.bundle.process["user"] = {"uid": 5, "gid": 5}
    c.create(env=environment).ok()
    assert (c.root / c.id).stat().st_mode & 0o777 == 0o700
    call = Call(c, "start")
    hears_of_readiness(manager, c.pid)
    assert call.end() == (0, "")
    c.wait()
    assert error_number(c.out()) == 0


def test_umask_of_the_caller(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), READY)
    c.bundle.process["user"] = {"uid": 1000, "gid": 1000}
    c.create(env=environment, umask=0o077).ok()
    call = Call(c, "start")
    hears_of_readiness(manager, c.pid)
    assert call.end() == (0, "")


def test_without_the_variable_there_is_none(container: Make) -> None:
    c = container()
    facts = c.facts()
    assert "/run/notify" not in facts.mounts()
    assert not [entry for entry in facts["env"] if entry.startswith("NOTIFY_SOCKET")]


def test_exec_is_not_told(
    container: Make, manager: ServiceManager, environment: dict[str, str]
) -> None:
    c = shell(container(), READY + STAY)
    c.create(env=environment).ok()
    call = Call(c, "start")
    hears_of_readiness(manager, c.pid)
    assert call.end() == (0, "")
    facts = c.exec_facts(env=environment)
    assert not [entry for entry in facts["env"] if entry.startswith("NOTIFY_SOCKET")]


@pytest.mark.runc_fails("it notices at start")
@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/nowhere/notify", "/nowhere/notify"),
        ("relative", "neither an absolute path nor an abstract socket"),
        ("vsock:2:1", "neither an absolute path nor an abstract socket"),
        ("@pyrunc-nobody", "connect to NOTIFY_SOCKET"),
    ],
    ids=["missing", "relative", "vsock", "abstract"],
)
def test_socket_that_cannot_be_told(container: Make, address: str, text: str, verb: str) -> None:
    c = shell(container(), READY)
    call = c.create if verb == "create" else c.run
    call(env={"NOTIFY_SOCKET": address}).failed("NOTIFY_SOCKET", text)
    c.nothing_left()


@pytest.mark.runc_fails("it tells none of both")
@pytest.mark.parametrize("verb", ["start", "run"])
def test_manager_that_has_gone(
    container: Make, manager: ServiceManager, environment: dict[str, str], verb: str
) -> None:
    """`start` tells, and leaves the running container; `run` has made it, and takes it away."""
    c = shell(container(), "while ! test -e /tmp/go; do sleep 0.05; done; " + READY + STAY)
    if verb == "start":
        c.create(env=environment).ok()
        call = Call(c, "start")
    else:
        c.bundle.write()
        call = Call(c, "run", "-d", "--bundle", str(c.bundle.path), env=environment)
    kernel.wait_until((c.root / c.id / "notify/notify.sock").exists, "the socket")
    manager.socket.close()
    (c.bundle.rootfs / "tmp/go").touch()
    status, text = call.end()
    assert status != 0
    assert os.strerror(errno.ECONNREFUSED).lower() in text.lower()
    assert "NOTIFY_SOCKET" in text
    if verb == "start":
        assert c.status == "running"
    else:
        c.nothing_left()


@pytest.mark.usefixtures("manager")
def test_none_without_a_mount_namespace(container: Make, environment: dict[str, str]) -> None:
    c = container("/bin/true")
    c.bundle.without_namespace("mount")
    for name in ("maskedPaths", "readonlyPaths"):
        c.bundle.linux[name] = []
    c.bundle.config["root"]["readonly"] = False
    c.bundle.config["mounts"] = []
    c.run(env=environment).ok()
    assert not (c.bundle.rootfs / "run").exists()
    c.nothing_left()
