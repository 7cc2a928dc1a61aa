"""Decides how the limits of linux.resources, which speak of cgroup v1, are said to cgroup v2.

It must not drop a limit in silence: what v2 has no file for is refused at its pointer, as the
specification demands (config-linux.md, "Unified").
"""

from __future__ import annotations

import errno

from pyrunc.errors import SpecFailure
from pyrunc.plan import resources_v1
from pyrunc.plan.ops import write_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op

_MEMORY = "/linux/resources/memory"
_CPU = "/linux/resources/cpu"
_BLOCK = "/linux/resources/blockIO"
_UNIFIED = "/linux/resources/unified"

# The kernel's default (kernel/sched/fair.c: default_cfs_period), in microseconds.
_DEFAULT_PERIOD = 100000

cpuset = resources_v1.cpuset
pids = resources_v1.pids
rdma = resources_v1.rdma


def memory(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of memory; memory.swap.max is swap alone, memory.swap is both."""
    block = resources.get("memory") or {}
    resources_v1.check_swap(block)
    # 2**64-1 is Go's encoding of -1: not set.
    if block.get("swappiness") not in (None, 2**64 - 1):
        raise SpecFailure(f"{_MEMORY}/swappiness", "cannot set memory swappiness with cgroup v2")
    if block.get("disableOOMKiller"):
        raise SpecFailure(f"{_MEMORY}/disableOOMKiller", "cannot disable OOM killer with cgroup v2")
    result = []
    limit, swap = block.get("limit") or 0, block.get("swap") or 0
    if limit:
        result.append(write_cgroup(f"{_MEMORY}/limit", f"{path}/memory.max", _bytes(limit)))
    value, origin = "", f"{_MEMORY}/swap"
    if swap == -1:
        value = "max"
    elif swap:
        value = str(swap - limit)
    elif limit == -1:
        value, origin = "max", f"{_MEMORY}/limit"
    if value:
        # A kernel or boot option without swap has no file: nothing to limit, nothing to open.
        tolerate = (errno.ENOENT,) if value in ("max", "0") else ()
        result.append(write_cgroup(origin, f"{path}/memory.swap.max", value, tolerate))
    reservation = block.get("reservation") or 0
    if reservation:
        result.append(
            write_cgroup(f"{_MEMORY}/reservation", f"{path}/memory.low", _bytes(reservation))
        )
    return result


def _bytes(value: int) -> str:
    return "max" if value == -1 else str(value)


def cpu(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of cpu: idle before weight, cpu.max before its burst."""
    block = resources.get("cpu") or {}
    for name in ("realtimeRuntime", "realtimePeriod"):
        if block.get(name):
            raise SpecFailure(f"{_CPU}/{name}", "realtime scheduling is not supported on cgroup v2")
    result = []
    idle = block.get("idle")
    if idle is not None:
        result.append(write_cgroup(f"{_CPU}/idle", f"{path}/cpu.idle", str(idle)))
    shares = block.get("shares") or 0
    # kernel/sched/fair.c: an idle group has no weight, and refuses to be given one.
    if shares and idle != 1:
        result.append(write_cgroup(f"{_CPU}/shares", f"{path}/cpu.weight", str(weight(shares))))
    quota, period = block.get("quota") or 0, block.get("period") or 0
    if quota or period:
        value = f"{quota if quota > 0 else 'max'} {period or _DEFAULT_PERIOD}"
        origin = f"{_CPU}/quota" if quota else f"{_CPU}/period"
        result.append(write_cgroup(origin, f"{path}/cpu.max", value))
    burst = block.get("burst") or 0
    if burst:
        result.append(write_cgroup(f"{_CPU}/burst", f"{path}/cpu.max.burst", str(burst)))
    return result


def weight(shares: int) -> int:
    """Return the cpu.weight (1 to 10000) of cpu.shares (2 to 262144).

    The curve goes through the three points that matter: least, default (1024 to 100) and most.
    runc 1.3.2, crun 1.23 and youki 0.5.6 share it, so that a container gets the same weight from
    each.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2

    power = log2(shares)
    return ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of io; BFQ takes the weight as it is, iocost on a scale of its own."""
    block = resources.get("blockIO") or {}
    if block.get("leafWeight"):
        raise SpecFailure(f"{_BLOCK}/leafWeight", "has no equivalent on cgroup v2")
    result = []
    value = block.get("weight") or 0
    if value:
        result.append(_io_weight(f"{_BLOCK}/weight", path, "default", value))
    for index, device in enumerate(block.get("weightDevice") or ()):
        if device.get("leafWeight"):
            raise SpecFailure(
                f"{_BLOCK}/weightDevice/{index}/leafWeight", "has no equivalent on cgroup v2"
            )
        value = device.get("weight") or 0
        if value:
            number = f"{device['major']}:{device['minor']}"
            result.append(_io_weight(f"{_BLOCK}/weightDevice/{index}/weight", path, number, value))
    for name, _, key in resources_v1.THROTTLES:
        for index, device in enumerate(block.get(name) or ()):
            line = f"{device['major']}:{device['minor']} {key}={device.get('rate') or 'max'}"
            result.append(write_cgroup(f"{_BLOCK}/{name}/{index}", f"{path}/io.max", line))
    return result


def _io_weight(origin: str, path: str, which: str, value: int) -> Op:
    bfq = str(value) if which == "default" else f"{which} {value}"
    scaled = 1 + (value - 10) * 9999 // 990
    instead = (f"{path}/io.weight", f"{which} {scaled}")
    return write_cgroup(origin, f"{path}/io.bfq.weight", bfq, (), instead)


def hugetlb(resources: dict[str, Any], path: str) -> list[Op]:
    """Return the writes of hugetlb, for reservations (Linux 5.7) as well as for faults."""
    return resources_v1.hugetlb_files(resources, path, "max")


def network(resources: dict[str, Any], _path: str) -> list[Op]:
    """Refuse net_cls and net_prio, which v2 replaces by programs in the packets' way."""
    block = resources.get("network") or {}
    for name in ("classID", "priorities"):
        if block.get(name):
            raise SpecFailure(f"/linux/resources/network/{name}", "has no equivalent on cgroup v2")
    return []


def unified(settings: dict[str, str], path: str, controllers: tuple[str, ...]) -> list[Op]:
    """Return the writes of linux.resources.unified, verbatim: one write(2) a line."""
    result = []
    for name, text in settings.items():
        pointer = f"{_UNIFIED}/{name.replace('~', '~0').replace('/', '~1')}"
        if "/" in name:
            raise SpecFailure(
                pointer, f'unified resource "{name}" must be a file name (no slashes)'
            )
        controller, dot, rest = name.partition(".")
        if not (controller and dot and rest):
            raise SpecFailure(
                pointer, f'unified resource "{name}" must be in the form CONTROLLER.PARAMETER'
            )
        if controller != "cgroup" and controller not in controllers:
            raise SpecFailure(
                pointer,
                f'unified resource "{name}" can\'t be set: controller "{controller}" not available',
            )
        result += [
            write_cgroup(pointer, f"{path}/{name}", line) for line in text.split("\n") if line
        ]
    return result
