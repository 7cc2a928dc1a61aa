"""What the options of checkpoint and restore let CRIU save: each is refused by CRIU without its option.

Skipped where CRIU does not work; conformance/vm-checkpoint.sh has it run.
"""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.counting import (
    await_counting,
    begin,
    checkpoint,
    counted,
    first,
    goes_on,
    reap,
    restore,
    save_and_restore,
)
from harness.signatures import Make

pytestmark = pytest.mark.needs("criu")


def refused(c: Container, images: Path, text: str, *options: str) -> None:
    """CRIU refuses, says why, and the container runs on."""
    c.call("checkpoint", "--image-path", str(images), *options, c.id).failed(
        "CRIU failed to dump the container", text, str(images / "dump.log")
    )
    assert c.status == "running"


def numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


# TCP -----------------------------------------------------------------------------------------------


@pytest.fixture
def connected(counter: Container) -> Container:
    """It counts, and tells the count to itself by a connection in a network namespace of its own."""
    counter.bundle.namespace("network")
    counter.bundle.capabilities("CAP_NET_ADMIN")
    first(
        counter,
        # nc goes when its standard input ends.
        "busybox ifconfig lo up; busybox mkfifo /dev/quiet; exec 5<>/dev/quiet; "
        "(busybox nc -l -p 7000 <&5 >/vol/received; echo end >/vol/closed) & "
        "(until (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | busybox nc 127.0.0.1 7000; "
        "do sleep 0.1; done) 2>/dev/null &",
    )
    return counter


def begin_connected(c: Container, volume: Path) -> Path:
    received = volume / "received"
    begin(c, volume)
    kernel.wait_until(lambda: len(numbers(received)) > 3, "a connection", 30.0)
    return received


def test_tcp_established(connected: Container, volume: Path, tmp_path: Path) -> None:
    received = begin_connected(connected, volume)
    refused(connected, tmp_path / "images", "--tcp-established")
    save_and_restore(connected, volume, tmp_path / "images", "--tcp-established")
    before = len(numbers(received))
    kernel.wait_until(lambda: len(numbers(received)) > before, "more by the connection", 30.0)
    got = numbers(received)
    assert got == list(range(1, len(got) + 1))
    assert not (volume / "closed").exists()


def test_tcp_close(connected: Container, volume: Path, tmp_path: Path) -> None:
    begin_connected(connected, volume)
    checkpoint(connected, tmp_path / "images", "--tcp-established")
    reap(connected)
    before = len(counted(volume))
    restore(connected, tmp_path / "images", "--tcp-close")
    goes_on(volume, before)
    kernel.wait_until((volume / "closed").exists, "the end of the connection", 30.0)


def passing(*fds: int) -> dict[str, Any]:
    """For the child: these become the descriptors from 3 on."""

    def place() -> None:
        high = [os.dup2(fd, 100 + number) for number, fd in enumerate(fds)]
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number, inheritable=True)
            os.close(fd)

    return {"preexec_fn": place, "close_fds": False}


def test_tcp_skip_in_flight(counter: Container, volume: Path, tmp_path: Path) -> None:
    """A connection that nobody has accepted yet; the listening socket is the container's alone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        counter.run_detached("--preserve-fds", "1", **passing(server.fileno())).ok()
    await_counting(volume)
    with socket.create_connection(address, 10):
        refused(counter, tmp_path / "images", "In-flight connection")
        checkpoint(counter, tmp_path / "images", "--tcp-skip-in-flight")
    reap(counter)
    before = len(counted(volume))
    restore(counter, tmp_path / "images")
    goes_on(volume, before)
    # It listens again.
    socket.create_connection(address, 10).close()


# Files ---------------------------------------------------------------------------------------------


def test_file_locks(counter: Container, volume: Path, tmp_path: Path) -> None:
    counter.bundle.writable()
    first(counter, "exec 4>/held; /bin/probe lock 4")
    begin(counter, volume)
    held = counter.bundle.rootfs / "held"
    refused(counter, tmp_path / "images", "lock")
    save_and_restore(counter, volume, tmp_path / "images", "--file-locks")
    with held.open("w") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_link_remap(counter: Container, volume: Path, tmp_path: Path) -> None:
    """The name that a file was opened by is gone, while the file has another one."""
    counter.bundle.writable()
    first(counter, "echo kept >/old; exec 4</old; ln /old /new; rm /old")
    begin(counter, volume)
    refused(counter, tmp_path / "images", "link-remap")
    save_and_restore(counter, volume, tmp_path / "images", "--link-remap")
    assert Path(f"/proc/{counter.pid}/fd/4").read_text() == "kept\n"


def test_streams_that_the_process_has_moved(
    counter: Container, volume: Path, tmp_path: Path
) -> None:
    """A shell does it for every redirection: a file of the host is on another descriptor then."""
    first(counter, "exec 7>&1 >/vol/own")
    begin(counter, volume)
    save_and_restore(counter, volume, tmp_path / "images")


def test_ext_unix_sk(counter: Container, volume: Path, tmp_path: Path) -> None:
    """A datagram socket whose other end is the host's, by a name that both see."""
    first(counter, "(i=0; while :; do i=$((i+1)); echo $i >&3; sleep 0.05; done) &")
    name = f"\0pyrunc-{os.getpid()}-{volume}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name)
        server.settimeout(20)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(name)
            counter.run_detached("--preserve-fds", "1", **passing(client.fileno())).ok()
        await_counting(volume)
        assert int(server.recv(64)) == 1
        refused(counter, tmp_path / "images", "ext-unix-sk")
        save_and_restore(counter, volume, tmp_path / "images", "--ext-unix-sk")
        server.setblocking(False)
        got = [1]
        while True:
            try:
                got.append(int(server.recv(64)))
            except BlockingIOError:
                break
        server.settimeout(20)
        got.append(int(server.recv(64)))
        assert got == list(range(1, len(got) + 1))


