"""Mounts that come into a running container go where its root directory says, never to the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import kernel
from harness.decoy import Decoy
from harness.signatures import Make


@pytest.mark.parametrize("where", ["/link/sub", "/link", "/up/sub"])
def test_links_of_the_container_stay_inside(
    container: Make, decoy: Decoy, tmp_path: Path, where: str
) -> None:
    c = container()
    c.bundle.config["root"]["readonly"] = False
    (c.bundle.rootfs / "link").symlink_to(decoy.path)
    (c.bundle.rootfs / "up").symlink_to("../" * 20 + str(decoy.path).lstrip("/"))
    c.running()
    source = tmp_path / "source"
    source.mkdir()
    host = Path("/proc/self/mountinfo").read_text()
    c.call("mounts", "add", "--source", str(source), "--destination", where, c.id)
    decoy.untouched()
    assert Path("/proc/self/mountinfo").read_text() == host


def test_the_process_that_mounts_leaves_nothing_open(container: Make, tmp_path: Path) -> None:
    """Its descriptors would be the host's: it has ended when the command has."""
    c = container()
    c.bundle.config["root"]["readonly"] = False
    c.running()
    c.call("mounts", "add", "--source", str(tmp_path), "--destination", "/new", c.id).ok()
    # What the command left would be the harness's now, as the nearest subreaper.
    assert kernel.children() == [c.pid]
