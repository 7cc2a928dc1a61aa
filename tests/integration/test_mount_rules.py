"""Mounts of every kind in every place: copies, nests, order, propagation, locked flags, many of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kernel
from harness.bundle import mount
from harness.container import Container
from harness.signatures import Make

FIRST = 100000


def in_user_namespace(c: Container) -> Container:
    ids = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
    c.bundle.namespace("user")
    c.bundle.namespace("network")
    c.bundle.linux.update(uidMappings=ids, gidMappings=ids)
    for directory in [c.bundle.path, *c.bundle.path.parents]:
        if str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    for path in [c.bundle.rootfs, *c.bundle.rootfs.rglob("*")]:
        if path.parent.name != "bin":
            os.chown(path, FIRST, FIRST, follow_symlinks=False)
    return c


@pytest.fixture
def restricted(tmp_path: Path) -> Iterator[Path]:
    """A mount that is nosuid, nodev and noatime."""
    path = tmp_path / "restricted"
    path.mkdir()
    kernel.mount("tmpfs", str(path), "tmpfs", flags=2 | 4 | 1024)
    path.chmod(0o755)
    yield path
    kernel.unmount(str(path))


# Locked flags -----------------------------------------------------------------------------------


def test_flags_can_be_cleared(container: Make, restricted: Path) -> None:
    c = container()
    c.bundle.mounts.append(
        mount("/tmp", "bind", str(restricted), "bind", "dev", "suid", "relatime")
    )
    options = c.facts().mounts()["/tmp"]["options"]
    assert not {"nosuid", "nodev", "noatime"} & options
    assert "relatime" in options


@pytest.mark.needs("userns", "kernel:5.12")
@pytest.mark.parametrize(
    ("option", "locked"), [("suid", "nosuid"), ("dev", "nodev"), ("strictatime", "noatime")]
)
def test_locked_flags_cannot(container: Make, restricted: Path, option: str, locked: str) -> None:
    c = in_user_namespace(container())
    c.bundle.mounts.append(mount("/tmp", "bind", str(restricted), "bind", option))
    c.create().failed("/mounts/7", f"cannot clear locked flags {locked}")
    c.nothing_left()


@pytest.mark.needs("userns")
def test_locked_flags_stay_where_others_are_set(container: Make, restricted: Path) -> None:
    c = in_user_namespace(container())
    c.bundle.mounts.append(mount("/tmp", "bind", str(restricted), "rbind", "ro", "noexec"))
    c.bundle.mounts.append(mount("/tmp", "bind", str(restricted), "bind", "remount", "nosuid"))
    options = c.facts().mounts()["/tmp"]["options"]
    assert {"ro", "noexec", "nosuid", "nodev", "noatime"} <= options


# Options ----------------------------------------------------------------------------------------


@pytest.mark.needs("kernel:5.12")
@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnodiratime", "nodiratime"),
        ("rnoatime", "noatime"),
        ("rnosymfollow", "nosymfollow"),
    ],
)
def test_recursive_option(container: Make, tmp_path: Path, option: str, shown: str) -> None:
    c = container()
    top = tmp_path / "volume"
    (top / "below").mkdir(parents=True)
    kernel.mount("tmpfs", str(top / "below"), "tmpfs")
    try:
        c.bundle.mounts.append(mount("/tmp", "bind", str(top), "rbind", option))
        table = c.facts().mounts()
    finally:
        kernel.unmount(str(top / "below"))
    assert shown in table["/tmp"]["options"]
    assert shown in table["/tmp/below"]["options"]


@pytest.mark.needs("kernel:5.12")
@pytest.mark.parametrize(
    ("option", "gone"),
    [("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec"), ("rdiratime", "nodiratime"),
     ("rrelatime", "noatime"), ("ratime", "noatime"), ("rstrictatime", "noatime"), ("rsymfollow", "nosymfollow")],
)  # fmt: skip
def test_recursive_option_that_clears(
    container: Make, tmp_path: Path, option: str, gone: str
) -> None:
    c = container()
    top = tmp_path / "volume"
    (top / "below").mkdir(parents=True)
    flags = {
        "ro": 1,
        "nosuid": 2,
        "nodev": 4,
        "noexec": 8,
        "nosymfollow": 256,
        "noatime": 1024,
        "nodiratime": 2048,
    }
    kernel.mount("tmpfs", str(top / "below"), "tmpfs")
    # MS_REMOUNT | MS_BIND: of the mount, not of the file system.
    kernel.mount("none", str(top / "below"), flags=32 | kernel.MS_BIND | flags[gone])
    try:
        c.bundle.mounts.append(mount("/tmp", "bind", str(top), "rbind", option))
        assert gone not in c.facts().mounts()["/tmp/below"]["options"]
    finally:
        kernel.unmount(str(top / "below"))


@pytest.mark.parametrize(
    ("option", "shown"),
    [("sync", "sync"), ("dirsync", "dirsync"), ("lazytime", "lazytime"), ("ro", "ro")],
)
def test_option_of_the_superblock(container: Make, option: str, shown: str) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", option))
    line = c.facts().mounts()["/tmp"]
    assert shown in line["super"] | line["options"]


@pytest.mark.parametrize(
    "options",
    [
        ["iversion"],
        ["noiversion"],
        ["silent"],
        ["loud"],
        ["async"],
        ["nolazytime"],
        ["nomand"],
        ["defaults"],
    ],
)
def test_option_that_is_taken(container: Make, options: list[str]) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", *options))
    c.run().ok()


def test_links_that_are_not_followed(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "nosymfollow"))
    script = "ln -s /etc/passwd /tmp/link; cat /tmp/link >/dev/null 2>&1 || echo refused"
    assert c.shell(script) == "refused"


@pytest.mark.needs("kernel:5.8")
def test_options_of_proc(container: Make) -> None:
    c = container()
    entry = next(one for one in c.bundle.mounts if one["destination"] == "/proc")
    entry["options"] = ["hidepid=2", "subset=pid", "nosuid"]
    c.bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    shown = c.facts().mounts()["/proc"]["super"]
    assert {"subset=pid"} <= shown
    assert {"hidepid=2", "hidepid=invisible"} & shown


# tmpcopyup --------------------------------------------------------------------------------------


def test_everything_is_copied_up(container: Make) -> None:
    c = container()
    there = c.bundle.rootfs / "srv"
    (there / "deep/er").mkdir(parents=True)
    (there / "deep/er/file").write_text("content\n")
    (there / "link").symlink_to("deep/er/file")
    os.mkfifo(there / "fifo")
    (there / "program").write_text("#!/bin/sh\n")
    (there / "program").chmod(0o4755)
    os.chown(there / "deep/er/file", 7, 8)
    there.chmod(0o1770)
    os.utime(there / "deep/er/file", (1000000000, 1000000000))
    c.bundle.mounts.append(mount("/srv", "tmpfs", "tmpfs", "tmpcopyup", "ro"))
    script = (
        "cat /srv/link; stat -c %u:%g:%Y /srv/deep/er/file; stat -c %a /srv/program /srv; stat -c %F /srv/fifo;"
        " readlink /srv/link; touch /srv/new 2>/dev/null || echo read-only"
    )
    assert c.shell(script).split("\n") == [
        "content", "7:8:1000000000", "4755", "1770", "fifo", "deep/er/file", "read-only",
    ]  # fmt: skip
    assert sorted(os.listdir(there)) == ["deep", "fifo", "link", "program"]


def test_copied_up_files_are_the_containers_alone(container: Make) -> None:
    c = container()
    (c.bundle.rootfs / "srv").mkdir()
    (c.bundle.rootfs / "srv/file").write_text("old\n")
    c.bundle.mounts.append(mount("/srv", "tmpfs", "tmpfs", "tmpcopyup"))
    assert c.shell("echo new >/srv/file; cat /srv/file") == "new"
    assert (c.bundle.rootfs / "srv/file").read_text() == "old\n"


def test_nothing_to_copy_up(container: Make) -> None:
    c = container()
    c.bundle.writable()
    c.bundle.mounts.append(mount("/new/place", "tmpfs", "tmpfs", "tmpcopyup"))
    assert c.shell("ls /new/place; stat -c %a /new/place") in ("755", "1777")


def test_too_small_for_the_copy(container: Make) -> None:
    c = container("/bin/true")
    (c.bundle.rootfs / "srv").mkdir()
    (c.bundle.rootfs / "srv/file").write_bytes(bytes(1 << 20))
    c.bundle.mounts.append(mount("/srv", "tmpfs", "tmpfs", "tmpcopyup", "size=64k"))
    c.create().failed("/mounts/7", "/srv")
    c.nothing_left()


# Order, nests, kinds ----------------------------------------------------------------------------


def test_file_socket_and_fifo(container: Make, tmp_path: Path) -> None:
    c = container()
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").write_text("x")
    os.mkfifo(host / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(host)
        listener.bind("socket")
        os.chdir(here)
        for name in ("file", "fifo", "socket"):
            c.bundle.mounts.append(mount(f"/tmp/{name}", "bind", str(host / name), "bind"))
        assert c.shell("stat -c %F /tmp/file /tmp/fifo /tmp/socket").split("\n") == [
            "regular file", "fifo", "socket",
        ]  # fmt: skip


def test_mounts_below_a_read_only_one(container: Make, tmp_path: Path) -> None:
    """A mount point that is there already may be under a read-only parent; one that is not, cannot be made."""
    host = tmp_path / "host"
    (host / "inner").mkdir(parents=True)
    c = container()
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind", "ro"))
    c.bundle.mounts.append(mount("/tmp/inner", "tmpfs", "tmpfs", "size=64k"))
    assert (
        c.shell("touch /tmp/inner/x && echo written; touch /tmp/y 2>/dev/null || echo no")
        == "written\nno"
    )
    d = container("/bin/true")
    d.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind", "ro"))
    d.bundle.mounts.append(mount("/tmp/missing", "tmpfs", "tmpfs"))
    d.create().failed("/mounts/8", "/tmp/missing")
    d.nothing_left()


def test_mounts_below_a_read_only_tmpfs(container: Make) -> None:
    """A tmpfs becomes read-only when all is in place."""
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "ro"))
    c.bundle.mounts.append(mount("/tmp/made", "tmpfs", "tmpfs"))
    assert (
        c.shell("touch /tmp/made/x && echo written; touch /tmp/y 2>/dev/null || echo no")
        == "written\nno"
    )


def test_source_that_an_earlier_mount_provides(container: Make, tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "sub").mkdir(parents=True)
    (host / "sub/file").write_text("through the container\n")
    c = container()
    (c.bundle.rootfs / "a").mkdir()
    c.bundle.mounts.append(mount("/a", "bind", str(host), "bind"))
    c.bundle.mounts.append(mount("/tmp", "bind", str(c.bundle.rootfs / "a/sub"), "bind"))
    assert c.shell("cat /tmp/file") == "through the container"


def test_the_top_of_the_rootfs(container: Make) -> None:
    for destination in ("/", "/.", "/tmp/..", "//"):
        c = container("/bin/true")
        c.bundle.mounts.append(mount(destination, "tmpfs", "tmpfs"))
        c.create().failed("/mounts/7/destination", "is on the top of rootfs")
        c.nothing_left()


def test_five_hundred_mounts(container: Make, tmp_path: Path) -> None:
    """With a limit of descriptors that they would not fit in."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").write_text("x")
    c = container()
    for number in range(500):
        kind = number % 2
        entry = (
            mount(f"/tmp/{number}", "bind", str(host), "bind", "ro")
            if kind
            else mount(f"/tmp/{number}", "tmpfs", "tmpfs")
        )
        c.bundle.mounts.append(entry)

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    c.bundle.process["args"] = ["/bin/sh", "-c", "ls -d /tmp/* | wc -l; cat /tmp/499/file"]
    c.bundle.process["rlimits"] = []
    assert c.run(preexec_fn=limit).ok().out.split() == ["500", "x"]


