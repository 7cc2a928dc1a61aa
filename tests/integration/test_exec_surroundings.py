"""exec: cgroups, terminals, descriptors and sockets of one more process."""

from __future__ import annotations

import array
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make, Popen
from harness.terminal import ConsoleReceiver, UserTerminal, read_until, set_window_size, window_size


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# Cgroups ---------------------------------------------------------------------------------------------


def below(c: Container, name: str) -> list[Path]:
    """A cgroup below the container's in each hierarchy."""
    made = [path / name for path in c.all_cgroups()]
    for path in made:
        path.mkdir()
        if (path / "cpuset.cpus").exists() and not (path / "cgroup.controllers").exists():
            for file in ("cpuset.cpus", "cpuset.mems"):
                (path / file).write_text((path.parent / file).read_text())
    return made


def lines(c: Container, *options: str) -> list[str]:
    return c.exec("/bin/cat", "/proc/self/cgroup", options=options).ok().out.splitlines()


def test_cgroup_below(container: Make) -> None:
    c = container().running()
    below(c, "sub")
    for line in lines(c, "--cgroup", "sub"):
        if c.id in line:
            assert line.endswith(f"/{c.id}/sub"), line
    for line in lines(c, "--cgroup", "/./sub/"):
        if c.id in line:
            assert line.endswith(f"/{c.id}/sub"), line


@pytest.mark.needs("cgroup1:cpu", "cgroup1:memory", "cgroup1:pids")
def test_cgroup_of_some_controllers(container: Make) -> None:
    c = container().running()
    below(c, "sub")
    found = lines(c, "--cgroup", "cpu,memory:sub", "--cgroup", "pids:/")
    ends = {name: line for line in found for name in line.split(":")[1].split(",")}
    assert ends["cpu"].endswith(f"{c.id}/sub")
    assert ends["memory"].endswith(f"{c.id}/sub")
    assert ends["pids"].endswith(c.id)


@pytest.mark.parametrize("path", ["..", "../", "/..", "sub/../..", "x/../../y", "../../../../../"])
def test_cgroup_that_is_not_below(container: Make, path: str) -> None:
    c = container().running()
    below(c, "sub")
    result = c.exec("/bin/true", options=["--cgroup", path])
    assert result.status == 255


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--cgroup", "../x"], " ../x is not a sub cgroup path"),
        (["--cgroup", "nosuch"], "/nosuch: no such file or directory"),
        (["--cgroup", "whaat:/"], "unknown controller whaat"),
        (["--cgroup", ":x"], "empty <controller> prefix"),
        (["--cgroup", "a", "--cgroup", "b"], "missing <controller>: prefix"),
    ],
)
def test_cgroups_that_are_none(container: Make, options: list[str], text: str) -> None:
    result = container().running().exec("/bin/true", options=options)
    assert result.status == 255
    result.failed(text)


@pytest.mark.needs("runtime:pyrunc", "cgroup1:cpu")
def test_controller_twice(container: Make) -> None:
    options = ["--cgroup", "cpu:/", "--cgroup", "cpu:/"]
    container().running().exec("/bin/true", options=options).failed("specified multiple times")


@pytest.mark.needs("cgroup2")
def test_container_that_has_given_its_controllers_down(container: Make) -> None:
    """A cgroup v2 that gives controllers to those below it takes no processes itself (EBUSY)."""
    c = container().running()
    top = next((path for path in c.all_cgroups() if (path / "cgroup.controllers").exists()), None)
    assert top is not None
    if not (top / "cgroup.controllers").read_text().split():
        parent = top.parent
        offered = (parent / "cgroup.controllers").read_text().split()
        if not offered:
            pytest.skip("no controller for cgroups of the container")
        (parent / "cgroup.subtree_control").write_text(f"+{offered[0]}")
    name = (top / "cgroup.controllers").read_text().split()[0]
    inner = top / "inner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(c.pid))
    (top / "cgroup.subtree_control").write_text(f"+{name}")
    try:
        found = next(line for line in lines(c) if line.startswith("0::"))
        assert found.endswith("/inner")
    finally:
        c.delete(force=True).ok()


# Terminals -------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(leaks: object, tmp_path: Path) -> Iterator[ConsoleReceiver]:  # noqa: ARG001
    made = ConsoleReceiver(tmp_path / "console.sock")
    yield made
    made.close()


@pytest.fixture
def user(leaks: object) -> Iterator[UserTerminal]:  # noqa: ARG001
    made = UserTerminal()
    yield made
    made.close()


def test_console_socket(container: Make, receiver: ConsoleReceiver) -> None:
    c = container(user={"uid": 1000, "gid": 1000}).running()
    pid_file = c.bundle.path / "exec.pid"
    options = ["-d", "-t", "--console-socket", str(receiver.path), "--pid-file", str(pid_file)]
    c.exec(
        "/bin/sh", "-c", "tty; echo on the terminal >/dev/tty; read x; exit 5", options=options
    ).ok()
    _, (ptmx,) = receiver.receive()
    try:
        text = read_until(ptmx, b"on the terminal")
        assert b"/dev/pts/" in text
        os.write(ptmx, b"\n")
        assert os.waitstatus_to_exitcode(os.waitpid(int(pid_file.read_text()), 0)[1]) == 5
    finally:
        os.close(ptmx)


