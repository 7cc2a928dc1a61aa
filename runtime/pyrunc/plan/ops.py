"""Decides which kinds of operation a plan is made of, and what each of them is told.

It must not read the system, nor know cffi: an operation is a name, its arguments and its origin.

An operation is carried out by one of two sides: `runtime` operations by the process that the caller
started, `init` operations by pyrunc-init inside of the container's namespaces. Their order in the
plan is the order in which they happen, with one liberty: between `clone` and the next `stage`, both
sides work at once. A constructor's parameters, after `origin` (a JSON pointer into config.json, or
"" where no property asks for it), are the arguments of the shim's function of the same name.
Paths "in the rootfs" are absolute as the container sees them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Offsets = tuple[tuple[str, int, int], ...]
    Mappings = tuple[tuple[int, int, int], ...]
    IdMap = tuple[bool, Mappings, Mappings]


class Op:
    """One operation: `kind` (the constructor's name), `origin`, `args`."""

    __slots__ = ("args", "kind", "origin")

    kind: str
    origin: str
    args: tuple[Any, ...]

    def __init__(self, kind: str, origin: str, *args: Any) -> None:
        self.kind = kind
        self.origin = origin
        self.args = args

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and (self.kind, self.origin, self.args) == (
            other.kind,
            other.origin,
            other.args,
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.origin, self.args))

    def __repr__(self) -> str:
        return f"{self.kind}{self.args!r} {self.origin}"


# What the runtime does.


def create_cgroup(origin: str, hierarchy: str, path: str, controllers: Sequence[str]) -> Op:
    """Make the cgroup directory `path` (absolute, on the host) of `hierarchy` ("" is v2)."""
    return Op("create_cgroup", origin, hierarchy, path, tuple(controllers))


def write_cgroup(
    origin: str,
    path: str,
    value: str,
    tolerate: Sequence[int] = (),
    instead: tuple[str, str] | None = None,
) -> Op:
    """Write `value` to the cgroup file `path`; errnos in `tolerate` are no failure.

    `instead`: (path, value) for a kernel that has no file `path`.
    """
    return Op("write_cgroup", origin, path, value, tuple(tolerate), instead)


def attach_device_program(origin: str, path: str, program: bytes) -> Op:
    """Attach the eBPF device program (struct bpf_insn[]) to the cgroup v2 directory `path`."""
    return Op("attach_device_program", origin, path, program)


def own_cgroup(origin: str, path: str, uid: int) -> Op:
    """Give the cgroup v2 directory `path`, and its files for delegation, to `uid` of the host."""
    return Op("own_cgroup", origin, path, uid)


def unit_property(origin: str, name: str, signature: str, value: Any) -> Op:
    """Give the unit that is started, or changed, next this property; `signature` is its D-Bus type."""
    return Op("unit_property", origin, name, signature, value)


def start_unit(origin: str, manager: str, name: str, with_init: bool, cgroup: str) -> Op:
    """Let systemd ("system" or "user") make the unit, around init, with all `unit_property` before.

    `cgroup`: the cgroup v2 directory where init must be found afterwards, or "".
    """
    return Op("start_unit", origin, manager, name, with_init, cgroup)


def change_unit(origin: str, manager: str, name: str) -> Op:
    """Set all `unit_property` before on a unit that is there."""
    return Op("change_unit", origin, manager, name)


def adopt_cgroup(origin: str, hierarchy: str, path: str, controllers: Sequence[str]) -> Op:
    """As `create_cgroup`, for one that init may be in already, since a unit's is its manager's."""
    return Op("adopt_cgroup", origin, hierarchy, path, tuple(controllers))


def enter_namespace(origin: str, nstype: int, path: str) -> Op:
    """Let the runtime be in this namespace until `clone`, which makes init be born there.

    For pid and time setns(2) does no more; for others it is what init has no right to do where it
    gets a new user namespace.
    """
    return Op("enter_namespace", origin, nstype, path)


def clone(origin: str, flags: int, cgroup: str | None) -> Op:
    """Clone init with these CLONE_NEW* flags, into the cgroup v2 directory if one is given."""
    return Op("clone", origin, flags, cgroup)


def join_cgroup(origin: str, path: str) -> Op:
    """Write init's pid to cgroup.procs of the directory `path`."""
    return Op("join_cgroup", origin, path)


def new_time_namespace(origin: str, offsets: Offsets) -> Op:
    """Let what the runtime clones be in a new time namespace with these offsets.

    For kernels before 6.2, where a process enters one only by being born in it.
    """
    return Op("new_time_namespace", origin, offsets)


