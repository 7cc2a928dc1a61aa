"""Decides how each entry of `mounts` is carried out, and the propagation of the root.

It must not look at a source or a target: both are resolved by init, when their turn comes.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import cgroup_mounts, mount_options, ops
from pyrunc.shim.constants import (
    BIND_BY_RUNTIME,
    BIND_COPY_SYMLINK,
    BIND_RECURSIVE,
    BIND_SOURCE_NOFOLLOW,
    BIND_SOURCE_PROC,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MOUNT_ATTR_RDONLY,
    MOUNT_BIND_READONLY,
    MOUNT_FALL_BACK_TO_BIND,
    MOUNT_KEEP_MODE,
    MOUNT_REMOUNT,
    MOUNT_TMPCOPYUP,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    ROOTFS_BIND,
    ROOTFS_PARENT_PRIVATE,
    TARGET_ALLOW_PROC,
    TARGET_NOFOLLOW,
    TARGET_REAL_DIR,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.mount_options import MountOptions
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.plan.ops import IdMap, Op
    from pyrunc.plan.records import CreateOptions

# File systems with one superblock for all, or whose read-only state would outlive the container's
# wish: for them "ro" is an attribute of the mount alone.
PSEUDO = frozenset(
    (
        *("binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs"),
        *("efivarfs", "fusectl", "hugetlbfs", "mqueue", "proc", "pstore", "ramfs", "securityfs"),
        *("sysfs", "tmpfs", "tracefs"),
    )
)
# What lxcfs puts in place of files of procfs; anything else inside of /proc could hide what init and
# later the LSM rely on (CVE-2019-16884, CVE-2025-31133). The list is runc's.
PROC_TARGETS = frozenset(
    "/proc/" + name
    for name in (
        *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo"),
        *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
    )
)
_CONTEXT_OPTIONS = ("context", "fscontext", "defcontext", "rootcontext")
# Of these procfs and sysfs have no context= option; cgroup file systems are labelled by policy.
_UNLABELLED = frozenset(("proc", "sysfs", "cgroup", "cgroup2", "mqueue"))
_ROOT_PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}


def clean_path(path: str) -> str:
    """The shortest spelling of an absolute path; `..` is taken by its letters, as Go's path.Clean."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _root_propagation(spec: Mapping[str, Any]) -> int:
    name = spec["linux"].get("rootfsPropagation", "")
    if not name:
        return 0
    flags = _ROOT_PROPAGATION.get(name)
    if flags is None:
        raise SpecFailure("/linux/rootfsPropagation", f'unknown propagation "{name}"')
    return flags


def open_root(spec: Mapping[str, Any], options: CreateOptions, namespaces: Namespaces) -> list[Op]:
    """Cut the new mount namespace off from the host's, and take hold of the rootfs."""
    if not namespaces.has(CLONE_NEWNS):
        return [ops.open_rootfs("/root/path", options.rootfs, 0)]
    wanted = _root_propagation(spec)
    # Nothing may propagate to the host unless asked. An unbindable "/" could not be bound from, so
    # that this and shared come into force for the container's root after pivot_root(2); shared also
    # here, for a mount with shared propagation is shared with the host only if its source still is.
    if wanted & MS_SHARED:
        flags = wanted
    elif wanted & MS_PRIVATE:
        flags = MS_PRIVATE | MS_REC
    else:
        flags = MS_SLAVE | MS_REC
    return [
        ops.host_propagation("/linux/rootfsPropagation" if wanted else "", flags),
        ops.open_rootfs("/root/path", options.rootfs, ROOTFS_BIND | ROOTFS_PARENT_PRIVATE),
    ]


def root_propagation(spec: Mapping[str, Any], namespaces: Namespaces) -> list[Op]:
    """What only makes sense once the rootfs is "/"."""
    wanted = _root_propagation(spec)
    if wanted & (MS_SHARED | MS_UNBINDABLE) and namespaces.has(CLONE_NEWNS):
        return [ops.propagation("/linux/rootfsPropagation", "/", wanted)]
    return []


def has_bound_dev(spec: Mapping[str, Any]) -> bool:
    """Whether /dev is somebody else's directory, in which nothing may be made."""
    return any(
        clean_path(entry["destination"]) == "/dev" and _is_bind(entry) for entry in spec["mounts"]
    )


