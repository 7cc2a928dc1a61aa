"""Decides what changes when the resources of a living container are updated.

It must not read the system: the kept resources, the wanted change and the layout come in.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import cgroups
from pyrunc.plan.ops import unit_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.layout import CgroupLayout
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import ServiceManager

    Resources = dict[str, Any]

# Lists whose entries stand for a device each: an entry replaces the one of the same device.
_PER_DEVICE = {
    "weightDevice": ("major", "minor"),
    "throttleReadBpsDevice": ("major", "minor"),
    "throttleWriteBpsDevice": ("major", "minor"),
    "throttleReadIOPSDevice": ("major", "minor"),
    "throttleWriteIOPSDevice": ("major", "minor"),
    "hugepageLimits": ("pageSize",),
    "priorities": ("name",),
}


def merge(kept: Resources, change: Resources) -> Resources:
    """Return the resources after `change`: what it does not name stays, devices are replaced.

    A memory limit of -1 without swap lifts that of swap too, as runc has it: else the kernel would
    refuse a memory limit above memory plus swap.
    """
    merged = _merge(kept, change)
    memory = change.get("memory", {})
    if memory.get("limit") == -1 and not memory.get("swap"):
        merged["memory"]["swap"] = -1
    return merged


def _merge(kept: Resources, change: Resources) -> Resources:
    result = dict(kept)
    for name, value in change.items():
        old = kept.get(name)
        if name in _PER_DEVICE and isinstance(old, list):
            keys = _PER_DEVICE[name]
            entries = {tuple(entry[key] for key in keys): entry for entry in [*old, *value]}
            result[name] = list(entries.values())
        elif isinstance(value, dict) and isinstance(old, dict):
            result[name] = _merge(old, value)
        else:
            result[name] = value
    return result


def operations(
    change: Resources, merged: Resources, paths: dict[str, str], layout: CgroupLayout
) -> list[Op]:
    """Return the writes that carry out `change` of a container whose resources become `merged`.

    SpecFailure, with a pointer into the resources document, at what the cgroups cannot do. A write
    that no value of `change` asks for is left out, even where a merged one words it again.
    """
    asked = tuple(_pointers(change, "/linux/resources"))
    made = cgroups.operations({"linux": {"resources": merged}}, paths, layout)
    wanted = [
        op
        for op in made
        if op.kind == "write_cgroup" and _is_asked(op.origin, asked) and not _is_device(op)
    ]
    if "devices" in change:
        wanted += [op for op in made if op.kind == "attach_device_program" or _is_device(op)]
    return wanted


def properties(
    change: Resources, merged: Resources, kept: Resources, manager: ServiceManager, is_v2: bool
) -> tuple[list[Op], list[Op]]:
    """Return the properties of a unit that carry out `change`, and those that undo it."""
    from pyrunc.plan import systemd_properties

    asked = tuple(_pointers(change, "/linux/resources"))
    sides = []
    for resources in (merged, kept):
        made = systemd_properties.of_resources({"resources": resources}, manager, is_v2)
        sides.append([op for op in made if _is_asked(op.origin, asked)])
    wanted, before = sides
    had = {op.args[0] for op in before}
    before += [
        unit_property(op.origin, op.args[0], op.args[1], systemd_properties.UNLIMITED[op.args[0]])
        for op in wanted
        if op.args[0] not in had and op.args[0] in systemd_properties.UNLIMITED
    ]
    return wanted, before


def _is_device(op: Op) -> bool:
    return op.kind == "write_cgroup" and op.args[0].rpartition("/")[2].startswith("devices.")


# Properties that share a file, which is written as a whole.
_TOGETHER = (
    {"/linux/resources/cpu/quota", "/linux/resources/cpu/period"},
    {"/linux/resources/memory/limit", "/linux/resources/memory/swap"},
)


def _is_asked(origin: str, asked: tuple[str, ...]) -> bool:
    wanted = {origin}
    for together in _TOGETHER:
        if origin in together:
            wanted |= together
    return any(
        pointer in wanted or any(one.startswith(pointer + "/") for one in wanted)
        for pointer in asked
    )


def _pointers(value: Any, place: str) -> list[str]:
    """The places of the change; a list counts as one, since merging moves its entries."""
    if isinstance(value, dict):
        found = []
        for name, member in value.items():
            found += _pointers(member, f"{place}/{name.replace('~', '~0').replace('/', '~1')}")
        return found
    return [place]


def check_usage(merged: Resources, usage: int) -> None:
    """Refuse a memory limit below the usage where checkBeforeUpdate is set (config-linux.md,
    "Memory"): on v2 the kernel would reclaim and then kill."""
    memory = merged.get("memory", {})
    limit = memory.get("limit") or 0
    if memory.get("checkBeforeUpdate") and 0 < limit < usage:
        raise SpecFailure(
            "/linux/resources/memory/limit",
            f"rejecting memory limit {limit} < usage {usage}, as checkBeforeUpdate is set",
        )
