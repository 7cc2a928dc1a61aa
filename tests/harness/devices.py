"""Decides which devices and pages of this machine tests put limits on; must not use them."""

from __future__ import annotations

import os
from pathlib import Path


def disk() -> tuple[int, int] | None:
    """Major and minor number of a block device that the kernel takes limits for."""
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram", "sr", "fd")):
            major, minor = Path(f"/sys/block/{name}/dev").read_text().split(":")
            return int(major), int(minor)
    return None


def page_sizes() -> list[str]:
    """Sizes of huge pages as cgroup files name them: 2MB."""
    units = (("GB", 1 << 20), ("MB", 1 << 10), ("KB", 1))
    names = []
    for entry in sorted(os.listdir("/sys/kernel/mm/hugepages")):
        size = int(entry.removeprefix("hugepages-").removesuffix("kB"))
        names.append(next(f"{size // unit}{name}" for name, unit in units if size >= unit))
    return names
