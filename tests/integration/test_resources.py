"""Resources: each property of config-linux.md, and the file of cgroup v2 that holds it."""

from __future__ import annotations

from typing import Any

import pytest

from harness import devices
from harness.container import Container
from harness.signatures import Make

MIB = 1 << 20


def limited(container: Make, resources: dict[str, Any]) -> Container:
    c = container()
    c.bundle.resources.update(resources)
    return c.created()


def refused(container: Make, resources: dict[str, Any], *texts: str) -> None:
    c = container("/bin/true")
    c.bundle.resources.update(resources)
    c.create().failed(*texts)
    c.nothing_left()


def disk() -> tuple[int, int]:
    return devices.disk() or pytest.skip("this machine has no disk")


# Memory, as v2 says it: swap alone, where the config says the sum of both.
MEMORY = [
    ({"limit": 64 * MIB}, {"memory.max": "67108864", "memory.swap.max": "max"}),
    ({"limit": -1}, {"memory.max": "max", "memory.swap.max": "max"}),
    (
        {"limit": 64 * MIB, "swap": 96 * MIB},
        {"memory.max": "67108864", "memory.swap.max": "33554432"},
    ),
    ({"limit": 64 * MIB, "swap": 64 * MIB}, {"memory.swap.max": "0"}),
    ({"limit": 64 * MIB, "swap": -1}, {"memory.swap.max": "max"}),
    ({"reservation": 32 * MIB}, {"memory.low": "33554432", "memory.max": "max"}),
    ({"reservation": -1}, {"memory.low": "max"}),
    ({"limit": 64 * MIB, "checkBeforeUpdate": True}, {"memory.max": "67108864"}),
    ({"limit": 0, "swap": 0, "reservation": 0}, {"memory.max": "max", "memory.low": "0"}),
    ({"limit": 64 * MIB, "useHierarchy": True}, {"memory.max": "67108864"}),
    ({"limit": 64 * MIB, "kernel": MIB, "kernelTCP": MIB}, {"memory.max": "67108864"}),
]


@pytest.mark.needs("cgroup2:memory")
@pytest.mark.parametrize(("memory", "expected"), MEMORY, ids=str)
def test_memory(container: Make, memory: dict[str, Any], expected: dict[str, str]) -> None:
    c = limited(container, {"memory": memory})
    files = [name for name in expected if (c.cgroup("memory") / name).exists()]
    assert (
        "memory.swap.max" in files or "memory.swap.max" not in expected
    ), "no swap accounting here"
    assert {name: c.cgroup_value("memory", name) for name in expected} == expected


@pytest.mark.parametrize(
    ("memory", "place", "text"),
    [
        (
            {"swap": MIB},
            "/linux/resources/memory/swap",
            "unable to set swap limit without memory limit",
        ),
        (
            {"limit": 2 * MIB, "swap": MIB},
            "/linux/resources/memory/swap",
            "memory+swap limit should be >= memory limit",
        ),
        ({"swappiness": 10}, "/linux/resources/memory/swappiness", "cgroup v2"),
        ({"disableOOMKiller": True}, "/linux/resources/memory/disableOOMKiller", "cgroup v2"),
    ],
)
@pytest.mark.needs("cgroup2:memory", "runtime:pyrunc")
def test_memory_refused(container: Make, memory: dict[str, Any], place: str, text: str) -> None:
    refused(container, {"memory": memory}, place, text)


# Processors -------------------------------------------------------------------------------------

CPU = [
    # The three points that the conversion is made of, and some between, worked out by hand.
    ({"shares": 2}, {"cpu.weight": "1"}),
    ({"shares": 256}, {"cpu.weight": "35"}),
    ({"shares": 512}, {"cpu.weight": "59"}),
    ({"shares": 1024}, {"cpu.weight": "100"}),
    ({"shares": 2048}, {"cpu.weight": "174"}),
    ({"shares": 262144}, {"cpu.weight": "10000"}),
    ({"shares": 1}, {"cpu.weight": "1"}),
    ({"shares": 1000000}, {"cpu.weight": "10000"}),
    ({"shares": 0}, {"cpu.weight": "100"}),
    ({"quota": 50000, "period": 200000}, {"cpu.max": "50000 200000"}),
    ({"quota": 50000}, {"cpu.max": "50000 100000"}),
    ({"period": 200000}, {"cpu.max": "max 200000"}),
    ({"quota": -1}, {"cpu.max": "max 100000"}),
    ({"quota": -1, "period": 50000}, {"cpu.max": "max 50000"}),
    ({"quota": 50000, "burst": 20000}, {"cpu.max": "50000 100000", "cpu.max.burst": "20000"}),
    ({"idle": 1}, {"cpu.idle": "1", "cpu.weight": "0"}),
    ({"idle": 1, "shares": 512}, {"cpu.idle": "1", "cpu.weight": "0"}),
    ({"idle": 0, "shares": 512}, {"cpu.idle": "0", "cpu.weight": "59"}),
]


