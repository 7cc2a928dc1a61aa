"""Decides the classes for `linux.resources`, which is also the file of `update --resources`.

It must not check what they hold.
"""

from __future__ import annotations

from attrs import define

from pyrunc.spec.model.section import Section, many, mapped, member, one
from pyrunc.spec.model.values import Int64, Uint16, Uint32, Uint64


@define(kw_only=True)
class DeviceRule(Section):
    """Whether processes may use a device; the last rule that fits decides. Absent means any."""

    allow: bool | None = None
    type: str | None = None
    major: Int64 | None = None
    minor: Int64 | None = None
    access: str | None = None


@define(kw_only=True)
class Memory(Section):
    """Limits of memory, in bytes; -1 is no limit. `swap` is memory and swap together."""

    limit: Int64 | None = None
    reservation: Int64 | None = None
    swap: Int64 | None = None
    kernel: Int64 | None = None
    kernel_tcp: Int64 | None = member("kernelTCP")
    swappiness: Uint64 | None = None
    disable_oom_killer: bool | None = member("disableOOMKiller")
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


@define(kw_only=True)
class Cpu(Section):
    """Shares and limits of CPU time; the times are microseconds."""

    shares: Uint64 | None = None
    quota: Int64 | None = None
    burst: Uint64 | None = None
    period: Uint64 | None = None
    realtime_runtime: Int64 | None = None
    realtime_period: Uint64 | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: Int64 | None = None


@define
class Pids(Section):
    """The number of tasks; -1 is no limit."""

    limit: Int64 | None = None


@define
class WeightDevice(Section):
    """Share of the time of one block device."""

    major: Int64 | None = None
    minor: Int64 | None = None
    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None


@define
class ThrottleDevice(Section):
    """Limit of one block device: bytes or operations a second."""

    major: Int64 | None = None
    minor: Int64 | None = None
    rate: Uint64 | None = None


@define(kw_only=True)
class BlockIo(Section):
    """Shares and limits of block devices."""

    weight: Uint16 | None = None
    leaf_weight: Uint16 | None = None
    weight_device: list[WeightDevice] | None = many(WeightDevice)
    throttle_read_bps_device: list[ThrottleDevice] | None = many(ThrottleDevice)
    throttle_write_bps_device: list[ThrottleDevice] | None = many(ThrottleDevice)
    throttle_read_iops_device: list[ThrottleDevice] | None = many(
        ThrottleDevice, "throttleReadIOPSDevice"
    )
    throttle_write_iops_device: list[ThrottleDevice] | None = many(
        ThrottleDevice, "throttleWriteIOPSDevice"
    )


@define
class HugepageLimit(Section):
    """Bytes in pages of a size such as 2MB."""

    page_size: str | None = None
    limit: Uint64 | None = None


@define
class InterfacePriority(Section):
    """The priority of what leaves by a network interface."""

    name: str | None = None
    priority: Uint32 | None = None


@define(kw_only=True)
class Network(Section):
    """Class and priorities of network packets."""

    class_id: Uint32 | None = member("classID")
    priorities: list[InterfacePriority] | None = many(InterfacePriority)


@define(kw_only=True)
class Rdma(Section):
    """Limits of one RDMA device."""

    hca_handles: Uint32 | None = None
    hca_objects: Uint32 | None = None


@define(kw_only=True)
class Resources(Section):
    """Limits of the container's cgroup (config-linux.md, Control groups)."""

    devices: list[DeviceRule] | None = many(DeviceRule)
    memory: Memory | None = one(Memory)
    cpu: Cpu | None = one(Cpu)
    pids: Pids | None = one(Pids)
    block_io: BlockIo | None = one(BlockIo, "blockIO")
    hugepage_limits: list[HugepageLimit] | None = many(HugepageLimit)
    network: Network | None = one(Network)
    rdma: dict[str, Rdma] | None = mapped(Rdma)
    unified: dict[str, str] | None = None
