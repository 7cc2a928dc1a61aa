"""Links in the root filesystem never lead to the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.bundle import mount
from harness.container import Container
from harness.decoy import Decoy
from harness.signatures import Make


def targets(c: Container, decoy: Decoy) -> dict[str, str]:
    """The decoy as an absolute path, and as a relative one that counts the way up."""
    return {
        "absolute": str(decoy.path),
        "relative": os.path.relpath(decoy.path, c.bundle.rootfs),
        "far up": "../" * 30 + str(decoy.path).lstrip("/"),
    }


def replace(path: Path, target: str) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    elif path.exists() or path.is_symlink():
        path.unlink()
    path.symlink_to(target)


KINDS = ["absolute", "relative", "far up"]


@pytest.mark.runc_fails("CVE-2026-41579")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["create", "run"])
def test_dev_without_a_mount(container: Make, decoy: Decoy, kind: str, verb: str) -> None:
    """CVE-2026-41579: nodes and links were made in the directory that rootfs/dev led to."""
    c = container("/bin/true")
    for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.bundle.without_mount(destination)
    replace(c.bundle.rootfs / "dev", targets(c, decoy)[kind])
    getattr(c, verb)()
    c.clean_up()
    decoy.untouched()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pts", "shm", "mqueue"])
def test_below_dev(container: Make, decoy: Decoy, kind: str, name: str) -> None:
    """CVE-2026-47766."""
    c = container("/bin/true")
    c.bundle.without_mount("/dev")
    replace(c.bundle.rootfs / "dev" / name, targets(c, decoy)[kind])
    c.run()
    c.clean_up()
    decoy.untouched()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["null", "ptmx", "console", "fd", "stdin", "core", "zero"])
def test_names_in_dev(container: Make, decoy: Decoy, kind: str, name: str) -> None:
    """CVE-2025-24965's kind: what the runtime makes must not be made through a link."""
    c = container("/bin/true")
    for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.bundle.without_mount(destination)
    replace(c.bundle.rootfs / "dev" / name, targets(c, decoy)[kind] + "/made")
    c.run()
    c.clean_up()
    decoy.untouched()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("destination", ["/link", "/link/new", "/link/deep/er", "/link/secret"])
