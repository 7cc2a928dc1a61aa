"""Checkpoint and restore: a process goes on where it was, and failures leave nothing.

What needs CRIU is skipped where it does not work; conformance/vm-checkpoint.sh has it run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.counting import COUNT, begin, checkpoint, counted, goes_on, reap, restore
from harness.signatures import Call, Make, Popen
from harness.terminal import ConsoleReceiver, read_until

criu = pytest.mark.needs("criu")


@criu
def test_goes_on_where_it_was(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    images = tmp_path / "images"
    checkpoint(counter, images)
    reap(counter)
    counter.call("state", counter.id).failed("container does not exist")
    counter.nothing_left()
    before = len(counted(volume))
    restore(counter, images)
    goes_on(volume, before)
    state = counter.state()
    assert (state["status"], state["pid"]) == ("running", counter.init)
    assert counter.exec("/bin/sh", "-c", "echo in").ok().out == "in\n"
    assert counter.init in kernel.children()
    assert (images / "dump.log").exists()
    assert (images / "restore.log").exists()


@criu
def test_from_another_bundle(counter: Container, volume: Path, tmp_path: Path) -> None:
    """The rootfs and the source of a volume are elsewhere; a mount point is missing."""
    begin(counter, volume)
    images, work = tmp_path / "images", tmp_path / "work"
    checkpoint(counter, images, "--work-path", str(work))
    reap(counter)
    before = len(counted(volume))
    moved, bundle = tmp_path / "moved", tmp_path / "other"
    volume.rename(moved)
    shutil.copytree(counter.bundle.path, bundle, symlinks=True)
    (bundle / "rootfs/vol").rmdir()
    counter.bundle.mounts[-1]["source"] = str(moved)
    (bundle / "config.json").write_text(json.dumps(counter.bundle.config))
    restore(counter, images, "--work-path", str(work), bundle=bundle)
    goes_on(moved, before)
    assert counter.state()["bundle"] == str(bundle)
    assert sorted(path.suffix for path in work.glob("*.log")) == [".log", ".log"]


@criu
def test_leave_running(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images", "--leave-running")
    assert counter.status == "running"
    goes_on(volume, len(counted(volume)))


@criu
def test_paused(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    counter.call("pause", counter.id).ok()
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    counter.nothing_left()
    before = len(counted(volume))
    restore(counter, tmp_path / "images")
    goes_on(volume, before)


@criu
def test_pre_dump(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images/1", "--pre-dump")
    assert counter.status == "running"
    assert not list((tmp_path / "images/1").glob("core-*"))
    checkpoint(counter, tmp_path / "images/2", "--parent-path", "../1")
    reap(counter)
    assert os.readlink(tmp_path / "images/2/parent") == "../1"
    before = len(counted(volume))
    restore(counter, tmp_path / "images/2")
    goes_on(volume, before)


def listens(port: int) -> bool:
    """Without a connection, which would be the one that the page server serves."""
    wanted = f":{port:04X} 00000000:0000 0A "
    return wanted in Path("/proc/net/tcp").read_text()


@pytest.fixture
def page_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A page server of CRIU's own, and where it leaves the pages."""
    images = tmp_path / "pages"
    images.mkdir()
    command = ["criu", "page-server", "-D", str(images), "--address", "127.0.0.1", "--port", "9427"]
    server = subprocess.Popen([*command, "-o", "server.log", "-v4"])
    kernel.wait_until(lambda: listens(9427), "the page server", 20.0)
    yield "127.0.0.1:9427", images
    server.kill()
    server.wait()


@criu
def test_page_server(
    counter: Container, volume: Path, tmp_path: Path, page_server: tuple[str, Path]
) -> None:
    address, pages = page_server
    begin(counter, volume)
    images = tmp_path / "images"
    checkpoint(counter, images, "--page-server", address)
    reap(counter)
    assert not list(images.glob("pages-*"))
    before = len(counted(volume))
    for file in pages.glob("page*"):
        shutil.copy(file, images)
    restore(counter, images)
    goes_on(volume, before)


