"""Where a container's cgroups are and what is written to them, on each kind of machine."""

from __future__ import annotations

from errno import ENOENT
from typing import Any

import pytest

from pyrunc.cgroup.layout import CgroupLayout, Hierarchy
from pyrunc.errors import HostFailure, SpecFailure
from pyrunc.plan import cgroups, resources_v2

TOP = "/sys/fs/cgroup"


def hierarchy(*controllers: str, own: str = "/") -> Hierarchy:
    return Hierarchy(controllers[0], controllers, f"{TOP}/{','.join(controllers)}", own)


V1 = CgroupLayout(
    "v1",
    None,
    "/",
    (),
    (
        Hierarchy("name=systemd", ("name=systemd",), f"{TOP}/systemd", "/user.slice"),
        hierarchy("memory", own="/a/b"),
        hierarchy("cpu", "cpuacct"),
        hierarchy("cpuset"),
        hierarchy("pids"),
        hierarchy("blkio"),
        hierarchy("devices"),
        hierarchy("hugetlb"),
        hierarchy("rdma"),
        hierarchy("net_cls"),
        hierarchy("net_prio"),
    ),
)
HYBRID = CgroupLayout(
    "hybrid",
    f"{TOP}/unified",
    "/own",
    ("hugetlb", "io"),
    (hierarchy("memory"), hierarchy("devices")),
)
V2 = CgroupLayout(
    "v2",
    TOP,
    "/user.slice/own.scope",
    ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"),
    (),
)
BARE_V2 = CgroupLayout("v2", TOP, "/", ("hugetlb",), ())
NONE = CgroupLayout("none", None, "/", (), ())


def locate(path: str | None, layout: CgroupLayout) -> dict[str, str]:
    linux = {} if path is None else {"cgroupsPath": path}
    return cgroups.locate({"linux": linux}, "web", layout)


def writes(resources: dict[str, Any], layout: CgroupLayout) -> list[str]:
    """The writes that are not about devices: "pointer file=value", short where they can be."""
    spec = {"linux": {"cgroupsPath": "/c", "resources": resources}}
    paths = cgroups.locate(spec, "web", layout)
    return [
        f"{op.origin[len('/linux/resources/') :]} {op.args[0].rpartition('/')[2]}={op.args[1]}"
        for op in cgroups.operations(spec, paths, layout)
        if op.kind == "write_cgroup" and "/devices." not in op.args[0]
    ]


def refusal(resources: dict[str, Any], layout: CgroupLayout) -> tuple[str, str]:
    with pytest.raises(SpecFailure) as caught:
        writes(resources, layout)
    return caught.value.pointer.removeprefix("/linux/resources/"), caught.value.message


# Where --------------------------------------------------------------------------------------------


def test_absolute_path_is_below_each_mount() -> None:
    found = locate("/machine/web", V1)
    assert found["memory"] == f"{TOP}/memory/machine/web"
    assert found["cpu"] == found["cpuacct"] == f"{TOP}/cpu,cpuacct/machine/web"
    assert found["name=systemd"] == f"{TOP}/systemd/machine/web"
    assert "" not in found
    assert locate("/machine/web", V2) == {"": f"{TOP}/machine/web"}


def test_relative_path_is_below_the_own_cgroup_on_v1() -> None:
    found = locate("testdir/runtime-tools/container", V1)
    assert found["memory"] == f"{TOP}/memory/a/b/testdir/runtime-tools/container"
    assert found["pids"] == f"{TOP}/pids/testdir/runtime-tools/container"
    assert locate("x", HYBRID)[""] == f"{TOP}/unified/own/x"


def test_relative_path_is_beside_the_own_cgroup_on_v2() -> None:
    assert locate("x/y", V2) == {"": f"{TOP}/user.slice/x/y"}
    assert locate("x/y", BARE_V2) == {"": f"{TOP}/x/y"}


