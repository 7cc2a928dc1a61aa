"""Decides the order in which a container is made.

It must not touch the system nor know how an operation is carried out: a spec in normal form (see
`pyrunc.spec.defaults`), the caller's options and the host's facts go in, a Plan comes out.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import cgroups, devices, hooks, identity, mounts, ops, seccomp, sysctl, terminal
from pyrunc.plan import namespaces as namespace_plan
from pyrunc.plan.records import CreateOptions, Plan
from pyrunc.shim.constants import (
    CHANGE_DIR_CREATE,
    CHANGE_DIR_TOLERATE,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MOUNT_ATTR_RDONLY,
    PIVOT_CHROOT,
    PIVOT_MOVE,
    PIVOT_ROOT,
    STAGE_CGROUP,
    STAGE_HOOKS,
    STAGE_READY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import Placement

__all__ = ["CreateOptions", "Plan", "build"]


def build(spec: Mapping[str, Any], options: CreateOptions, host: Host) -> Plan:
    """The plan of `create`; the same arguments give the same plan.

    Raises SpecFailure for what cannot be carried out on such a host.
    """
    spaces = namespace_plan.read(spec, host)
    warnings = [*_refuse_shared(spec, spaces), *cgroups.warnings(spec)]
    placed = cgroups.placement(spec, options, host)
    paths = placed.paths
    capabilities = identity.Capabilities(spec, host, spaces)
    mounted, late = mounts.operations(spec, options, host, spaces, paths)
    mounted += _notify_mount(options)

    plan = _birth(spec, options, host, spaces, placed)
    plan += mounts.open_root(spec, options, spaces)
    plan += _in_cgroup(mounted, placed, spaces)
    # Before hooks, which may leave processes behind.
    plan += _delegated(spec, placed, host)
    # After the mounts, as /dev is one of them in most configs.
    plan += devices.operations(spec, host)
    # Hooks see the finished rootfs, and the host still: runtime-spec, "POSIX-platform Hooks".
    plan += _hooks(spec)
    # Sysctls may be those of a device that is moved.
    plan += awaiting(("move_net_device",), plan, _root(spec, options, host, spaces, late))
    # As late as the rights for it last, so that init's own work is not slowed down.
    processor = scheduled(spec, own_user=spaces.has(CLONE_NEWUSER))
    # A cpuset limits what may be asked for.
    plan += awaiting(("join_cgroup", "start_unit"), plan, processor)
    plan += _process(spec, options, host, spaces, capabilities)
    plan.append(ops.stage("", STAGE_READY))
    plan += _start(spec, options, host)
    has_hooks = any(op.kind in ("hook", "run_hook") for op in plan)
    every = (*warnings, *capabilities.warnings)
    return Plan(tuple(plan), paths, every, has_hooks, placed.unit, placed.manager)


def _birth(
    spec: Mapping[str, Any],
    options: CreateOptions,
    host: Host,
    spaces: Namespaces,
    placed: Placement,
) -> list[Op]:
    """From nothing to init in its namespaces, with its limits."""
    limits = identity.oom_score(spec, options, spaces) + identity.rlimits(spec, spaces)
    mapping = namespace_plan.map_ids(spec, spaces, host)
    joined = namespace_plan.joins(spec, spaces)
    plan = list(placed.before)
    has_rdt = bool(spec["linux"].get("intelRdt"))
    if has_rdt:
        from pyrunc.plan import intel_rdt

        plan += intel_rdt.operations(spec, options.id)
    plan += namespace_plan.before_clone(spec, spaces)
    flags = namespace_plan.clone_flags(spaces)
    plan.append(ops.clone("/linux/namespaces", flags, placed.born_in))
    # Nothing that init does before its ids are mapped could succeed.
    plan += mapping
    by_init = [op for op in limits if op.kind not in ops.RUNTIME_KINDS]
    if spaces.joined & CLONE_NEWUSER:
        # With the rights of the runtime, which joining takes away.
        plan += by_init
        by_init = []
    if spaces.respawns:
        # What the runtime does to init, it must not do to the one before.
        plan += joined
        joined = []
    # Where init has lost the rights for these, the runtime acts on it while it waits.
    plan += [op for op in limits if op.kind in ops.RUNTIME_KINDS]
    if mapping:
        plan.append(namespace_plan.become_root())
    # On v1 the first write takes milliseconds (a grace period), while init builds the rootfs.
    plan += placed.after
    if has_rdt:
        plan += intel_rdt.joins(spec, options.id)
    plan += scheduled(spec, own_user=spaces.has(CLONE_NEWUSER), by_runtime=True)
    if spec["linux"].get("netDevices"):
        from pyrunc.plan import netdevices

        plan += netdevices.operations(spec, host)
    plan += joined
    # Still with the rights of the user namespace that init was born in.
    plan += by_init
    plan += namespace_plan.loopback(spaces)
    plan += identity.keyring(spec, options)
    return plan


def _root(
    spec: Mapping[str, Any],
    options: CreateOptions,
    host: Host,
    spaces: Namespaces,
    late: list[Op],
) -> list[Op]:
    """The rootfs becomes the root, and takes its final shape."""
    cwd = spec["process"]["cwd"]
    plan = _enter_root(options, spaces)
    if cwd != "/" and (late or spec["root"]["readonly"]):
        # The working directory is made where it is missing, which read-only would prevent.
        plan.append(ops.make_dir("/process/cwd", cwd, 0o755))
    # In the container's devpts, and before the read-only remounts, as it makes /dev/console.
    plan += terminal.operations(spec, options)
    plan += _names(spec)
    # Before /proc/sys becomes read-only.
    plan += sysctl.operations(spec, options)
    plan += late
    plan += _restrict(spec, host)
    # What is unbindable could not be bound onto itself to become read-only.
    plan += mounts.root_propagation(spec, spaces)
    # After all mounts, lest the working directory be what one of them hides.
    plan.append(ops.change_dir("/process/cwd", cwd, CHANGE_DIR_CREATE | CHANGE_DIR_TOLERATE))
    return plan


def _process(
    spec: Mapping[str, Any],
    options: CreateOptions,
    host: Host,
    spaces: Namespaces,
    capabilities: identity.Capabilities,
) -> list[Op]:
    """Init becomes the container's process in all but its program."""
    process = spec["process"]
    plan = [ops.own_stdio("/process/user", process["user"]["uid"])]
    plan += identity.environment(spec, host, _notify_variable(options))
    plan += identity.labels(spec, host)
    # A missing command is an error of create, while it can still be told to the caller.
    plan.append(ops.find_executable("/process/args/0", process["args"][0]))
    if not process["noNewPrivileges"]:
        # Only CAP_SYS_ADMIN, which goes next, makes up for no_new_privs (seccomp(2)).
        plan += seccomp.load(spec, options)
    # While CAP_SETPCAP is there; the bounding set limits what execve gives back.
    plan.append(capabilities.drop_bounding())
    plan.append(identity.ids(spec, options, spaces, host))
    plan.append(capabilities.set_caps())
    # Again as the container's user; init verifies that it lies in the rootfs (CVE-2024-21626).
    plan.append(ops.change_dir("/process/cwd", process["cwd"], 0))
    if process["noNewPrivileges"]:
        plan.append(ops.no_new_privs("/process/noNewPrivileges"))
        if seccomp.has_listener(options):
            # While the runtime is there, to hand the listener over.
            plan += seccomp.load(spec, options)
    return plan