def test_terminal_of_the_user(container: Make, user: UserTerminal, popen: Popen) -> None:
    c = container().running()
    script = "stty size; until stty size | grep '20 40'; do sleep 0.01; done; exit 3"
    running = popen(
        ["--root", str(c.root), "exec", "-t", c.id, "/bin/sh", "-c", script],
        stdin=user.pts, stdout=user.pts, stderr=user.pts, preexec_fn=user.become_controlling,
    )  # fmt: skip
    read_until(user.ptmx, b"33 77")
    set_window_size(user.ptmx, 20, 40)
    os.kill(running.pid, signal.SIGWINCH)
    read_until(user.ptmx, b"20 40")
    assert running.wait(kernel.PATIENCE) == 3
    assert window_size(user.pts) == (20, 40)


def test_terminal_needs_a_socket_when_detached(container: Make, receiver: ConsoleReceiver) -> None:
    c = container().running()
    result = c.exec("/bin/true", options=["-d", "-t"])
    assert result.status == 255
    result.failed("cannot allocate tty if runc will detach without setting console socket")
    for options in (["-d"], ["-t"], []):
        socket_option = ["--console-socket", str(receiver.path)]
        result = c.exec("/bin/true", options=[*options, *socket_option])
        assert result.status == 255
        result.failed("cannot use console socket if runc will not detach or allocate tty")


def test_no_terminal_without_being_asked_for(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/probe", "wait", terminal=True)
    c.create("--console-socket", str(receiver.path)).ok()
    _, (ptmx,) = receiver.receive()
    try:
        c.start().ok()
        read_until(ptmx, b"ready")
        assert c.exec_facts()["tty"] is False
    finally:
        os.close(ptmx)


# Descriptors -----------------------------------------------------------------------------------------


def placed(paths: list[Path]) -> dict[str, Any]:
    def place() -> None:
        for number, path in enumerate(paths):
            fd = os.open(path, os.O_RDONLY)
            os.dup2(fd, 3 + number, inheritable=True)

    return {"preexec_fn": place, "close_fds": False}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"file{number}" for number in range(3)]
    for number, path in enumerate(made):
        path.write_text(f"content {number}\n")
    return made


def test_preserved_descriptors(container: Make, files: list[Path]) -> None:
    c = container().running()
    found = c.exec_facts("--preserve-fds", "2", **placed(files))["fds"]
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    assert found["4"].endswith("file1")
    assert c.exec("/bin/true", options=["--preserve-fds", "900"]).status == 255


@pytest.mark.runc_fails("its exec has no socket activation")
def test_descriptors_of_socket_activation(container: Make, files: list[Path]) -> None:
    """LISTEN_PID is the process's own id in the container."""
    c = container().running()
    arguments = ["--root", str(c.root), "exec", c.id, "/bin/probe", "facts"]
    command = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec {c.runtime.path} "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        **placed(files[:1]),
    )
    facts = json.loads(done.stdout)
    assert sorted(facts["fds"]) == ["0", "1", "2", "3"]
    assert "LISTEN_FDS=1" in facts["env"]
    assert f"LISTEN_PID={facts['pid']}" in facts["env"]


@pytest.mark.needs("runtime:pyrunc")
def test_pidfd_socket(container: Make, tmp_path: Path) -> None:
    c = container().running()
    path = tmp_path / "pidfd.sock"
    pid_file = c.bundle.path / "exec.pid"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        options = ["-d", "--pidfd-socket", str(path), "--pid-file", str(pid_file)]
        c.exec("/bin/sleep", "1000", options=options).ok()
        connection, _ = listener.accept()
        with connection:
            data, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
    fds = array.array("i")
    fds.frombytes(ancillary[0][2][:4])
    try:
        assert data == b"setns"
        text = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
        assert f"Pid:\t{pid_file.read_text()}\n" in text
    finally:
        os.close(fds[0])
    end(int(pid_file.read_text()))


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize("option", ["--pidfd-socket", "--console-socket"])
def test_sockets_where_nobody_listens(container: Make, option: str) -> None:
    c = container().running()
    options = ["-d", "-t"] if option == "--console-socket" else ["-d"]
    result = c.exec("/bin/sleep", "1000", options=[*options, option, "/nosuch/socket"])
    assert result.status == 255
    assert c.call("ps", "-f", "json", c.id).ok().json() == [c.pid]


# Kernels without the newer calls ---------------------------------------------------------------------

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SETNS, EINVAL, CLONE_NEWNS, ALLOW, ERRNO = 308, 22, 0x20000, 0x7FFF0000, 0x00050000


def refuse_joining_all_at_once() -> None:
    """setns(2) of a kernel before 5.8: a pidfd, which stands for more than one namespace, is EINVAL."""
    program = [
        (0x20, 0, 0, 0),  # the call
        (0x15, 0, 5, SETNS),
        (0x20, 0, 0, 24),  # its second argument
        (0x45, 0, 3, CLONE_NEWNS),
        (0x54, 0, 0, 0xFFFFFFFF & ~CLONE_NEWNS),
        (0x15, 1, 0, 0),
        (0x06, 0, 0, ERRNO | EINVAL),
        (0x06, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    filter_ = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter names a call by its number")
@pytest.mark.parametrize("with_user", [False, True])
def test_namespaces_one_by_one(container: Make, with_user: bool) -> None:
    c = container()
    if with_user:
        c.bundle.namespace("user")
        for destination in ("/sys", "/sys/fs/cgroup", "/dev/mqueue"):
            c.bundle.without_mount(destination)
        for kind in ("uidMappings", "gidMappings"):
            c.bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    c.running()
    facts = c.exec_facts(preexec_fn=refuse_joining_all_at_once)
    for name, target in facts["namespaces"].items():
        assert target == os.readlink(f"/proc/{c.pid}/ns/{name}"), name
    assert facts["pid"] > 1
    assert kernel.parse_status(facts["status"])["CapInh"] == "0" * 16
