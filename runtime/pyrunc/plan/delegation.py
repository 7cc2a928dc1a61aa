"""Decides which cgroup below its own a container is left to manage (run.oci.delegate-cgroup, crun's).

It must not limit anything there: limits stay with the container's cgroup. The process gets there after
its cgroup namespace is made, which is rooted above then: so the container can move all of its processes
out of that root, and give controllers to others (cgroups(7), "no internal processes" rule).
"""

from __future__ import annotations

from pyrunc import annotated
from pyrunc.errors import SpecFailure
from pyrunc.plan import cgroups, ops
from pyrunc.shim.constants import STAGE_CGROUP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op

POINTER = f"/annotations/{annotated.DELEGATE_CGROUP}"


def operations(spec: Mapping[str, Any], paths: dict[str, str], host: Host) -> list[Op]:
    """Return what makes the cgroup below `paths` (as in state.json), and puts init there.

    SpecFailure for a name that leads elsewhere, and where the container has no cgroup v2 alone.
    """
    name: str = spec["annotations"][annotated.DELEGATE_CGROUP]
    parts = name.split("/")
    # A line feed is what the kernel takes in no name (cgroup_mkdir()).
    if any(part in ("", ".", "..") for part in parts) or "\n" in name:
        raise SpecFailure(POINTER, f'invalid path below the container\'s cgroup: "{name}"')
    if host.cgroup.mode != "v2":
        text = "delegate-cgroup not supported on cgroup v1: it needs cgroup v2 alone"
        raise SpecFailure(POINTER, text)
    if "" not in paths:
        raise SpecFailure(POINTER, "the container has no cgroup of its own")
    path = f"{paths['']}/{name}"
    # Init waits at the stage, its namespace made, until it is moved.
    made = [ops.stage("", STAGE_CGROUP), ops.create_cgroup(POINTER, "", path, ())]
    below = paths[""]
    for part in parts:
        below += f"/{part}"
        # To whom its parent is given.
        made += cgroups.ownership(spec, {"": below}, host.cgroup, host.euid)
    made.append(ops.join_cgroup(POINTER, path))
    return made