def _is_bind(entry: Mapping[str, Any]) -> bool:
    # runtime-spec: with bind or rbind among the options the type is ignored.
    return "bind" in entry["options"] or "rbind" in entry["options"] or entry["type"] == "bind"


def _context_option(annotations: Mapping[str, str]) -> str:
    """The mount option of the label, by the annotation that crun reads."""
    if not annotations:
        return "context"
    from pyrunc import annotated

    option = annotations.get(annotated.MOUNT_CONTEXT_TYPE) or "context"
    if option not in _CONTEXT_OPTIONS:
        raise SpecFailure(
            f"/annotations/{annotated.MOUNT_CONTEXT_TYPE}",
            f'must be context, fscontext, defcontext or rootcontext, got "{option}"',
        )
    return option


def operations(
    spec: Mapping[str, Any],
    options: CreateOptions,
    host: Host,
    namespaces: Namespaces,
    cgroup_paths: dict[str, str],
) -> tuple[list[Op], list[Op]]:
    """The mounts in their order, and what makes some of them read-only when all is in place."""
    made: list[Op] = []
    late: list[Op] = []
    for number, entry in enumerate(spec["mounts"]):
        origin = f"/mounts/{number}"
        target = clean_path(entry["destination"])
        wanted = mount_options.parse(entry["options"])
        if target == "/":
            raise SpecFailure(
                f"{origin}/destination", 'mountpoint "/" is on the top of rootfs', subject=target
            )
        idmap = None
        if wanted.idmap or entry.get("uidMappings") or entry.get("gidMappings"):
            idmap = _id_map(origin, entry, wanted, spec, host, namespaces)
        if "remount" in wanted.words:
            made += _remount(origin, entry, target, wanted)
        elif _is_bind(entry):
            made.append(_bind(origin, entry, target, wanted, options, idmap))
        elif entry["type"] == "cgroup":
            private = cgroup_mounts.expand(
                origin,
                target,
                wanted,
                host.cgroup,
                cgroup_paths,
                namespaces,
                host.in_user_namespace,
            )
            made += private
            if wanted.attr_set & MOUNT_ATTR_RDONLY and private[0].args[0] == "tmpfs":
                late.append(ops.set_mount_attr(origin, target, MOUNT_ATTR_RDONLY, 0, False))
        else:
            made.append(_mount(origin, entry, target, wanted, spec, host, namespaces, late))
        if (wanted.rec_set or wanted.rec_clr) and (
            not _is_bind(entry) or "remount" in wanted.words
        ):
            made.append(ops.set_mount_attr(origin, target, wanted.rec_set, wanted.rec_clr, True))
        made += [ops.propagation(origin, target, flags) for flags in wanted.propagation]
    return made, late


def _target_flags(origin: str, target: str, to_proc: bool) -> int:
    if target in PROC_TARGETS:
        return TARGET_ALLOW_PROC
    if target.startswith("/proc/") or (target == "/proc" and not to_proc):
        where = "it is inside /proc" if target != "/proc" else "it is not of type proc"
        raise SpecFailure(
            f"{origin}/destination", f'"{target}" cannot be mounted because {where}', subject=target
        )
    return 0


def _id_map(
    origin: str,
    entry: Mapping[str, Any],
    wanted: MountOptions,
    spec: Mapping[str, Any],
    host: Host,
    namespaces: Namespaces,
) -> IdMap:
    from pyrunc.plan import idmaps

    if not _is_bind(entry) or "remount" in wanted.words:
        raise SpecFailure(
            origin, "only a bind mount can be id-mapped", subject=entry["destination"]
        )
    return idmaps.read(origin, entry, wanted.idmap, spec["linux"], host, namespaces)


def _remount(origin: str, entry: Mapping[str, Any], target: str, wanted: MountOptions) -> list[Op]:
    """What is there is changed where the options say so, and nowhere else.

    Unlike mount(2), "ro" and "rw" never reach the file system, which may be the host's.
    """
    made = []
    if not _is_bind(entry) and (wanted.data or wanted.sb_flags):
        flags, fstype = wanted.sb_flags, entry["type"] or "none"
        made.append(
            ops.mount(origin, fstype, None, target, 0, 0, flags, wanted.data, MOUNT_REMOUNT)
        )
    if wanted.attr_set or wanted.attr_clr:
        made.append(ops.set_mount_attr(origin, target, wanted.attr_set, wanted.attr_clr, False))
    return made