def _start(spec: Mapping[str, Any], options: CreateOptions, host: Host) -> list[Op]:
    """What is left for `start`."""
    late_filter = []
    if spec["process"]["noNewPrivileges"] and not seccomp.has_listener(options):
        late_filter = seccomp.load(spec, options)
    plan = [ops.await_start("")]
    in_container = hooks.start_container(spec)
    if in_container:
        # Hooks are files of the rootfs, whose maker must not get around the filter.
        plan += late_filter + in_container
    # After the hooks, which must not be deprived of what init itself uses.
    plan.append(ops.close_fds("", 3 + host.listen_fds + options.preserve_fds))
    if not in_container:
        # As late as can be: a profile need allow execve, and nothing else of init's.
        plan += late_filter
    plan.append(ops.execute("/process/args", spec["process"]["args"]))
    return plan


def _refuse_shared(spec: Mapping[str, Any], spaces: Namespaces) -> tuple[tuple[str, str], ...]:
    """Never change the host where a namespace is shared with it, whoever checked the spec.

    Mounts are the exception, since the rootfs is the container's; but they outlive it.
    """
    for name in ("hostname", "domainname"):
        if spec.get(name) and not spaces.has(CLONE_NEWUTS):
            raise SpecFailure(f"/{name}", f"unable to set {name} without a private UTS namespace")
    if spaces.has(CLONE_NEWNS):
        return ()
    for name in ("maskedPaths", "readonlyPaths"):
        if spec["linux"][name]:
            raise SpecFailure(
                f"/linux/{name}", "unable to restrict sys entries without a private MNT namespace"
            )
    if spec["root"]["readonly"]:
        raise SpecFailure(
            "/root/readonly", "unable to make / read-only without a private MNT namespace"
        )
    if spec["mounts"]:
        return (("/mounts", "without a private MNT namespace mounts outlive the container"),)
    return ()


