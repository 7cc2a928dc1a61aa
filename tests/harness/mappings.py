"""Decides how a bundle gets a user namespace, new or of another container; must not run it."""

from __future__ import annotations

import os

from harness.container import Container

BASE = 100000
TYPES = {"pid": "pid", "ipc": "ipc", "uts": "uts", "mount": "mnt", "network": "net", "user": "user"}


def mapping(base: int = BASE, size: int = 65536) -> list[dict[str, int]]:
    return [{"containerID": 0, "hostID": base, "size": size}]


def open_up(container: Container, owner: int) -> None:
    """Lets `owner` reach the rootfs and own it, but for the programs that all containers share."""
    bundle = container.bundle
    for directory, names, files in os.walk(bundle.rootfs):
        for name in names + files:
            path = os.path.join(directory, name)
            if not os.path.islink(path) and os.stat(path).st_nlink > 1 and os.path.isfile(path):
                continue
            os.chown(path, owner, owner, follow_symlinks=False)
    os.chown(bundle.rootfs, owner, owner)


def mapped(container: Container, base: int = BASE) -> Container:
    """A container with a new user namespace; sysfs belongs to that of the network namespace."""
    container.bundle.namespace("user")
    container.bundle.linux.update(uidMappings=mapping(base), gidMappings=mapping(base))
    open_up(container, base)
    return container


def joining(container: Container, other: Container, *kinds: str) -> Container:
    """A container in the user namespace, and `kinds`, of another one."""
    for kind in ("user", *kinds):
        container.bundle.namespace(kind, f"/proc/{other.pid}/ns/{TYPES[kind]}")
    if "uts" in kinds:
        del container.bundle.config["hostname"]
    open_up(container, BASE)
    return container