@pytest.mark.parametrize("source", ["tmpfs", "directory", "file"])
def test_mount_destinations(
    container: Make, decoy: Decoy, tmp_path: Path, kind: str, destination: str, source: str
) -> None:
    """CVE-2019-18837: a destination is resolved inside of the root filesystem."""
    c = container("/bin/true")
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    replace(c.bundle.rootfs / "link", targets(c, decoy)[kind])
    if source == "tmpfs":
        c.bundle.mounts.append(mount(destination, "tmpfs", "tmpfs"))
    else:
        c.bundle.mounts.append(mount(destination, "bind", str(tmp_path / source), "bind"))
    c.run()
    c.clean_up()
    decoy.untouched()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys(container: Make, decoy: Decoy, kind: str, name: str) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2025-54867: no file system is mounted through a link."""
    c = container("/bin/true")
    replace(c.bundle.rootfs / name, targets(c, decoy)[kind])
    c.create().failed("must be mounted on ordinary directory")
    c.nothing_left()


def test_proc_through_a_volume(container: Make, decoy: Decoy, tmp_path: Path) -> None:
    """CVE-2023-27561: rootfs/proc leads into a volume that another container controls."""
    volume = tmp_path / "volume"
    (volume / "proc/self/attr").mkdir(parents=True)
    (volume / "proc/self/attr/exec").touch()
    c = container("/bin/true")
    (c.bundle.rootfs / "volume").mkdir()
    replace(c.bundle.rootfs / "proc", "/volume/proc")
    c.bundle.mounts.insert(0, mount("/volume", "bind", str(volume), "bind"))
    c.create().failed("must be mounted on ordinary directory")
    assert (volume / "proc/self/attr/exec").read_text() == ""
    c.nothing_left()
    decoy.untouched()


def test_bind_over_proc(container: Make, tmp_path: Path) -> None:
    """CVE-2019-16884: a fake /proc would take what is written to attr/exec."""
    fake = tmp_path / "fake"
    (fake / "self/attr").mkdir(parents=True)
    (fake / "self/attr/exec").touch()
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/proc", "bind", str(fake), "bind"))
    c.create().failed("cannot be mounted because it is", "not of type proc")
    assert (fake / "self/attr/exec").read_text() == ""
    c.nothing_left()


@pytest.mark.runc_fails("1.1 refuses binds there alone, and other file systems in other words")
@pytest.mark.parametrize(
    "destination", ["/proc/self/attr", "/proc/sys/kernel", "/proc/1", "/proc/sysrq-trigger"]
)
def test_mounts_inside_proc(container: Make, destination: str) -> None:
    """CVE-2025-52881: a mount in /proc redirects what the runtime writes there."""
    c = container("/bin/true")
    c.bundle.mounts.append(mount(destination, "tmpfs", "tmpfs"))
    c.create().failed("cannot be mounted because it is inside /proc")
    c.nothing_left()


@pytest.mark.parametrize("kind", KINDS)
def test_device_paths(container: Make, decoy: Decoy, kind: str) -> None:
    c = container("/bin/true")
    replace(c.bundle.rootfs / "link", targets(c, decoy)[kind])
    c.bundle.linux["devices"] = [
        {"path": f"/link/{name}", "type": "c", "major": 1, "minor": 3, "fileMode": 0o777, "uid": 7}
        for name in ("made", "secret", "deep/er")
    ]
    c.run()
    c.clean_up()
    decoy.untouched()


@pytest.mark.parametrize("kind", KINDS)
def test_working_directory_that_is_made(container: Make, decoy: Decoy, kind: str) -> None:
    c = container("/bin/true", cwd="/link/made/for/you")
    c.bundle.writable()
    replace(c.bundle.rootfs / "link", targets(c, decoy)[kind])
    c.run()
    decoy.untouched()


@pytest.mark.parametrize("kind", KINDS)
def test_masked_and_read_only_paths(container: Make, decoy: Decoy, kind: str) -> None:
    c = container("/bin/true")
    replace(c.bundle.rootfs / "link", targets(c, decoy)[kind])
    c.bundle.linux["maskedPaths"] = ["/link", "/link/secret", "/link/sub"]
    c.bundle.linux["readonlyPaths"] = ["/link", "/link/secret", "/link/sub"]
    c.run()
    decoy.untouched()
    (decoy.path / "sub/writable").touch()
    (decoy.path / "sub/writable").unlink()


def test_links_in_a_ring(container: Make) -> None:
    c = container("/bin/true")
    (c.bundle.rootfs / "one").symlink_to("/two")
    (c.bundle.rootfs / "two").symlink_to("/one")
    c.bundle.mounts.append(mount("/one/x", "tmpfs", "tmpfs"))
    c.create().failed("/one/x")
    c.nothing_left()


@pytest.mark.parametrize("kind", KINDS)
def test_passwd(container: Make, decoy: Decoy, kind: str) -> None:
    """HOME comes from the container's file alone."""
    (decoy.path / "passwd").write_text("root:x:0:0::/home/of/the/host:/bin/sh\n")
    c = container()
    replace(c.bundle.rootfs / "etc/passwd", targets(c, decoy)[kind] + "/passwd")
    assert "HOME=/home/of/the/host" not in c.facts()["env"]
    (decoy.path / "passwd").unlink()


@pytest.mark.runc_fails("it waits for a writer of a fifo")
@pytest.mark.parametrize("special", ["fifo", "directory", "device", "large"])
def test_passwd_that_is_no_file(container: Make, special: str) -> None:
    """Reading it neither hangs nor eats all memory."""
    c = container("/bin/true")
    path = c.bundle.rootfs / "etc/passwd"
    path.unlink()
    if special == "fifo":
        os.mkfifo(path)
    elif special == "directory":
        path.mkdir()
    elif special == "device":
        os.mknod(path, 0o20666, os.makedev(1, 5))
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    result = c.run()
    assert "Traceback" not in result.err
    c.nothing_left()