def _bind(
    origin: str,
    entry: Mapping[str, Any],
    target: str,
    wanted: MountOptions,
    options: CreateOptions,
    idmap: IdMap | None,
) -> Op:
    # Parameters of a file system ("size=1k") mean nothing to a bind mount, as in mount(2);
    # `pyrunc.spec.rules` warns of them. Any other word may be a misspelt flag, such as "readonly".
    unknown = [word for word in wanted.data if "=" not in word]
    if unknown:
        raise SpecFailure(
            f"{origin}/options",
            "bind mounts cannot have any filesystem-specific options applied: " + ",".join(unknown),
            subject=target,
        )
    source = entry["source"]
    if source[:1] != "/":
        source = f"{options.bundle}/{source}"
    flags = BIND_RECURSIVE if "rbind" in wanted.words else 0
    target_flags = _target_flags(origin, target, to_proc=True)
    if target == "/proc":
        flags |= BIND_SOURCE_PROC
    rec_set = wanted.rec_set
    if options.rootless and clean_path(source) == "/sys":
        # What of the cgroups below it is the user's could be written to (CVE-2023-25809).
        rec_set |= wanted.attr_set & MOUNT_ATTR_RDONLY
    if idmap is not None:
        flags |= BIND_BY_RUNTIME
    # Words of crun's.
    if "src-nofollow" in wanted.words:
        flags |= BIND_SOURCE_NOFOLLOW
    if "copy-symlink" in wanted.words:
        flags |= BIND_COPY_SYMLINK
    if "dest-nofollow" in wanted.words:
        target_flags |= TARGET_NOFOLLOW
    return ops.bind(
        origin,
        clean_path(source),
        target,
        target_flags,
        flags,
        wanted.attr_set,
        wanted.attr_clr,
        rec_set,
        wanted.rec_clr,
        idmap,
    )


def _mount(
    origin: str,
    entry: Mapping[str, Any],
    target: str,
    wanted: MountOptions,
    spec: Mapping[str, Any],
    host: Host,
    namespaces: Namespaces,
    late: list[Op],
) -> Op:
    fstype = entry["type"]
    source = entry["source"] or None
    target_flags = _target_flags(origin, target, to_proc=fstype == "proc")
    attributes, sb_flags, data, flags = wanted.attr_set, wanted.sb_flags, list(wanted.data), 0
    if fstype in ("proc", "sysfs"):
        target_flags |= TARGET_REAL_DIR
    if fstype == "tmpfs":
        if not any(option.startswith("mode=") for option in data):
            flags |= MOUNT_KEEP_MODE
        if "tmpcopyup" in wanted.words:
            flags |= MOUNT_TMPCOPYUP
    elif fstype == "sysfs" and (namespaces.has(CLONE_NEWUSER) or host.in_user_namespace):
        # sysfs shows the network namespace, and only its owner may mount it (sysfs_init_fs_context).
        # Nor may cgroups of its owner be written to that are mounted below (CVE-2023-25809).
        source, flags = "/sys", MOUNT_FALL_BACK_TO_BIND | MOUNT_BIND_READONLY
    elif fstype == "cgroup2":
        mounted = host.cgroup.unified
        if mounted and cgroup_mounts.shared(namespaces, host.in_user_namespace):
            return cgroup_mounts.whole(origin, target, wanted, mounted)
        return cgroup_mounts.unified(origin, target, wanted, "", bind=False)
    if attributes & MOUNT_ATTR_RDONLY:
        if fstype == "tmpfs" or target == "/dev":
            # Devices, mount points and copied files are still to be made in it.
            attributes &= ~MOUNT_ATTR_RDONLY
            late.append(ops.set_mount_attr(origin, target, MOUNT_ATTR_RDONLY, 0, False))
        elif fstype not in PSEUDO:
            sb_flags |= MS_RDONLY
    label = spec["linux"].get("mountLabel")
    if label and host.selinux and fstype not in _UNLABELLED:
        data.append(f'{_context_option(spec["annotations"])}="{label}"')
    return ops.mount(
        origin, fstype, source, target, target_flags, attributes, sb_flags, data, flags
    )
