"""Fake devices in a shared /dev (CVE-2025-31133, CVE-2025-52565)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.bundle import mount
from harness.container import Container
from harness.decoy import Decoy
from harness.signatures import Make
from harness.terminal import ConsoleReceiver


def shared_dev(c: Container, path: Path) -> Path:
    """A volume at /dev, such as another container could write to."""
    path.mkdir()
    for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.bundle.without_mount(destination)
    c.bundle.mounts.append(mount("/dev", "bind", str(path), "bind"))
    return path


@pytest.mark.runc_fails("CVE-2025-31133")
@pytest.mark.parametrize(
    "fake", ["link to core_pattern", "link to the host", "file", "missing", "wrong device"]
)
def test_null_device_that_masks_a_file(
    container: Make, decoy: Decoy, tmp_path: Path, fake: str
) -> None:
    """A masked file is the true null device, or creation fails: never a target of the attacker's."""
    c = container("/bin/sh", "-c", "stat -c %t:%T /secret; echo pwned >>/secret")
    (c.bundle.rootfs / "secret").write_text("secret\n")
    c.bundle.linux["maskedPaths"] = ["/secret"]
    dev = shared_dev(c, tmp_path / "dev")
    if fake == "link to core_pattern":
        (dev / "null").symlink_to("/proc/sys/kernel/core_pattern")
    elif fake == "link to the host":
        (dev / "null").symlink_to(decoy.path / "secret")
    elif fake == "file":
        (dev / "null").write_text("fake\n")
    elif fake == "wrong device":
        os.mknod(dev / "null", 0o20666, os.makedev(1, 5))
    result = c.run()
    if result.status == 0:
        assert result.out.split() == ["1:3"]
    assert (c.bundle.rootfs / "secret").read_text() == "secret\n"
    if fake == "file":
        assert (dev / "null").read_text() == "fake\n"
    c.nothing_left()


def test_standard_streams_and_a_fake_null_device(container: Make, tmp_path: Path) -> None:
    """A fake /dev/null that is a file must not become the container's standard input."""
    c = container("/bin/cat")
    dev = shared_dev(c, tmp_path / "dev")
    (dev / "null").write_text("fake\n")
    device = tmp_path / "null"
    os.mknod(device, 0o20666, os.makedev(1, 3))
    with device.open("rb") as null:
        c.create(stdin=null)
    if c.init is not None:
        c.start()
        c.wait()
        assert "fake" not in c.out()


@pytest.mark.parametrize("fake", ["link to core_pattern", "link to the host", "file", "directory"])
def test_console(container: Make, decoy: Decoy, tmp_path: Path, fake: str) -> None:
    """CVE-2025-52565: /dev/console is the container's own terminal or creation fails."""
    c = container("/bin/sh", "-c", "stat -L -c %t /dev/console; cat /dev/console </dev/null")
    c.bundle.process["terminal"] = True
    c.bundle.without_mount("/dev")
    console = c.bundle.rootfs / "dev/console"
    if fake == "link to core_pattern":
        console.symlink_to("/proc/sys/kernel/core_pattern")
    elif fake == "link to the host":
        console.symlink_to(decoy.path / "secret")
    elif fake == "file":
        console.write_text("fake\n")
    else:
        console.mkdir()
    receiver = ConsoleReceiver(tmp_path / "socket")
    try:
        result = c.create("--console-socket", str(receiver.path))
        if result.status == 0:
            _, (ptmx,) = receiver.receive()
            table = Path(f"/proc/{c.pid}/mountinfo").read_text()
            lines = [line for line in table.splitlines() if line.split()[4] == "/dev/console"]
            assert all(" - devpts " in line for line in lines), lines
            os.close(ptmx)
    finally:
        receiver.close()
    c.clean_up()
    decoy.untouched()


@pytest.mark.runc_fails("CVE-2025-52565")
@pytest.mark.parametrize("fake", ["file", "link", "device"])
def test_fake_ptmx(container: Make, decoy: Decoy, tmp_path: Path, fake: str) -> None:
    """A /dev/pts that is no devpts gives no terminal."""
    c = container("/bin/true", terminal=True)
    pts = tmp_path / "pts"
    pts.mkdir()
    (pts / "0").symlink_to(decoy.path / "secret")
    if fake == "file":
        (pts / "ptmx").touch()
    elif fake == "link":
        (pts / "ptmx").symlink_to("/proc/sys/kernel/core_pattern")
    else:
        os.mknod(pts / "ptmx", 0o20666, os.makedev(5, 2))
    c.bundle.without_mount("/dev/pts")
    c.bundle.mounts.append(mount("/dev/pts", "bind", str(pts), "bind"))
    receiver = ConsoleReceiver(tmp_path / "socket")
    try:
        c.create("--console-socket", str(receiver.path)).failed()
    finally:
        receiver.close()
    c.nothing_left()
