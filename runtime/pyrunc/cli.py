"""Decides what the caller asked for: argv becomes a Request, and the Request finds its command.

It must not know what any command does, and imports only the module of the one that runs.

The rules are those of runc's reader: long options with one or two dashes, `--option value` and
`--option=value`, booleans only as `--flag` or `--flag=false`, "--" ends the options. The last of a
repeated option counts.
"""

from __future__ import annotations

import posix

from pyrunc import hostpath, log, output
from pyrunc.errors import Failure, UsageFailure
from pyrunc.record import record
from pyrunc.verbs import FLAG, LIST, NUMBER, Option, Verb, find, global_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@record
class Request:
    """What the caller asked for.

    `root`: absolute directory of all states; `root_given`: not the default; `rootless`: "true",
    "false" or "auto"; `cgroup_manager`: "cgroupfs", "systemd" or "disabled"; `options`: those of
    the verb by long name with "_" for "-", each of them always there; `args`: the arguments of the
    verb.
    """

    verb: str
    root: str
    options: dict[str, Any]
    args: tuple[str, ...] = ()
    root_given: bool = True
    log: str = ""
    log_format: str = "text"
    log_level: str = ""
    debug: bool = False
    cgroup_manager: str = "cgroupfs"
    rootless: str = "auto"

    @property
    def id(self) -> str:
        """The container's id, for verbs that take one."""
        return self.args[0]


def main(argv: Sequence[str]) -> int:
    """Carry out the command of `argv` (with the program's name first) and return its exit status.

    Every failure ends here and is told once, by `log.error`.
    """
    told = _Told()
    try:
        return _run(list(argv[1:]), told)
    except output.ClosedOutput:
        return 1
    except UsageFailure as failure:
        log.error(f"pyrunc: {failure}")
        return told.status or failure.exit_status
    except Failure as failure:
        if log.debug_enabled() and failure.__cause__ is not None:
            log.debug(_traceback(failure))
        log.error(told.prefix + str(failure))
        return told.status or failure.exit_status
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        log.error(told.prefix + "cannot allocate memory (ENOMEM)")
        return told.status or 1
    except Exception as error:
        if log.debug_enabled():
            log.debug(_traceback(error))
        log.error(f"pyrunc: internal error: {_describe(error)}")
        return told.status or 1


class _Told:
    """How an error line begins: with the program, the verb and the id, as far as they are known.

    `status`: the exit status of all failures, 0 where they have their own.
    """

    __slots__ = ("prefix", "status")

    def __init__(self) -> None:
        self.prefix = "pyrunc: "
        self.status = 0


def _run(words: list[str], told: _Told) -> int:
    """Read the global options and the verb, and call its command."""
    try:
        globals_, rest = read_options(global_options(), words, permute=False)
    except UsageFailure as failure:
        _show_usage(f"Incorrect Usage. {failure}", "")
        raise
    if globals_["help"]:
        return _show_help("")
    if globals_["version"] or globals_["V"]:
        from pyrunc.help import show_version

        return show_version()
    if not rest:
        return _show_help("")
    name = rest.pop(0)
    if name in ("help", "h"):
        return _show_help(rest[0] if rest else "")
    verb = find(name)
    if verb is None:
        raise UsageFailure(f"No help topic for '{name}'", exit_status=3)
    if name == "exec":
        # Not one that a command is likely to end with: runc's.
        told.status = 255
    _configure_log(globals_)
    try:
        options, args = read_options(verb.options, rest, permute=verb.permute)
    except UsageFailure as failure:
        _show_usage(f"Incorrect Usage: {failure}", name)
        raise
    if options.pop("help"):
        return _show_help(name)
    _check_count(name, verb, args)
    told.prefix = f"pyrunc: {name}: "
    if verb.takes_id and not options.get("regex"):
        check_container_id(args[0])
        told.prefix = f"pyrunc: {name} {args[0]}: "
    status = _call(verb, _request(name, globals_, options, args))
    log.release_warnings()
    return status


def _call(verb: Verb, request: Request) -> int:
    if verb.cold:
        from pyrunc.shim import initialize_main

        initialize_main()
    module = __import__(f"pyrunc.commands.{verb.module}", None, None, ["run"])
    status: int = module.run(request)
    return status


