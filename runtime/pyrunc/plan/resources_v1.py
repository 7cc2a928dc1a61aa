"""Decides which cgroup v1 files hold the limits of linux.resources, and in which order.

It must not know where the hierarchies are mounted: each function gets its controller's directory.

A zero means "not set" where the specification gives it no meaning of its own, because Go encodes an
absent number so. The order within a controller is the kernel's: a limit must be consistent with
those that are set already at every single write.
"""

from __future__ import annotations

import errno

from pyrunc.errors import SpecFailure
from pyrunc.plan.ops import write_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op

_MEMORY = "/linux/resources/memory"
_CPU = "/linux/resources/cpu"
_BLOCK = "/linux/resources/blockIO"

# linux.resources.blockIO property, v1 file, v2 key of io.max.
THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)

# Go's encoding of "swappiness -1": not set.
_SWAPPINESS_UNSET = 2**64 - 1


def check_swap(block: dict[str, Any]) -> None:
    """Refuse a memory.swap (which is memory plus swap) that no kernel can hold."""
    limit, swap = block.get("limit") or 0, block.get("swap") or 0
    if swap in (0, -1):
        return
    if limit == 0:
        raise SpecFailure(f"{_MEMORY}/swap", "unable to set swap limit without memory limit")
    if limit < 0 or swap < limit:
        raise SpecFailure(f"{_MEMORY}/swap", "memory+swap limit should be >= memory limit")


