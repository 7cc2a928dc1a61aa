"""Another container swaps directories and links while a container is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bundle import mount
from harness.decoy import Decoy
from harness.signatures import Make

Swap = Callable[[Path, Path], None]
ROUNDS = 20


def contest(volume: Path, target: str, *, sub: str = "") -> tuple[Path, Path]:
    """A directory in a shared volume, and beside it a link to `target`, to be exchanged."""
    volume.mkdir()
    (volume / "place" / sub).mkdir(parents=True)
    (volume / "link").symlink_to(target)
    return volume / "place", volume / "link"


@pytest.mark.parametrize("deep", ["", "/a/b/c"])
def test_mount_destination(
    container: Make, decoy: Decoy, swap: Swap, tmp_path: Path, deep: str
) -> None:
    """CVE-2021-30465, CVE-2024-45310: the destination of a mount is swapped for a link to the host."""
    one, other = contest(tmp_path / "volume", "/" * 3 + str(decoy.path).lstrip("/"))
    swap(one, other)
    for _ in range(ROUNDS):
        c = container("/bin/sh", "-c", "cat /proc/self/mountinfo; ls /volume/place/")
        c.bundle.mounts.append(mount("/volume", "bind", str(tmp_path / "volume"), "bind"))
        c.bundle.mounts.append(mount(f"/volume/place{deep}", "tmpfs", "tmpfs", "size=64k"))
        result = c.run()
        c.nothing_left()
        if result.status == 0:
            assert "secret" not in result.out
    decoy.untouched()


@pytest.mark.runc_fails("CVE-2024-45310")
def test_bind_destination(container: Make, decoy: Decoy, swap: Swap, tmp_path: Path) -> None:
    """What the runtime makes for a bind of a file appears inside alone."""
    one, other = contest(tmp_path / "volume", str(decoy.path))
    source = tmp_path / "source"
    source.write_text("source\n")
    swap(one, other)
    for number in range(ROUNDS):
        c = container("/bin/true")
        c.bundle.mounts.append(mount("/volume", "bind", str(tmp_path / "volume"), "bind"))
        c.bundle.mounts.append(mount(f"/volume/place/file{number}", "bind", str(source), "bind"))
        c.run()
        c.nothing_left()
    decoy.untouched()


def test_root_of_the_host_as_target(container: Make, swap: Swap, tmp_path: Path) -> None:
    """The link leads to the host's root by a path that is one inside too; the container never sees the host."""
    (tmp_path / "source").mkdir()
    one, other = contest(tmp_path / "volume", "/../../../../../../..")
    swap(one, other)
    marks = set(os.listdir("/")) - {
        "bin",
        "dev",
        "etc",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr",
        "volume",
    }
    for _ in range(ROUNDS):
        c = container("/bin/sh", "-c", "ls /volume/place/ /volume/link/")
        c.bundle.mounts.append(mount("/volume", "bind", str(tmp_path / "volume"), "bind"))
        c.bundle.mounts.append(mount("/volume/place", "bind", str(tmp_path / "source"), "rbind"))
        result = c.run()
        c.nothing_left()
        assert not marks & set(result.out.split())


@pytest.mark.runc_fails("CVE-2019-19921 again: it mounts where the path led a moment ago")
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc(container: Make, decoy: Decoy, swap: Swap, name: str) -> None:
    """CVE-2019-19921: /proc of the rootfs is swapped for a link; the mount is on a directory or not at all."""
    c = container("/bin/true")
    shared = c.bundle.rootfs
    (shared / "link").symlink_to("/fake")
    (shared / "fake").mkdir()
    swap(shared / name, shared / "link")
    kind = "proc" if name == "proc" else "sysfs"
    for _ in range(ROUNDS):
        again = container("/bin/cat", "/proc/self/mountinfo")
        again.bundle.config["root"]["path"] = str(shared)
        result = again.run()
        if result.status == 0:
            places = [line.split()[4] for line in result.out.splitlines() if f" - {kind} " in line]
            assert {place.split("/")[1] for place in places} <= {name, "link"}
        again.nothing_left()
    decoy.untouched()


@pytest.mark.runc_fails("CVE-2025-31133")
def test_null_device(container: Make, decoy: Decoy, swap: Swap, tmp_path: Path) -> None:
    """CVE-2025-31133: /dev/null is swapped for a link while paths are masked."""
    dev = tmp_path / "dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
    (dev / "link").symlink_to("/proc/sys/kernel/core_pattern")
    swap(dev / "null", dev / "link")
    for _ in range(ROUNDS):
        c = container("/bin/sh", "-c", "stat -c %t:%T /secret")
        (c.bundle.rootfs / "secret").write_text("secret\n")
        c.bundle.linux["maskedPaths"] = ["/secret"]
        for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
            c.bundle.without_mount(destination)
        c.bundle.mounts.append(mount("/dev", "bind", str(dev), "bind"))
        result = c.run()
        if result.status == 0:
            assert result.out.split() == ["1:3"]
        c.nothing_left()
    decoy.untouched()


@pytest.mark.runc_fails("CVE-2026-41579")
def test_dev(container: Make, decoy: Decoy, swap: Swap) -> None:
    """CVE-2026-41579 with a race: rootfs/dev is swapped while nodes and links are made in it."""
    c = container("/bin/true")
    shared = c.bundle.rootfs
    (shared / "link").symlink_to(decoy.path)
    swap(shared / "dev", shared / "link")
    for _ in range(ROUNDS):
        again = container("/bin/true")
        again.bundle.config["root"]["path"] = str(shared)
        for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
            again.bundle.without_mount(destination)
        again.run()
        again.nothing_left()
    decoy.untouched()