@pytest.mark.parametrize("path", [None, ""])
def test_name_is_the_id_where_no_path_is_given(path: str | None) -> None:
    assert locate(path, BARE_V2) == {"": f"{TOP}/web"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/../../x", f"{TOP}/x"),
        ("/a/../../b//c/.", f"{TOP}/b/c"),
        ("../x", f"{TOP}/user.slice/x"),
        ("system.slice:podman:1", f"{TOP}/user.slice/system.slice:podman:1"),
    ],
)
def test_path_never_leaves_the_hierarchy(path: str, expected: str) -> None:
    assert locate(path, V2) == {"": expected}


@pytest.mark.parametrize("path", ["/", ".", "..", "/a/..", "//"])
def test_root_cgroup_is_refused(path: str) -> None:
    with pytest.raises(SpecFailure) as caught:
        locate(path, V2)
    assert caught.value.pointer == "/linux/cgroupsPath"


# What ---------------------------------------------------------------------------------------------


def test_every_hierarchy_is_made_once_before_any_write() -> None:
    spec = {"linux": {"cgroupsPath": "/c", "resources": {"pids": {"limit": 3}}}}
    done = cgroups.operations(spec, cgroups.locate(spec, "web", V1), V1)
    made = [op.args for op in done if op.kind == "create_cgroup"]
    assert [args[0] for args in made] == [one.name for one in V1.v1]
    assert ("cpu", f"{TOP}/cpu,cpuacct/c", ("cpu", "cpuacct")) in made
    assert all(op.kind == "create_cgroup" for op in done[: len(made)])
    assert len(cgroups.joins(cgroups.locate(spec, "web", V1), V1)) == len(V1.v1)


def test_hybrid_enables_only_what_a_limit_needs() -> None:
    for limits, enabled in (([], ()), ([{"pageSize": "2MB", "limit": 0}], ("hugetlb",))):
        spec = {"linux": {"resources": {"hugepageLimits": limits}}}
        done = cgroups.operations(spec, cgroups.locate(spec, "web", HYBRID), HYBRID)
        assert [op.args[2] for op in done if op.kind == "create_cgroup" and op.args[0] == ""] == [
            enabled
        ]


def test_v2_is_joined_by_clone() -> None:
    assert cgroups.joins({"": "/x"}, V2) == []


ALL = {
    "memory": {
        "limit": 1000,
        "swap": 3000,
        "reservation": 500,
    },
    "cpu": {
        "shares": 1024,
        "quota": 5000,
        "period": 10000,
        "burst": 100,
        "cpus": "0-1",
        "mems": "0",
    },
    "pids": {"limit": 10},
    "blockIO": {
        "weight": 100,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 4}},
}


def test_all_limits_on_v1() -> None:
    assert writes(ALL, V1) == [
        "memory/limit memory.limit_in_bytes=1000",
        "memory/swap memory.memsw.limit_in_bytes=3000",
        "memory/reservation memory.soft_limit_in_bytes=500",
        "cpu/shares cpu.shares=1024",
        "cpu/period cpu.cfs_period_us=10000",
        "cpu/quota cpu.cfs_quota_us=5000",
        "cpu/burst cpu.cfs_burst_us=100",
        "cpu/cpus cpuset.cpus=0-1",
        "cpu/mems cpuset.mems=0",
        "pids/limit pids.max=10",
        "blockIO/weight blkio.weight=100",
        "blockIO/weightDevice/0/weight blkio.weight_device=8:0 500",
        "blockIO/throttleReadBpsDevice/0 blkio.throttle.read_bps_device=8:0 1",
        "blockIO/throttleWriteBpsDevice/0 blkio.throttle.write_bps_device=8:0 2",
        "blockIO/throttleReadIOPSDevice/0 blkio.throttle.read_iops_device=8:0 3",
        "blockIO/throttleWriteIOPSDevice/0 blkio.throttle.write_iops_device=8:0 0",
        "hugepageLimits/0 hugetlb.2MB.rsvd.limit_in_bytes=4096",
        "hugepageLimits/0 hugetlb.2MB.limit_in_bytes=4096",
        "rdma/mlx5_1 rdma.max=mlx5_1 hca_handle=3 hca_object=4",
    ]