@pytest.mark.needs("cgroup2:cpu")
@pytest.mark.parametrize(("cpu", "expected"), CPU, ids=str)
def test_cpu(container: Make, cpu: dict[str, Any], expected: dict[str, str]) -> None:
    c = limited(container, {"cpu": cpu})
    assert {name: c.cgroup_value("cpu", name) for name in expected} == expected


@pytest.mark.needs("cgroup2:cpuset")
def test_cpuset(container: Make) -> None:
    c = limited(container, {"cpu": {"cpus": "0", "mems": "0"}})
    assert c.cgroup_value("cpuset", "cpuset.cpus") == "0"
    assert c.cgroup_value("cpuset", "cpuset.mems") == "0"


@pytest.mark.needs("cgroup2:cpu", "runtime:pyrunc")
@pytest.mark.parametrize("name", ["realtimeRuntime", "realtimePeriod"])
def test_realtime_is_refused(container: Make, name: str) -> None:
    refused(container, {"cpu": {name: 5000}}, f"/linux/resources/cpu/{name}", "cgroup v2")


@pytest.mark.needs("cgroup2:cpu", "runtime:pyrunc")
def test_burst_beyond_the_quota(container: Make) -> None:
    cpu = {"quota": 50000, "burst": 60000}
    refused(container, {"cpu": cpu}, "/linux/resources/cpu/burst", "cpu.max.burst")


# Processes --------------------------------------------------------------------------------------


@pytest.mark.needs("cgroup2:pids")
@pytest.mark.parametrize(("limit", "expected"), [(33, "33"), (-1, "max"), (None, "max")])
def test_pids(container: Make, limit: int | None, expected: str) -> None:
    c = limited(container, {"pids": {"limit": limit}} if limit is not None else {})
    assert c.cgroup_value("pids", "pids.max") == expected


@pytest.mark.needs("cgroup:pids", "runtime:pyrunc")
def test_no_process_beyond_the_first(container: Make) -> None:
    """A limit of 0 is a limit: the process itself was there before it could be said to be too many."""
    c = container("/bin/sh", "-c", "sleep 1 & echo one more")
    c.bundle.resources["pids"] = {"limit": 0}
    result = c.run()
    assert result.status != 0
    assert "one more" not in result.out


# Disks ------------------------------------------------------------------------------------------

THROTTLE = [
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
]


@pytest.mark.needs("cgroup2:io")
@pytest.mark.parametrize(("name", "key"), THROTTLE)
def test_throttle(container: Make, name: str, key: str) -> None:
    major, minor = disk()
    c = limited(container, {"blockIO": {name: [{"major": major, "minor": minor, "rate": MIB}]}})
    wanted = {one: "max" for _, one in THROTTLE} | {key: str(MIB)}
    line = " ".join(f"{one}={value}" for one, value in wanted.items())
    assert c.cgroup_value("io", "io.max") == f"{major}:{minor} {line}"


@pytest.mark.needs("cgroup2:io")
def test_all_throttles(container: Make) -> None:
    major, minor = disk()
    block = {
        name: [{"major": major, "minor": minor, "rate": 1000 * number}]
        for number, (name, _) in enumerate(THROTTLE, 1)
    }
    c = limited(container, {"blockIO": block})
    expected = f"{major}:{minor} rbps=1000 wbps=2000 riops=3000 wiops=4000"
    assert c.cgroup_value("io", "io.max") == expected


@pytest.mark.needs("cgroup2:io", "runtime:pyrunc")
def test_throttle_of_a_disk_that_is_not_there(container: Make) -> None:
    block = {"throttleReadBpsDevice": [{"major": 511, "minor": 77, "rate": MIB}]}
    refused(
        container, {"blockIO": block}, "/linux/resources/blockIO/throttleReadBpsDevice/0", "io.max"
    )


def weight_file(container: Make) -> str:
    c = container().created()
    for name in ("io.bfq.weight", "io.weight"):
        if (c.cgroup("io") / name).exists():
            return name
    pytest.skip("this kernel weighs no disks")