def write_time_offsets(origin: str, offsets: Offsets) -> Op:
    """Write timens_offsets of init: (clock, seconds, nanoseconds) each."""
    return Op("write_time_offsets", origin, offsets)


def deny_setgroups(origin: str) -> Op:
    """Write "deny" to init's setgroups: without it nobody unprivileged may write its gid_map."""
    return Op("deny_setgroups", origin)


def run_id_mapper(
    origin: str, program: str, which: str, mappings: Sequence[tuple[int, int, int]]
) -> Op:
    """Let newuidmap or newgidmap write `which` of init, by the ranges that the user was given."""
    return Op("run_id_mapper", origin, program, which, tuple(mappings))


def check_id_map(origin: str, which: str, mappings: Sequence[tuple[int, int, int]]) -> Op:
    """Compare `uid_map` or `gid_map` of init, in the user namespace that it has joined."""
    return Op("check_id_map", origin, which, tuple(mappings))


def write_id_map(origin: str, which: str, mappings: Sequence[tuple[int, int, int]]) -> Op:
    """Write `uid_map` or `gid_map` of init: (inside, outside, size) each."""
    return Op("write_id_map", origin, which, tuple(mappings))


def raise_init_rlimit(origin: str, resource: int, hard: int) -> Op:
    """prlimit(2) on init by the runtime, which keeps its rights where init has a user namespace."""
    return Op("raise_init_rlimit", origin, resource, hard)


def set_init_oom_score_adj(origin: str, value: int, flags: int) -> Op:
    """Write init's oom_score_adj by the runtime, for the reason of `raise_init_rlimit`."""
    return Op("set_init_oom_score_adj", origin, value, flags)


def set_init_scheduler(origin: str, *attributes: int) -> Op:
    """As `set_scheduler`, on init by the runtime, for the reason of `raise_init_rlimit`."""
    return Op("set_init_scheduler", origin, *attributes)


def set_init_io_priority(origin: str, value: int) -> Op:
    """As `set_io_priority`, on init by the runtime, for the reason of `raise_init_rlimit`."""
    return Op("set_init_io_priority", origin, value)


def run_hook(
    origin: str, name: str, path: str, args: Sequence[str], env: Sequence[str], timeout: int
) -> Op:
    """Run a prestart or createRuntime hook in the runtime's namespaces; `timeout` in s, 0: none."""
    return Op("run_hook", origin, name, path, tuple(args), tuple(env), timeout)


def create_resctrl_group(origin: str, group: str, must_exist: bool) -> Op:
    """Make the directory `group` of resctrl; `must_exist`: somebody else has to have made it."""
    return Op("create_resctrl_group", origin, group, must_exist)


def write_schemata(origin: str, group: str, line: str) -> Op:
    """Write a line to the schemata of a resctrl group ("" is the one at the mount point)."""
    return Op("write_schemata", origin, group, line)


def join_resctrl_group(origin: str, group: str) -> Op:
    """Write init's pid to the tasks of a resctrl group."""
    return Op("join_resctrl_group", origin, group)


def move_net_device(origin: str, name: str, new_name: str, path: str | None) -> Op:
    """Put the host's network device `name` into the network namespace `path`, or init's, and up."""
    return Op("move_net_device", origin, name, new_name, path)


def send_seccomp_listener(origin: str, path: str, metadata: str) -> Op:
    """Give the listener of init's filter, and the container process state, to the agent at `path`."""
    return Op("send_seccomp_listener", origin, path, metadata)


# What both do together.


def stage(origin: str, number: int) -> Op:
    """Init waits here (STAGE_*) until the runtime has done the runtime operations that follow."""
    return Op("stage", origin, number)


# What init does.


def join_process(origin: str, flags: int, pid: int) -> Op:
    """Enter the namespaces (CLONE_NEW*) of the container's init, process `pid`."""
    return Op("join_process", origin, flags, pid)


def setns(origin: str, nstype: int, path: str) -> Op:
    """Join the namespace file `path`, opened by the runtime, of type `nstype` (CLONE_NEW*)."""
    return Op("setns", origin, nstype, path)


def unshare(origin: str, flags: int) -> Op:
    return Op("unshare", origin, flags)


def respawn(origin: str, flags: int, options: int = 0) -> Op:
    """Init goes on in a child of the runtime's in new namespaces (CLONE_NEW*), and in the pid
    namespace that it has joined; `options`: RESPAWN_*."""
    return Op("respawn", origin, flags, options)


def set_rlimit(origin: str, resource: int, soft: int, hard: int) -> Op:
    return Op("set_rlimit", origin, resource, soft, hard)


