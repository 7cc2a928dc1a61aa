"""ps: list the processes of a container, by the host's ps or as JSON."""

from __future__ import annotations

import posix

from pyrunc import output
from pyrunc.errors import Failure, HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request

_DEFAULT_ARGS = ("-ef",)
# Callers may give no environment at all.
_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(request: Request) -> int:
    from pyrunc import cgroup, container
    from pyrunc.jsontext import dumps

    style = request.options["format"]
    if style not in ("table", "json"):
        raise Failure("invalid format option")
    _directory, record = container.load(request.root, request.id)
    pids = cgroup.processes(record["cgroup_paths"])
    if style == "json":
        # runc's is a Go slice, which is null when nothing was appended to it.
        output.write(dumps(pids or None) + "\n")
    elif pids:
        output.write_fd(1, table(_host_ps(request.args[1:] or _DEFAULT_ARGS), pids))
    return 0


def table(text: bytes, pids: list[int]) -> bytes:
    """Return the header of a listing by ps(1), and the lines whose column PID is one of `pids`."""
    header, _newline, rest = text.partition(b"\n")
    titles = header.split()
    if b"PID" not in titles:
        raise Failure("couldn't find PID field in ps output")
    column = titles.index(b"PID")
    wanted = {str(pid).encode() for pid in pids}
    lines = [header]
    for line in rest.split(b"\n"):
        fields = line.split()
        if not fields:
            continue
        if len(fields) <= column or not fields[column].isdigit():
            raise Failure("unable to parse pid in ps output")
        if fields[column] in wanted:
            lines.append(line)
    return b"\n".join(lines) + b"\n"


def _host_ps(args: tuple[str, ...]) -> bytes:
    """Return what the host's ps(1) prints; Failure with its words where it fails."""
    read_fd, write_fd = posix.pipe()
    environment = dict(posix.environ)
    environment.setdefault(b"PATH", _PATH)
    posix.environ.setdefault(b"PATH", _PATH)
    try:
        pid = posix.posix_spawnp(
            "ps",
            [b"ps", *[output.encode(arg) for arg in args]],
            environment,
            file_actions=[
                (posix.POSIX_SPAWN_DUP2, write_fd, 1),
                (posix.POSIX_SPAWN_DUP2, write_fd, 2),
            ],
        )
    except OSError as error:
        posix.close(read_fd)
        raise HostFailure(error.errno or 0, "run ps") from error
    finally:
        posix.close(write_fd)
    text = b""
    try:
        while part := posix.read(read_fd, 65536):
            text += part
    finally:
        posix.close(read_fd)
        _pid, status = posix.waitpid(pid, 0)
    if status:
        words = text.decode("utf-8", "replace").strip()
        how = (
            f"signal {posix.WTERMSIG(status)}"
            if posix.WIFSIGNALED(status)
            else f"exit status {posix.WEXITSTATUS(status)}"
        )
        raise Failure(f"run ps: {how}: {words}")
    return text
