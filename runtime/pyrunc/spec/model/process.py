"""Decides the classes for `process` of config.json, which is also the file of `exec --process`.

It must not check what they hold.
"""

from __future__ import annotations

from attrs import define

from pyrunc.spec.model.section import Section, many, member, one
from pyrunc.spec.model.values import (
    Id,
    Int32,
    IoPriorityClass,
    SchedulerFlag,
    SchedulerPolicy,
    Uint32,
    Uint64,
)


@define
class ConsoleSize(Section):
    """The terminal's size in characters."""

    height: Uint64 | None = None
    width: Uint64 | None = None


@define
class User(Section):
    """The ids that the process runs with, as the container's user namespace has them."""

    uid: Id | None = None
    gid: Id | None = None
    umask: Uint32 | None = None
    additional_gids: list[Id] | None = None
    username: str | None = None


@define(kw_only=True)
class Capabilities(Section):
    """The five sets of capabilities(7), as names such as CAP_KILL."""

    bounding: list[str] | None = None
    effective: list[str] | None = None
    inheritable: list[str] | None = None
    permitted: list[str] | None = None
    ambient: list[str] | None = None


@define(kw_only=True)
class Rlimit(Section):
    """A limit of getrlimit(2); 2**64 - 1 is no limit."""

    type: str | None = None
    hard: Uint64 | None = None
    soft: Uint64 | None = None


@define(kw_only=True)
class Scheduler(Section):
    """Attributes of sched_setattr(2); the times are nanoseconds."""

    policy: SchedulerPolicy | None = None
    nice: Int32 | None = None
    priority: Int32 | None = None
    flags: list[SchedulerFlag] | None = None
    runtime: Uint64 | None = None
    deadline: Uint64 | None = None
    period: Uint64 | None = None


@define
class IoPriority(Section):
    """Class and level (0 is the highest of 8) of ioprio_set(2)."""

    class_: IoPriorityClass | None = member("class")
    priority: Int32 | None = None


@define(kw_only=True)
class ExecCpuAffinity(Section):
    """CPUs such as 0-3,7 of a process of `exec`: before it joins the cgroup, and after."""

    initial: str | None = None
    final: str | None = None


@define(kw_only=True)
class Process(Section):
    """The process of a container (config.md, Process)."""

    terminal: bool | None = None
    console_size: ConsoleSize | None = one(ConsoleSize)
    user: User | None = one(User)
    args: list[str] | None = None
    command_line: str | None = None
    env: list[str] | None = None
    cwd: str | None = None
    capabilities: Capabilities | None = one(Capabilities)
    rlimits: list[Rlimit] | None = many(Rlimit)
    no_new_privileges: bool | None = None
    apparmor_profile: str | None = None
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = one(Scheduler)
    selinux_label: str | None = None
    io_priority: IoPriority | None = one(IoPriority)
    exec_cpu_affinity: ExecCpuAffinity | None = one(ExecCpuAffinity, "execCPUAffinity")
