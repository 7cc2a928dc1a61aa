"""Decides how the container's process is scheduled, by its processors, memory nodes and personality.

It must not be imported for a config that asks for none of it.
"""

from __future__ import annotations

from pyrunc import numberlist
from pyrunc.plan import ops
from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op


def by_runtime(process: Mapping[str, Any]) -> list[Op]:
    """Scheduler and I/O priority where init has a user namespace, whose CAP_SYS_NICE counts for
    nothing: sched_setattr(2) and ioprio_set(2) ask for that of the initial one."""
    return _priorities(process, ops.set_init_scheduler, ops.set_init_io_priority)


def by_init(spec: Mapping[str, Any], with_priorities: bool) -> list[Op]:
    """What init sets for itself; `with_priorities`: what `by_runtime` gives, too."""
    made = []
    if with_priorities:
        made += _priorities(spec["process"], ops.set_scheduler, ops.set_io_priority)
    policy, personality = spec["linux"].get("memoryPolicy"), spec["linux"].get("personality")
    if policy:
        mode = C.MEMORY_POLICIES[policy["mode"]]
        for name in policy.get("flags") or ():
            mode |= C.MEMORY_POLICY_FLAGS[name]
        nodes = numberlist.parse(policy["nodes"]) if policy.get("nodes") else 0
        made.append(ops.set_memory_policy("/linux/memoryPolicy", mode, words(nodes)))
    if personality:
        value = C.PERSONALITIES[personality["domain"]]
        for name in personality.get("flags") or ():
            value |= C.PERSONALITY_FLAGS[name]
        made.append(ops.set_personality("/linux/personality", value))
    return made


def affinity(process: Mapping[str, Any], when: str) -> list[Op]:
    """The processors of execCPUAffinity: "initial" before the cgroup is joined, "final" after."""
    text = (process.get("execCPUAffinity") or {}).get(when)
    if not text:
        return []
    return [ops.set_affinity(f"/process/execCPUAffinity/{when}", words(numberlist.parse(text)))]


def words(mask: int) -> list[int]:
    """A mask in words of 64 bits, the lowest first; as many as it needs."""
    found = []
    while mask:
        found.append(mask & 0xFFFFFFFFFFFFFFFF)
        mask >>= 64
    return found


def _priorities(process: Mapping[str, Any], set_scheduler: Any, set_io_priority: Any) -> list[Op]:
    made = []
    scheduler, io_priority = process.get("scheduler"), process.get("ioPriority")
    if scheduler:
        flags = 0
        for name in scheduler.get("flags") or ():
            flags |= C.SCHEDULER_FLAGS[name]
        numbers = [
            scheduler.get(name, 0) for name in ("nice", "priority", "runtime", "deadline", "period")
        ]
        policy = C.SCHEDULER_POLICIES[scheduler["policy"]]
        made.append(set_scheduler("/process/scheduler", policy, flags, *numbers))
    if io_priority:
        level = C.IO_PRIORITY_CLASSES[io_priority["class"]] << C.IOPRIO_CLASS_SHIFT
        value = level | io_priority.get("priority", 0)
        made.append(set_io_priority("/process/ioPriority", value))
    return made
