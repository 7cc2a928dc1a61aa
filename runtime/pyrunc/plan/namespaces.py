"""Decides how init gets into its namespaces: cloned into, joined by path, or unshared later.

It must not open the paths: whether one is a namespace of its kind is for setns(2) to say.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops
from pyrunc.record import record
from pyrunc.shim.constants import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    IDS_KEEP_CAPS,
    STAGE_IDMAP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op

# The mount namespace is last: entering it changes the root that paths start from.
FLAGS = {
    "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME,
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
    "mount": CLONE_NEWNS,
}
# setns(2): these become those of the children of the caller, not of the caller.
_FOR_CHILDREN = CLONE_NEWPID | CLONE_NEWTIME


@record
class Namespaces:
    """`new` and `joined` are CLONE_NEW* of what the container does not share with the runtime."""

    new: int
    joined: int
    entries: tuple[tuple[str, str, str], ...]
    """(type, path or "", origin), in the order of FLAGS."""
    mapped_root: bool
    """Whether id 0 is mapped in a new user namespace."""

    def has(self, flag: int) -> bool:
        """Whether the container has one of its own, new or joined."""
        return bool((self.new | self.joined) & flag)


def read(spec: Mapping[str, Any]) -> Namespaces:
    """The namespaces that a spec asks for."""
    linux = spec["linux"]
    found = {
        entry["type"]: (entry["type"], entry.get("path") or "", f"/linux/namespaces/{number}")
        for number, entry in enumerate(linux["namespaces"])
    }
    entries = tuple(found[name] for name in FLAGS if name in found)
    new = joined = 0
    for name, path, _origin in entries:
        if path:
            joined |= FLAGS[name]
        else:
            new |= FLAGS[name]
    mapped = all(
        any(entry["containerID"] == 0 for entry in linux[key])
        for key in ("uidMappings", "gidMappings")
    )
    namespaces = Namespaces(new, joined, entries, mapped)
    _refuse(namespaces)
    return namespaces


def _refuse(namespaces: Namespaces) -> None:
    new, joined = namespaces.new, namespaces.joined
    for name, path, origin in namespaces.entries:
        if new & CLONE_NEWUSER and path and name == "mount":
            # Nothing could be mounted in it: its owner is another user namespace.
            raise SpecFailure(
                origin, "a joined mount namespace belongs to another than the new user namespace"
            )
        if joined & CLONE_NEWUSER and not path and FLAGS[name] & _FOR_CHILDREN:
            raise SpecFailure(
                origin, f"a new {name} namespace in a joined user namespace is not supported yet"
            )


def _entered_by_parent(namespaces: Namespaces, flag: int) -> bool:
    """Whether init must be born in it: it could not join it itself, or not for itself.

    A process in a new user namespace has no rights over a namespace that belongs to another one.
    """
    if namespaces.new & CLONE_NEWUSER:
        return bool(flag & namespaces.joined)
    return bool(flag & namespaces.joined & _FOR_CHILDREN)


def clone_flags(namespaces: Namespaces) -> int:
    """What clone(2) makes; a cgroup namespace would be rooted at the runtime's cgroup by it."""
    if namespaces.joined & CLONE_NEWUSER:
        return 0
    return namespaces.new & ~CLONE_NEWCGROUP


def before_clone(namespaces: Namespaces) -> list[Op]:
    """What the runtime enters, so that init is born there."""
    return [
        ops.enter_namespace(origin, FLAGS[name], path)
        for name, path, origin in namespaces.entries
        if _entered_by_parent(namespaces, FLAGS[name])
    ]


def map_ids(spec: Mapping[str, Any], namespaces: Namespaces) -> list[Op]:
    """The id mappings of a new user namespace, which init waits for."""
    if not namespaces.new & CLONE_NEWUSER:
        return []
    linux = spec["linux"]
    made = [ops.stage("", STAGE_IDMAP)]
    # The gid map comes first: as root no setgroups=deny is needed, and the order is runc's.
    for key, which in (("gidMappings", "gid_map"), ("uidMappings", "uid_map")):
        triples = [(entry["containerID"], entry["hostID"], entry["size"]) for entry in linux[key]]
        made.append(ops.write_id_map(f"/linux/{key}", which, triples))
    return made


def become_root(namespaces: Namespaces, origin: str = "") -> list[Op]:
    """Be root of the user namespace: files that init makes must belong to an id that is mapped.

    user_namespaces(7): entering gives all capabilities, and the ids stay those from outside.
    """
    if namespaces.new & CLONE_NEWUSER and not namespaces.mapped_root:
        return []
    return [ops.set_ids(origin, 0, 0, (), 0, IDS_KEEP_CAPS)]


def joins(namespaces: Namespaces) -> list[Op]:
    """What init joins and, in a joined user namespace, makes.

    All others are joined before the user namespace: they may belong to another one, over which only
    the rights of the runtime reach. What is new must belong to the joined user namespace.
    """
    made: list[Op] = []
    user: list[Op] = []
    for name, path, origin in namespaces.entries:
        flag = FLAGS[name]
        if path and not _entered_by_parent(namespaces, flag):
            (user if flag == CLONE_NEWUSER else made).append(ops.setns(origin, flag, path))
    if user:
        made += user
        made += become_root(namespaces)
        new = namespaces.new & ~CLONE_NEWCGROUP
        if new:
            made.append(ops.unshare("/linux/namespaces", new))
    return made


def loopback(namespaces: Namespaces) -> list[Op]:
    """Connections to localhost work in a new network namespace; a joined one is its owner's."""
    if not namespaces.new & CLONE_NEWNET:
        return []
    for name, _path, origin in namespaces.entries:
        if name == "network":
            return [ops.loopback_up(origin)]
    return []


def own_cgroup_namespace(namespaces: Namespaces) -> list[Op]:
    """Once init is in its cgroup, which becomes the root that the namespace shows."""
    for name, path, origin in namespaces.entries:
        if name == "cgroup" and not path:
            return [ops.unshare(origin, CLONE_NEWCGROUP)]
    return []
