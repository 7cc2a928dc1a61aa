"""Decides how a failure that init reports is worded: from the operation's origin and description.

It must not be on the hot path: it is imported when something has failed.
"""

from __future__ import annotations

from pyrunc.errors import Failure, HostFailure
from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrunc.plan.ops import Op
    from pyrunc.shim.process import Report

# The system call behind a CALL_* number, as users know it.
CALLS = {
    value: name[5:].lower()
    for name, value in vars(C).items()
    if name.startswith("CALL_") and name not in ("CALL_NONE", "CALL_END")
}
ENOENT, EACCES, EISDIR, ENOSPC, EPERM = 2, 13, 21, 28, 1
# Of a hook that has run: init's own verdict.
ECANCELED = 125


def failure(report: Report, operations: Sequence[Op]) -> Failure:
    """Return the failure of the operation that init was at."""
    if not 0 <= report.op < len(operations):
        return HostFailure(report.error, f"init: {_call(report)}{_quoted(report.detail)}")
    op = operations[report.op]
    if report.call == C.CALL_FIND_EXECUTABLE:
        return Failure(_executable(report, op.args[0]), pointer="")
    if report.call == C.CALL_HOOK:
        return _hook(report, op.origin)
    if report.call == C.CALL_EXECVE:
        # Init has worded it, in the words that engines know a missing command by.
        return Failure(f"exec {report.detail}")
    checked = _check(report)
    if checked:
        return Failure(f"{_describe(op)}: {checked}", pointer=op.origin)
    what = f"{_describe(op)}: {_call(report)}{_quoted(report.detail)}"
    if report.error == ENOSPC and report.call in (C.CALL_MOVE_MOUNT, C.CALL_MOUNT):
        return Failure(
            f"{what}: too many mounts in the namespace, see fs.mount-max (ENOSPC)",
            pointer=op.origin,
        )
    return HostFailure(report.error, what, pointer=op.origin)


def start_failure(report: Report) -> Failure:
    """Return the failure that init left in the exec fifo after its start."""
    if report.call == C.CALL_HOOK:
        return _hook(report, "")
    return HostFailure(report.error, f"{_call(report)}{_quoted(report.detail)}")


def _hook(report: Report, pointer: str) -> Failure:
    text = f"error running {report.detail}"
    if report.error == ECANCELED:
        return Failure(text, pointer=pointer)
    return HostFailure(report.error, text, pointer=pointer)


def _executable(report: Report, name: str) -> str:
    """The words of Go's os/exec, which podman and moby make exit statuses 126 and 127 of."""
    if report.error == ENOENT:
        if "/" in name:
            return f'exec: "{name}": stat {name}: no such file or directory'
        return f'exec: "{name}": executable file not found in $PATH'
    if report.error == EISDIR:
        return f'exec: "{name}": is a directory'
    if report.error in (EACCES, EPERM):
        return f'exec: "{name}": permission denied'
    return f'exec: "{name}": {_errno_text(report.error)}'


def _errno_text(number: int) -> str:
    from pyrunc.errors import describe_errno

    return describe_errno(number)


def _check(report: Report) -> str:
    """The words of a check of ours that refused, "" where it was a system call."""
    if report.call == C.CALL_CHECK_SYMLINK:
        return f"must be mounted on ordinary directory, not a symbolic link: {report.detail}"
    if report.call == C.CALL_CHECK_PROC:
        return f"cannot be mounted because it is inside /proc, or not of type proc: {report.detail}"
    if report.call == C.CALL_CHECK_LOCKED:
        return f"cannot clear locked flags {report.detail}"
    if report.call in (C.CALL_CHECK_DEVICE, C.CALL_CHECK_CWD):
        return report.detail or "check failed"
    return ""


def _call(report: Report) -> str:
    return CALLS.get(report.call, f"call {report.call}")


def _quoted(detail: str) -> str:
    return f" ({detail})" if detail else ""


def _describe(op: Op) -> str:
    from pyrunc.plan.describe import describe

    return describe(op)
