"""Decides where the seccomp filter is loaded.

It must not compile one: `pyrunc.seccomp` does, and the options carry the program.
"""

from __future__ import annotations

from pyrunc.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions


def operations(
    spec: dict[str, Any], options: CreateOptions, with_no_new_privs: bool
) -> list[Op]:
    """The filter, if process.noNewPrivileges is `with_no_new_privs`.

    seccomp(2) asks for CAP_SYS_ADMIN or no_new_privs. With the latter the filter comes as late as
    possible, so that it need not allow what init still does; without, before capabilities go.
    """
    if spec["process"]["noNewPrivileges"] != with_no_new_privs:
        return []
    made = [ops.no_new_privs("/process/noNewPrivileges")] if with_no_new_privs else []
    if options.seccomp_program is not None:
        made.append(
            ops.load_seccomp("/linux/seccomp", options.seccomp_program, options.seccomp_flags)
        )
    return made