@pytest.mark.needs("cgroup2:io")
@pytest.mark.parametrize(("weight", "scaled"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_weight(container: Make, weight: int, scaled: int) -> None:
    name = weight_file(container)
    c = limited(container, {"blockIO": {"weight": weight}})
    expected = weight if name == "io.bfq.weight" else scaled
    assert c.cgroup_value("io", name).splitlines()[0] == f"default {expected}"


@pytest.mark.needs("cgroup2:io", "runtime:pyrunc")
@pytest.mark.parametrize(
    "block", [{"leafWeight": 10}, {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}]
)
def test_leaf_weight_is_refused(container: Make, block: dict[str, Any]) -> None:
    refused(container, {"blockIO": block}, "/linux/resources/blockIO/", "leafWeight", "cgroup v2")


# The rest ---------------------------------------------------------------------------------------


@pytest.mark.needs("cgroup2:hugetlb")
def test_every_size_of_huge_pages(container: Make) -> None:
    sizes = devices.page_sizes()
    if not sizes:
        pytest.skip("this machine has no huge pages")
    entries = [{"pageSize": size, "limit": 4 << 30} for size in sizes]
    c = limited(container, {"hugepageLimits": entries})
    for size in sizes:
        assert c.cgroup_value("hugetlb", f"hugetlb.{size}.max") == str(4 << 30)
        assert c.cgroup_value("hugetlb", f"hugetlb.{size}.rsvd.max") == str(4 << 30)


@pytest.mark.needs("cgroup2:hugetlb", "runtime:pyrunc")
def test_size_of_huge_pages_that_is_not_there(container: Make) -> None:
    entries = [{"pageSize": "3MB", "limit": 0}]
    refused(
        container, {"hugepageLimits": entries}, "/linux/resources/hugepageLimits/0", "hugetlb.3MB"
    )


@pytest.mark.needs("cgroup2:rdma", "runtime:pyrunc")
def test_rdma_device_that_is_not_there(container: Make) -> None:
    rdma = {"nodev0": {"hcaHandles": 3, "hcaObjects": 5}}
    refused(container, {"rdma": rdma}, "/linux/resources/rdma/nodev0", "rdma.max")


@pytest.mark.needs("cgroup2:rdma", "file:/sys/class/infiniband/rxe0")
def test_rdma(container: Make) -> None:
    c = limited(container, {"rdma": {"rxe0": {"hcaHandles": 3}}})
    assert c.cgroup_value("rdma", "rdma.max") == "rxe0 hca_handle=3 hca_object=max"


@pytest.mark.needs("cgroup2", "cgroup2:memory", "runtime:pyrunc")
@pytest.mark.parametrize(
    ("network", "place"),
    [
        ({"classID": 0x100001}, "/linux/resources/network/classID"),
        ({"priorities": [{"name": "lo", "priority": 5}]}, "/linux/resources/network/priorities"),
    ],
)
def test_network_is_refused(container: Make, network: dict[str, Any], place: str) -> None:
    refused(container, {"network": network}, place)


@pytest.mark.needs("cgroup1:net_cls")
def test_network_class(container: Make) -> None:
    c = limited(container, {"network": {"classID": 0x100001}})
    assert c.cgroup_value("net_cls", "net_cls.classid") == str(0x100001)


@pytest.mark.needs("cgroup1:net_prio")
def test_network_priorities(container: Make) -> None:
    c = limited(container, {"network": {"priorities": [{"name": "lo", "priority": 5}]}})
    assert "lo 5" in c.cgroup_value("net_prio", "net_prio.ifpriomap").splitlines()


UNIFIED = [
    ({"memory.high": "40000000"}, {}, {"memory.high": "39997440"}),
    ({"memory.max": "max"}, {"memory": {"limit": 64 * MIB}}, {"memory.max": "max"}),
    ({"cpu.weight": "77"}, {"cpu": {"shares": 1024}}, {"cpu.weight": "77"}),
    ({"cpu.max": "30000 100000"}, {"cpu": {"quota": 50000}}, {"cpu.max": "30000 100000"}),
    ({"pids.max": "44"}, {"pids": {"limit": 33}}, {"pids.max": "44"}),
    ({"cgroup.max.descendants": "7"}, {}, {"cgroup.max.descendants": "7"}),
]


@pytest.mark.needs("cgroup2:memory", "cgroup2:cpu", "cgroup2:pids")
@pytest.mark.parametrize(("unified", "resources", "expected"), UNIFIED, ids=str)
def test_unified(
    container: Make, unified: dict[str, str], resources: dict[str, Any], expected: dict[str, str]
) -> None:
    """What is written verbatim comes last."""
    c = limited(container, {"unified": unified, **resources})
    assert {name: c.cgroup_value("memory", name) for name in expected} == expected


@pytest.mark.needs("cgroup2:memory", "runtime:pyrunc")
@pytest.mark.parametrize(
    ("unified", "place"),
    [
        ({"memory/max": "1"}, "/linux/resources/unified/memory~1max"),
        ({"nosuch.max": "1"}, "/linux/resources/unified/nosuch.max"),
        ({"memory.nosuch": "1"}, "/linux/resources/unified/memory.nosuch"),
        ({"memory.max": "many"}, "/linux/resources/unified/memory.max"),
        ({"memory": "1"}, "/linux/resources/unified/memory"),
    ],
)
def test_unified_refused(container: Make, unified: dict[str, str], place: str) -> None:
    refused(container, {"unified": unified}, place)