def read_options(
    options: list[Option], words: Sequence[str], *, permute: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of all `options` by key, and the arguments.

    Without `permute` the first argument ends the options. Raises UsageFailure in the words of
    runc, which podman looks for ("flag needs an argument").
    """
    values = {option.key: option.default for option in options}
    by_name = {name: option for option in options for name in option.names}
    args: list[str] = []
    index, count = 0, len(words)
    while index < count:
        word = words[index]
        index += 1
        if word == "--":
            args.extend(words[index:])
            break
        if len(word) < 2 or word[0] != "-":
            args.append(word)
            if not permute:
                args.extend(words[index:])
                break
            continue
        dashed, equals, value = word.partition("=")
        name = dashed[2:] if dashed.startswith("--") else dashed[1:]
        option = by_name.get(name)
        if option is None:
            if not name or name[0] == "-":
                raise UsageFailure(f"bad flag syntax: {word}")
            raise UsageFailure(f"flag provided but not defined: -{name}")
        if not equals and option.kind != FLAG:
            if index == count:
                raise UsageFailure(f"flag needs an argument: {'-' * min(len(name), 2)}{name}")
            value = words[index]
            index += 1
        found = _value(option, name, value) if equals or value else _empty(option)
        values[option.key] = (*values[option.key], found) if option.kind == LIST else found
    return values, args


def _empty(option: Option) -> Any:
    """Return what `--flag` without a value, or `--option ""`, means."""
    return True if option.kind == FLAG else _value(option, option.names[0], "")


def _value(option: Option, name: str, value: str) -> Any:
    if option.kind == FLAG:
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise UsageFailure(f'invalid boolean value "{value}" for -{name}: parse error')
    if option.kind == NUMBER:
        try:
            number = int(value, 0)
        except ValueError:
            raise UsageFailure(f'invalid value "{value}" for flag -{name}: parse error') from None
        if not 0 <= number < 1 << 31:
            raise UsageFailure(f'invalid value "{value}" for flag -{name}: value out of range')
        return number
    if "\0" in value:
        raise UsageFailure(f"invalid value for flag -{name}: it has a NUL character")
    return value


def _check_count(name: str, verb: Verb, args: list[str]) -> None:
    if verb.minimum <= len(args) <= verb.maximum:
        return
    if verb.minimum == verb.maximum:
        problem = f"exactly {verb.minimum}"
    elif len(args) < verb.minimum:
        problem = f"a minimum of {verb.minimum}"
    else:
        problem = f"a maximum of {verb.maximum}"
    _show_usage("Incorrect Usage.", name)
    raise UsageFailure(f'"{name}" requires {problem} argument(s)')


def check_container_id(container_id: str) -> None:
    """Raise Failure unless `container_id` may name a directory: no path is built before this."""
    if not container_id:
        raise Failure("container id cannot be empty")
    # A name with a leading dot is the runtime's own in the root directory, as with crun.
    fits = container_id[0] != "." and len(container_id) <= 255 and container_id.isascii()
    if not fits or not container_id.translate(_ID_PUNCTUATION).isalnum():
        raise Failure(f'invalid container ID format: "{container_id}"')


_ID_PUNCTUATION = {ord(character): "0" for character in "_+.-"}


def _configure_log(globals_: dict[str, Any]) -> None:
    level = "debug" if globals_["debug"] else globals_["log_level"]
    # A warning in a file is one that engines trip over (log.py); on standard error a person reads it.
    usual = "error" if globals_["log"] else "warning"
    log.configure(globals_["log"], globals_["log_format"], level or usual)
    if not level:
        log.hold_warnings()
    if globals_["criu"]:
        log.debug("--criu is obsolete and ignored")


def _request(
    name: str, globals_: dict[str, Any], options: dict[str, Any], args: list[str]
) -> Request:
    root = globals_["root"]
    manager = globals_["cgroup_manager"]
    if manager not in ("cgroupfs", "systemd", "disabled"):
        raise UsageFailure(f"invalid cgroup-manager: {manager}")
    systemd = globals_["systemd_cgroup"] or manager == "systemd"
    return Request(
        verb=name,
        root=_root(root),
        root_given=root != "",
        log=globals_["log"],
        log_format=globals_["log_format"],
        log_level=globals_["log_level"],
        debug=globals_["debug"],
        cgroup_manager="systemd" if systemd else manager,
        rootless=_rootless(globals_["rootless"]),
        options=options,
        args=tuple(args),
    )


def _rootless(value: str) -> str:
    if value in ("", "auto"):
        return "auto"
    if value in _TRUE:
        return "true"
    if value in _FALSE:
        return "false"
    raise UsageFailure(f'invalid value "{value}" for flag -rootless: true, false or auto')


def _root(given: str) -> str:
    if not given:
        return default_root()
    path = hostpath.absolute(given)
    if path == "/":
        raise UsageFailure("Option --root argument should not be set to /")
    return path


def default_root() -> str:
    """Return where states are kept without --root: as runc decides, by the user who asks.

    Root of a user namespace is not the host's root: unless $USER says so, $XDG_RUNTIME_DIR is its
    place.
    """
    runtime_dir = posix.environ.get(b"XDG_RUNTIME_DIR", b"")
    if not runtime_dir or (posix.geteuid() == 0 and not _is_nested_root()):
        return "/run/pyrunc"
    return hostpath.absolute(runtime_dir.decode("utf-8", "surrogateescape")) + "/pyrunc"


def _is_nested_root() -> bool:
    if posix.environ.get(b"USER") == b"root":
        return False
    try:
        fd = posix.open("/proc/self/uid_map", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        return posix.read(fd, 4096).split() != [b"0", b"0", b"4294967295"]
    finally:
        posix.close(fd)


def _show_help(topic: str) -> int:
    from pyrunc.help import render

    if topic in ("help", "h", "-h", "--help"):
        topic = ""
    if topic and find(topic) is None:
        raise UsageFailure(f"No help topic for '{topic}'", exit_status=3)
    output.write(render(topic))
    return 0


def _show_usage(heading: str, topic: str) -> None:
    from pyrunc.help import render

    try:
        output.write(f"{heading}\n\n{render(topic)}")
    except Failure:
        # The error that follows on standard error is what counts.
        pass


def _describe(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.errno:
        from pyrunc.errors import describe_errno

        text = describe_errno(error.errno)
        if error.filename is not None:
            text = f"{error.filename}: {text}"
    trace = error.__traceback__
    place = ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "?")
        place = f" ({module}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{place}"


def _traceback(error: BaseException) -> str:
    """Return the frames that `error` and its causes came through, the outermost first, in one line
    each.
    """
    lines = [f"{type(error).__name__}: {error}"]
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    if error.__cause__ is not None:
        lines.append("caused by " + _traceback(error.__cause__))
    return "\n".join(lines)
