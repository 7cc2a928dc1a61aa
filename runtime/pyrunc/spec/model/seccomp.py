"""Decides the classes for `linux.seccomp`: the filter of system calls.

It must not check what they hold.
"""

from __future__ import annotations

from attrs import define

from pyrunc.spec.model.section import Section, many
from pyrunc.spec.model.values import (
    SeccompAction,
    SeccompArchitecture,
    SeccompFlag,
    SeccompOperator,
    Uint32,
    Uint64,
)


@define
class SyscallArgument(Section):
    """A condition on one argument, counted from 0; `value_two` is what a masked value must be."""

    index: Uint32 | None = None
    value: Uint64 | None = None
    value_two: Uint64 | None = None
    op: SeccompOperator | None = None


@define
class Syscall(Section):
    """What becomes of calls with these names whose arguments fulfil all conditions."""

    names: list[str] | None = None
    action: SeccompAction | None = None
    errno_ret: Uint32 | None = None
    args: list[SyscallArgument] | None = many(SyscallArgument)


@define(kw_only=True)
class Seccomp(Section):
    """The filter of system calls (config-linux.md, Seccomp)."""

    default_action: SeccompAction | None = None
    default_errno_ret: Uint32 | None = None
    architectures: list[SeccompArchitecture] | None = None
    flags: list[SeccompFlag] | None = None
    listener_path: str | None = None
    listener_metadata: str | None = None
    syscalls: list[Syscall] | None = many(Syscall)