def memory(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of memory; the limit before memory+swap, which must never be below it."""
    block = resources.get("memory") or {}
    check_swap(block)
    result = []
    limit, swap = block.get("limit") or 0, block.get("swap") or 0
    swap_origin = f"{_MEMORY}/swap"
    if limit == -1 and swap == 0:
        swap, swap_origin = -1, f"{_MEMORY}/limit"
    if limit:
        result.append(write_cgroup(f"{_MEMORY}/limit", f"{path}/memory.limit_in_bytes", str(limit)))
    if swap:
        # Without swap accounting the file is missing, and swap is unlimited.
        tolerate = (errno.ENOENT,) if swap == -1 else ()
        result.append(
            write_cgroup(swap_origin, f"{path}/memory.memsw.limit_in_bytes", str(swap), tolerate)
        )
    reservation = block.get("reservation") or 0
    if reservation:
        result.append(
            write_cgroup(
                f"{_MEMORY}/reservation", f"{path}/memory.soft_limit_in_bytes", str(reservation)
            )
        )
    swappiness = block.get("swappiness")
    if swappiness is not None and swappiness != _SWAPPINESS_UNSET:
        if swappiness > 100:
            raise SpecFailure(
                f"{_MEMORY}/swappiness",
                f"invalid memory swappiness value: {swappiness} (valid range is 0-100)",
            )
        result.append(
            write_cgroup(f"{_MEMORY}/swappiness", f"{path}/memory.swappiness", str(swappiness))
        )
    if block.get("disableOOMKiller"):
        result.append(
            write_cgroup(f"{_MEMORY}/disableOOMKiller", f"{path}/memory.oom_control", "1")
        )
    return result


def cpu(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of cpu: the period before the quota, the burst (a part of it) after it."""
    block = resources.get("cpu") or {}
    result = []
    idle = block.get("idle")
    if idle is not None:
        result.append(write_cgroup(f"{_CPU}/idle", f"{path}/cpu.idle", str(idle)))
    # kernel/sched/fair.c: an idle group has no weight, and refuses to be given one.
    names = [] if idle == 1 else [("shares", "cpu.shares")]
    names += [
        ("period", "cpu.cfs_period_us"),
        ("quota", "cpu.cfs_quota_us"),
        ("burst", "cpu.cfs_burst_us"),
        ("realtimePeriod", "cpu.rt_period_us"),
        ("realtimeRuntime", "cpu.rt_runtime_us"),
    ]
    for name, file in names:
        value = block.get(name) or 0
        if value:
            result.append(write_cgroup(f"{_CPU}/{name}", f"{path}/{file}", str(value)))
    return result


def cpuset(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of cpuset, whose file names are those of v2 as well."""
    block = resources.get("cpu") or {}
    return [
        write_cgroup(f"{_CPU}/{name}", f"{path}/cpuset.{name}", block[name])
        for name in ("cpus", "mems")
        if block.get(name)
    ]


def pids(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the write of pids.max, the same on v2; 0 is a limit, any negative number is none."""
    limit = (resources.get("pids") or {}).get("limit")
    if limit is None:
        return []
    value = "max" if limit < 0 else str(limit)
    return [write_cgroup("/linux/resources/pids/limit", f"{path}/pids.max", value)]


def blkio(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of blkio; its weights are BFQ's since Linux 5.0 removed CFQ."""
    block = resources.get("blockIO") or {}
    result = []
    for name, file, bfq in (
        ("weight", "blkio.weight", "blkio.bfq.weight"),
        ("leafWeight", "blkio.leaf_weight", None),
    ):
        value = block.get(name) or 0
        if value:
            instead = (f"{path}/{bfq}", str(value)) if bfq else None
            result.append(
                write_cgroup(f"{_BLOCK}/{name}", f"{path}/{file}", str(value), (), instead)
            )
    for index, device in enumerate(block.get("weightDevice") or ()):
        number = f"{device['major']}:{device['minor']}"
        for name, file, bfq in (
            ("weight", "blkio.weight_device", "blkio.bfq.weight_device"),
            ("leafWeight", "blkio.leaf_weight_device", None),
        ):
            value = device.get(name) or 0
            if value:
                line = f"{number} {value}"
                instead = (f"{path}/{bfq}", line) if bfq else None
                origin = f"{_BLOCK}/weightDevice/{index}/{name}"
                result.append(write_cgroup(origin, f"{path}/{file}", line, (), instead))
    for name, file, _ in THROTTLES:
        for index, device in enumerate(block.get(name) or ()):
            # 0 removes a limit that is there (block/blk-throttle.c).
            line = f"{device['major']}:{device['minor']} {device.get('rate') or 0}"
            result.append(write_cgroup(f"{_BLOCK}/{name}/{index}", f"{path}/{file}", line))
    return result


def hugetlb(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of hugetlb, for reservations (Linux 5.7) as well as for faults."""
    return hugetlb_files(resources, path, "limit_in_bytes")


def hugetlb_files(resources: dict[str, Any], path: str, suffix: str) -> list[Op]:
    """Return the writes to hugetlb.SIZE.rsvd.`suffix` and hugetlb.SIZE.`suffix`."""
    result = []
    for index, entry in enumerate(resources.get("hugepageLimits") or ()):
        origin = f"/linux/resources/hugepageLimits/{index}"
        base, value = f"{path}/hugetlb.{entry['pageSize']}", str(entry["limit"])
        result.append(write_cgroup(origin, f"{base}.rsvd.{suffix}", value, (errno.ENOENT,)))
        result.append(write_cgroup(origin, f"{base}.{suffix}", value))
    return result


def rdma(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of rdma.max, the same on v2; what is not given stays "max"."""
    result = []
    for device, entry in (resources.get("rdma") or {}).items():
        line = device
        for name, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if entry.get(name) is not None:
                line += f" {key}={entry[name]}"
        if line != device:
            pointer = device.replace("~", "~0").replace("/", "~1")
            result.append(
                write_cgroup(f"/linux/resources/rdma/{pointer}", f"{path}/rdma.max", line)
            )
    return result


def net_cls(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the write of net_cls.classid."""
    value = (resources.get("network") or {}).get("classID") or 0
    if not value:
        return []
    return [write_cgroup("/linux/resources/network/classID", f"{path}/net_cls.classid", str(value))]


def net_prio(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of net_prio.ifpriomap, one an interface."""
    return [
        write_cgroup(
            f"/linux/resources/network/priorities/{index}",
            f"{path}/net_prio.ifpriomap",
            f"{entry['name']} {entry['priority']}",
        )
        for index, entry in enumerate((resources.get("network") or {}).get("priorities") or ())
    ]
