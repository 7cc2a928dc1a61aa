"""What a container can get hold of while a process is brought into it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.decoy import digest
from harness.signatures import Make, Popen

ROUNDS = 60
# What the process has at last, and pyrunc-init before it: its socket to the runtime, and the gate of its birth.
ALLOWED = (
    r"place inside|exe /memfd:pyrunc-init.*|"
    r"fd (pipe:\[\d+\]|socket:\[\d+\]|/dev/null|.*/calls/\S+/(out|err)|/null)|ready"
)


@pytest.mark.parametrize(
    "capabilities", [[], ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]]
)
@pytest.mark.runc_fails("its own files are seen in /proc by a container with CAP_SYS_PTRACE")
def test_nothing_of_the_host_s_is_seen(container: Make, capabilities: list[str]) -> None:
    """CVE-2016-9962, CVE-2019-5736: not even with all rights over the processes of its pid namespace."""
    c = container("/bin/probe", "hunt")
    c.bundle.capabilities(*capabilities)
    c.bundle.writable()
    before = digest(Path(c.runtime.path))
    c.create().ok()
    c.start().ok()
    c.wait_for_output("ready\n")
    seen = "exe /memfd:pyrunc-init"
    # A busy machine lets the hunter run seldom: more rounds then, until it has seen something at all.
    for number in range(20 * ROUNDS):
        if number >= ROUNDS and (not capabilities or seen in c.out()):
            break
        c.exec("/bin/true").ok()
    found = c.out().splitlines()
    c.delete(force=True).ok()
    assert digest(Path(c.runtime.path)) == before
    assert [line for line in found if not re.fullmatch(ALLOWED, line)] == []
    if capabilities:
        assert any(line.startswith(seen) for line in found), "the hunter saw nothing at all"


def test_process_cannot_be_traced_before_it_is_the_container_s(container: Make) -> None:
    """Dumpable is off until execve(2), so that what has no CAP_SYS_PTRACE sees no descriptor."""
    script = "echo up; while :; do for i in /proc/[0-9]*; do [ $i = /proc/1 ] || ls -l $i/fd 2>/dev/null; done; done"
    c = container("/bin/sh", "-c", script)
    c.create().ok()
    c.start().ok()
    c.wait_for_output("up")
    for _ in range(ROUNDS // 3):
        c.exec("/bin/true").ok()
    assert "state.json" not in c.out()
    assert str(c.root) not in c.out()


def test_descriptors_that_the_caller_left_open(container: Make) -> None:
    """CVE-2024-21626."""
    c = container().running()
    leaked = [
        os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        for path in ("/", "/sys/fs/cgroup", "/etc", "/proc")
    ]
    try:
        facts = c.exec_facts(pass_fds=leaked)
    finally:
        for fd in leaked:
            os.close(fd)
    assert sorted(facts["fds"]) == ["0", "1", "2"]


@pytest.mark.parametrize("number", range(3, 20))
def test_ways_out_through_a_descriptor(container: Make, number: int) -> None:
    c = container().running()
    marks = {name for name in os.listdir("/") if not (c.bundle.rootfs / name).exists()}
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(12)]
    try:
        way = ["--cwd", f"/proc/self/fd/{number}"]
        inside = c.exec("/bin/sh", "-c", "ls ../../../../..", options=way, pass_fds=leaked)
        command = c.exec(f"/proc/self/fd/{number}/bin/busybox", "ls", "/", pass_fds=leaked)
    finally:
        for fd in leaked:
            os.close(fd)
    assert not marks & set(inside.out.split())
    assert command.status == 255


@pytest.mark.parametrize("link", ["/proc/self/exe", "/proc/thread-self/exe"])
def test_command_that_is_the_runtime_itself(container: Make, link: str) -> None:
    c = container()
    (c.bundle.rootfs / "bin/me").symlink_to(link)
    script = c.bundle.rootfs / "bin/script"
    script.write_text(f"#!{link}\n")
    script.chmod(0o755)
    before = digest(Path(c.runtime.path))
    c.running()
    for name in ("/bin/me", "/bin/script"):
        assert "version" not in c.exec(name, "--version").out
    assert digest(Path(c.runtime.path)) == before


def test_home_is_not_read_through_a_link_out_of_the_rootfs(container: Make, tmp_path: Path) -> None:
    outside = tmp_path / "passwd"
    outside.write_text("root:x:0:0::/from/the/host:/bin/sh\n")
    c = container(env=[])
    (c.bundle.rootfs / "etc/passwd").unlink()
    (c.bundle.rootfs / "etc/passwd").symlink_to(outside)
    assert "HOME=/" in c.running().exec_facts()["env"]


@pytest.mark.needs("runtime:pyrunc")
def test_namespaces_that_init_has_left(container: Make) -> None:
    """Init may move; what joins it is where it is, and no place of the host's."""
    c = container("/bin/sh", "-c", "exec busybox unshare -m /bin/probe wait")
    c.bundle.capabilities("CAP_SYS_ADMIN")
    c.create().ok()
    c.start().ok()
    c.wait_for_output("ready\n")
    facts = c.exec_facts()
    assert (
        facts["namespaces"]["mnt"]
        == os.readlink(f"/proc/{c.pid}/ns/mnt")
        != os.readlink("/proc/self/ns/mnt")
    )


# The runtime's own end -------------------------------------------------------------------------------


def processes(c: Container) -> list[int]:
    return c.call("ps", "--format", "json", c.id).ok().json()  # type: ignore[no-any-return]


def name(pid: int) -> str:
    """What a process executes; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


@pytest.mark.parametrize("microseconds", [*range(0, 6000, 400)])
def test_runtime_killed_on_the_way(container: Make, popen: Popen, microseconds: int) -> None:
    """Either the command runs, whole, or nothing of it is there; the container is as before."""
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    running = popen(
        [
            "--root",
            str(c.root),
            "exec",
            "-d",
            "--pid-file",
            str(pid_file),
            c.id,
            "/bin/sleep",
            "1000",
        ]
    )
    time.sleep(microseconds / 1e6)
    running.send_signal(signal.SIGKILL)
    running.wait()

    def others() -> set[int]:
        """Those that still are: in the container, or handed to the harness when the runtime ended."""
        found = {*processes(c), *kernel.children()} - {c.pid}
        return {pid for pid in found if not reaped(pid) and name(pid)}

    def settled() -> bool:
        return {name(pid) for pid in others()} <= {"sleep"}

    kernel.wait_until(settled, "no pyrunc-init is left")
    for pid in others():
        os.kill(pid, signal.SIGKILL)
    kernel.wait_until(lambda: not others(), "end of the command")
    assert processes(c) == [c.pid]
    c.exec("/bin/true").ok()
    c.kill("TERM").ok()
    assert c.wait() == 0