@criu
def test_foreground_gives_the_exit_code(
    container: Make, popen: Popen, volume: Path, tmp_path: Path
) -> None:
    c = container("/bin/sh", "-c", f"trap 'echo last; exit 7' TERM; {COUNT}")
    (c.bundle.rootfs / "vol").mkdir()
    c.bundle.mounts.append(
        {"destination": "/vol", "type": "bind", "source": str(volume), "options": ["bind"]}
    )
    c.bundle.write()
    first = popen(["--root", str(c.root), "run", "--bundle", str(c.bundle.path), c.id])
    kernel.wait_until(lambda: len(counted(volume)) > 3, "counting")
    images = tmp_path / "images"
    c.call("checkpoint", "--image-path", str(images), c.id).ok()
    assert first.wait(20) == 128 + signal.SIGKILL
    before = len(counted(volume))
    restored = popen(
        ["--root", str(c.root), "restore", "--image-path", str(images), "-no-subreaper",
         "--bundle", str(c.bundle.path), c.id]
    )  # fmt: skip
    kernel.wait_until(lambda: len(counted(volume)) > before, "going on", 30.0)
    c.kill("TERM").ok()
    assert restored.stdout is not None
    assert restored.stdout.read() == b"last\n"
    assert restored.wait(20) == 7
    c.nothing_left()


@criu
def test_a_log_that_is_appended_to(counter: Container, tmp_path: Path) -> None:
    """Standard output is a file of the host, which is not the container's to open."""
    counter.bundle.process["args"][2] = COUNT.replace("sleep", "echo $i; sleep")
    log = tmp_path / "log"
    with log.open("ab") as file:
        counter.run_detached(stdout=file).ok()
        kernel.wait_until(lambda: len(log.read_text().split()) > 3, "output")
        checkpoint(counter, tmp_path / "images")
        reap(counter)
        before = len(log.read_text().split())
        pid_file = tmp_path / "restored.pid"
        counter.call(
            "restore", "-d", "--pid-file", str(pid_file), "--image-path", str(tmp_path / "images"),
            "--bundle", str(counter.bundle.path), counter.id, stdout=file,
        ).ok()  # fmt: skip
        counter.init = int(pid_file.read_text())
    kernel.wait_until(lambda: len(log.read_text().split()) > before, "more output")
    numbers = [int(word) for word in log.read_text().split()]
    assert numbers == list(range(1, len(numbers) + 1))


@criu
def test_named_network_namespace(
    container: Make, counter: Container, volume: Path, tmp_path: Path
) -> None:
    other = container()
    other.bundle.namespace("network")
    other.running()
    path = f"/proc/{other.pid}/ns/net"
    counter.bundle.namespace("network", path)
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    before = len(counted(volume))
    restore(counter, tmp_path / "images")
    goes_on(volume, before)
    assert os.readlink(f"/proc/{counter.pid}/ns/net") == os.readlink(path)


@criu
@pytest.mark.parametrize("own", [True, False])
def test_cgroup_namespace(counter: Container, volume: Path, tmp_path: Path, own: bool) -> None:
    """The container's own cgroup, or the host's hierarchy; whose mount options stay as they are."""
    if own:
        counter.bundle.namespace("cgroup")
    begin(counter, volume)
    seen = counter.exec("/bin/sh", "-c", "ls /sys/fs/cgroup").ok().out
    mounts = kernel.mountinfo()
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    before = len(counted(volume))
    restore(counter, tmp_path / "images")
    goes_on(volume, before)
    assert kernel.mountinfo() == mounts
    assert counter.exec("/bin/sh", "-c", "ls /sys/fs/cgroup").ok().out == seen


@criu
def test_named_uts_namespace(
    container: Make, counter: Container, volume: Path, tmp_path: Path
) -> None:
    other = container().running()
    path = f"/proc/{other.pid}/ns/uts"
    counter.bundle.namespace("uts", path)
    del counter.bundle.config["hostname"]
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    before = len(counted(volume))
    restore(counter, tmp_path / "images")
    goes_on(volume, before)
    assert os.readlink(f"/proc/{counter.pid}/ns/uts") == os.readlink(path)


