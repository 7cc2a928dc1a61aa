# SPDX-License-Identifier: Apache-2.0
"""Decides that containers are the same where the kernel, or a filter of the host's, lacks newer system calls.

A filter that the runtime inherits stands for an older kernel; it must not be the container's.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Callable
from typing import Any

import pytest

from harness.bundle import mount
from harness.signatures import Make

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="the numbers of the calls differ here"
)

OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, FSPICK = 428, 429, 430, 431, 432, 433
CLOSE_RANGE, OPENAT2, MOUNT_SETATTR = 436, 437, 442
BEFORE = {
    "5.2": (
        OPEN_TREE,
        MOVE_MOUNT,
        FSOPEN,
        FSCONFIG,
        FSMOUNT,
        FSPICK,
        CLOSE_RANGE,
        OPENAT2,
        MOUNT_SETATTR,
    ),
    "5.6": (CLOSE_RANGE, OPENAT2, MOUNT_SETATTR),
    "5.12": (MOUNT_SETATTR,),
}
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


def deny(calls: tuple[int, ...], error: int = errno.ENOSYS) -> Callable[[], None]:
    """What a child does before it executes the runtime: these calls fail from then on."""
    program = [(0x20, 0, 0, 0)]  # the number of the call
    for place, call in enumerate(calls):
        program.append((0x15, len(calls) - place, 0, call))
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | error)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    filter_program = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)

    def load(_kept: Any = buffer) -> None:
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_program, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "seccomp")

    return load


def rich(container: Make) -> Any:
    c = container()
    (c.bundle.rootfs / "srv").mkdir()
    (c.bundle.rootfs / "srv/kept").write_text("kept\n")
    (c.bundle.rootfs / "link").symlink_to("srv")
    c.bundle.mounts.extend(
        [
            mount("/srv", "tmpfs", "tmpfs", "tmpcopyup", "size=64k"),
            mount("/made/by/runtime", "bind", "/usr", "rbind", "ro", "nosuid", "noatime"),
            mount("/made/file", "bind", "/etc/passwd", "bind", "ro"),
            mount("/link/below", "tmpfs", "tmpfs", "ro", "nodev"),
        ]
    )
    return c


def shown(c: Any, **options: Any) -> list[Any]:
    """The mounts with their options, and what a process sees of the devices and limits."""
    c.bundle.process["args"] = ["/bin/probe", "facts"]
    facts = c.run(**options).ok().json()
    lines = [line.split() for line in facts["mountinfo"].splitlines()]
    return sorted((fields[4], fields[5], fields[-3]) for fields in lines)


@pytest.mark.parametrize("version", list(BEFORE))
def test_same_container_before(container: Make, version: str) -> None:
    wanted = shown(rich(container))
    got = shown(rich(container), preexec_fn=deny(BEFORE[version]))
    assert got == wanted


def test_same_container_behind_a_filter(container: Make) -> None:
    """Some hosts' filters answer EPERM to what they do not know."""
    got = shown(rich(container), preexec_fn=deny((OPENAT2,), errno.EPERM))
    assert got == shown(rich(container))


def test_recursive_attributes_are_never_left_out(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/srv", "bind", "/usr", "rbind", "rro"))
    result = c.run(preexec_fn=deny((MOUNT_SETATTR,)))
    assert result.status == 1
    assert "/mounts/7" in result.err
    c.nothing_left()


def test_id_mappings_are_never_left_out(container: Make) -> None:
    c = container()
    ids = [{"containerID": 0, "hostID": 5000, "size": 10}]
    entry = mount("/srv", "bind", "/usr", "bind", "idmap")
    c.bundle.mounts.append({**entry, "uidMappings": ids, "gidMappings": ids})
    result = c.run(preexec_fn=deny((MOUNT_SETATTR,)))
    assert result.status == 1
    assert "/mounts/7" in result.err
    assert "Linux 5.12" in result.err
    c.nothing_left()