def _in_cgroup(mounted: list[Op], placed: Placement, spaces: Namespaces) -> list[Op]:
    """The mounts, with a new cgroup namespace as late as possible among them.

    It is rooted at init's cgroups, so that init has to be in them, and a cgroup mount shows what it
    is rooted at. Without one nothing waits, every later stage comes after the joins, but for a mount
    of a cgroup that systemd has yet to make.
    """
    own = namespace_plan.own_cgroup_namespace(spaces)
    awaited = [ops.stage("", STAGE_CGROUP)] if placed.after else []
    for index, op in enumerate(mounted):
        is_mount = op.kind == "mount" and op.args[0] in ("cgroup", "cgroup2")
        if is_mount or (op.kind == "bind" and op.args[0] in placed.paths.values()):
            if own or placed.unit:
                own = awaited + own
            return mounted[:index] + own + mounted[index:]
    return mounted + (awaited + own if own else [])


def _delegated(spec: Mapping[str, Any], placed: Placement, host: Host) -> list[Op]:
    if not spec["annotations"]:
        return []
    from pyrunc import annotated

    if annotated.DELEGATE_CGROUP not in spec["annotations"]:
        return []
    from pyrunc.plan import delegation

    return delegation.operations(spec, placed.paths, host)


def _notify_mount(options: CreateOptions) -> list[Op]:
    """After the mounts of config.json, which it may not be hidden by."""
    if not options.notify_directory:
        return []
    from pyrunc.plan import notify

    return [notify.mount(options.notify_directory)]


def _notify_variable(options: CreateOptions) -> tuple[str, ...]:
    if not options.notify_directory:
        return ()
    from pyrunc.plan import notify

    return (notify.VARIABLE,)


def _hooks(spec: Mapping[str, Any]) -> list[Op]:
    by_runtime = hooks.runtime_hooks(spec)
    by_init = hooks.create_container(spec)
    if not by_runtime and not by_init:
        return []
    # The answer brings the state document, which createContainer hooks read too.
    return [ops.stage("", STAGE_HOOKS), *by_runtime, *by_init]


def scheduled(spec: Mapping[str, Any], *, own_user: bool, by_runtime: bool = False) -> list[Op]:
    """Scheduler, I/O priority, memory policy and personality, as far as one side sets them.

    `own_user`: the process has a user namespace, in which it lacks the rights for the first two.
    """
    process, linux = spec["process"], spec["linux"]
    asked = process.get("scheduler") or process.get("ioPriority")
    if not (asked or linux.get("memoryPolicy") or linux.get("personality")):
        return []
    from pyrunc.plan import scheduling

    if by_runtime:
        return scheduling.by_runtime(process) if own_user else []
    return scheduling.by_init(spec, with_priorities=not own_user)


def awaiting(kinds: Container[str], before: list[Op], following: list[Op]) -> list[Op]:
    """`following`, not before the runtime has carried out what `before` has of these kinds."""
    for op in reversed(before) if following else ():
        if op.kind == "stage":
            break
        if op.kind in kinds:
            return [ops.stage("", STAGE_CGROUP), *following]
    return following


def _enter_root(options: CreateOptions, spaces: Namespaces) -> list[Op]:
    if not spaces.has(CLONE_NEWNS):
        how = PIVOT_CHROOT
    elif options.no_pivot:
        how = PIVOT_MOVE
    else:
        how = PIVOT_ROOT
    return [ops.pivot_root("/root/path", how)]


def _names(spec: Mapping[str, Any]) -> list[Op]:
    made = []
    if spec.get("hostname"):
        made.append(ops.set_hostname("/hostname", spec["hostname"]))
    if spec.get("domainname"):
        made.append(ops.set_domainname("/domainname", spec["domainname"]))
    return made


def _restrict(spec: Mapping[str, Any], host: Host) -> list[Op]:
    """What may no longer be written, then what may not be seen, each path once."""
    linux = spec["linux"]
    made = []
    if spec["root"]["readonly"]:
        made.append(ops.set_mount_attr("/root/readonly", "/", MOUNT_ATTR_RDONLY, 0, False))
    label = linux.get("mountLabel") if host.selinux else None
    seen: set[str] = set()
    for number, path in enumerate(linux["readonlyPaths"]):
        if path not in seen:
            seen.add(path)
            made.append(ops.readonly(f"/linux/readonlyPaths/{number}", path))
    seen = set()
    for number, path in enumerate(linux["maskedPaths"]):
        if path not in seen:
            seen.add(path)
            made.append(ops.mask(f"/linux/maskedPaths/{number}", path, label))
    return made