@criu
def test_hooks_of_restore(counter: Container, volume: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >/dev/null; echo $1 >>{ran}\n")
    hook.chmod(0o755)
    names = ("prestart", "createRuntime", "poststart", "poststop")
    counter.bundle.config["hooks"] = {
        name: [{"path": str(hook), "args": ["hook", name]}] for name in names
    }
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    assert ran.read_text().split() == list(names)
    ran.unlink()
    restore(counter, tmp_path / "images")
    assert ran.read_text().split() == ["prestart", "createRuntime"]


@criu
def test_failing_hook_ends_restore(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    counter.bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    counter.bundle.write()
    counter.call(
        "restore", "-d", "--image-path", str(tmp_path / "images"),
        "--bundle", str(counter.bundle.path), counter.id,
    ).failed("createRuntime hook #0")  # fmt: skip
    counter.nothing_left()


@criu
def test_terminal(container: Make, tmp_path: Path) -> None:
    c = container("/bin/sh")
    c.bundle.process["terminal"] = True
    receiver = ConsoleReceiver(tmp_path / "console")
    c.run_detached("--console-socket", str(receiver.path)).ok()
    _data, [fd] = receiver.receive()
    os.write(fd, b"X=kept; echo first-$X\n")
    read_until(fd, b"first-kept")
    checkpoint(c, tmp_path / "images")
    reap(c)
    os.close(fd)
    restore(c, tmp_path / "images", "--console-socket", str(receiver.path))
    data, [fd] = receiver.receive()
    assert data == b"/dev/ptmx"
    os.write(fd, b"echo second-$X\n")
    assert b"second-kept" in read_until(fd, b"second-kept")
    os.close(fd)
    receiver.close()


@criu
def test_failure_tells_of_the_log(counter: Container, volume: Path, tmp_path: Path) -> None:
    """What CRIU refuses, here a connected socket, does not stop the container."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        counter.run_detached(stdin=theirs.fileno()).ok()
        kernel.wait_until(lambda: len(counted(volume)) > 3, "counting")
        work = tmp_path / "work"
        counter.call(
            "checkpoint", "--image-path", str(tmp_path / "images"), "--work-path", str(work), counter.id
        ).failed("CRIU failed to dump", str(work / "dump.log"))  # fmt: skip
    assert "Error" in (work / "dump.log").read_text()
    assert counter.status == "running"
    goes_on(volume, len(counted(volume)))


@criu
def test_failed_restore_leaves_nothing(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    images = tmp_path / "images"
    checkpoint(counter, images)
    reap(counter)
    (images / "pages-1.img").unlink()
    counter.call(
        "restore", "-d", "--image-path", str(images), "--bundle", str(counter.bundle.path), counter.id
    ).failed("CRIU failed to restore", str(images / "restore.log"))  # fmt: skip
    counter.nothing_left()


@criu
def test_restore_of_no_images(counter: Container, tmp_path: Path) -> None:
    counter.bundle.write()
    counter.call(
        "restore", "-d", "--image-path", str(tmp_path), "--bundle", str(counter.bundle.path), counter.id
    ).failed("descriptors.json")  # fmt: skip
    counter.nothing_left()


@criu
def test_restore_of_an_id_that_is_taken(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images", "--leave-running")
    counter.call(
        "restore", "-d", "--image-path", str(tmp_path / "images"),
        "--bundle", str(counter.bundle.path), counter.id,
    ).failed("container with given ID already exists")  # fmt: skip
    goes_on(volume, len(counted(volume)))


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--parent-path", "/absolute"), "--parent-path must be relative"),
        (("--page-server", "nowhere"), "Use --page-server ADDRESS:PORT"),
        (("--page-server", "host:99999"), "Use --page-server ADDRESS:PORT"),
        (("--manage-cgroups-mode", "wild"), "invalid value for --manage-cgroups-mode: wild"),
        (("--network-lock", "chain"), "invalid value for --network-lock: chain"),
        (("--empty-ns", "pid"), 'namespace "pid" is not supported'),
        (("--status-fd", "x"), "invalid value for --status-fd: x"),
        (("--status-fd", "77"), "--status-fd 77"),
    ],
)
def test_wrong_options(container: Make, option: tuple[str, str], text: str) -> None:
    c = container().running()
    c.call("checkpoint", *option, c.id).failed(text)
    assert c.status == "running"


@pytest.mark.parametrize("state", ["created", "stopped"])
def test_only_what_runs_is_saved(container: Make, state: str) -> None:
    c = container()
    if state == "created":
        c.created()
    else:
        c.run_detached().ok()
        c.wait()
    c.call("checkpoint", c.id).failed(f"Container cannot be checkpointed in {state} state")


def test_missing_container(container: Make) -> None:
    c = container()
    c.call("checkpoint", c.id).failed("container does not exist")


def test_unprivileged(container: Make) -> None:
    c = container()
    for verb in ("checkpoint", "restore"):
        c.call(verb, c.id, user=1000, group=1000, extra_groups=[]).failed("CRIU", "root")


def test_without_criu(container: Make) -> None:
    if shutil.which("criu", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"):
        pytest.skip("criu is installed")
    c = container().running()
    c.call("checkpoint", c.id).failed("CRIU is not installed", "install")
    assert c.status == "running"


def test_probes_of_podman(call: Call) -> None:
    """Podman asks for these before it says that it can."""
    assert "--image-path" in call("checkpoint", "--help").ok().out
    assert "--lsm-profile" in call("restore", "--help").ok().out
    result = call("restore", "--lsm-mount-context")
    assert result.status != 0
    assert "flag needs an argument: --lsm-mount-context" in result.out + result.err
