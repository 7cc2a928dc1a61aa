"""Decides which resctrl groups a container is in, and what is written to them (config-linux.md,
"IntelRdt").

It must not look for the file system: where resctrl is mounted is found when it is needed. It is not
imported for a config without linux.intelRdt.
"""

from __future__ import annotations

from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op

ORIGIN = "/linux/intelRdt"


def group(intel_rdt: Mapping[str, Any], container_id: str) -> str:
    """The group's place below the mount point: "" is the root group, which closID "/" stands for."""
    name: str = intel_rdt.get("closID") or container_id
    return name.strip("/")


def operations(spec: Mapping[str, Any], container_id: str) -> list[Op]:
    """Make the groups and write their schemata, before the first process of the container is."""
    intel_rdt = spec["linux"]["intelRdt"]
    place = group(intel_rdt, container_id)
    lines = []
    if intel_rdt.get("l3CacheSchema"):
        # Lines of the other property do not belong here; runc leaves them out, too.
        for line in intel_rdt["l3CacheSchema"].split("\n"):
            if line and not line.startswith("MB:"):
                lines.append((f"{ORIGIN}/l3CacheSchema", line))
    if intel_rdt.get("memBwSchema"):
        lines.append((f"{ORIGIN}/memBwSchema", intel_rdt["memBwSchema"]))
    # After the others, which they may override.
    for number, line in enumerate(intel_rdt.get("schemata") or ()):
        lines.append((f"{ORIGIN}/schemata/{number}", line))
    made = []
    if place:
        # A group that is only named has been set up by somebody else.
        named_only = bool(intel_rdt.get("closID")) and not lines
        origin = f"{ORIGIN}/closID" if intel_rdt.get("closID") else ORIGIN
        made.append(ops.create_resctrl_group(origin, place, named_only))
    made += [ops.write_schemata(origin, place, line) for origin, line in lines]
    if intel_rdt.get("enableMonitoring"):
        monitoring = monitoring_group(intel_rdt, container_id)
        made.append(ops.create_resctrl_group(f"{ORIGIN}/enableMonitoring", monitoring, False))
    return made


def joins(spec: Mapping[str, Any], container_id: str) -> list[Op]:
    """Put a process into the groups; its children are born in them."""
    intel_rdt = spec["linux"]["intelRdt"]
    made = [ops.join_resctrl_group(ORIGIN, group(intel_rdt, container_id))]
    if intel_rdt.get("enableMonitoring"):
        place = monitoring_group(intel_rdt, container_id)
        made.append(ops.join_resctrl_group(f"{ORIGIN}/enableMonitoring", place))
    return made


def monitoring_group(intel_rdt: Mapping[str, Any], container_id: str) -> str:
    return f"{group(intel_rdt, container_id)}/mon_groups/{container_id}".lstrip("/")
