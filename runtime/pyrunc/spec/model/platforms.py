"""Decides the classes for the sections of other platforms, which a container on Linux ignores.

It must not check what they hold.
"""

from __future__ import annotations

from typing import Any

from attrs import define

from pyrunc.spec.model.section import Section, many, member, one
from pyrunc.spec.model.values import (
    JailSharing,
    JailStack,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    VmImageFormat,
    WindowsDeviceIdType,
    ZosNamespaceType,
)


@define(kw_only=True)
class VmHypervisor(Section):
    path: str | None = None
    parameters: list[str] | None = None


@define(kw_only=True)
class VmKernel(Section):
    path: str | None = None
    parameters: list[str] | None = None
    initrd: str | None = None


@define(kw_only=True)
class VmImage(Section):
    path: str | None = None
    format: VmImageFormat | None = None


@define(kw_only=True)
class VmIoMem(Section):
    first_gfn: Uint64 | None = member("firstGFN")
    first_mfn: Uint64 | None = member("firstMFN")
    nr_mfns: Uint64 | None = member("nrMFNs")


@define(kw_only=True)
class VmHwConfig(Section):
    device_tree: str | None = None
    vcpus: Uint32 | None = None
    memory: Uint64 | None = None
    dtdevs: list[str] | None = None
    iomems: list[VmIoMem] | None = many(VmIoMem)
    irqs: list[Uint32] | None = None


@define(kw_only=True)
class Vm(Section):
    """config-vm.md"""

    hypervisor: VmHypervisor | None = one(VmHypervisor)
    kernel: VmKernel | None = one(VmKernel)
    image: VmImage | None = one(VmImage)
    hw_config: VmHwConfig | None = one(VmHwConfig)


@define(kw_only=True)
class WindowsDevice(Section):
    id: str | None = None
    id_type: WindowsDeviceIdType | None = None


@define(kw_only=True)
class WindowsMemory(Section):
    limit: Uint64 | None = None


@define(kw_only=True)
class WindowsCpuAffinity(Section):
    mask: Uint64 | None = None
    group: Uint32 | None = None


@define(kw_only=True)
class WindowsCpu(Section):
    count: Uint64 | None = None
    shares: Uint16 | None = None
    maximum: Uint16 | None = None
    affinity: WindowsCpuAffinity | None = one(WindowsCpuAffinity)


@define(kw_only=True)
class WindowsStorage(Section):
    iops: Uint64 | None = None
    bps: Uint64 | None = None
    sandbox_size: Uint64 | None = None


@define(kw_only=True)
class WindowsResources(Section):
    memory: WindowsMemory | None = one(WindowsMemory)
    cpu: WindowsCpu | None = one(WindowsCpu)
    storage: WindowsStorage | None = one(WindowsStorage)


@define(kw_only=True)
class WindowsNetwork(Section):
    endpoint_list: list[str] | None = None
    allow_unqualified_dns_query: bool | None = member("allowUnqualifiedDNSQuery")
    dns_search_list: list[str] | None = member("DNSSearchList")
    network_shared_container_name: str | None = None
    network_namespace: str | None = None


@define(kw_only=True)
class WindowsHyperv(Section):
    utility_vm_path: str | None = member("utilityVMPath")


@define(kw_only=True)
class Windows(Section):
    """config-windows.md"""

    layer_folders: list[str] | None = None
    devices: list[WindowsDevice] | None = many(WindowsDevice)
    resources: WindowsResources | None = one(WindowsResources)
    network: WindowsNetwork | None = one(WindowsNetwork)
    credential_spec: dict[str, Any] | None = None
    servicing: bool | None = None
    ignore_flushes_during_boot: bool | None = None
    hyperv: WindowsHyperv | None = one(WindowsHyperv)


@define(kw_only=True)
class SolarisCappedCpu(Section):
    ncpus: str | None = None


@define(kw_only=True)
class SolarisCappedMemory(Section):
    physical: str | None = None
    swap: str | None = None


@define(kw_only=True)
class SolarisAnet(Section):
    linkname: str | None = None
    lower_link: str | None = None
    allowed_address: str | None = None
    configure_allowed_address: str | None = None
    defrouter: str | None = None
    mac_address: str | None = None
    link_protection: str | None = None


@define(kw_only=True)
class Solaris(Section):
    """config-solaris.md"""

    milestone: str | None = None
    limitpriv: str | None = None
    max_shm_memory: str | None = None
    capped_cpu: SolarisCappedCpu | None = one(SolarisCappedCpu, "cappedCPU")
    capped_memory: SolarisCappedMemory | None = one(SolarisCappedMemory)
    anet: list[SolarisAnet] | None = many(SolarisAnet)


@define(kw_only=True)
class ZosNamespace(Section):
    type: ZosNamespaceType | None = None
    path: str | None = None


@define(kw_only=True)
class Zos(Section):
    """config-zos.md"""

    namespaces: list[ZosNamespace] | None = many(ZosNamespace)


@define(kw_only=True)
class FreebsdDevice(Section):
    path: str | None = None
    mode: Uint16 | None = None


@define(kw_only=True)
class FreebsdJailAllow(Section):
    set_hostname: bool | None = None
    raw_sockets: bool | None = None
    chflags: bool | None = None
    mount: list[str] | None = None
    quotas: bool | None = None
    socket_af: bool | None = None
    mlock: bool | None = None
    reserved_ports: bool | None = None
    suser: bool | None = None


@define(kw_only=True)
class FreebsdJail(Section):
    parent: str | None = None
    host: JailStack | None = None
    ip4: JailSharing | None = None
    ip4_addr: list[str] | None = None
    ip6: JailSharing | None = None
    ip6_addr: list[str] | None = None
    vnet: JailStack | None = None
    interface: str | None = None
    vnet_interfaces: list[str] | None = None
    sysvmsg: JailSharing | None = None
    sysvsem: JailSharing | None = None
    sysvshm: JailSharing | None = None
    enforce_statfs: Uint8 | None = None
    allow: FreebsdJailAllow | None = one(FreebsdJailAllow)


@define(kw_only=True)
class Freebsd(Section):
    """config-freebsd.md"""

    devices: list[FreebsdDevice] | None = many(FreebsdDevice)
    jail: FreebsdJail | None = one(FreebsdJail)
