"""Decides how init gets into its namespaces: cloned into, joined by path, or unshared later.

It must not open the paths: whether one is a namespace of its kind is for setns(2) to say.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import id_mappings, ops
from pyrunc.record import record
from pyrunc.shim.constants import (
    CAP_SYS_ADMIN,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    IDS_ANY_MAPPED,
    IDS_KEEP_CAPS,
    STAGE_BORN,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
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
# Since then execve(2) enters the time namespace that is meant for children (begin_new_exec).
_EXECVE_ENTERS_TIME = (6, 2)


@record
class Namespaces:
    """`new` and `joined` are CLONE_NEW* of what the container does not share with the runtime."""

    new: int
    joined: int
    entries: tuple[tuple[str, str, str], ...]
    """(type, path or "", origin), in the order of FLAGS."""
    privileged: bool
    """Whether the runtime may join what its own user namespace owns."""
    time_by_init: bool
    """Whether init can unshare a new time namespace for what it becomes."""

    def has(self, flag: int) -> bool:
        """Whether the container has one of its own, new or joined."""
        return bool((self.new | self.joined) & flag)

    @property
    def respawns(self) -> bool:
        """Whether init has to be born once more, inside of the user namespace that it joins.

        A new pid namespace must belong to that user namespace, lest procfs cannot be mounted; and
        without privileges nothing of it can be joined from outside.
        """
        if not self.joined & CLONE_NEWUSER:
            return False
        return bool((self.new if self.privileged else self.new | self.joined) & CLONE_NEWPID)


def read(spec: Mapping[str, Any], host: Host) -> Namespaces:
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
    privileged = bool(host.capabilities >> CAP_SYS_ADMIN & 1)
    by_init = host.kernel >= _EXECVE_ENTERS_TIME
    namespaces = Namespaces(new, joined, entries, privileged, by_init)
    if host.euid != 0 and not namespaces.has(CLONE_NEWUSER):
        raise SpecFailure("/linux/namespaces", "rootless container requires user namespaces")
    _refuse(namespaces)
    return namespaces


def _refuse(namespaces: Namespaces) -> None:
    if not namespaces.new & CLONE_NEWUSER:
        return
    for name, path, origin in namespaces.entries:
        if path and name == "mount":
            # Nothing could be mounted in it: its owner is another user namespace.
            raise SpecFailure(
                origin, "a joined mount namespace belongs to another than the new user namespace"
            )
        if path and not namespaces.privileged:
            raise SpecFailure(
                origin,
                f"joining a {name} namespace together with a new user namespace needs privileges",
            )


def _entered_by_parent(namespaces: Namespaces, flag: int) -> bool:
    """Whether init must be born in it: it could not join it itself, or not for itself.

    A process in a new user namespace has no rights over a namespace that belongs to another one.
    setns(2) makes a pid namespace that of the caller's children.
    """
    if namespaces.new & CLONE_NEWUSER:
        return bool(flag & namespaces.joined)
    return bool(flag & namespaces.joined & CLONE_NEWPID) and not namespaces.respawns


def _made_later(namespaces: Namespaces) -> int:
    """The new namespaces that clone(2) of init does not make.

    A cgroup namespace would be rooted at the runtime's cgroup by it, and the offsets of a time
    namespace can be set only as long as nobody is in it.
    """
    return CLONE_NEWCGROUP | (CLONE_NEWTIME if namespaces.time_by_init else 0)


def clone_flags(namespaces: Namespaces) -> int:
    """What clone(2) makes: nothing where it would belong to another user namespace than joined."""
    if namespaces.joined & CLONE_NEWUSER:
        return namespaces.new & CLONE_NEWTIME & ~_made_later(namespaces)
    return namespaces.new & ~_made_later(namespaces)


def before_clone(spec: Mapping[str, Any], namespaces: Namespaces) -> list[Op]:
    """What the runtime enters, so that init is born there."""
    made = [
        ops.enter_namespace(origin, FLAGS[name], path)
        for name, path, origin in namespaces.entries
        if _entered_by_parent(namespaces, FLAGS[name])
    ]
    offsets = _offsets(spec)
    if offsets and not namespaces.time_by_init:
        made.append(ops.new_time_namespace("/linux/timeOffsets", offsets))
    return made


def _offsets(spec: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    given = spec["linux"].get("timeOffsets") or {}
    return tuple(
        (clock, offset.get("secs") or 0, offset.get("nanosecs") or 0)
        for clock, offset in given.items()
        if clock in ("monotonic", "boottime")
    )


def _own_time(spec: Mapping[str, Any], namespaces: Namespaces) -> tuple[list[Op], list[Op]]:
    """A new time namespace, made by init, and its offsets, written by the runtime before use."""
    if not (namespaces.new & CLONE_NEWTIME and namespaces.time_by_init):
        return [], []
    origin = next(entry[2] for entry in namespaces.entries if entry[0] == "time")
    offsets = _offsets(spec)
    written = [ops.write_time_offsets("/linux/timeOffsets", offsets)] if offsets else []
    return [ops.unshare(origin, CLONE_NEWTIME)], written


def map_ids(spec: Mapping[str, Any], namespaces: Namespaces, host: Host) -> list[Op]:
    """The id mappings of a new user namespace, which init waits for.

    The time namespace is made before, since a traceable init is what an unprivileged runtime can
    write to.
    """
    if not namespaces.new & CLONE_NEWUSER:
        return []
    unshared, written = _own_time(spec, namespaces)
    return [*unshared, *id_mappings.write(spec, host), *written]


def become_root() -> Op:
    """Be root of the user namespace: files that init makes must belong to an id that is mapped.

    user_namespaces(7): entering gives all capabilities, and the ids stay those from outside. Where
    id 0 is not mapped, another serves: what a joined one maps is known only to who is in it.
    """
    return ops.set_ids("", 0, 0, (), 0, IDS_KEEP_CAPS | IDS_ANY_MAPPED)


def joins(spec: Mapping[str, Any], namespaces: Namespaces) -> list[Op]:
    """What init joins and, in a joined user namespace, makes.

    With privileges all others are joined before the user namespace: they may belong to another one,
    over which only the rights of the runtime reach. Without, the user namespace comes first: all
    rights there are come from it. What is new must belong to the joined user namespace.
    """
    others: list[Op] = []
    user: list[Op] = []
    for name, path, origin in namespaces.entries:
        flag = FLAGS[name]
        if path and not _entered_by_parent(namespaces, flag):
            (user if flag == CLONE_NEWUSER else others).append(ops.setns(origin, flag, path))
    if user:
        user.append(become_root())
    made = others + user if namespaces.privileged else user + others
    checks: list[Op] = []
    if user:
        checks = id_mappings.check(spec)
        new = namespaces.new & ~_made_later(namespaces) & ~CLONE_NEWTIME
        if namespaces.respawns:
            made.append(ops.respawn("/linux/namespaces", new))
        elif new:
            made.append(ops.unshare("/linux/namespaces", new))
    if not namespaces.new & CLONE_NEWUSER:
        unshared, written = _own_time(spec, namespaces)
        made += unshared
        checks += written
    if checks or namespaces.respawns:
        made += [ops.stage("", STAGE_BORN), *checks]
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
