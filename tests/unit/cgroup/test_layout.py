"""The layout that mountinfo and /proc/self/cgroup of several kinds of machine mean."""

from __future__ import annotations

from pyrunc.cgroup import layout
from pyrunc.cgroup.layout import CgroupLayout, Hierarchy

V1_MOUNTS = """\
22 1 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,release_agent=/x,name=systemd
"""
UNIFIED_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
V1_OWN = "9:name=systemd:/user.slice\n4:memory:/a/b\n2:cpu,cpuacct:/\n"

CPU = Hierarchy("cpu", ("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/")
MEMORY = Hierarchy("memory", ("memory",), "/sys/fs/cgroup/memory", "/a/b")
SYSTEMD = Hierarchy("name=systemd", ("name=systemd",), "/sys/fs/cgroup/systemd", "/user.slice")


def parse(mountinfo: str, own: str, covered: tuple[str, ...] = ()) -> CgroupLayout:
    """Parse with every mount usable, but those of the devices `covered`."""
    return layout.parse(
        mountinfo, own, lambda _path, device: device not in covered, lambda _mount: ("hugetlb",)
    )


def test_v1_alone_has_joint_and_named_hierarchies() -> None:
    found = parse(V1_MOUNTS, V1_OWN + "0::/own\n")
    assert found == CgroupLayout("v1", None, "/", (), (SYSTEMD, MEMORY, CPU))


def test_hybrid_has_the_unified_hierarchy_beside() -> None:
    found = parse(V1_MOUNTS + UNIFIED_MOUNT, V1_OWN + "0::/own/scope\n")
    assert found == CgroupLayout(
        "hybrid", "/sys/fs/cgroup/unified", "/own/scope", ("hugetlb",), (SYSTEMD, MEMORY, CPU)
    )


def test_v2_on_top_of_covered_v1_mounts_is_v2() -> None:
    mounts = V1_MOUNTS + "60 31 0:38 / /sys/fs/cgroup rw - cgroup2 none rw\n"
    found = parse(mounts, V1_OWN + "0::/own\n", covered=("0:29", "0:32", "0:37"))
    assert found == CgroupLayout("v2", "/sys/fs/cgroup", "/own", ("hugetlb",), ())


def test_v1_hierarchies_within_v2_do_not_make_it_hybrid() -> None:
    mounts = (
        "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        "32 31 0:29 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls\n"
    )
    assert parse(mounts, "3:net_cls:/\n0::/\n").v1 == ()


def test_unified_elsewhere_is_v2_when_there_is_no_v1() -> None:
    found = parse("50 23 0:38 / /cgroup2 rw - cgroup2 none rw\n", "0::/\n")
    assert (found.mode, found.unified) == ("v2", "/cgroup2")


def test_nothing_mounted_is_none() -> None:
    assert parse("22 1 0:21 / /proc rw - proc proc rw\n", V1_OWN) == CgroupLayout(
        "none", None, "/", (), ()
    )


def test_covered_hierarchy_is_left_out() -> None:
    found = parse(V1_MOUNTS, V1_OWN, covered=("0:32",))
    assert [hierarchy.name for hierarchy in found.v1] == ["name=systemd", "cpu"]


def test_mount_below_sys_fs_cgroup_is_preferred() -> None:
    mounts = "30 1 0:32 / /mnt/memory rw - cgroup cgroup rw,memory\n" + V1_MOUNTS
    assert parse(mounts, V1_OWN).v1[1] == MEMORY


def test_of_two_mounts_at_one_place_the_later_counts() -> None:
    mounts = V1_MOUNTS + "70 60 0:32 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert parse(mounts, V1_OWN).v1[1].own == "/b"


def test_own_cgroup_is_relative_to_the_root_of_the_mount() -> None:
    line = "35 31 0:32 {} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    for root, own, expected in (
        ("/", "/a/b", "/a/b"),
        ("/a", "/a/b", "/b"),
        ("/a/b", "/a/b", "/"),
        ("/a", "/ab", "/"),
        ("/../..", "/", "/"),
        ("/", "/../other", "/"),
    ):
        assert parse(line.format(root), f"4:memory:{own}\n").v1[0].own == expected, root


def test_escapes_of_mountinfo_are_undone() -> None:
    line = "35 31 0:32 / /sys/fs/cgroup/a\\040b\\134c rw - cgroup cgroup rw,memory\n"
    assert parse(line, "4:memory:/\n").v1[0].mount == "/sys/fs/cgroup/a b\\c"


def test_this_machine_is_read() -> None:
    assert layout.read().mode in ("v1", "hybrid", "v2", "none")
