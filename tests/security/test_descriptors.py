"""Nothing of the host's is open in the container process (CVE-2016-9962, CVE-2024-21626)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make

# The runtime's own pyrunc-init waits with its standard streams and the fifo, which takes a late error too.
ALLOWED = r"pipe:\[\d+\]|socket:\[\d+\]|/dev/null|/dev/pts/\d+|.*/exec\.fifo|.*/calls/\S+/(out|err)"


def links(pid: int) -> dict[str, str]:
    directory = f"/proc/{pid}/fd"
    return {name: os.readlink(f"{directory}/{name}") for name in os.listdir(directory)}


@pytest.mark.runc_fails(
    "its init waits with handles of procfs, of its binary, and of the Go runtime"
)
def test_created_init(container: Make) -> None:
    c = container().created()
    found = links(c.pid)
    for number, target in found.items():
        assert re.fullmatch(ALLOWED, target), f"{number} is {target}"
    assert len(found) <= 4, found


@pytest.mark.parametrize("verb", ["create", "run"])
def test_directories_that_the_caller_left_open(container: Make, verb: str) -> None:
    leaked = [
        os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        for path in ("/", "/sys/fs/cgroup", "/etc", "/proc", "/root")
    ]
    try:
        c = container("/bin/probe", "facts")
        if verb == "run":
            assert sorted(c.run(pass_fds=leaked).ok().json()["fds"]) == ["0", "1", "2"]
            return
        c.create(pass_fds=leaked).ok()
        assert not [
            target
            for target in links(c.pid).values()
            if target in ("/", "/sys/fs/cgroup", "/etc", "/proc", "/root")
        ]
    finally:
        for fd in leaked:
            os.close(fd)


def host_marks(c: Container) -> set[str]:
    return {name for name in os.listdir("/") if not (c.bundle.rootfs / name).exists()}


@pytest.mark.parametrize("number", range(3, 24))
def test_working_directory_through_a_descriptor(container: Make, number: int) -> None:
    """A descriptor of the host as working directory would be the way out."""
    c = container("/bin/sh", "-c", "pwd; ls ../../../../../../..", cwd=f"/proc/self/fd/{number}")
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(12)]
    try:
        result = c.run(pass_fds=leaked)
    finally:
        for fd in leaked:
            os.close(fd)
    if result.status == 0:
        assert not host_marks(c) & set(result.out.split())
    c.nothing_left()


@pytest.mark.parametrize(
    "cwd",
    ["/proc/1/cwd", "/proc/self/cwd", "/proc/1/root", "/proc/self/root", "/proc/thread-self/root"],
)
def test_working_directory_through_a_process(container: Make, cwd: str) -> None:
    c = container("/bin/sh", "-c", "ls ../../../../..", cwd=cwd)
    result = c.run()
    if result.status == 0:
        assert not host_marks(c) & set(result.out.split())


@pytest.mark.parametrize("number", range(3, 24))
def test_command_through_a_descriptor(container: Make, number: int) -> None:
    c = container(f"/proc/self/fd/{number}/bin/busybox", "ls", "/proc/self/root")
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(12)]
    try:
        assert c.run(pass_fds=leaked).status != 0
    finally:
        for fd in leaked:
            os.close(fd)
    c.nothing_left()


def test_working_directory_that_is_a_link_stays_inside(container: Make) -> None:
    c = container("/bin/sh", "-c", "ls", cwd="/link")
    (c.bundle.rootfs / "link").symlink_to("/../../../../../../")
    result = c.run()
    if result.status == 0:
        assert not host_marks(c) & set(result.out.split())


def test_waiting_init_cannot_be_traced_by_another_container(container: Make) -> None:
    """In a shared pid namespace a container sees the init of another before it has started."""
    first = container().running()
    second = container()
    second.bundle.namespace("pid", f"/proc/{first.pid}/ns/pid")
    second.created()
    third = container(
        "/bin/sh", "-c", "for i in /proc/[0-9]*; do ls -l $i/fd $i/root/ 2>/dev/null; done; true"
    )
    third.bundle.namespace("pid", f"/proc/{first.pid}/ns/pid")
    out = third.run().ok().out
    for target in ("exec.fifo", "state.json", str(second.root)):
        assert target not in out


def test_memory_of_the_waiting_init_is_not_the_caller_s(container: Make) -> None:
    """The waiting process is the small static init, not an interpreter."""
    c = container().created()
    if c.runtime.kind == "runc":
        pytest.skip("runc waits as a copy of itself")
    maps = Path(f"/proc/{c.pid}/maps").read_text()
    assert "python" not in maps
    assert ".so" not in maps
    rss = int(kernel.status_fields(c.pid)["VmRSS"].split()[0])
    assert rss < 2048, f"{rss} kB"
