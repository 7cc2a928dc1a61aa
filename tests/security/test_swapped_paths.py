# SPDX-License-Identifier: Apache-2.0
"""Decides that nobody who swaps paths of the rootfs while a container is made reaches the host by it.

CVE-2021-30465, CVE-2024-45310, CVE-2025-31133 and CVE-2025-52565 were such races.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.bundle import mount
from harness.signatures import Make

AT_FDCWD, RENAME_EXCHANGE = -100, 2
ROUNDS = 60


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Exchanges two names, over and over, until the block ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = (AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE)
    assert libc.renameat2(*names) == 0, os.strerror(ctypes.get_errno())
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            libc.renameat2(*names)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("absolute", [True, False])
def test_target_below_a_swapped_directory(container: Make, tmp_path: Path, absolute: bool) -> None:
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    outside.mkdir()
    (volume / "a").mkdir(parents=True)
    (volume / "b").symlink_to(outside if absolute else "../" * 20 + str(outside)[1:])
    with swapping(volume / "a", volume / "b"):
        for _ in range(ROUNDS):
            c = container("/bin/true")
            c.bundle.mounts.extend(
                [
                    mount("/volume", "bind", str(volume), "rbind"),
                    mount("/volume/a/made/tmpfs", "tmpfs", "tmpfs", "size=64k"),
                    mount("/volume/a/made/bound", "bind", "/etc/passwd", "bind", "ro"),
                ]
            )
            c.run()
            assert os.listdir(outside) == []
            c.clean_up()


def test_masked_paths_with_a_swapped_null_device(container: Make, tmp_path: Path) -> None:
    """A masked file shows the null device, or there is no container."""
    devices = tmp_path / "devices"
    devices.mkdir()
    os.mknod(devices / "null", 0o020666, os.makedev(1, 3))
    (devices / "swap").symlink_to("/proc/sys/kernel/domainname")
    before = Path("/proc/sys/kernel/core_pattern").read_bytes()
    made = 0
    with swapping(devices / "null", devices / "swap"):
        for _ in range(ROUNDS):
            c = container("/bin/sh", "-c", "stat -c %t:%T /secret")
            (c.bundle.rootfs / "secret").write_text("secret")
            c.bundle.mounts[:] = [
                entry for entry in c.bundle.mounts if not entry["destination"].startswith("/dev")
            ]
            c.bundle.mounts.append(mount("/dev", "bind", str(devices), "rbind"))
            c.bundle.linux["maskedPaths"] = ["/secret"]
            result = c.run()
            if result.status == 0:
                made += 1
                assert result.out.strip() == "1:3"
            else:
                assert "container's /dev/null is invalid" in result.err, result.err
            c.clean_up()
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before


def test_proc_that_is_swapped_for_a_link(container: Make) -> None:
    """CVE-2019-19921: a procfs never comes to where the link leads."""
    for _ in range(ROUNDS):
        c = container("/bin/sh", "-c", "stat -f -c %T /elsewhere")
        root = c.bundle.rootfs
        (root / "elsewhere/self").mkdir(parents=True)
        (root / "swap").symlink_to("elsewhere")
        (root / "proc").mkdir(exist_ok=True)
        c.bundle.linux["maskedPaths"] = c.bundle.linux["readonlyPaths"] = []
        with swapping(root / "proc", root / "swap"):
            result = c.run()
        if result.status == 0:
            assert result.out.strip() not in ("proc", "")
        else:
            assert "/mounts/0" in result.err, result.err
        c.clean_up()


@pytest.mark.parametrize("target", ["/outside", "../../outside"])
def test_dev_that_leads_elsewhere(container: Make, tmp_path: Path, target: str) -> None:
    """CVE-2026-41579: nothing is removed nor made where a link of the rootfs leads to on the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ptmx").write_text("decoy")
    c = container("/bin/true")
    c.bundle.mounts[:] = [
        entry for entry in c.bundle.mounts if not entry["destination"].startswith("/dev")
    ]
    (c.bundle.rootfs / "dev").rmdir() if (c.bundle.rootfs / "dev").is_dir() else None
    link = str(outside) if target.startswith("/") else "../" * 20 + str(outside)[1:]
    (c.bundle.rootfs / "dev").symlink_to(link)
    c.run()
    assert os.listdir(outside) == ["ptmx"]
    assert (outside / "ptmx").read_text() == "decoy"


@pytest.mark.parametrize("number", range(3, 16))
def test_working_directory_behind_a_descriptor(container: Make, number: int) -> None:
    """CVE-2024-21626."""
    c = container("/bin/sh", "-c", "pwd; ls ..", cwd=f"/proc/self/fd/{number}")
    result = c.run()
    assert result.status != 0
    assert "bin" not in result.out.split()
