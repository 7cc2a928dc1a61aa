"""Decides which network devices are put where, and under which name.

It must not be imported for a config that has none.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op


def operations(spec: Mapping[str, Any], host: Host) -> list[Op]:
    """A move a device, in the order of config.json."""
    linux, made = spec["linux"], []
    if host.euid != 0:
        raise SpecFailure(
            "/linux/netDevices", "network devices are not supported in rootless containers"
        )
    path = next(
        (entry.get("path") for entry in linux["namespaces"] if entry["type"] == "network"), None
    )
    for name, device in linux["netDevices"].items():
        token = name.replace("~", "~0").replace("/", "~1")
        new_name = (device or {}).get("name") or name
        made.append(ops.move_net_device(f"/linux/netDevices/{token}", name, new_name, path))
    return made