@pytest.mark.parametrize("options", [(), ("--shell-job",)])
def test_terminal_of_the_caller(
    counter: Container, volume: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """It is not the container's own; restored, it is the one of the restore's caller."""
    first(counter, "exec 3<&0; (while read -r line; do echo $line >>/vol/lines; done <&3) &")
    old, slave = pty.openpty()
    counter.run_detached(stdin=slave).ok()
    os.close(slave)
    await_counting(volume)
    checkpoint(counter, tmp_path / "images", *options)
    reap(counter)
    os.close(old)
    before = len(counted(volume))
    new, slave = pty.openpty()
    restore(counter, tmp_path / "images", *options, stdin=slave)
    os.close(slave)
    goes_on(volume, before)
    os.write(new, b"typed\n")
    lines = volume / "lines"
    kernel.wait_until(lambda: lines.exists() and lines.read_text() == "typed\n", "the line", 30.0)
    os.close(new)


# Memory --------------------------------------------------------------------------------------------


def test_auto_dedup(counter: Container, volume: Path, tmp_path: Path) -> None:
    """What the dump holds anew is punched out of the pre-dump."""
    begin(counter, volume)
    images = tmp_path / "images"
    checkpoint(counter, images / "1", "--pre-dump")
    size = sum(path.stat().st_blocks for path in (images / "1").glob("pages-*.img"))
    goes_on(volume, len(counted(volume)))
    save_and_restore_from(counter, volume, images / "2", "--parent-path", "../1", "--auto-dedup")
    assert sum(path.stat().st_blocks for path in (images / "1").glob("pages-*.img")) < size


def save_and_restore_from(c: Container, volume: Path, images: Path, *options: str) -> None:
    checkpoint(c, images, *options)
    reap(c)
    before = len(counted(volume))
    restore(c, images)
    goes_on(volume, before)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Takes processes that end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_lazy_pages(
    container: Make,
    counter: Container,
    volume: Path,
    tmp_path: Path,
    started: list[subprocess.Popen[bytes]],
) -> None:
    """Memory comes from the first container, whose checkpoint serves it, when the second touches it."""
    begin(counter, volume)
    images, work = tmp_path / "images", tmp_path / "work"
    work.mkdir()
    ready, status_fd = os.pipe()
    saving = counter.runtime.popen(
        ["--root", str(counter.root), "checkpoint", "--lazy-pages", "--page-server", "127.0.0.1:9428",
         "--status-fd", str(status_fd), "--image-path", str(images), counter.id],
        pass_fds=[status_fd],
    )  # fmt: skip
    started.append(saving)
    os.close(status_fd)
    assert os.read(ready, 1) == b"\0"
    os.close(ready)
    assert saving.poll() is None
    before = len(counted(volume))
    command = ["criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "9428"]
    started.append(
        subprocess.Popen([*command, "-D", str(images), "-W", str(work), "-o", "lazy.log", "-v4"])
    )
    kernel.wait_until((work / "lazy-pages.socket").exists, "the lazy-pages daemon", 30.0)
    second = container("/bin/sh")
    second.bundle.config.update(
        {key: value for key, value in counter.bundle.config.items() if key in ("process", "mounts")}
    )
    (second.bundle.rootfs / "vol").mkdir()
    second.bundle.write()
    pid_file = tmp_path / "second.pid"
    second.call(
        "restore", "-d", "--lazy-pages", "--image-path", str(images), "--work-path", str(work),
        "--pid-file", str(pid_file), "--bundle", str(second.bundle.path), second.id,
    ).ok()  # fmt: skip
    second.init = int(pid_file.read_text())
    goes_on(volume, before)
    assert saving.wait(60) == 0
    reap(counter)
    counter.nothing_left()
    assert second.status == "running"


# Namespaces and cgroups ----------------------------------------------------------------------------


ADDRESS = "10.77.0.1/32"


@pytest.mark.parametrize("empty", [False, True])
def test_empty_network_namespace(
    counter: Container, volume: Path, tmp_path: Path, empty: bool
) -> None:
    counter.bundle.namespace("network")
    begin(counter, volume)

    def ip(*command: str) -> str:
        enter = ["nsenter", "-t", str(counter.pid), "-n", "ip", "address"]
        return subprocess.run(
            [*enter, *command], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    ip("add", ADDRESS, "dev", "lo")
    options = ["--empty-ns", "network"] if empty else []
    save_and_restore(counter, volume, tmp_path / "images", *options)
    assert (ADDRESS in ip("show")) is not empty
    assert os.readlink(f"/proc/{counter.pid}/ns/net") != os.readlink("/proc/self/ns/net")


@pytest.mark.needs("cgroup:pids")
@pytest.mark.parametrize("mode", ["", "soft", "full", "ignore"])
def test_cgroups_mode(counter: Container, volume: Path, tmp_path: Path, mode: str) -> None:
    counter.bundle.resources["pids"] = {"limit": 77}
    begin(counter, volume)
    options = ["--manage-cgroups-mode", mode] if mode else []
    own = Path(f"/proc/{counter.pid}/cgroup").read_text()
    save_and_restore(counter, volume, tmp_path / "images", *options)
    assert Path(f"/proc/{counter.pid}/cgroup").read_text() == own
    assert counter.cgroup_value("pids", "pids.max") == "77"


def test_strict_cgroups(counter: Container, volume: Path, tmp_path: Path) -> None:
    """For CRIU that is to find no cgroups, and the container's are there before it, as in runc."""
    begin(counter, volume)
    images = tmp_path / "images"
    strict = ("--manage-cgroups-mode", "strict")
    checkpoint(counter, images, *strict)
    reap(counter)
    before = len(counted(volume))
    counter.call(
        "restore", "-d", "--image-path", str(images), *strict,
        "--bundle", str(counter.bundle.path), counter.id,
    ).failed("CRIU failed to restore", "existing cgroups")  # fmt: skip
    counter.nothing_left()
    restore(counter, images)
    goes_on(volume, before)


def criu_version() -> tuple[int, ...]:
    text = subprocess.run(["criu", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return tuple(int(part) for part in text.stdout.split()[1].split("."))


@pytest.mark.parametrize("method", ["iptables", "nftables", "skip"])
def test_network_lock(connected: Container, volume: Path, tmp_path: Path, method: str) -> None:
    received = begin_connected(connected, volume)
    options = ["--leave-running", "--tcp-established", "--network-lock", method]
    if method == "skip" and criu_version() < (3, 18):
        # It came with that version; an older one says that the request is not valid.
        refused(connected, tmp_path / "images", "invalid request code", *options)
    else:
        checkpoint(connected, tmp_path / "images", *options)
    before = len(numbers(received))
    kernel.wait_until(lambda: len(numbers(received)) > before, "more by the connection", 30.0)


# Configuration of CRIU -----------------------------------------------------------------------------


@pytest.fixture
def criu_etc(tmp_path: Path, leaks: object) -> Iterator[Path]:  # noqa: ARG001
    """A /etc/criu of the test's own."""
    path = Path("/etc/criu")
    made = not path.exists()
    path.mkdir(exist_ok=True)
    kernel.mount("none", str(path), "tmpfs")
    yield path
    subprocess.run(["umount", str(path)], check=True)
    if made:
        path.rmdir()


@pytest.mark.parametrize("name", ["runc.conf", "pyrunc.conf"])
def test_configuration_file(
    counter: Container, volume: Path, tmp_path: Path, criu_etc: Path, name: str
) -> None:
    """As for runc: a file of this name counts, unless the annotation says otherwise."""
    (criu_etc / name).write_text("file-locks\n")
    counter.bundle.writable()
    first(counter, "exec 4>/held; /bin/probe lock 4")
    begin(counter, volume)
    save_and_restore(counter, volume, tmp_path / "images")


def test_configuration_by_annotation(
    counter: Container, volume: Path, tmp_path: Path, criu_etc: Path
) -> None:
    (criu_etc / "runc.conf").write_text("no-such-option\n")
    config = tmp_path / "criu.conf"
    config.write_text("file-locks\n")
    counter.bundle.config["annotations"] = {"org.criu.config": str(config)}
    counter.bundle.writable()
    first(counter, "exec 4>/held; /bin/probe lock 4")
    begin(counter, volume)
    save_and_restore(counter, volume, tmp_path / "images")


def test_empty_annotation_means_no_configuration(
    counter: Container, volume: Path, tmp_path: Path, criu_etc: Path
) -> None:
    (criu_etc / "runc.conf").write_text("file-locks\n")
    counter.bundle.config["annotations"] = {"org.criu.config": ""}
    counter.bundle.writable()
    first(counter, "exec 4>/held; /bin/probe lock 4")
    begin(counter, volume)
    refused(counter, tmp_path / "images", "lock")
