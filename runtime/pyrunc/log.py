"""Decides what is logged where: the contract between a runtime and the engines that read its log.

It must not write anything below the level asked for: podman reads the whole log file as one JSON
object, so that a warning before the error makes it lose both, and containerd takes the last record
of level "error".
"""

from __future__ import annotations

import posix

from pyrunc import hostpath, output
from pyrunc.errors import Failure, HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LEVELS: Final = {"error": 0, "warning": 1, "info": 2, "debug": 3}
# conmon takes the first 8 KiB of what a runtime says; the place stands in front, the reason behind.
_HEAD, _TAIL = 3072, 1024


class _Log:
    __slots__ = ("json", "level", "path")

    def __init__(self, path: str, json: bool, level: int) -> None:
        self.path = path
        self.json = json
        self.level = level


_current = _Log("", False, 0)
# Warnings that nobody has asked for, until the command has done what it was told to.
_held: list[str] | None = None


def configure(path: str, log_format: str, level: str) -> None:
    """Log to the file `path` ("": standard error), as "text" or "json", from `level` up.

    `path` may have the prefix "file:". Raises Failure where there is no such target, format or
    level, and HostFailure where the file cannot be opened.
    """
    global _current, _held
    if log_format not in ("text", "json"):
        raise Failure(f"invalid log-format: {log_format}")
    if level not in LEVELS:
        raise Failure(f"invalid log-level: {level}")
    kind, colon, rest = path.partition(":")
    if colon and kind == "file":
        path = rest
    elif colon and kind in ("journald", "syslog"):
        raise Failure(f"log to {kind}: not supported, use a file")
    if path == "/dev/stderr":
        path = ""
    elif path:
        path = hostpath.absolute(path)
        posix.close(_open(path))
    _current = _Log(path, log_format == "json", LEVELS[level])
    _held = None


def _open(path: str) -> int:
    # Opened for each record and never kept: a descriptor of ours must not look like one of those
    # that --preserve-fds counts.
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
    try:
        return posix.open(path, flags, 0o644)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'open log file "{path}"') from error
    except ValueError as error:
        raise Failure(f"open log file: {error}") from error


def hold_warnings() -> None:
    """Keep warnings for `release_warnings`; a command that fails tells its error alone."""
    global _held
    _held = []


def release_warnings() -> None:
    """Tell what was held, and each warning from now on at once."""
    global _held
    held, _held = _held, None
    for message in held or ():
        warning(message)


def debug_enabled() -> bool:
    return _current.level >= LEVELS["debug"]


def debug(message: str) -> None:
    if debug_enabled():
        _write_record("debug", message)


def warning(message: str) -> None:
    """Log what a user should know; in a file (--log) only where --log-level or --debug asks for it."""
    if _held is not None:
        _held.append(message)
    elif _current.level >= LEVELS["warning"]:
        _write_record("warning", message)


def error(message: str) -> None:
    """Log the one error that the command ends with, and tell it on standard error in one line.

    Of what is longer than engines read the beginning and the end are kept.
    """
    if len(message) > _HEAD + _TAIL:
        left = len(message) - _HEAD - _TAIL
        message = f"{message[:_HEAD]}... [{left} characters] ...{message[-_TAIL:]}"
    line = one_line(message)
    if _current.path or _current.json:
        _write_record("error", line)
    if _current.path or not _current.json:
        output.write_stderr(line + "\n")


def _write_record(level: str, message: str) -> None:
    time = rfc3339()
    if _current.json:
        from pyrunc import jsontext

        record = jsontext.dumps({"level": level, "msg": message, "time": time})
    else:
        record = f'time="{time}" level={level} msg="{_quoted(one_line(message))}"'
    data = output.encode(record + "\n")
    if not _current.path:
        output.write_stderr(data)
        return
    try:
        fd = _open(_current.path)
    except Failure:
        # What happened to the log must not hide the error itself: standard error has it too.
        return
    try:
        output.write_fd(fd, data)
    except OSError:
        pass
    finally:
        posix.close(fd)


def rfc3339(nanoseconds: int | None = None) -> str:
    """Return a moment since the epoch (default: now) as RFC 3339 in UTC, with nanoseconds."""
    import time

    if nanoseconds is None:
        nanoseconds = time.time_ns()
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    moment = time.gmtime(seconds)
    return (
        f"{moment[0]:04d}-{moment[1]:02d}-{moment[2]:02d}"
        f"T{moment[3]:02d}:{moment[4]:02d}:{moment[5]:02d}.{fraction:09d}Z"
    )


def one_line(text: str) -> str:
    """Return `text` with line ends and other control characters made visible."""
    text = text.rstrip("\n")
    if text.isprintable():
        return text
    return "".join([_visible(character) for character in text])


def _visible(character: str) -> str:
    if character == "\n":
        return "\\n"
    if character == "\t":
        return "\\t"
    if character < " " or "\x7f" <= character <= "\x9f":
        return f"\\x{ord(character):02x}"
    return character


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