def set_oom_score_adj(origin: str, value: int, flags: int) -> Op:
    """`flags`: TOLERATE_EPERM where a rootless container may not lower it."""
    return Op("set_oom_score_adj", origin, value, flags)


def set_scheduler(
    origin: str,
    policy: int,
    flags: int,
    nice: int,
    priority: int,
    runtime: int,
    deadline: int,
    period: int,
) -> Op:
    """sched_setattr(2); `runtime`, `deadline` and `period` in nanoseconds."""
    return Op("set_scheduler", origin, policy, flags, nice, priority, runtime, deadline, period)


def set_io_priority(origin: str, value: int) -> Op:
    """ioprio_set(2); `value` is IOPRIO_PRIO_VALUE(class, priority)."""
    return Op("set_io_priority", origin, value)


def set_memory_policy(origin: str, mode: int, nodes: Sequence[int]) -> Op:
    """set_mempolicy(2); `mode` with its flags, `nodes` are words of 64 bits, lowest first."""
    return Op("set_memory_policy", origin, mode, tuple(nodes))


def set_personality(origin: str, value: int) -> Op:
    """personality(2): domain and flags in one."""
    return Op("set_personality", origin, value)


def session_keyring(origin: str, name: str, label: str | None) -> Op:
    return Op("session_keyring", origin, name, label)


def host_propagation(origin: str, flags: int) -> Op:
    """Set the propagation (MS_*) of every mount below "/" of the new mount namespace."""
    return Op("host_propagation", origin, flags)


def open_rootfs(origin: str, path: str, flags: int) -> Op:
    """Hold the rootfs directory (host path, absolute) open; ROOTFS_* say what it becomes."""
    return Op("open_rootfs", origin, path, flags)


def mount(
    origin: str,
    fstype: str,
    source: str | None,
    target: str,
    target_flags: int,
    attr_set: int,
    sb_flags: int,
    data: Sequence[str],
    flags: int,
) -> Op:
    """Make a file system and attach it at `target` in the rootfs.

    `attr_set`: MOUNT_ATTR_*; `sb_flags`: MS_* of the superblock; `data`: "key=value" or "key" each;
    `flags`: MOUNT_TMPCOPYUP and its like of the contract.
    """
    return Op(
        "mount",
        origin,
        fstype,
        source,
        target,
        target_flags,
        attr_set,
        sb_flags,
        tuple(data),
        flags,
    )


def bind(
    origin: str,
    source: str,
    target: str,
    target_flags: int,
    flags: int,
    attr_set: int,
    attr_clr: int,
    rec_set: int,
    rec_clr: int,
    idmap: IdMap | None = None,
) -> Op:
    """Attach a copy of the host's mount tree at `source` to `target` in the rootfs.

    `idmap`, with BIND_BY_RUNTIME: whether the mounts below are id-mapped too, then the uid and the
    gid mappings, (inside, outside, size) each; without any they are those of init's user namespace.
    """
    return Op(
        "bind",
        origin,
        source,
        target,
        target_flags,
        flags,
        attr_set,
        attr_clr,
        rec_set,
        rec_clr,
        idmap,
    )


def propagation(origin: str, target: str, flags: int) -> Op:
    return Op("propagation", origin, target, flags)


def set_mount_attr(origin: str, target: str, attr_set: int, attr_clr: int, recursive: bool) -> Op:
    """Change the attributes of the mount whose root is at `target`, keeping all others."""
    return Op("set_mount_attr", origin, target, attr_set, attr_clr, recursive)


def make_dir(origin: str, path: str, mode: int) -> Op:
    return Op("make_dir", origin, path, mode)


def make_node(
    origin: str,
    path: str,
    mode: int,
    major: int,
    minor: int,
    uid: int,
    gid: int,
    bind_from: str | None,
) -> Op:
    """Make a device node or FIFO; `mode` has type and permissions."""
    return Op("make_node", origin, path, mode, major, minor, uid, gid, bind_from)


def symlink(origin: str, text: str, path: str, target_flags: int) -> Op:
    return Op("symlink", origin, text, path, target_flags)


def mask(origin: str, path: str, label: str | None) -> Op:
    return Op("mask", origin, path, label)


def readonly(origin: str, path: str) -> Op:
    return Op("readonly", origin, path)


def open_pty(origin: str, socket: bool, flags: int, uid: int, rows: int, columns: int) -> Op:
    """Open a pty in the container's devpts; `socket`: the ptmx end goes to the console socket."""
    return Op("open_pty", origin, socket, flags, uid, rows, columns)


