"""Decides how hooks of the runtime's namespaces run: prestart, createRuntime, poststart, poststop.

It must not decide what a failing hook means for the container: its caller does. createContainer and
startContainer hooks are run by init.
"""

from __future__ import annotations

import posix
import select
import time

from pyrunc import jsontext, log, output
from pyrunc.errors import Failure, HostFailure
from pyrunc.shim import constants as C
from pyrunc.shim import process
from pyrunc.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan.ops import Op

# Of what a hook prints, this much goes into the error.
OUTPUT_LIMIT = 4096


def state(record: dict[str, Any], pid: int, status: str) -> dict[str, Any]:
    """Return the state of runtime.md, "State"."""
    document: dict[str, Any] = {"ociVersion": SPEC_VERSION, "id": record["id"], "status": status}
    if pid > 0:
        document["pid"] = pid
    document["bundle"] = record["bundle"]
    if record.get("annotations"):
        document["annotations"] = record["annotations"]
    return document


def state_document(record: dict[str, Any], pid: int, status: str) -> bytes:
    """Return the state that a hook reads from its standard input."""
    return output.encode(jsontext.dumps(state(record, pid, status)))


def run(op: Op, document: bytes) -> None:
    """Carry out a run_hook operation; Failure where the hook does not end well."""
    name, path, args, env, timeout = op.args
    place = op.origin.rpartition("/")[2]
    _run(f"{name} hook #{place}", op.origin, path, args, env, timeout, document)


def run_all(record: dict[str, Any], name: str, document: bytes) -> None:
    """Run the recorded hooks of one kind in their order, stopping at the first failure."""
    for number, hook in enumerate(record.get("hooks", {}).get(name, ())):
        _run_recorded(name, number, hook, document)


def run_poststop(record: dict[str, Any]) -> None:
    """Run all poststop hooks: the specification has failures logged and the others still run."""
    for number, hook in enumerate(record.get("hooks", {}).get("poststop", ())):
        try:
            _run_recorded("poststop", number, hook, state_document(record, 0, "stopped"))
        except Failure as failure:
            log.warning(str(failure))


def _run_recorded(name: str, number: int, hook: dict[str, Any], document: bytes) -> None:
    _run(
        f"{name} hook #{number}",
        f"/hooks/{name}/{number}",
        hook["path"],
        hook.get("args") or [hook["path"]],
        hook.get("env") or [],
        hook.get("timeout", 0),
        document,
    )


def _run(
    noun: str,
    origin: str,
    path: str,
    args: Any,
    env: Any,
    timeout: int,
    document: bytes,
) -> None:
    in_read, in_write = posix.pipe2(posix.O_CLOEXEC)
    out_read, out_write = posix.pipe2(posix.O_CLOEXEC)
    environment = dict(output.encode(entry).split(b"=", 1) for entry in env if "=" in entry)
    actions = [
        (posix.POSIX_SPAWN_DUP2, in_read, 0),
        (posix.POSIX_SPAWN_DUP2, out_write, 1),
        (posix.POSIX_SPAWN_DUP2, out_write, 2),
    ]
    try:
        pid = posix.posix_spawn(
            output.encode(path),
            [output.encode(argument) for argument in args],
            environment,
            file_actions=actions,
            setsid=False,
            setsigmask=(),
            setsigdef=(C.SIGPIPE,),
        )
    except OSError as error:
        posix.close(in_write)
        posix.close(out_read)
        raise HostFailure(
            error.errno or 0, f'error running {noun}: start "{path}"', pointer=origin
        ) from error
    finally:
        posix.close(in_read)
        posix.close(out_write)
    pid_fd = process.open_pidfd(pid)
    printed, in_time = _converse(pid_fd, in_write, out_read, document, timeout)
    posix.close(pid_fd)
    _pid, status = posix.waitpid(pid, 0)
    if not in_time:
        reason = f"hook ran past specified timeout of {timeout:.1f}s"
    elif status == 0:
        return
    elif posix.WIFSIGNALED(status):
        reason = f"signal {posix.WTERMSIG(status)}"
    else:
        reason = f"exit status {posix.WEXITSTATUS(status)}"
    text = printed.decode("utf-8", "replace").strip()
    raise Failure(f"error running {noun}: {reason}, output: {text}", pointer=origin)


def _converse(
    pid_fd: int, in_write: int, out_read: int, document: bytes, timeout: int
) -> tuple[bytes, bool]:
    """Feed the document, gather output until the hook ends; killed when the time is over."""
    deadline = time.monotonic() + timeout if timeout else None
    poll = select.poll()
    posix.set_blocking(in_write, False)
    posix.set_blocking(out_read, False)
    poll.register(pid_fd, select.POLLIN)
    poll.register(out_read, select.POLLIN)
    poll.register(in_write, select.POLLOUT)
    printed = b""
    in_time = True
    pending = True
    ended = False
    while not ended:
        wait = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
        events = poll.poll(wait)
        if not events:
            in_time = False
            process.send_signal(pid_fd, C.SIGKILL)
            process.wait(pid_fd, -1)
            break
        for fd, _event in events:
            if fd == pid_fd:
                ended = True
            elif fd == in_write:
                document = _feed(in_write, document)
                if not document:
                    poll.unregister(in_write)
                    posix.close(in_write)
                    pending = False
            else:
                chunk = _take(out_read)
                if not chunk:
                    poll.unregister(out_read)
                printed = (printed + chunk)[:OUTPUT_LIMIT]
    printed += _take(out_read)
    if pending:
        posix.close(in_write)
    posix.close(out_read)
    return printed[:OUTPUT_LIMIT], in_time


def _feed(fd: int, document: bytes) -> bytes:
    """Write what fits; a hook that reads nothing (EPIPE) is no failure."""
    try:
        return document[posix.write(fd, document) :]
    except BlockingIOError:
        return document
    except BrokenPipeError:
        return b""


def _take(fd: int) -> bytes:
    try:
        return posix.read(fd, 65536)
    except BlockingIOError:
        return b""
