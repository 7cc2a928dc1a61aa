"""Mount options: those that crun has besides, and the remounting of what is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.bundle import mount
from harness.signatures import Make


def volume(path: Path, content: str = "host\n") -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


@pytest.mark.needs("runtime:pyrunc")
def test_link_as_source_itself(container: Make, tmp_path: Path) -> None:
    """crun's src-nofollow and dest-nofollow."""
    c = container()
    (tmp_path / "link").symlink_to("/over/there")
    (c.bundle.rootfs / "tmp/place").symlink_to("nowhere")
    entry = mount(
        "/tmp/place", "bind", str(tmp_path / "link"), "bind", "src-nofollow", "dest-nofollow"
    )
    c.bundle.mounts.append(entry)
    assert c.shell("readlink /tmp/place") == "/over/there"
    assert os.readlink(c.bundle.rootfs / "tmp/place") == "nowhere"


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize("there", [None, "/over/there", "/else/where"])
def test_link_that_is_copied(container: Make, tmp_path: Path, there: str | None) -> None:
    """crun's copy-symlink."""
    c = container()
    (tmp_path / "link").symlink_to("/over/there")
    if there:
        (c.bundle.rootfs / "tmp/place").symlink_to(there)
    c.bundle.mounts.append(
        mount("/tmp/place", "bind", str(tmp_path / "link"), "bind", "copy-symlink")
    )
    if there == "/else/where":
        c.create().failed("/mounts/7", "/tmp/place")
        c.nothing_left()
    else:
        assert (
            c.shell("readlink /tmp/place; grep -c /tmp/place /proc/mounts || true")
            == "/over/there\n0"
        )


@pytest.mark.needs("runtime:pyrunc")
def test_copied_link_that_is_none(container: Make, tmp_path: Path) -> None:
    c = container()
    host = volume(tmp_path / "volume")
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "rbind", "copy-symlink"))
    assert c.shell("cat /tmp/file") == "host"


def test_remount(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "size=64k", "nodev", "mode=700"))
    c.bundle.mounts.append(
        mount("/tmp", "tmpfs", "tmpfs", "remount", "size=128k", "nodev", "noexec")
    )
    shown = c.facts().mounts()["/tmp"]
    assert {"size=128k", "mode=700"} <= shown["super"]
    assert {"nodev", "noexec"} <= shown["options"]


def test_remount_read_only_leaves_the_file_system_alone(container: Make, tmp_path: Path) -> None:
    c = container()
    host = volume(tmp_path / "volume")
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind"))
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind", "remount", "ro", "noexec"))
    shown = c.facts().mounts()
    assert {"ro", "noexec"} <= shown["/tmp"]["options"]
    assert [line for line in kernel.mountinfo() if str(host) in line] == []
    (host / "still").write_text("writable")


def test_remount_of_nothing(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp/none", "tmpfs", "tmpfs", "remount", "size=128k"))
    c.create().failed("/mounts/7", "/tmp/none")
    c.nothing_left()


def test_remount_with_an_option_that_is_none(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs"))
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "remount", "sideways=1"))
    c.create().failed("/mounts/8")
    c.nothing_left()


# The cgroup file system -----------------------------------------------------------------------------


def hierarchy_options() -> set[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        kind, _, options = line.partition(" - ")[2].split(" ", 2)
        if kind == "cgroup2":
            return set(options.split(","))
    return set()


@pytest.mark.needs("cgroup2")
@pytest.mark.runc_fails("its mount takes the options of the one hierarchy away")
@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_options_of_the_hierarchy_are_the_hosts(container: Make, kind: str) -> None:
    """A mount of cgroup v2 outside of a cgroup namespace changes them for everybody."""
    before = hierarchy_options()
    if not before & {"nsdelegate", "memory_recursiveprot"}:
        pytest.skip("this host's cgroup v2 has no options to lose")
    c = container()
    entry = next(one for one in c.bundle.mounts if one["destination"] == "/sys/fs/cgroup")
    entry["type"] = kind
    shown = c.facts().mounts()["/sys/fs/cgroup"]
    assert hierarchy_options() == before
    assert (shown["type"], shown["root"]) == ("cgroup2", "/")
    assert {"ro", "nosuid", "nodev", "noexec"} <= shown["options"]
