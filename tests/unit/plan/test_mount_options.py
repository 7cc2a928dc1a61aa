"""The table of mount options against the specification, and what combinations mean."""

from __future__ import annotations

import pytest

from pyrunc.plan.mount_options import RECURSIVE_TABLE, TABLE, parse
from pyrunc.shim import constants as C

# runtime-spec 1.3.0, config.md, "Linux mount options": all that a runtime MUST support but idmap.
REQUIRED = """async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev
nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid nosymfollow private ratime rbind
rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime
rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow
runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable mand nomand"""


@pytest.mark.parametrize("name", REQUIRED.split())
def test_every_required_option_is_known(name: str) -> None:
    assert parse([name]).data == ()


def test_tables_are_sorted_and_apart() -> None:
    assert list(TABLE) == sorted(TABLE)
    assert list(RECURSIVE_TABLE) == sorted(RECURSIVE_TABLE)
    assert not TABLE.keys() & RECURSIVE_TABLE.keys()


@pytest.mark.parametrize(
    ("options", "attr_set", "attr_clr"),
    [
        (["ro"], C.MOUNT_ATTR_RDONLY, 0),
        (["ro", "rw"], 0, C.MOUNT_ATTR_RDONLY),
        (["rw", "ro"], C.MOUNT_ATTR_RDONLY, 0),
        (["nosuid", "nodev", "suid"], C.MOUNT_ATTR_NODEV, C.MOUNT_ATTR_NOSUID),
        (["noatime"], C.MOUNT_ATTR_NOATIME, C.MOUNT_ATTR__ATIME),
        (["noatime", "strictatime"], C.MOUNT_ATTR_STRICTATIME, C.MOUNT_ATTR__ATIME),
        (["noatime", "atime"], C.MOUNT_ATTR_RELATIME, C.MOUNT_ATTR__ATIME),
        (
            ["noatime", "nodiratime"],
            C.MOUNT_ATTR_NOATIME | C.MOUNT_ATTR_NODIRATIME,
            C.MOUNT_ATTR__ATIME,
        ),
        (["defaults", "norelatime"], 0, 0),
    ],
)
def test_attributes(options: list[str], attr_set: int, attr_clr: int) -> None:
    parsed = parse(options)
    assert (parsed.attr_set, parsed.attr_clr) == (attr_set, attr_clr)
    assert (parsed.rec_set, parsed.rec_clr) == (0, 0)
    twins = parse(["r" + name for name in options if "r" + name in RECURSIVE_TABLE])
    if "defaults" not in options:
        assert (twins.rec_set, twins.rec_clr) == (attr_set, attr_clr)
        assert (twins.attr_set, twins.attr_clr) == (0, 0)


def test_superblock_flags() -> None:
    assert parse(["sync", "lazytime", "async", "mand"]).sb_flags == C.MS_LAZYTIME | C.MS_MANDLOCK
    assert parse(["iversion", "silent", "noiversion", "loud"]).sb_flags == 0


def test_propagation_keeps_its_order() -> None:
    parsed = parse(["rslave", "shared"])
    assert parsed.propagation == (C.MS_SLAVE | C.MS_REC, C.MS_SHARED)


@pytest.mark.parametrize(
    ("option", "data"),
    [
        ("size=64k", ("size=64k",)),
        ("size=64k,mode=755", ("size=64k", "mode=755")),
        ('context="a:b:c0,c1"', ('context="a:b:c0,c1"',)),
        ("lowerdir=/a\\,b:/c", ("lowerdir=/a\\,b:/c",)),
        ("", ()),
        ("RO", ("RO",)),
    ],
)
def test_data(option: str, data: tuple[str, ...]) -> None:
    assert parse([option]).data == data
