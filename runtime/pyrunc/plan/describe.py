"""Decides how an operation is told in one line, with the kernel's names for its flags.

It must not tell more than the operation holds: golden tests compare these lines.
"""

from __future__ import annotations

from pyrunc.plan.describe_scheduling import TELLERS as _SCHEDULING
from pyrunc.shim import constants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pyrunc.plan.ops import IdMap, Mappings, Op

_ATTRIBUTES = (
    ("ro", constants.MOUNT_ATTR_RDONLY),
    ("nosuid", constants.MOUNT_ATTR_NOSUID),
    ("nodev", constants.MOUNT_ATTR_NODEV),
    ("noexec", constants.MOUNT_ATTR_NOEXEC),
    ("noatime", constants.MOUNT_ATTR_NOATIME),
    ("strictatime", constants.MOUNT_ATTR_STRICTATIME),
    ("nodiratime", constants.MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", constants.MOUNT_ATTR_NOSYMFOLLOW),
)
_SUPERBLOCK = (
    ("sb:ro", constants.MS_RDONLY),
    ("sync", constants.MS_SYNCHRONOUS),
    ("mand", constants.MS_MANDLOCK),
    ("dirsync", constants.MS_DIRSYNC),
    ("silent", constants.MS_SILENT),
    ("iversion", constants.MS_I_VERSION),
    ("lazytime", constants.MS_LAZYTIME),
)
_PROPAGATION = (
    ("unbindable", constants.MS_UNBINDABLE),
    ("private", constants.MS_PRIVATE),
    ("slave", constants.MS_SLAVE),
    ("shared", constants.MS_SHARED),
    ("recursively", constants.MS_REC),
)
_NAMESPACES = (
    ("user", constants.CLONE_NEWUSER),
    ("mount", constants.CLONE_NEWNS),
    ("pid", constants.CLONE_NEWPID),
    ("network", constants.CLONE_NEWNET),
    ("ipc", constants.CLONE_NEWIPC),
    ("uts", constants.CLONE_NEWUTS),
    ("cgroup", constants.CLONE_NEWCGROUP),
    ("time", constants.CLONE_NEWTIME),
)
_TARGET = (
    ("no symlinks", constants.TARGET_REAL_DIR),
    ("inside proc", constants.TARGET_ALLOW_PROC),
    ("only if there", constants.TARGET_NO_CREATE),
    ("keep what is there", constants.TARGET_SYMLINK_OK),
    ("not following the last", constants.TARGET_NOFOLLOW),
)
_MOUNT = (
    ("copying up", constants.MOUNT_TMPCOPYUP),
    ("keeping the mode", constants.MOUNT_KEEP_MODE),
    ("or else bind", constants.MOUNT_FALL_BACK_TO_BIND),
    ("read-only then", constants.MOUNT_BIND_READONLY),
    ("again", constants.MOUNT_REMOUNT),
)
_BIND = (
    ("recursively", constants.BIND_RECURSIVE),
    ("if there", constants.BIND_OPTIONAL),
    ("from a proc", constants.BIND_SOURCE_PROC),
    ("by the runtime", constants.BIND_BY_RUNTIME),
    ("not following the source", constants.BIND_SOURCE_NOFOLLOW),
    ("or copying a symlink", constants.BIND_COPY_SYMLINK),
)
_ROOTFS = (
    ("bound", constants.ROOTFS_BIND),
    ("below a private mount", constants.ROOTFS_PARENT_PRIVATE),
)
_IDS = (
    ("setting groups", constants.IDS_SET_GROUPS),
    ("groups may be denied", constants.IDS_TOLERATE_DENIED_GROUPS),
    ("keeping capabilities", constants.IDS_KEEP_CAPS),
    ("or what is mapped", constants.IDS_ANY_MAPPED),
)
_SECCOMP = (
    ("log", constants.SECCOMP_FILTER_FLAG_LOG),
    ("spec_allow", constants.SECCOMP_FILTER_FLAG_SPEC_ALLOW),
    ("new_listener", constants.SECCOMP_FILTER_FLAG_NEW_LISTENER),
    ("wait_killable_recv", constants.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
)
_STAGES = {
    constants.STAGE_IDMAP: "idmap",
    constants.STAGE_USER_IDMAP: "user idmap",
    constants.STAGE_BORN: "born",
    constants.STAGE_CGROUP: "cgroup",
    constants.STAGE_HOOKS: "hooks",
    constants.STAGE_SECCOMP: "seccomp",
    constants.STAGE_READY: "ready",
}
_PIVOTS = {
    constants.PIVOT_ROOT: "pivot_root",
    constants.PIVOT_MOVE: "move the rootfs to / and chroot",
    constants.PIVOT_CHROOT: "chroot",
}
_FILE_TYPES = {
    constants.S_IFCHR: "character device",
    constants.S_IFBLK: "block device",
    constants.S_IFIFO: "fifo",
}
_HOOKS = {
    constants.HOOK_CREATE_CONTAINER: "createContainer",
    constants.HOOK_START_CONTAINER: "startContainer",
}
_LABELS = {constants.LABEL_APPARMOR: "apparmor", constants.LABEL_SELINUX: "selinux"}


def describe(op: Op) -> str:
    """One line without the origin, such as `mount proc at /proc (nosuid,noexec,nodev)`."""
    tell = _TELLERS.get(op.kind)
    text = tell(*op.args) if tell else f"{op.kind} {op.args}"
    # A name may hold any byte but NUL and "/"; one operation stays one line.
    return text.replace("\n", "\\n")


def capability_names(mask: int) -> str:
    """The capabilities of a bit mask by name, in the order of their numbers."""
    names = [
        name.removeprefix("CAP_").lower()
        for name, bit in sorted(constants.CAPABILITIES.items(), key=lambda item: item[1])
        if mask >> bit & 1
    ]
    return ",".join(names) or "none"


def _names(value: int, table: Iterable[tuple[str, int]]) -> list[str]:
    names = []
    for name, flag in table:
        if flag and value & flag == flag:
            names.append(name)
            value &= ~flag
    return [*names, hex(value)] if value else names


def _with(parts: Sequence[str]) -> str:
    return f" ({','.join(parts)})" if parts else ""


def _clearing(names: Sequence[str]) -> list[str]:
    return [f"clear:{name}" for name in names]


def _attributes(attr_set: int, attr_clr: int = 0) -> list[str]:
    cleared = []
    if attr_clr & constants.MOUNT_ATTR__ATIME == constants.MOUNT_ATTR__ATIME:
        attr_clr &= ~constants.MOUNT_ATTR__ATIME
        if not attr_set & constants.MOUNT_ATTR__ATIME:
            cleared = ["relatime"]
    return _names(attr_set, _ATTRIBUTES) + cleared + _clearing(_names(attr_clr, _ATTRIBUTES))


def _mount(
    fstype: str,
    source: str | None,
    target: str,
    target_flags: int,
    attr_set: int,
    sb_flags: int,
    data: Sequence[str],
    flags: int,
) -> str:
    source_text = "" if source in (None, fstype) else f" from {source}"
    options = [*_attributes(attr_set), *_names(sb_flags, _SUPERBLOCK), *data]
    ways = _names(flags, _MOUNT) + _names(target_flags, _TARGET)
    tail = f" [{', '.join(ways)}]" if ways else ""
    return f"mount {fstype}{source_text} at {target}{_with(options)}{tail}"


def _bind(
    source: str,
    target: str,
    target_flags: int,
    flags: int,
    attr_set: int,
    attr_clr: int,
    rec_set: int,
    rec_clr: int,
    idmap: IdMap | None,
) -> str:
    options = _attributes(attr_set, attr_clr)
    options += ["all:" + name for name in _attributes(rec_set, rec_clr)]
    if idmap is not None:
        recursive, uids, gids = idmap
        options.append(("all:" if recursive else "") + "ids mapped " + _id_map(uids, gids))
    ways = _names(flags, _BIND) + _names(target_flags, _TARGET)
    tail = f" [{', '.join(ways)}]" if ways else ""
    return f"bind {source} at {target}{_with(options)}{tail}"


def _id_map(uids: Mappings, gids: Mappings) -> str:
    if not uids:
        return "as in the container"
    shown = ["+".join([f"{a}:{b}:{size}" for a, b, size in side]) for side in (uids, gids)]
    return "/".join(shown)


def _make_node(
    path: str, mode: int, major: int, minor: int, uid: int, gid: int, bind_from: str | None
) -> str:
    kind = mode & constants.S_IFMT
    number = "" if kind == constants.S_IFIFO else f" {major}:{minor}"
    bind = f", or else bind {bind_from}" if bind_from else ""
    name = _FILE_TYPES.get(kind, oct(kind))
    return f"make {name} {path}{number} mode {mode & ~constants.S_IFMT:04o} of {uid}:{gid}{bind}"


def _hook(
    which: int, index: int, path: str, timeout: int, args: Any, env: Any, stdout: str, stderr: str
) -> str:
    told = _run_hook(f"{_HOOKS[which]} hook #{index}", path, args, env, timeout)
    files = (("output", stdout), ("error", stderr))
    return told + _with([f"{name} to {file}" for name, file in files if file])


def _run_hook(name: str, path: str, args: Sequence[str], env: Sequence[str], timeout: int) -> str:
    limit = f" for at most {timeout} s" if timeout else ""
    return f"run {name} {path} {_quote(args)} with {len(env)} variables{limit}"


def _quote(texts: Sequence[str]) -> str:
    return "[" + " ".join(texts) + "]"


def _set_ids(uid: int, gid: int, groups: Sequence[int], umask: int, flags: int) -> str:
    listed = ",".join(str(group) for group in groups) or "none"
    return f"become {uid}:{gid}, groups {listed}, umask {umask:04o}{_with(_names(flags, _IDS))}"


def _set_caps(effective: int, permitted: int, inheritable: int, ambient: int) -> str:
    return (
        f"set capabilities: effective {capability_names(effective)};"
        f" permitted {capability_names(permitted)};"
        f" inheritable {capability_names(inheritable)}; ambient {capability_names(ambient)}"
    )


def _limit(resource: int, soft: int, hard: int) -> str:
    return f"{_limit_name(resource)} to {_limit_value(soft)}:{_limit_value(hard)}"


def _limit_name(resource: int) -> str:
    return next(key for key, value in constants.RLIMITS.items() if value == resource)


def _limit_value(value: int) -> str:
    return "unlimited" if value == constants.RLIM_INFINITY else str(value)


def _open_pty(socket: bool, flags: int, uid: int, rows: int, columns: int) -> str:
    where = "to the console socket" if socket else "to the runtime"
    size = f", {rows} rows, {columns} columns" if flags & constants.PTY_HAS_SIZE else ""
    console = " on /dev/console" if flags & constants.PTY_BIND_CONSOLE else ""
    return f"open a pty{console} of {uid}, its ptmx end {where}{size}"


def _environment(env: Sequence[str], uid: int, flags: int) -> str:
    names = [entry.partition("=")[0] for entry in env]
    if flags & constants.ENVIRONMENT_HOME:
        names.append(f"HOME (of {uid})")
    if flags & constants.ENVIRONMENT_LISTEN_PID:
        names.append("LISTEN_PID (its own)")
    return f"set the environment: {' '.join(names) or 'empty'}"


def _write_cgroup(
    path: str, value: str, tolerate: Sequence[int], instead: tuple[str, str] | None
) -> str:
    shown = value if value else '""'
    tolerant = f" (tolerating errno {','.join(map(str, tolerate))})" if tolerate else ""
    other = f", or where it is missing {instead[1]} to {instead[0]}" if instead else ""
    return f"write {shown} to {path}{tolerant}{other}"


def _create_cgroup(hierarchy: str, path: str, controllers: Sequence[str]) -> str:
    wanted = f" with {','.join(controllers)}" if controllers else ""
    return f"create cgroup {path} of {hierarchy or 'v2'}{wanted}"


def _unit_property(name: str, _signature: str, value: Any) -> str:
    if isinstance(value, bytes):
        # Sets of numbers, bit N of the whole for the number N.
        shown = f"bits {value[::-1].hex() or 'none'}"
    elif isinstance(value, (tuple, list)):
        shown = " ".join([":".join(e) if isinstance(e, tuple) else str(e) for e in value])
        shown = shown or "nothing"
    else:
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return f"want {name} of the unit to be {'infinity' if value == 2**64 - 1 else shown}"


def _namespaces(flags: int) -> str:
    return ",".join(_names(flags, _NAMESPACES)) or "no"


def _mappings(mappings: Sequence[tuple[int, int, int]]) -> str:
    return ", ".join(f"{inside} to {outside} for {size}" for inside, outside, size in mappings)


def _offsets(offsets: Sequence[tuple[str, int, int]]) -> str:
    return ", ".join(f"{clock} {seconds} s {rest} ns" for clock, seconds, rest in offsets) or "none"


def _propagation(flags: int) -> str:
    return " ".join(_names(flags, _PROPAGATION))


_TELLERS: dict[str, Callable[..., str]] = {
    **_SCHEDULING,
    "create_cgroup": _create_cgroup,
    "write_cgroup": _write_cgroup,
    "attach_device_program": lambda path, program: (
        f"attach a device program of {len(program) // 8} instructions to {path}"
    ),
    "adopt_cgroup": lambda hierarchy, path, controllers: (
        f"take over cgroup {path} of {hierarchy or 'v2'}"
        + (f" with {','.join(controllers)}" if controllers else "")
    ),
    "unit_property": _unit_property,
    "start_unit": lambda manager, name, with_init, _cgroup: (
        f"let the {manager}'s systemd make unit {name}" + (" around init" if with_init else "")
    ),
    "change_unit": lambda manager, name: f"let the {manager}'s systemd change unit {name}",
    "own_cgroup": lambda path, uid: f"give cgroup {path} to {uid}",
    "enter_namespace": lambda nstype, path: f"enter {_namespaces(nstype)} namespace {path}",
    "clone": lambda flags, cgroup: (
        f"clone init into new namespaces: {_namespaces(flags)}"
        + (f"; into cgroup {cgroup}" if cgroup else "")
    ),
    "join_cgroup": lambda path: f"put init into cgroup {path}",
    "write_id_map": lambda which, mappings: f"write {which}: {_mappings(mappings)}",
    "new_time_namespace": lambda offsets: f"make a time namespace for init: {_offsets(offsets)}",
    "write_time_offsets": lambda offsets: f"write timens_offsets: {_offsets(offsets)}",
    "deny_setgroups": lambda: "deny setgroups to init",
    "run_id_mapper": lambda program, which, mappings: (
        f"let {program} write {which}: {_mappings(mappings)}"
    ),
    "check_id_map": lambda which, mappings: f"compare {which} with {_mappings(mappings)}",
    "raise_init_rlimit": lambda resource, hard: (
        f"raise init's hard {_limit_name(resource)} to {_limit_value(hard)} where it is lower"
    ),
    "set_init_oom_score_adj": lambda value, flags: (
        f"set init's oom_score_adj to {value}" + (" (may be refused)" if flags else "")
    ),
    "create_resctrl_group": lambda group, must_exist: (
        f"{'check' if must_exist else 'make'} resctrl group {group}"
    ),
    "write_schemata": lambda group, line: f"write {line} to the schemata of resctrl group /{group}",
    "join_resctrl_group": lambda group: f"put init into resctrl group /{group}",
    "move_net_device": lambda name, new_name, path: (
        f"move network device {name} into {path or 'the new namespace'} as {new_name}"
    ),
    "run_hook": _run_hook,
    "send_seccomp_listener": lambda path, _metadata: f"send the seccomp listener to {path}",
    "stage": lambda number: f"stage {_STAGES[number]}",
    "setns": lambda nstype, path: f"join {_namespaces(nstype)} namespace {path}",
    "join_process": lambda flags, pid: (f"join {_namespaces(flags)} namespaces of process {pid}"),
    "unmount": lambda target: f"unmount {target}",
    "outlive": lambda: "do not die with the runtime any more",
    "unshare": lambda flags: f"unshare {_namespaces(flags)} namespace",
    "respawn": lambda flags, options: (
        (
            f"go on in a child in new namespaces: {_namespaces(flags)}"
            if flags
            else "go on in a child"
        )
        + (", with the host's /proc closed" if options else "")
    ),
    "set_rlimit": lambda *args: f"limit {_limit(*args)}",
    "set_oom_score_adj": lambda value, flags: (
        f"set oom_score_adj to {value}" + (" (may be refused)" if flags else "")
    ),
    "session_keyring": lambda name, label: (
        f"join session keyring {name}" + (f" labelled {label}" if label else "")
    ),
    "host_propagation": lambda flags: f"make the host's mounts {_propagation(flags)}",
    "open_rootfs": lambda path, flags: f"open rootfs {path}{_with(_names(flags, _ROOTFS))}",
    "mount": _mount,
    "bind": _bind,
    "propagation": lambda target, flags: f"make {target} {_propagation(flags)}",
    "set_mount_attr": lambda target, attr_set, attr_clr, recursive: (
        f"set mount attributes of {target}{_with(_attributes(attr_set, attr_clr))}"
        + (" recursively" if recursive else "")
    ),
    "make_dir": lambda path, mode: f"make directory {path} mode {mode:04o}",
    "make_node": _make_node,
    "symlink": lambda text, path, flags: (
        f"make symbolic link {path} to {text}{_with(_names(flags, _TARGET))}"
    ),
    "mask": lambda path, label: f"mask {path}" + (f" labelled {label}" if label else ""),
    "readonly": lambda path: f"make {path} read-only",
    "open_pty": _open_pty,
    "hook": _hook,
    "pivot_root": lambda how: _PIVOTS[how],
    "write_sysctl": lambda path, value: f"write {value} to /proc/sys/{path}",
    "loopback_up": lambda: "set the loopback interface up",
    "set_hostname": lambda name: f"set hostname {name}",
    "set_domainname": lambda name: f"set domainname {name}",
    "set_label": lambda label, which: f"set {_LABELS[which]} label {label} for execve",
    "own_stdio": lambda uid: f"give standard streams to {uid}",
    "no_new_privs": lambda: "set no_new_privs",
    "load_seccomp": lambda program, flags: (
        f"load a seccomp filter of {len(program) // 8} instructions{_with(_names(flags, _SECCOMP))}"
    ),
    "drop_bounding": lambda keep: f"keep in the bounding set: {capability_names(keep)}",
    "set_ids": _set_ids,
    "set_caps": _set_caps,
    "change_dir": lambda path, flags: f"change to {path}"
    + (", made if missing" if flags & constants.CHANGE_DIR_CREATE else "")
    + (", as far as it may be entered" if flags == constants.CHANGE_DIR_TOLERATE else ""),
    "set_environment": _environment,
    "find_executable": lambda name: f"find executable {name}",
    "close_fds": lambda first: f"close descriptors from {first}",
    "await_start": lambda: "wait for start",
    "execute": lambda args: f"execute {_quote(args)}",
}