def test_all_limits_on_v2() -> None:
    assert writes(ALL, V2) == [
        "memory/limit memory.max=1000",
        "memory/swap memory.swap.max=2000",
        "memory/reservation memory.low=500",
        "cpu/shares cpu.weight=100",
        "cpu/quota cpu.max=5000 10000",
        "cpu/burst cpu.max.burst=100",
        "cpu/cpus cpuset.cpus=0-1",
        "cpu/mems cpuset.mems=0",
        "pids/limit pids.max=10",
        "blockIO/weight io.bfq.weight=100",
        "blockIO/weightDevice/0/weight io.bfq.weight=8:0 500",
        "blockIO/throttleReadBpsDevice/0 io.max=8:0 rbps=1",
        "blockIO/throttleWriteBpsDevice/0 io.max=8:0 wbps=2",
        "blockIO/throttleReadIOPSDevice/0 io.max=8:0 riops=3",
        "blockIO/throttleWriteIOPSDevice/0 io.max=8:0 wiops=max",
        "hugepageLimits/0 hugetlb.2MB.rsvd.max=4096",
        "hugepageLimits/0 hugetlb.2MB.max=4096",
        "rdma/mlx5_1 rdma.max=mlx5_1 hca_handle=3 hca_object=4",
    ]


def test_weights_have_another_file_where_the_kernel_lacks_the_first() -> None:
    def instead(layout: CgroupLayout) -> list[tuple[str, str]]:
        spec = {"linux": {"cgroupsPath": "/c", "resources": {"blockIO": ALL["blockIO"]}}}
        done = cgroups.operations(spec, cgroups.locate(spec, "web", layout), layout)
        return [op.args[3] for op in done if op.kind == "write_cgroup" and op.args[3]]

    assert instead(V1) == [
        (f"{TOP}/blkio/c/blkio.bfq.weight", "100"),
        (f"{TOP}/blkio/c/blkio.bfq.weight_device", "8:0 500"),
    ]
    assert instead(V2) == [
        (f"{TOP}/c/io.weight", "default 910"),
        (f"{TOP}/c/io.weight", "8:0 4950"),
    ]


@pytest.mark.parametrize(
    ("memory", "v1", "v2"),
    [
        ({}, [], []),
        ({"limit": 0, "swap": 0, "reservation": 0}, [], []),
        ({"limit": None}, [], []),
        (
            {"limit": 9, "swap": 9},
            ["limit_in_bytes=9", "memsw.limit_in_bytes=9"],
            ["max=9", "swap.max=0"],
        ),
        (
            {"limit": 9, "swap": -1},
            ["limit_in_bytes=9", "memsw.limit_in_bytes=-1"],
            ["max=9", "swap.max=max"],
        ),
        (
            {"limit": -1},
            ["limit_in_bytes=-1", "memsw.limit_in_bytes=-1"],
            ["max=max", "swap.max=max"],
        ),
        ({"swap": -1}, ["memsw.limit_in_bytes=-1"], ["swap.max=max"]),
        ({"reservation": -1}, ["soft_limit_in_bytes=-1"], ["low=max"]),
        ({"disableOOMKiller": False}, [], []),
        ({"swappiness": 2**64 - 1}, [], []),
        ({"kernel": 5, "kernelTCP": 5, "useHierarchy": True, "checkBeforeUpdate": True}, [], []),
    ],
)
def test_memory(memory: dict[str, Any], v1: list[str], v2: list[str]) -> None:
    def files(layout: CgroupLayout) -> list[str]:
        return [write.partition(" memory.")[2] for write in writes({"memory": memory}, layout)]

    assert files(V1) == v1
    assert files(V2) == v2


