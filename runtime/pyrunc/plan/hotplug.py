"""Decides how mounts come into a running container, and go.

It must not touch the system: the operations are those of `build`, in namespaces that are there.
"""

from __future__ import annotations

from pyrunc.plan import mounts, namespaces, ops
from pyrunc.plan.records import CreateOptions, ExecOptions, Plan
from pyrunc.shim.constants import BIND_BY_RUNTIME, CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op


def add(
    spec: Mapping[str, Any], options: ExecOptions, host: Host, bundle: str, paths: dict[str, str]
) -> Plan:
    """The plan of adding the `mounts` of `spec`, the container's with these for its own.

    Their sources are the host's: the runtime opens them, since init stands in the container.
    """
    spaces = _spaces(options)
    rest = CreateOptions(options.id, bundle, options.rootfs, True, False, False)
    made, late = mounts.operations(spec, rest, host, spaces, paths)
    return _plan(options, [_from_host(op) for op in made] + late)


def remove(targets: list[str], options: ExecOptions) -> Plan:
    """The plan of removing the mounts at `targets`, the last one first: it may lie on another."""
    made = [
        ops.unmount(f"/mounts/{number}/destination", mounts.clean_path(target))
        for number, target in enumerate(targets)
    ]
    return _plan(options, made[::-1])


def _spaces(options: ExecOptions) -> namespaces.Namespaces:
    joined = options.namespaces & (CLONE_NEWNS | CLONE_NEWUSER)
    return namespaces.Namespaces(0, joined, (), True, False)


def _from_host(op: Op) -> Op:
    if op.kind != "bind":
        return op
    args = list(op.args)
    args[3] |= BIND_BY_RUNTIME
    return ops.Op(op.kind, op.origin, *args)


def _plan(options: ExecOptions, made: list[Op]) -> Plan:
    joined = _spaces(options).joined
    plan = [ops.clone("", 0, None), ops.join_process("", joined, options.init_pid)]
    if joined & CLONE_NEWUSER:
        # What is made on the way to a target shall be the container's root's.
        plan.append(namespaces.become_root())
    return Plan((*plan, *made), {})
