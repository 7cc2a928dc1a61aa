# SPDX-License-Identifier: Apache-2.0
"""Decides that a terminal comes from the container's devpts alone (CVE-2025-52565)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.bundle import mount
from harness.signatures import Make
from harness.terminal import ConsoleReceiver


def devices(container: Make, path: Path) -> tuple[object, Path]:
    """A container whose /dev is a directory of the host's that others write to."""
    c = container("/bin/sh", "-c", "true", terminal=True)
    (path / "pts").mkdir(parents=True)
    os.mknod(path / "null", 0o020666, os.makedev(1, 3))
    c.bundle.mounts[:] = [
        entry for entry in c.bundle.mounts if not entry["destination"].startswith("/dev")
    ]
    c.bundle.mounts.insert(1, mount("/dev", "bind", str(path), "rbind"))
    return c, path


@pytest.mark.parametrize("link", ["/proc/sys/kernel/domainname", "../secret", "pts/ptmx"])
def test_console_is_a_link(container: Make, tmp_path: Path, link: str) -> None:
    c, path = devices(container, tmp_path / "devices")
    c.bundle.mounts.append(mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666"))
    (path / "console").symlink_to(link)
    receiver = ConsoleReceiver(tmp_path / "socket")
    try:
        result = c.create("--console-socket", str(receiver.path))
    finally:
        receiver.close()
    assert result.status == 1
    assert "/dev/console" in result.err
    assert os.readlink(path / "console") == link
    c.nothing_left()


def test_pts_is_no_devpts(container: Make, tmp_path: Path) -> None:
    c, path = devices(container, tmp_path / "devices")
    os.mknod(path / "pts/ptmx", 0o020666, os.makedev(5, 2))
    receiver = ConsoleReceiver(tmp_path / "socket")
    try:
        result = c.create("--console-socket", str(receiver.path))
    finally:
        receiver.close()
    assert result.status == 1
    assert "/dev/pts/ptmx" in result.err
    c.nothing_left()