def test_only_an_unlimited_swap_may_lack_its_file() -> None:
    for swap, tolerated in ((-1, (ENOENT,)), (5, (ENOENT,)), (6, ())):
        spec = {"linux": {"resources": {"memory": {"limit": 5, "swap": swap}}}}
        done = cgroups.operations(spec, cgroups.locate(spec, "web", V2), V2)
        assert [op.args[2] for op in done if "swap" in str(op.args[0])] == [tolerated], swap


def test_kernel_memory_is_warned_of() -> None:
    spec = {"linux": {"resources": {"memory": {"kernel": 5, "kernelTCP": 0}}}}
    assert [pointer for pointer, _ in cgroups.warnings(spec)] == ["/linux/resources/memory/kernel"]


@pytest.mark.parametrize(
    ("cpu", "v1", "v2"),
    [
        ({"quota": -1}, ["cfs_quota_us=-1"], ["max=max 100000"]),
        ({"period": 7}, ["cfs_period_us=7"], ["max=max 7"]),
        ({"quota": 0, "period": 0, "shares": 0}, [], []),
        ({"idle": 1, "shares": 5}, ["idle=1"], ["idle=1"]),
        ({"idle": 0, "shares": 2}, ["idle=0", "shares=2"], ["idle=0", "weight=1"]),
        ({"realtimeRuntime": 0, "realtimePeriod": 0}, [], []),
    ],
)
def test_cpu(cpu: dict[str, Any], v1: list[str], v2: list[str]) -> None:
    def files(layout: CgroupLayout) -> list[str]:
        return [write.partition(" cpu.")[2] for write in writes({"cpu": cpu}, layout)]

    assert files(V1) == v1
    assert files(V2) == v2


def test_realtime_is_for_v1() -> None:
    realtime = {"cpu": {"realtimePeriod": 1000, "realtimeRuntime": 900}}
    assert writes(realtime, V1) == [
        "cpu/realtimePeriod cpu.rt_period_us=1000",
        "cpu/realtimeRuntime cpu.rt_runtime_us=900",
    ]
    assert refusal(realtime, V2)[0] == "cpu/realtimeRuntime"


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        (1, 1),
        (2, 1),
        (3, 2),
        (100, 17),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (262144, 10000),
        (10**9, 10000),
    ],
)
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert resources_v2.weight(shares) == weight


def test_leaf_weight_is_that_of_old_kernels() -> None:
    """CFQ alone knows it, which Linux 5.0 has removed: there the missing file is an error."""
    device = {"major": 8, "minor": 0, "leafWeight": 20}
    block = {"blockIO": {"leafWeight": 10, "weightDevice": [device]}}
    assert writes(block, V1) == [
        "blockIO/leafWeight blkio.leaf_weight=10",
        "blockIO/weightDevice/0/leafWeight blkio.leaf_weight_device=8:0 20",
    ]
    assert refusal({"blockIO": {"weightDevice": [device]}}, V2)[0] == (
        "blockIO/weightDevice/0/leafWeight"
    )


@pytest.mark.parametrize(("limit", "value"), [(0, "0"), (5, "5"), (-1, "max")])
def test_pids_zero_is_a_limit(limit: int, value: str) -> None:
    for layout in (V1, V2):
        assert writes({"pids": {"limit": limit}}, layout) == [f"pids/limit pids.max={value}"]


def test_network_is_for_v1() -> None:
    network = {"network": {"classID": 7, "priorities": [{"name": "lo", "priority": 5}]}}
    assert writes(network, V1) == [
        "network/classID net_cls.classid=7",
        "network/priorities/0 net_prio.ifpriomap=lo 5",
    ]
    assert refusal(network, V2)[0] == "network/classID"


def test_v2_controller_serves_a_hybrid_machine() -> None:
    written = writes({"hugepageLimits": [{"pageSize": "1GB", "limit": 1}]}, HYBRID)
    assert written[-1] == "hugepageLimits/0 hugetlb.1GB.max=1"