def hook(
    origin: str,
    which: int,
    index: int,
    path: str,
    timeout: int,
    args: Sequence[str],
    env: Sequence[str],
    stdout: str = "",
    stderr: str = "",
) -> Op:
    """Run a createContainer or startContainer hook (HOOK_*) in the container's namespaces.

    `stdout`, `stderr`: files of the runtime's that what it prints is appended to.
    """
    args, env = tuple(args), tuple(env)
    return Op("hook", origin, which, index, path, timeout, args, env, stdout, stderr)


def pivot_root(origin: str, how: int) -> Op:
    return Op("pivot_root", origin, how)


def write_sysctl(origin: str, path: str, value: str) -> Op:
    """`path` is below /proc/sys, with slashes."""
    return Op("write_sysctl", origin, path, value)


def loopback_up(origin: str) -> Op:
    """Set `lo` up, in a network namespace that is new."""
    return Op("loopback_up", origin)


def set_hostname(origin: str, name: str) -> Op:
    return Op("set_hostname", origin, name)


def set_domainname(origin: str, name: str) -> Op:
    return Op("set_domainname", origin, name)


def set_label(origin: str, label: str, which: int) -> Op:
    """Set the LSM label for the next execve; `which`: LABEL_APPARMOR or LABEL_SELINUX."""
    return Op("set_label", origin, label, which)


def own_stdio(origin: str, uid: int) -> Op:
    return Op("own_stdio", origin, uid)


def no_new_privs(origin: str) -> Op:
    return Op("no_new_privs", origin)


def load_seccomp(origin: str, program: bytes, flags: int) -> Op:
    """Install the filter (struct sock_filter[]) with SECCOMP_FILTER_FLAG_*."""
    return Op("load_seccomp", origin, program, flags)


def drop_bounding(origin: str, keep: int) -> Op:
    """`keep`: bit N stands for capability N, as in all capability sets."""
    return Op("drop_bounding", origin, keep)


def set_ids(origin: str, uid: int, gid: int, groups: Sequence[int], umask: int, flags: int) -> Op:
    return Op("set_ids", origin, uid, gid, tuple(groups), umask, flags)


def set_caps(origin: str, effective: int, permitted: int, inheritable: int, ambient: int) -> Op:
    return Op("set_caps", origin, effective, permitted, inheritable, ambient)


def change_dir(origin: str, path: str, flags: int) -> Op:
    """`flags`: CHANGE_DIR_*; the last change of a plan has none."""
    return Op("change_dir", origin, path, flags)


def set_environment(origin: str, env: Sequence[str], uid: int, flags: int) -> Op:
    return Op("set_environment", origin, tuple(env), uid, flags)


def find_executable(origin: str, name: str) -> Op:
    return Op("find_executable", origin, name)


def close_fds(origin: str, first: int) -> Op:
    return Op("close_fds", origin, first)


def await_start(origin: str) -> Op:
    """Wait for `start` at the exec fifo."""
    return Op("await_start", origin)


def set_affinity(origin: str, words: Sequence[int]) -> Op:
    """Stay on these processors: `words` of 64 bits of a mask, the lowest first."""
    return Op("set_affinity", origin, tuple(words))


def unmount(origin: str, target: str) -> Op:
    """Detach the mount whose root is at `target` in the rootfs."""
    return Op("unmount", origin, target)


def outlive(origin: str) -> Op:
    """From here on the process does not die with the runtime."""
    return Op("outlive", origin)


def execute(origin: str, args: Sequence[str]) -> Op:
    return Op("execute", origin, tuple(args))


# What the runtime does to init, by its pid.
INIT_SETUP_KINDS = frozenset(
    (
        "write_id_map",
        "deny_setgroups",
        "run_id_mapper",
        "check_id_map",
        "write_time_offsets",
        "raise_init_rlimit",
        "set_init_oom_score_adj",
        "set_init_scheduler",
        "set_init_io_priority",
    )
)
RESCTRL_KINDS = ("create_resctrl_group", "write_schemata", "join_resctrl_group")
RUNTIME_KINDS = INIT_SETUP_KINDS | frozenset(
    (
        "create_cgroup",
        "write_cgroup",
        "attach_device_program",
        "own_cgroup",
        "adopt_cgroup",
        "unit_property",
        "start_unit",
        "enter_namespace",
        "clone",
        "join_cgroup",
        "new_time_namespace",
        "run_hook",
        "send_seccomp_listener",
        *RESCTRL_KINDS,
        "move_net_device",
    )
)