# Propagation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (["rprivate", "rshared"], ["shared"]),
        (["rshared", "rslave"], ["master"]),
        (["rshared", "rslave", "rshared"], ["master", "shared"]),
        (["rshared", "rprivate"], []),
    ],
)
def test_propagation_in_order(
    container: Make, tmp_path: Path, options: list[str], fields: list[str]
) -> None:
    """Each is an operation of its own: slave of what it was shared with, then shared again."""
    host = tmp_path / "host"
    host.mkdir()
    kernel.mount("tmpfs", str(host), "tmpfs")
    kernel.mount("none", str(host), flags=kernel.MS_SHARED)
    try:
        c = container()
        c.bundle.linux["rootfsPropagation"] = "shared"
        c.bundle.mounts.append(mount("/tmp", "bind", str(host), "rbind", *options))
        found = c.facts().mounts()["/tmp"]["propagation"]
    finally:
        kernel.unmount(str(host))
    kinds = sorted(
        entry.partition(":")[0] for entry in found if entry.startswith(("shared", "master"))
    )
    assert kinds == fields


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("rprivate", set()),
        ("rslave", set()),
        ("rshared", {"shared"}),
        ("unbindable", {"unbindable"}),
    ],
)
def test_rootfs_below_a_shared_mount(
    container: Make, tmp_path: Path, value: str, kind: set[str]
) -> None:
    """The host sees none of the container's mounts, whatever its root is afterwards."""
    c = container()
    kernel.mount(str(tmp_path), str(tmp_path), flags=kernel.MS_BIND)
    kernel.mount("none", str(tmp_path), flags=kernel.MS_SHARED)
    try:
        before = kernel.mountinfo()
        c.bundle.linux["rootfsPropagation"] = value
        c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs"))
        found = c.facts().mounts()["/"]["propagation"]
        assert kernel.mountinfo() == before
        kinds = {entry.partition(":")[0] for entry in found}
        assert kind <= kinds
        assert "shared" not in kinds or kind == {"shared"}
        c.clean_up()
    finally:
        kernel.unmount(str(tmp_path), kernel.MNT_DETACH)