def test_unified_is_verbatim_last_and_by_line() -> None:
    resources = {
        "memory": {"limit": 5},
        "unified": {
            "memory.max": "6",
            "io.max": "8:0 rbps=1\n8:16 rbps=2\n",
            "cgroup.max.depth": "3",
        },
    }
    assert writes(resources, V2) == [
        "memory/limit memory.max=5",
        "unified/memory.max memory.max=6",
        "unified/io.max io.max=8:0 rbps=1",
        "unified/io.max io.max=8:16 rbps=2",
        "unified/cgroup.max.depth cgroup.max.depth=3",
    ]


@pytest.mark.parametrize(
    ("resources", "layout", "pointer", "words"),
    [
        (
            {"memory": {"swap": 5}},
            V2,
            "memory/swap",
            "unable to set swap limit without memory limit",
        ),
        (
            {"memory": {"swap": 5}},
            V1,
            "memory/swap",
            "unable to set swap limit without memory limit",
        ),
        (
            {"memory": {"limit": 6, "swap": 5}},
            V2,
            "memory/swap",
            "memory+swap limit should be >= memory limit",
        ),
        ({"memory": {"swappiness": 60}}, V2, "memory/swappiness", "cannot set memory swappiness"),
        ({"memory": {"swappiness": 101}}, V1, "memory/swappiness", "valid range is 0-100"),
        (
            {"memory": {"disableOOMKiller": True}},
            V2,
            "memory/disableOOMKiller",
            "cannot disable OOM killer",
        ),
        ({"blockIO": {"leafWeight": 5}}, V2, "blockIO/leafWeight", "no equivalent"),
        ({"memory": {"limit": 5}}, BARE_V2, "memory/limit", "controller memory is not available"),
        ({"blockIO": {"weight": 50}}, BARE_V2, "blockIO/weight", "controller io is not available"),
        ({"pids": {"limit": 5}}, HYBRID, "pids/limit", "controller pids is not available"),
        ({"unified": {"memory.max": "5"}}, HYBRID, "unified", "cannot use unified on cgroup v1"),
        (
            {"unified": {"memory.max": "5"}},
            BARE_V2,
            "unified/memory.max",
            'controller "memory" not available',
        ),
        ({"unified": {"a/b": "5"}}, V2, "unified/a~1b", "must be a file name (no slashes)"),
        ({"unified": {"..": "5"}}, V2, "unified/..", "CONTROLLER.PARAMETER"),
        ({"unified": {"tasks": "5"}}, V2, "unified/tasks", "CONTROLLER.PARAMETER"),
    ],
)
def test_what_cannot_be_done_is_refused_where_it_is_asked_for(
    resources: dict[str, Any], layout: CgroupLayout, pointer: str, words: str
) -> None:
    found, message = refusal(resources, layout)
    assert found == pointer
    assert words in message


@pytest.mark.parametrize(
    "resources", [{"pids": {"limit": -1}}, {"memory": {"limit": -1}}, {"cpu": {"quota": -1}}]
)
def test_no_limit_needs_no_controller(resources: dict[str, Any]) -> None:
    assert writes(resources, BARE_V2) == []


def test_devices_are_files_on_v1_and_a_program_on_v2() -> None:
    def kinds(layout: CgroupLayout, *rules: dict[str, Any]) -> set[str]:
        spec = {"linux": {"resources": {"devices": list(rules)}}}
        done = cgroups.operations(spec, cgroups.locate(spec, "web", layout), layout)
        return {op.kind for op in done}

    assert kinds(V1) == kinds(HYBRID) == {"create_cgroup", "write_cgroup"}
    assert kinds(V2) == {"create_cgroup", "attach_device_program"}
    assert kinds(V2, {"allow": True, "access": "rwm"}) == {"create_cgroup"}


def test_no_way_to_limit_devices_is_an_error() -> None:
    layout = CgroupLayout("v1", None, "/", (), (hierarchy("memory"),))
    assert refusal({}, layout) == ("devices", "controller devices is not available")


def test_no_cgroups_at_all_is_an_error() -> None:
    with pytest.raises(HostFailure, match="no cgroup file system is mounted"):
        writes({}, NONE)
