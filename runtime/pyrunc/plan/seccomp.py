"""Decides what linux.seccomp says in one spelling, and where the filter is loaded.

It must not compile one: `pyrunc.seccomp` does, and the options carry the program.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops
from pyrunc.record import record
from pyrunc.shim.constants import (
    ERRNOS,
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    STAGE_SECCOMP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions, ExecOptions

FLAGS = {
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    # For the other threads of the caller, and init has none: like runc, nothing is passed for it.
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
ACTIONS = frozenset(
    "SCMP_ACT_" + name
    for name in (
        *("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY"),
        *("TRACE", "TRAP"),
    )
)
NOTIFY = "SCMP_ACT_NOTIFY"
_WITH_DATA = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")


@record
class Rule:
    """What happens to system calls `names` when all conditions (index, value, value two, operator) hold.

    `errno` is the data of SCMP_ACT_ERRNO and SCMP_ACT_TRACE, 0 otherwise.
    """

    pointer: str
    names: tuple[str, ...]
    action: str
    errno: int
    conditions: tuple[tuple[int, int, int, str], ...]


@record
class Profile:
    """A linux.seccomp in normal form; `flags` are SECCOMP_FILTER_FLAG_* for seccomp(2)."""

    action: str
    errno: int
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]
    flags: int

    @property
    def answers_enosys(self) -> bool:
        """Whether calls newer than the profile get ENOSYS instead of its default errno.

        A C library tries a new call first and falls back on ENOSYS alone; profiles name what their
        author knew. A default that kills or lets through is left to its author.
        """
        return self.action == "SCMP_ACT_ERRNO" and self.errno != ERRNOS["ENOSYS"]


def normalise(seccomp: Mapping[str, Any]) -> Profile:
    """Bring an accepted linux.seccomp into normal form; SpecFailure for what is not supported."""
    place = "/linux/seccomp"
    action = _action(seccomp["defaultAction"], f"{place}/defaultAction")
    flags = 0
    # runtime-spec: no flags at all means SPEC_ALLOW, as runc has it; an empty list means none.
    names = seccomp.get("flags", ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",))
    for number, name in enumerate(names):
        if name not in FLAGS:
            raise SpecFailure(f"{place}/flags/{number}", f'unknown seccomp flag "{name}"')
        flags |= FLAGS[name]
    rules: list[Rule] = []
    for number, entry in enumerate(seccomp.get("syscalls") or ()):
        rules += _rules(entry, f"{place}/syscalls/{number}")
    # Rules that name nothing need no agent.
    if any(rule.action == NOTIFY for rule in rules):
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER
    else:
        # EINVAL without a listener (seccomp_set_mode_filter() of kernel/seccomp.c).
        flags &= ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    return Profile(
        action,
        _data(action, seccomp.get("defaultErrnoRet")),
        tuple(seccomp.get("architectures") or ()),
        tuple(rules),
        flags,
    )


def _action(name: str, pointer: str) -> str:
    if name not in ACTIONS:
        raise SpecFailure(pointer, f"{name} is not supported yet")
    return name


def _data(action: str, errno: int | None) -> int:
    if action not in _WITH_DATA:
        return 0
    return ERRNOS["EPERM"] if errno is None else errno


def _rules(entry: Mapping[str, Any], pointer: str) -> list[Rule]:
    action = _action(entry["action"], f"{pointer}/action")
    errno = _data(action, entry.get("errnoRet"))
    names = tuple(entry["names"])
    conditions = [
        (test["index"], test["value"], test.get("valueTwo", 0), test["op"])
        for test in entry.get("args") or ()
    ]
    indexes = [condition[0] for condition in conditions]
    if len(set(indexes)) == len(indexes):
        return [Rule(pointer, names, action, errno, tuple(conditions))]
    # libseccomp cannot join two conditions on one argument by "and"; runc and crun take all
    # conditions of such an entry as alternatives, and engines' profiles count on it.
    return [Rule(pointer, names, action, errno, (condition,)) for condition in conditions]


def has_listener(options: CreateOptions | ExecOptions) -> bool:
    """Whether the filter asks an agent about some calls."""
    return bool(options.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)


def load(spec: Mapping[str, Any], options: CreateOptions | ExecOptions) -> list[Op]:
    """The filter, if there is one, and the handing over of its listener, if it has one.

    From the filter on every call of init's may wait for the agent, hence at once.
    """
    place = "/linux/seccomp"
    if options.seccomp_program is None:
        return []
    made = [ops.load_seccomp(place, options.seccomp_program, options.seccomp_flags)]
    if has_listener(options):
        seccomp = spec["linux"]["seccomp"]
        path, metadata = seccomp["listenerPath"], seccomp.get("listenerMetadata") or ""
        made.append(ops.stage("", STAGE_SECCOMP))
        made.append(ops.send_seccomp_listener(f"{place}/listenerPath", path, metadata))
    return made
