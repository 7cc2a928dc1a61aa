"""Terminals: the console socket of engines, and `run` in a user's terminal."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make, Popen
from harness.terminal import ConsoleReceiver, UserTerminal, read_until, set_window_size, window_size


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


def create(c: Container, receiver: ConsoleReceiver, *options: str) -> int:
    c.bundle.process["terminal"] = True
    c.create("--console-socket", str(receiver.path), *options).ok()
    data, fds = receiver.receive()
    assert len(fds) == 1
    assert 1 <= len(data) < 4096
    return fds[0]


def test_console_socket(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/sh", "-c", "tty; echo to me; read line; echo got $line; exit 3")
    ptmx = create(c, receiver)
    try:
        assert stat.S_ISCHR(os.fstat(ptmx).st_mode)
        assert os.isatty(ptmx)
        c.start().ok()
        text = read_until(ptmx, b"to me")
        assert b"/dev/pts/0" in text or b"/dev/console" in text
        os.write(ptmx, b"input\n")
        assert b"got input" in read_until(ptmx, b"got input")
        assert c.wait() == 3
    finally:
        os.close(ptmx)


def test_console_socket_with_a_long_path(container: Make, tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    receiver = ConsoleReceiver(directory / "console.sock")
    c = container("/bin/true")
    c.bundle.process["terminal"] = True
    try:
        result = c.create("--console-socket", str(receiver.path))
        if c.runtime.kind == "runc" and result.status:
            pytest.xfail("runc: a path longer than a socket address cannot be connected to")
        result.ok()
        _, (ptmx,) = receiver.receive()
        os.close(ptmx)
    finally:
        receiver.close()


def test_size_is_set_before_the_process_starts(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/stty", "size", consoleSize={"height": 33, "width": 111})
    ptmx = create(c, receiver)
    try:
        assert window_size(ptmx) == (33, 111)
        c.start().ok()
        assert b"33 111" in read_until(ptmx, b"\n")
    finally:
        os.close(ptmx)


def test_terminal_is_the_controlling_one_and_owned(
    container: Make, receiver: ConsoleReceiver
) -> None:
    script = (
        "stat -c %u:%t /dev/console; echo x >/dev/tty; "
        "ls -l /proc/self/fd 2>/dev/null | grep -c -e /pts/ -e console; echo end"
    )
    c = container("/bin/sh", "-c", script, user={"uid": 1000, "gid": 1000})
    ptmx = create(c, receiver)
    try:
        c.start().ok()
        text = read_until(ptmx, b"end").decode().replace("\r", "").split("\n")
        assert text[:3] == ["1000:88", "x", "1"]
    finally:
        os.close(ptmx)


def test_console_is_the_terminal_itself(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/sh", "-c", "echo on the console >/dev/console; stat -f -c %T /dev/console")
    ptmx = create(c, receiver)
    try:
        c.start().ok()
        text = read_until(ptmx, b"devpts")
        assert b"on the console" in text
    finally:
        os.close(ptmx)


def test_pts_is_of_the_container(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/sh", "-c", "ls /dev/pts; echo end")
    ptmx = create(c, receiver)
    try:
        c.start().ok()
        assert read_until(ptmx, b"end").split() == [b"0", b"ptmx", b"end"]
    finally:
        os.close(ptmx)


def test_terminal_ends_with_the_process(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/echo", "bye")
    ptmx = create(c, receiver)
    try:
        c.start().ok()
        assert b"bye" in read_until(ptmx, b"never")
    finally:
        os.close(ptmx)


def test_init_keeps_no_terminal_but_its_own(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/probe", "wait")
    ptmx = create(c, receiver)
    try:
        links = [os.readlink(f"/proc/{c.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{c.pid}/fd")]
        assert not [link for link in links if "ptmx" in link]
    finally:
        os.close(ptmx)


def test_detached_terminal_needs_a_socket(container: Make) -> None:
    c = container("/bin/true", terminal=True)
    text = "cannot allocate tty if runc will detach without setting console socket"
    c.create().failed(text)
    c.nothing_left()
    c.run("-d").failed(text)
    c.nothing_left()


def test_socket_needs_a_terminal(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/true")
    text = "cannot use console socket if runc will not detach or allocate tty"
    c.create("--console-socket", str(receiver.path)).failed(text)
    c.bundle.process["terminal"] = True
    c.run("--console-socket", str(receiver.path)).failed(text)
    c.nothing_left()


def test_run_detached_with_a_terminal(container: Make, receiver: ConsoleReceiver) -> None:
    c = container("/bin/sh", "-c", "echo hello; read x")
    c.bundle.process["terminal"] = True
    c.run_detached("--console-socket", str(receiver.path)).ok()
    _, (ptmx,) = receiver.receive()
    try:
        assert b"hello" in read_until(ptmx, b"hello")
        os.write(ptmx, b"\n")
        assert c.wait() == 0
    finally:
        os.close(ptmx)


def in_terminal(c: Container, popen: Popen, user: UserTerminal) -> subprocess.Popen[bytes]:
    c.bundle.process["terminal"] = True
    c.bundle.write()
    arguments = ["--root", str(c.root), "run", "--bundle", str(c.bundle.path), c.id]
    return popen(
        arguments,
        stdin=user.pts,
        stdout=user.pts,
        stderr=user.pts,
        preexec_fn=user.become_controlling,
    )


@pytest.mark.runc_fails("it sets the size after the process has started")
def test_run_in_a_terminal(container: Make, popen: Popen, user: UserTerminal) -> None:
    c = container("/bin/sh", "-c", "stty size; read line; echo got $line; exit 5")
    process = in_terminal(c, popen, user)
    assert b"33 77" in read_until(user.ptmx, b"33 77")
    os.write(user.ptmx, b"words\r")
    assert b"got words" in read_until(user.ptmx, b"got words")
    assert process.wait(kernel.PATIENCE) == 5
    c.nothing_left()


def test_run_passes_changes_of_the_size_on(
    container: Make, popen: Popen, user: UserTerminal
) -> None:
    c = container(
        "/bin/sh", "-c", "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.01; done"
    )
    process = in_terminal(c, popen, user)
    read_until(user.ptmx, b"up")
    set_window_size(user.ptmx, 20, 60)
    assert b"20 60" in read_until(user.ptmx, b"20 60")
    assert process.wait(kernel.PATIENCE) == 0


def test_run_restores_the_terminal(container: Make, popen: Popen, user: UserTerminal) -> None:
    before = termios.tcgetattr(user.pts)
    c = container("/bin/sh", "-c", "echo up; read x; exit 0")
    process = in_terminal(c, popen, user)
    read_until(user.ptmx, b"up")
    assert (
        termios.tcgetattr(user.pts)[3] & termios.ICANON == 0
    ), "the user's terminal is not in raw mode"
    os.write(user.ptmx, b"\r")
    assert process.wait(kernel.PATIENCE) == 0
    assert termios.tcgetattr(user.pts) == before


def test_keys_reach_the_container(container: Make, popen: Popen, user: UserTerminal) -> None:
    """Control-C is a signal inside, not to the runtime."""
    c = container(
        "/bin/sh",
        "-c",
        "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.01; done",
    )
    process = in_terminal(c, popen, user)
    read_until(user.ptmx, b"up")
    os.write(user.ptmx, b"\x03")
    assert b"interrupted" in read_until(user.ptmx, b"interrupted")
    assert process.wait(kernel.PATIENCE) == 9


def test_large_output_is_complete(container: Make, popen: Popen, user: UserTerminal) -> None:
    c = container(
        "/bin/sh",
        "-c",
        "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo the end",
    )
    process = in_terminal(c, popen, user)
    text = read_until(user.ptmx, b"the end")
    assert text.count(b"line ") == 3000
    assert process.wait(kernel.PATIENCE) == 0


def test_run_whose_terminal_goes_away(container: Make, popen: Popen) -> None:
    user = UserTerminal()
    c = container("/bin/sh", "-c", "echo up; exec sleep 1000")
    process = in_terminal(c, popen, user)
    read_until(user.ptmx, b"up")
    process.send_signal(signal.SIGKILL)
    process.wait()
    user.close()
    kernel.wait_until(lambda: c.delete(force=True).status == 0, "delete")
    assert not (c.root / c.id).exists()


def test_run_with_a_terminal_but_without_one_to_use(container: Make) -> None:
    """`run` with a terminal in the config and pipes as stdio: output arrives all the same, or is refused."""
    c = container("/bin/echo", "hello", terminal=True)
    result = c.run()
    assert "Traceback" not in result.err
    if result.status == 0:
        assert result.out.strip() == "hello"
    c.nothing_left()
