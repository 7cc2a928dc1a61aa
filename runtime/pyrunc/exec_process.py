"""Decides which process `exec` runs: the config's or a file's, changed by the options.

It must not know the container's state, nor how the process gets there.
"""

from __future__ import annotations

from pyrunc import log
from pyrunc.errors import Failure, SpecFailure
from pyrunc.shim.constants import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# setuid(2): -1 stands for "leave it as it is".
_LAST_ID = 0xFFFFFFFE
_INHERITED = (
    *("capabilities", "apparmorProfile", "selinuxLabel", "oomScoreAdj"),
    *("scheduler", "ioPriority", "execCPUAffinity"),
)
_GRANTED = ("bounding", "effective", "permitted")


def build(
    spec: Mapping[str, Any], options: Mapping[str, Any], args: Sequence[str]
) -> dict[str, Any]:
    """The process object in normal form; `spec` is the container's, `options` those of exec.

    What a file (--process) leaves out of capabilities, limits and labels is the container's, as in
    runc; the umask is there only if the file or the config gives one.
    """
    own: dict[str, Any] = spec["process"]
    if options["process"]:
        from pyrunc.spec import load

        process: dict[str, Any] = load.load_process(options["process"])  # type: ignore[assignment]
        for name in _INHERITED:
            if name not in process and name in own:
                process[name] = own[name]
        process["rlimits"] = process["rlimits"] or own["rlimits"]
        if "umask" in own["user"]:
            process["user"].setdefault("umask", own["user"]["umask"])
    else:
        if not args:
            raise Failure("process args cannot be empty")
        process = dict(own, terminal=False, user=dict(own["user"]))
    if args:
        process["args"] = list(args)
    _change(process, options)
    _judge(process)
    return process


def _change(process: dict[str, Any], options: Mapping[str, Any]) -> None:
    if options["tty"]:
        process["terminal"] = True
    if options["no_new_privs"]:
        process["noNewPrivileges"] = True
    for option, name in (
        ("cwd", "cwd"),
        ("apparmor", "apparmorProfile"),
        ("process_label", "selinuxLabel"),
    ):
        if options[option]:
            process[name] = options[option]
    if options["env"]:
        process["env"] = [*process["env"], *options["env"]]
    user = process["user"]
    if options["user"]:
        uid, gid = parse_user(options["user"][-1])
        user["uid"] = uid
        if gid is not None:
            user["gid"] = gid
    if options["additional_gids"]:
        more = [_number(text, "additional gid", text) for text in options["additional_gids"]]
        user["additionalGids"] = [*user["additionalGids"], *more]
    if options["cap"]:
        _grant(process, [parse_capability(text) for text in options["cap"]])


def _judge(process: dict[str, Any]) -> None:
    from pyrunc.spec import rules

    problems: list[tuple[str, str]] = []
    warnings: list[tuple[str, str]] = []
    rules.judge_process(process, "", problems, warnings)
    if problems:
        raise SpecFailure(*problems[0])
    for pointer, text in warnings:
        log.warning(f"{pointer}: {text}")


def parse_user(text: str) -> tuple[int, int | None]:
    """UID[:GID] as numbers, None for a group that is not given.

    Nothing is ever taken for 0 that is not written as 0 (CVE-2026-30892).
    """
    uid, colon, gid = text.partition(":")
    return _number(uid, "uid", text), _number(gid, "gid", text) if colon else None


def _number(digits: str, noun: str, text: str) -> int:
    if digits.isascii() and digits.isdigit() and len(digits) <= 10:
        number = int(digits)
        if number <= _LAST_ID:
            return number
    raise Failure(f'parsing "{text}": {noun} must be a number from 0 to {_LAST_ID}')


def parse_capability(text: str) -> str:
    """Return the name as the kernel has it: CAP_ in front, in capitals."""
    name = text.upper()
    if not name.startswith("CAP_"):
        name = "CAP_" + name
    if name not in CAPABILITIES:
        raise Failure(f'unknown capability "{text}"')
    return name


def _grant(process: dict[str, Any], names: list[str]) -> None:
    """More for this process, never inheritable (CVE-2022-29162): ambient only follows from that."""
    sets = dict(process.get("capabilities") or {})
    for kind in _GRANTED:
        sets[kind] = [*sets.get(kind, ()), *names]
    if sets.get("inheritable"):
        sets["ambient"] = [*sets.get("ambient", ()), *names]
    process["capabilities"] = sets
