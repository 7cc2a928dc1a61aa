"""Decides the classes for `linux` of config.json, but for resources and seccomp.

It must not check what they hold.
"""

from __future__ import annotations

from attrs import define

from pyrunc.spec.model.resources import Resources
from pyrunc.spec.model.seccomp import Seccomp
from pyrunc.spec.model.section import Section, many, mapped, member, one
from pyrunc.spec.model.values import (
    DeviceType,
    Id,
    Int64,
    MemoryPolicyFlag,
    MemoryPolicyMode,
    NamespaceType,
    PersonalityDomain,
    Propagation,
    Uint16,
    Uint32,
)


@define
class IdMapping(Section):
    """A range of ids of the container and the host's ids that stand behind them."""

    container_id: Uint32 | None = member("containerID")
    host_id: Uint32 | None = member("hostID")
    size: Uint32 | None = None


@define
class Namespace(Section):
    """A namespace that the container does not share: a new one, or the one at `path`."""

    type: NamespaceType | None = None
    path: str | None = None


@define
class TimeOffset(Section):
    """What a clock of the container is ahead by."""

    secs: Int64 | None = None
    nanosecs: Uint32 | None = None


@define(kw_only=True)
class TimeOffsets(Section):
    """Offsets of the clocks of a new time namespace."""

    monotonic: TimeOffset | None = one(TimeOffset)
    boottime: TimeOffset | None = one(TimeOffset)


@define(kw_only=True)
class Device(Section):
    """A device node to make; `file_mode` is a number, so 0o666 and not 666."""

    type: DeviceType | None = None
    path: str | None = None
    major: Int64 | None = None
    minor: Int64 | None = None
    file_mode: Uint16 | None = None
    uid: Id | None = None
    gid: Id | None = None


@define
class NetDevice(Section):
    """What a network device of the host is called in the container."""

    name: str | None = None


@define(kw_only=True)
class IntelRdt(Section):
    """Shares of cache and memory bandwidth, through resctrl."""

    clos_id: str | None = member("closID")
    schemata: list[str] | None = None
    l3_cache_schema: str | None = None
    mem_bw_schema: str | None = None
    enable_monitoring: bool | None = None


@define(kw_only=True)
class MemoryPolicy(Section):
    """The nodes that memory comes from: set_mempolicy(2)."""

    mode: MemoryPolicyMode | None = None
    nodes: str | None = None
    flags: list[MemoryPolicyFlag] | None = None


@define(kw_only=True)
class Personality(Section):
    """The execution domain: personality(2)."""

    domain: PersonalityDomain | None = None
    flags: list[str] | None = None


@define(kw_only=True)
class Linux(Section):
    """What only Linux has (config-linux.md)."""

    uid_mappings: list[IdMapping] | None = many(IdMapping)
    gid_mappings: list[IdMapping] | None = many(IdMapping)
    sysctl: dict[str, str] | None = None
    resources: Resources | None = one(Resources)
    cgroups_path: str | None = None
    namespaces: list[Namespace] | None = many(Namespace)
    devices: list[Device] | None = many(Device)
    net_devices: dict[str, NetDevice] | None = mapped(NetDevice)
    seccomp: Seccomp | None = one(Seccomp)
    rootfs_propagation: Propagation | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    mount_label: str | None = None
    intel_rdt: IntelRdt | None = one(IntelRdt)
    memory_policy: MemoryPolicy | None = one(MemoryPolicy)
    personality: Personality | None = one(Personality)
    time_offsets: TimeOffsets | None = one(TimeOffsets)
