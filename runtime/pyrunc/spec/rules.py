"""Decides what a schema cannot say of a config: rules across fields, names and places.

It must not read the system, so what depends on the host (labels without their security module, the
namespace behind a path) is left to the plan. The rules are those of runtime-spec 1.3.0 and of
runc's validator, whose wording is kept where callers know it.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.spec import linux_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.spec.types import Finding

HOOK_KINDS = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
# getrlimit(2); RLIM_NLIMITS has not grown since Linux 2.6.25.
RLIMITS = frozenset(
    "RLIMIT_" + name
    for name in (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE"),
        *("NICE", "NOFILE", "NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)
# capabilities(7), up to Linux 5.9, the newest that adds one.
CAPABILITIES = frozenset(
    "CAP_" + name
    for name in (
        *("AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF"),
        *("CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER"),
        *("FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE"),
        *("MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE"),
        *("NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP"),
        *("SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE"),
        *("SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME"),
        *("SYS_TTY_CONFIG", "WAKE_ALARM"),
    )
)


def apply(config: dict[str, Any]) -> list[Finding]:
    """The warnings about a config that the hot check has accepted.

    Raises SpecFailure with the first problem.
    """
    problems, warnings = judge(config)
    if problems:
        raise SpecFailure(*problems[0])
    return warnings


def judge(config: dict[str, Any]) -> tuple[list[Finding], list[Finding]]:
    """All problems and all warnings of a config that the hot check has accepted."""
    problems: list[Finding] = []
    warnings: list[Finding] = []
    _top(config, problems)
    process = config.get("process")
    if process is None:
        problems.append(("/process", "process property must not be empty"))
    else:
        judge_process(process, "/process", problems, warnings)
    for number, mount in enumerate(config.get("mounts") or ()):
        _mount(mount, f"/mounts/{number}", problems, warnings)
    _hooks(config.get("hooks") or {}, problems)
    linux_rules.judge(config, problems, warnings)
    return problems, warnings


def judge_process(
    process: dict[str, Any], place: str, problems: list[Finding], warnings: list[Finding]
) -> None:
    """Judge a process object, of config.json or of its own file, that is found at `place`."""
    args = process.get("args")
    if not args:
        problems.append((f"{place}/args", "args must not be empty"))
    elif "\0" in "".join(args):
        problems.append((f"{place}/args", "must not contain a nul byte"))
    cwd = process["cwd"]
    if not cwd:
        problems.append((f"{place}/cwd", "cwd must not be empty"))
    elif cwd[0] != "/":
        problems.append((f"{place}/cwd", f'cwd must be an absolute path, got "{cwd}"'))
    elif "\0" in cwd:
        problems.append((f"{place}/cwd", "must not contain a nul byte"))
    for number, entry in enumerate(process.get("env") or ()):
        name, equals, _value = entry.partition("=")
        if not equals:
            message = f"invalid environment variable \"{entry}\": missing '='"
        elif not name:
            message = f'invalid environment variable "{entry}": name cannot be empty'
        elif "\0" in entry:
            message = f'invalid environment variable "{name}": contains nul byte'
        else:
            continue
        problems.append((f"{place}/env/{number}", message))
    score = process.get("oomScoreAdj")
    if score is not None and not -1000 <= score <= 1000:
        message = f"must be between -1000 and 1000, got {score}"
        problems.append((f"{place}/oomScoreAdj", message))
    _rlimits(process.get("rlimits") or (), f"{place}/rlimits", problems)
    _capabilities(process.get("capabilities") or {}, f"{place}/capabilities", warnings)
    if process.get("scheduler") or process.get("ioPriority") or process.get("execCPUAffinity"):
        from pyrunc.spec import scheduling_rules

        scheduling_rules.judge_process(process, place, problems)


def is_version(text: str) -> bool:
    """Whether `text` is a version as semver.org 2.0.0 defines it."""
    text, plus, build = text.partition("+")
    core, minus, pre = text.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or not all(map(_is_numeric, numbers)):
        return False
    if plus and not all(map(_is_identifier, build.split("."))):
        return False
    if not minus:
        return True
    return all(
        _is_identifier(part) and (_is_numeric(part) or not part.isdigit())
        for part in pre.split(".")
    )


def _is_numeric(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _is_identifier(text: str) -> bool:
    return text.isascii() and text.replace("-", "0").isalnum()


def _top(config: dict[str, Any], problems: list[Finding]) -> None:
    version = config["ociVersion"]
    if not is_version(version):
        problems.append(("/ociVersion", f'must be a version such as 1.3.0, got "{version}"'))
    elif not version.startswith("1."):
        message = f'must be a version of specification 1, got "{version}"'
        problems.append(("/ociVersion", message))
    root = config.get("root")
    if root is None:
        problems.append(("/root", "root must be specified"))
    elif not root["path"]:
        problems.append(("/root/path", "must not be empty"))


def _rlimits(limits: Any, place: str, problems: list[Finding]) -> None:
    seen = set()
    for number, limit in enumerate(limits):
        name = limit["type"]
        if name not in RLIMITS:
            problems.append((f"{place}/{number}/type", f"wrong rlimit value: {name}"))
        elif name in seen:
            problems.append((f"{place}/{number}/type", f"duplicate rlimit {name}"))
        elif limit["soft"] > limit["hard"]:
            message = f"must not exceed the hard limit {limit['hard']}, got {limit['soft']}"
            problems.append((f"{place}/{number}/soft", message))
        seen.add(name)


def _capabilities(sets: dict[str, Any], place: str, warnings: list[Finding]) -> None:
    for kind in CAPABILITY_SETS:
        names = sets.get(kind)
        if names and not CAPABILITIES.issuperset(names):
            for number, name in enumerate(names):
                if name not in CAPABILITIES:
                    message = f'ignoring unknown capability "{name}"'
                    warnings.append((f"{place}/{kind}/{number}", message))
    ambient = sets.get("ambient")
    if ambient:
        # capabilities(7): no capability can be ambient that is not permitted and inheritable.
        able = set(sets.get("permitted") or ()).intersection(sets.get("inheritable") or ())
        for number, name in enumerate(ambient):
            if name not in able and name in CAPABILITIES:
                message = f"can't raise ambient capability {name}: it is not both permitted and inheritable"
                warnings.append((f"{place}/ambient/{number}", message))


def _mount(
    mount: dict[str, Any], place: str, problems: list[Finding], warnings: list[Finding]
) -> None:
    destination = mount["destination"]
    if not destination:
        problems.append((f"{place}/destination", "must not be empty"))
    elif destination[0] != "/":
        # The specification says MUST; runc and crun take it as relative to the root.
        message = f'mount destination "{destination}" is not absolute'
        warnings.append((f"{place}/destination", message))
    options = mount.get("options") or ()
    if "remount" in options:
        return
    if "bind" in options or "rbind" in options:
        if not mount.get("source"):
            problems.append((f"{place}/source", "is required for a bind mount"))
        for number, option in enumerate(options):
            if "=" in option and not option.startswith(("idmap=", "ridmap=")):
                # As with mount(8); runc 1.1.5 and crun take such configs too.
                message = f'ignored: "{option}" is for a file system, not for a bind mount'
                warnings.append((f"{place}/options/{number}", message))
    elif not mount.get("type"):
        problems.append((f"{place}/type", "is required unless the options have bind or rbind"))


def _hooks(hooks: dict[str, Any], problems: list[Finding]) -> None:
    for kind in HOOK_KINDS:
        for number, hook in enumerate(hooks.get(kind) or ()):
            path = hook["path"]
            if path[:1] != "/":
                message = f'hook path must be absolute, got "{path}"'
                problems.append((f"/hooks/{kind}/{number}/path", message))
