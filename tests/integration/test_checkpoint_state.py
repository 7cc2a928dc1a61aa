"""What a restored container is: the same in all that the kernel tells of it, and as usable.

Skipped where CRIU does not work; conformance/vm-checkpoint.sh has it run.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.counting import (
    begin,
    checkpoint,
    counted,
    give_volume,
    goes_on,
    reap,
    restore,
    save_and_restore,
)
from harness.lanes import TOKEN
from harness.signatures import Make

criu = pytest.mark.needs("criu")


@criu
def test_again_and_again(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    save_and_restore(counter, volume, tmp_path / "1")
    save_and_restore(counter, volume, tmp_path / "2")


@criu
def test_commands_on_what_is_restored(counter: Container, volume: Path, tmp_path: Path) -> None:
    begin(counter, volume)
    save_and_restore(counter, volume, tmp_path / "images")
    counter.call("pause", counter.id).ok()
    assert counter.status == "paused"
    counter.call("resume", counter.id).ok()
    counter.call("update", "--pids-limit", "55", counter.id).ok()
    assert counter.cgroup_value("pids", "pids.max") == "55"
    assert str(counter.pid) in counter.call("ps", "--format", "json", counter.id).ok().out
    assert counter.call("events", "--stats", counter.id).ok().json()["type"] == "stats"
    counter.call("start", counter.id).failed("")
    counter.kill("KILL").ok()
    assert counter.wait() == 128 + 9
    assert counter.status == "stopped"
    counter.delete().ok()
    counter.nothing_left()


@criu
def test_a_second_container_of_the_same_images(
    container: Make, counter: Container, volume: Path, tmp_path: Path
) -> None:
    """The first runs on; the second has another id, bundle, cgroup and volume."""
    begin(counter, volume)
    images = tmp_path / "images"
    checkpoint(counter, images, "--leave-running")
    other = tmp_path / "other"
    shutil.copytree(volume, other)
    at = len(counted(other))
    second = container("/bin/sh")
    second.bundle.process["args"] = counter.bundle.process["args"]
    give_volume(second, other)
    second.bundle.write()
    restore(second, images)
    kernel.wait_until(lambda: len(counted(other)) > at, "the second's", 30.0)
    # It begins anew where the checkpoint was, which the first had gone on from when it was copied.
    following = counted(other)[at]
    assert 3 < following <= at + 1
    goes_on(volume, len(counted(volume)))
    assert second.cgroup("pids") != counter.cgroup("pids")
    assert str(second.pid) in (second.cgroup("pids") / "cgroup.procs").read_text().split()


@criu
def test_a_failed_dump_leaves_a_paused_one_paused(
    counter: Container, volume: Path, tmp_path: Path
) -> None:
    counter.bundle.writable()
    counter.bundle.process["args"][2] = (
        "exec 4>/held; /bin/probe lock 4\n" + counter.bundle.process["args"][2]
    )
    begin(counter, volume)
    counter.call("pause", counter.id).ok()
    counter.call("checkpoint", "--image-path", str(tmp_path / "images"), counter.id).failed("lock")
    assert counter.status == "paused"
    counter.call("resume", counter.id).ok()
    goes_on(volume, len(counted(volume)))


@pytest.fixture
def profiles(leaks: object) -> Any:  # noqa: ARG001
    names = [f"{TOKEN}-{number}" for number in (1, 2)]
    rules = "\n".join(
        f"profile {name} flags=(attach_disconnected, mediate_deleted) "
        "{ file, capability, mount, signal, ptrace, network, unix, }"
        for name in names
    )
    subprocess.run(["apparmor_parser", "--replace"], input=rules, text=True, check=True)
    yield names
    subprocess.run(["apparmor_parser", "--remove"], input=rules, text=True, check=True)


@criu
@pytest.mark.needs("file:/sys/kernel/security/apparmor/profiles", "program:apparmor_parser")
@pytest.mark.parametrize("other", [False, True])
def test_lsm_profile(
    counter: Container, volume: Path, tmp_path: Path, profiles: list[str], other: bool
) -> None:
    counter.bundle.process["apparmorProfile"] = profiles[0]
    begin(counter, volume)
    checkpoint(counter, tmp_path / "images")
    reap(counter)
    before = len(counted(volume))
    options = ["--lsm-profile", f"apparmor:{profiles[1]}"] if other else []
    restore(counter, tmp_path / "images", *options)
    goes_on(volume, before)
    label = Path(f"/proc/{counter.pid}/attr/current").read_text()
    assert label == f"{profiles[other]} (enforce)\n"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--lsm-profile", "unconfined"), "--lsm-profile: unconfined"),
        (("--lsm-profile", "smack:x"), "--lsm-profile: smack:x"),
        (("--lsm-profile", "apparmor:"), "--lsm-profile: apparmor:"),
        (("--manage-cgroups-mode", "wild"), "invalid value for --manage-cgroups-mode: wild"),
        (("--empty-ns", "ipc"), 'namespace "ipc" is not supported'),
    ],
)
def test_wrong_options_of_restore(
    container: Make, option: tuple[str, str], text: str, tmp_path: Path
) -> None:
    c = container()
    c.bundle.write()
    c.call("restore", *option, "--bundle", str(c.bundle.path), c.id, cwd=tmp_path).failed(text)
    c.nothing_left()
    assert not (tmp_path / "checkpoint").exists()
