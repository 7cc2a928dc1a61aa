"""Decides the order in which one more process comes into a container.

It must not touch the system: a spec in normal form whose `process` is the one to run, what is known of
the container, and the host's facts go in, a Plan comes out. The operations are those of `build`.
"""

from __future__ import annotations

from pyrunc.plan import identity, ops, seccomp, terminal
from pyrunc.plan.build import awaiting, scheduled
from pyrunc.plan.namespaces import Namespaces, become_root
from pyrunc.plan.records import ExecOptions, Plan
from pyrunc.shim.constants import (
    CHANGE_DIR_TOLERATE,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    PIVOT_CHROOT,
    RESPAWN_CLOSE_PROC,
    STAGE_CGROUP,
    STAGE_READY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op

__all__ = ["ExecOptions", "Plan", "build"]


def build(spec: Mapping[str, Any], options: ExecOptions, host: Host) -> Plan:
    """The plan of `exec`; the same arguments give the same plan."""
    spaces = Namespaces(0, options.namespaces, (), True, False)
    capabilities = identity.Capabilities(spec, host, spaces)
    process = spec["process"]

    own_user = spaces.has(CLONE_NEWUSER)

    affinity = _affinity(process, "initial")
    born_in, cgroups = options.born_in, options.cgroups
    if affinity and born_in is not None:
        # Which holds before the cgroup is entered, and not only after.
        cgroups, born_in = (born_in,), None

    plan: list[Op] = [ops.clone("", 0, born_in)]
    plan += affinity
    if affinity and cgroups:
        plan.append(ops.stage("", STAGE_CGROUP))
    # With the rights and the /proc of the runtime, both of which joining takes away.
    plan += identity.own_oom_score(spec, options) + identity.rlimits(spec, spaces)
    if options.namespaces:
        plan.append(ops.join_process("/linux/namespaces", options.namespaces, options.init_pid))
    if own_user:
        plan.append(become_root())
    plan += identity.keyring(spec, options)
    # Children inherit labels for execve; setting them takes the host's /proc, which is closed next.
    plan += identity.labels(spec, host)
    if options.namespaces & (CLONE_NEWPID | CLONE_NEWTIME):
        plan.append(ops.respawn("/linux/namespaces", 0, RESPAWN_CLOSE_PROC))
    # The process that stays has to be in all cgroups before STAGE_READY.
    plan += [ops.join_cgroup("", path) for path in cgroups]
    if spec["linux"].get("intelRdt"):
        from pyrunc.plan import intel_rdt

        plan += intel_rdt.joins(spec, options.id)
    plan += scheduled(spec, own_user=own_user, by_runtime=True)
    if not spaces.has(CLONE_NEWNS):
        plan.append(ops.open_rootfs("/root/path", options.rootfs, 0))
        plan.append(ops.pivot_root("/root/path", PIVOT_CHROOT))
    plan += terminal.operations(spec, options, 0)
    plan.append(ops.change_dir("/process/cwd", process["cwd"], CHANGE_DIR_TOLERATE))
    late = _affinity(process, "final") + scheduled(spec, own_user=own_user)
    plan += awaiting(("join_cgroup",), plan, late)
    plan.append(ops.own_stdio("/process/user", process["user"]["uid"]))
    plan += identity.environment(spec, host)
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
    plan.append(ops.stage("", STAGE_READY))
    plan.append(ops.outlive(""))
    plan.append(ops.close_fds("", 3 + host.listen_fds + options.preserve_fds))
    if process["noNewPrivileges"]:
        # As late as can be: a profile need allow execve, and nothing else of init's.
        plan += seccomp.load(spec, options)
    plan.append(ops.execute("/process/args", process["args"]))
    return Plan(tuple(plan), {}, tuple(capabilities.warnings))


def _affinity(process: Mapping[str, Any], when: str) -> list[Op]:
    if not process.get("execCPUAffinity"):
        return []
    from pyrunc.plan import scheduling

    return scheduling.affinity(process, when)
