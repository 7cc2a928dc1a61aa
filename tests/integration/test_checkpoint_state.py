"""What a restored container is: the same in all that the kernel tells of it, and as usable.

Skipped where CRIU does not work; conformance/vm-checkpoint.sh has it run.
"""

from __future__ import annotations

import os
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
# Of /proc/PID/status: what a plan decides.
FIELDS = (
    "Umask Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters "
    "SigIgn NSpid Cpus_allowed_list"
).split()


def facts(c: Container) -> dict[str, Any]:
    """What the kernel tells of init, without what is new by right (numbers of mounts, namespaces)."""
    proc = Path(f"/proc/{c.pid}")
    status = kernel.parse_status((proc / "status").read_text())
    mounts = [line.split(" - ") for line in (proc / "mountinfo").read_text().splitlines()]
    return {
        "status": {name: status.get(name) for name in FIELDS if name != "NSpid"},
        "pid": status["NSpid"].split()[-1],
        # A masked file is the container's /dev/null first, and the host's then.
        "mounts": sorted(
            (*before.split()[3:6], "" if before.split()[3] == "/null" else after.split()[0])
            for before, after in mounts
        ),
        "limits": (proc / "limits").read_text(),
        "oom_score_adj": (proc / "oom_score_adj").read_text(),
        "cgroup": (proc / "cgroup").read_text(),
        "environment": (proc / "environ").read_bytes(),
        "directory": os.readlink(proc / "cwd"),
        "hostname": c.exec("/bin/hostname").ok().out,
        "masked": c.exec("/bin/sh", "-c", "cat /proc/kcore /masked | wc -c; ls /hidden").ok().out,
        "network": os.readlink(proc / "ns/net"),
    }


@criu
def test_everything_is_as_it_was(counter: Container, volume: Path, tmp_path: Path) -> None:
    b = counter.bundle
    b.process.update(
        {"user": {"uid": 0, "gid": 0, "umask": 0o27, "additionalGids": [7, 8]}, "cwd": "/tmp"},
        oomScoreAdj=55,
        rlimits=[{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 256}],
    )
    file = tmp_path / "file"
    file.write_text("of the host\n")
    (b.rootfs / "file").touch()
    for name in ("hidden", "tree", "scratch"):
        (b.rootfs / name).mkdir()
    (b.rootfs / "masked").write_text("secret")
    (b.rootfs / "hidden/secret").touch()
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    kernel.mount("none", str(tree / "below"), "tmpfs")
    b.mounts.extend(
        {"destination": name, "type": kind, "source": str(source), "options": options}
        for name, kind, source, options in (
            ("/file", "bind", file, ["bind", "ro"]),
            ("/tree", "bind", tree, ["rbind", "ro"]),
            ("/scratch", "tmpfs", "tmpfs", ["size=1m", "nosuid"]),
        )
    )
    b.linux["maskedPaths"] += ["/masked", "/hidden"]
    b.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }
    try:
        begin(counter, volume)
        counter.exec("/bin/sh", "-c", "echo kept >/scratch/kept").ok()
        before = facts(counter)
        save_and_restore(counter, volume, tmp_path / "images")
        assert facts(counter) == before
        assert counter.exec("/bin/cat", "/scratch/kept", "/file").ok().out == "kept\nof the host\n"
    finally:
        subprocess.run(["umount", str(tree / "below")], check=True)


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


@criu
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--image-path", "/does/not/exist"), 'open image path "/does/not/exist"'),
        (("--image-path", "/etc/passwd"), 'open image path "/etc/passwd"'),
        (("--work-path", "/etc/passwd"), 'open work path "/etc/passwd"'),
    ],
)
def test_wrong_places(
    counter: Container, tmp_path: Path, options: tuple[str, str], text: str
) -> None:
    counter.bundle.write()
    (tmp_path / "checkpoint").mkdir()
    counter.call(
        "restore", "-d", "--bundle", str(counter.bundle.path), *options, counter.id, cwd=tmp_path
    ).failed(text)  # fmt: skip
    counter.nothing_left()


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
