"""Decides what a mount of type "cgroup" becomes, by the hierarchies that the host has.

It must not decide which cgroups the container is in: their paths come in.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops
from pyrunc.plan.mount_options import MountOptions
from pyrunc.shim.constants import (
    BIND_RECURSIVE,
    CLONE_NEWCGROUP,
    CLONE_NEWUSER,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOUNT_FALL_BACK_TO_BIND,
    TARGET_REAL_DIR,
    TARGET_SYMLINK_OK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.layout import CgroupLayout, Hierarchy
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.plan.ops import Op

_HARMLESS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def expand(
    origin: str,
    target: str,
    wanted: MountOptions,
    layout: CgroupLayout,
    cgroup_paths: dict[str, str],
    namespaces: Namespaces,
    in_user_namespace: bool,
) -> list[Op]:
    """The operations for one entry; with v1 hierarchies the first one mounts a tmpfs."""
    private = namespaces.has(CLONE_NEWCGROUP)
    if layout.mode == "none":
        raise SpecFailure(origin, "this host has no cgroup file system", subject=target)
    if layout.mode == "v2":
        wanted = _restricted(wanted, "" in cgroup_paths)
        if shared(namespaces, in_user_namespace) and layout.unified:
            return [whole(origin, target, wanted, layout.unified)]
        return [unified(origin, target, wanted, cgroup_paths.get("") or layout.unified or "", True)]
    made = [ops.mount(origin, "tmpfs", "tmpfs", target, 0, _HARMLESS, 0, ("mode=755",), 0)]
    for hierarchy in layout.v1:
        name = hierarchy.mount.rpartition("/")[2]
        here = f"{target}/{name}"
        attributes = _restricted(wanted, hierarchy.name in cgroup_paths)
        if private:
            made.append(_mount_v1(origin, here, attributes, hierarchy))
        else:
            source = cgroup_paths.get(hierarchy.name) or _own(hierarchy)
            made.append(_bind(origin, here, attributes, source))
        if len(hierarchy.controllers) > 1:
            made += [
                ops.symlink(origin, name, f"{target}/{controller}", TARGET_SYMLINK_OK)
                for controller in hierarchy.controllers
                if controller != name
            ]
    if "" in cgroup_paths:
        here = f"{target}/unified"
        if private:
            made.append(unified(origin, here, wanted, cgroup_paths[""], True))
        else:
            made.append(_bind(origin, here, wanted, cgroup_paths[""]))
    return made


def shared(namespaces: Namespaces, in_user_namespace: bool) -> bool:
    """Whether a new mount of cgroup v2 would be one in the host's own cgroup namespace.

    There, and only there, mount options are those of the one hierarchy: a mount without nsdelegate
    and memory_recursiveprot takes them from the host (kernel/cgroup/cgroup.c:
    apply_cgroup_root_flags). A user namespace has no right to such a mount.
    """
    own = namespaces.has(CLONE_NEWCGROUP) or namespaces.has(CLONE_NEWUSER)
    return not own and not in_user_namespace


def whole(origin: str, target: str, wanted: MountOptions, mount: str) -> Op:
    """Show the whole hierarchy, as a mount would, by a bind of the host's."""
    return ops.bind(
        origin,
        mount,
        target,
        0,
        BIND_RECURSIVE,
        wanted.attr_set,
        wanted.attr_clr | (MOUNT_ATTR_RDONLY & ~wanted.attr_set),
        wanted.rec_set,
        wanted.rec_clr,
    )


def unified(origin: str, target: str, wanted: MountOptions, source: str, bind: bool) -> Op:
    """Mount cgroup v2; with `bind`, `source` is bound where the kernel refuses that."""
    return ops.mount(
        origin,
        "cgroup2",
        source if bind else "cgroup",
        target,
        0,
        wanted.attr_set,
        0,
        wanted.data,
        MOUNT_FALL_BACK_TO_BIND if bind else 0,
    )


def _restricted(wanted: MountOptions, is_own: bool) -> MountOptions:
    """Read-only where the cgroup is not the container's: it could change the runtime's own, or all
    that its user owns (CVE-2023-25809)."""
    if is_own:
        return wanted
    return MountOptions(
        wanted.attr_set | MOUNT_ATTR_RDONLY,
        wanted.attr_clr,
        wanted.rec_set | MOUNT_ATTR_RDONLY,
        wanted.rec_clr,
        wanted.sb_flags,
        wanted.propagation,
        wanted.data,
        wanted.words,
        wanted.idmap,
    )


def _own(hierarchy: Hierarchy) -> str:
    return hierarchy.mount + (hierarchy.own if hierarchy.own != "/" else "")


def _mount_v1(origin: str, target: str, wanted: MountOptions, hierarchy: Hierarchy) -> Op:
    attributes = wanted.attr_set | _HARMLESS
    return ops.mount(
        origin, "cgroup", "cgroup", target, TARGET_REAL_DIR, attributes, 0, hierarchy.controllers, 0
    )


def _bind(origin: str, target: str, wanted: MountOptions, source: str) -> Op:
    readonly = wanted.attr_set & MOUNT_ATTR_RDONLY
    return ops.bind(
        origin,
        source,
        target,
        TARGET_REAL_DIR,
        BIND_RECURSIVE,
        wanted.attr_set | _HARMLESS,
        wanted.attr_clr & ~(_HARMLESS | readonly),
        wanted.rec_set,
        wanted.rec_clr,
    )
