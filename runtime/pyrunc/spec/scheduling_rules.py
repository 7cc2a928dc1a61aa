"""Decides the rules for how a process is scheduled: scheduler, priorities, processors, memory nodes.

It must not look at the machine: which CPUs and nodes there are, the kernel says. It is imported only
for a config that has one of these properties.
"""

from __future__ import annotations

from pyrunc import numberlist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.spec.types import Finding

REAL_TIME = ("SCHED_FIFO", "SCHED_RR")
WITH_NICE = ("SCHED_OTHER", "SCHED_BATCH")
WITHOUT_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
WITH_NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY")
# personality(2); the name of each is also that of its kernel constant.
PERSONALITY_FLAGS = frozenset(
    (
        *("UNAME26", "ADDR_NO_RANDOMIZE", "FDPIC_FUNCPTRS", "MMAP_PAGE_ZERO"),
        *("ADDR_COMPAT_LAYOUT", "READ_IMPLIES_EXEC", "ADDR_LIMIT_32BIT", "SHORT_INODE"),
        *("WHOLE_SECONDS", "STICKY_TIMEOUTS", "ADDR_LIMIT_3GB"),
    )
)


def judge_process(process: dict[str, Any], place: str, problems: list[Finding]) -> None:
    """Judge scheduler, ioPriority and execCPUAffinity of a process object found at `place`."""
    if process.get("scheduler"):
        _scheduler(process["scheduler"], f"{place}/scheduler", problems)
    priority = (process.get("ioPriority") or {}).get("priority", 0)
    if not 0 <= priority <= 7:
        message = f"must be between 0 and 7, got {priority}"
        problems.append((f"{place}/ioPriority/priority", message))
    for name, text in (process.get("execCPUAffinity") or {}).items():
        if name in ("initial", "final") and text:
            _list(text, f"{place}/execCPUAffinity/{name}", problems)


def _scheduler(scheduler: dict[str, Any], place: str, problems: list[Finding]) -> None:
    policy, priority = scheduler["policy"], scheduler.get("priority", 0)
    if policy == "SCHED_ISO":
        problems.append((f"{place}/policy", "SCHED_ISO is not implemented by Linux"))
    if policy in WITH_NICE and not -20 <= scheduler.get("nice", 0) <= 19:
        message = f"must be between -20 and 19, got {scheduler['nice']}"
        problems.append((f"{place}/nice", message))
    if policy in REAL_TIME:
        if not 1 <= priority <= 99:
            message = f"must be between 1 and 99 for {policy}, got {priority}"
            problems.append((f"{place}/priority", message))
    elif priority:
        message = "scheduler.priority can only be specified for SCHED_FIFO or SCHED_RR policy"
        problems.append((f"{place}/priority", message))
    for name in ("runtime", "deadline", "period"):
        if policy != "SCHED_DEADLINE" and scheduler.get(name):
            message = f"scheduler.{name} can only be specified for SCHED_DEADLINE policy"
            problems.append((f"{place}/{name}", message))


def judge_linux(linux: dict[str, Any], problems: list[Finding]) -> None:
    """Judge linux.memoryPolicy and linux.personality."""
    if linux.get("memoryPolicy"):
        _memory_policy(linux["memoryPolicy"], "/linux/memoryPolicy", problems)
    personality = linux.get("personality")
    if personality:
        if "domain" not in personality:
            problems.append(("/linux/personality/domain", "is required"))
        for number, name in enumerate(personality.get("flags") or ()):
            if name not in PERSONALITY_FLAGS:
                message = f'unknown personality flag "{name}"'
                problems.append((f"/linux/personality/flags/{number}", message))


def _memory_policy(policy: dict[str, Any], place: str, problems: list[Finding]) -> None:
    mode, nodes = policy.get("mode"), policy.get("nodes", "")
    if mode is None:
        problems.append((f"{place}/mode", "is required"))
    if nodes:
        _list(nodes, f"{place}/nodes", problems)
    if mode in WITHOUT_NODES and nodes:
        problems.append((f"{place}/nodes", f"{mode} takes no nodes"))
    if mode in WITH_NODES and not nodes:
        problems.append((f"{place}/nodes", f"is required for {mode}"))
    flags = policy.get("flags") or ()
    for number, name in enumerate(flags):
        # set_mempolicy(2): EINVAL for these.
        if name == "MPOL_F_RELATIVE_NODES" and "MPOL_F_STATIC_NODES" in flags:
            message = "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other"
            problems.append((f"{place}/flags/{number}", message))
        elif name == "MPOL_F_NUMA_BALANCING" and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
            message = "MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY"
            problems.append((f"{place}/flags/{number}", message))


def _list(text: str, pointer: str, problems: list[Finding]) -> None:
    try:
        numberlist.parse(text)
    except ValueError as error:
        problems.append((pointer, str(error)))
