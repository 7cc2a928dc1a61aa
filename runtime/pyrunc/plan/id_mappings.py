"""Decides how the id mappings of a user namespace come to be, and what a joined one must have.

It must not look for newuidmap and newgidmap: the runtime does, when their turn comes.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops
from pyrunc.shim.constants import CAP_SETGID, CAP_SETUID, STAGE_IDMAP, STAGE_USER_IDMAP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op

    Triples = tuple[tuple[int, int, int], ...]

# UID_GID_MAP_MAX_EXTENTS of <linux/user_namespace.h>, since Linux 4.15.
MOST = 340
# The gid map comes first, as in runc; which of them is first matters to nobody.
_FILES = (("gidMappings", "gid_map", "newgidmap"), ("uidMappings", "uid_map", "newuidmap"))


def write(spec: Mapping[str, Any], host: Host) -> list[Op]:
    """What gives a new user namespace its ids, while init waits for them.

    user_namespaces(7): whoever has CAP_SETUID and CAP_SETGID writes any mapping; others one id
    alone, their own, and that of groups only once setgroups(2) is denied for good. More than that
    is given by newuidmap(1) and newgidmap(1), by the ranges of subuid(5) and subgid(5).
    """
    privileged = host.euid == 0 and bool(
        host.capabilities >> CAP_SETUID & host.capabilities >> CAP_SETGID & 1
    )
    made = [ops.stage("", STAGE_IDMAP if privileged else STAGE_USER_IDMAP)]
    for key, which, program in _FILES:
        origin = f"/linux/{key}"
        triples = _triples(spec, key)
        own = host.egid if which == "gid_map" else host.euid
        if privileged:
            made.append(ops.write_id_map(origin, which, triples))
        elif len(triples) == 1 and triples[0][1:] == (own, 1):
            if which == "gid_map":
                made.append(ops.deny_setgroups(origin))
            made.append(ops.write_id_map(origin, which, triples))
        else:
            made.append(ops.run_id_mapper(origin, program, which, triples))
    return made


def check(spec: Mapping[str, Any]) -> list[Op]:
    """Mappings beside a path say what the namespace has, as containerd and CRI-O write them."""
    return [
        ops.check_id_map(f"/linux/{key}", which, _triples(spec, key))
        for key, which, _program in _FILES
        if spec["linux"][key]
    ]


def _triples(spec: Mapping[str, Any], key: str) -> Triples:
    entries = spec["linux"][key]
    if len(entries) > MOST:
        raise SpecFailure(
            f"/linux/{key}", f"a user namespace has at most {MOST} mappings, got {len(entries)}"
        )
    return tuple((entry["containerID"], entry["hostID"], entry["size"]) for entry in entries)
