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
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyrunc.plan.ops import Op
    from pyrunc.state import Record

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


def run(op: Op, document: bytes, annotations: Mapping[str, str]) -> None:
    """Carry out a run_hook operation; Failure where the hook does not end well."""
    name, path, args, env, timeout = op.args
    place = op.origin.rpartition("/")[2]
    run_of = Run(f"{name} hook #{place}", op.origin, path, args, env, timeout, annotations)
    run_of.carry_out(document)


def run_poststart(record: Record) -> None:
    """Run the poststart hooks in their order, stopping at the first failure."""
    for number, hook in enumerate(record.get("hooks", {}).get("poststart", ())):
        _run_recorded("poststart", number, hook, record, "running")


def run_poststop(record: Record) -> None:
    """Run all poststop hooks: the specification has failures logged and the others still run."""
    for number, hook in enumerate(record.get("hooks", {}).get("poststop", ())):
        try:
            _run_recorded("poststop", number, hook, record, "stopped")
        except Failure as failure:
            log.warning(str(failure))


def _run_recorded(
    name: str, number: int, hook: dict[str, Any], record: Record, status: str
) -> None:
    pid = record["init_process_pid"] if status == "running" else 0
    Run(
        f"{name} hook #{number}",
        f"/hooks/{name}/{number}",
        hook["path"],
        hook.get("args") or [hook["path"]],
        hook.get("env") or [],
        hook.get("timeout", 0),
        record["annotations"],
    ).carry_out(state_document(record, pid, status))


class Run:
    """One hook that runs: what it reads, what it prints, how it ends."""

    def __init__(
        self,
        noun: str,
        origin: str,
        path: str,
        args: Sequence[str],
        env: Sequence[str],
        timeout: int,
        annotations: Mapping[str, str],
    ) -> None:
        self.noun = noun
        self.origin = origin
        self.path = path
        self.args = args
        self.env = env
        self.timeout = timeout
        self.annotations = annotations
        self.document = b""
        self.in_write = -1
        # By our end of the pipe, for standard output and standard error.
        self.printed: dict[int, bytes] = {}

    def carry_out(self, document: bytes) -> None:
        """Raise Failure where the hook does not end well, and in time."""
        self.document = document
        pid = self._start()
        pid_fd = process.open_pidfd(pid)
        in_time = self._converse(pid_fd)
        posix.close(pid_fd)
        _pid, status = posix.waitpid(pid, 0)
        texts = [
            text.decode("utf-8", "replace").strip() for text in (*self.printed.values(), b"", b"")
        ]
        for fd in self.printed:
            posix.close(fd)
        if not in_time:
            reason = f"hook ran past specified timeout of {self.timeout:.1f}s"
        elif status == 0:
            return
        elif posix.WIFSIGNALED(status):
            reason = f"signal: {process.describe_signal(posix.WTERMSIG(status))}"
        else:
            reason = f"exit status {posix.WEXITSTATUS(status)}"
        raise Failure(
            f"error running {self.noun}: {reason}, stdout: {texts[0]}, stderr: {texts[1]}",
            pointer=self.origin,
        )

    def _start(self) -> int:
        in_read, self.in_write = posix.pipe2(posix.O_CLOEXEC)
        theirs = [in_read]
        actions: list[Any] = [(posix.POSIX_SPAWN_DUP2, in_read, 0)]
        try:
            for number, path in enumerate(self._output_paths(), 1):
                theirs.append(self._open_output(path))
                actions.append((posix.POSIX_SPAWN_DUP2, theirs[-1], number))
            environment = dict(
                output.encode(entry).split(b"=", 1) for entry in self.env if "=" in entry
            )
            return posix.posix_spawn(
                output.encode(self.path),
                [output.encode(argument) for argument in self.args],
                environment,
                file_actions=actions,
                setsid=False,
                setsigmask=(),
                setsigdef=(C.SIGPIPE,),
            )
        except OSError as error:
            posix.close(self.in_write)
            for fd in self.printed:
                posix.close(fd)
            raise HostFailure(
                error.errno or 0,
                f'error running {self.noun}: start "{error.filename2 or self.path}"',
                pointer=self.origin,
            ) from error
        finally:
            for fd in theirs:
                posix.close(fd)

    def _output_paths(self) -> tuple[str | None, str | None]:
        if not self.annotations:
            return None, None
        from pyrunc import annotated

        given = self.annotations.get
        return given(annotated.HOOKS_STDOUT), given(annotated.HOOKS_STDERR)

    def _open_output(self, path: str | None) -> int:
        """A file that an annotation names, as in crun, or a pipe."""
        if path:
            return open_output(path, self.origin)
        read_fd, write_fd = posix.pipe2(posix.O_CLOEXEC)
        self.printed[read_fd] = b""
        return write_fd

    def _converse(self, pid_fd: int) -> bool:
        """Feed the document, gather output until the hook ends; killed when the time is over.

        The hook's end counts, not that of the pipes: children that it leaves may hold them.
        """
        deadline = time.monotonic() + self.timeout if self.timeout else None
        poll = select.poll()
        poll.register(pid_fd, select.POLLIN)
        for fd in (*self.printed, self.in_write):
            posix.set_blocking(fd, False)
            poll.register(fd, select.POLLOUT if fd == self.in_write else select.POLLIN)
        ended, in_time = False, True
        while not ended:
            left = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
            events = poll.poll(left)
            # A hook that never stops printing must not outlive its time either.
            if left == 0 or not events:
                in_time = False
                process.send_signal(pid_fd, C.SIGKILL)
                process.wait(pid_fd, -1)
                break
            for fd, _event in events:
                if fd == pid_fd:
                    ended = True
                elif not self._attend(fd):
                    poll.unregister(fd)
        for fd in self.printed:
            self._attend(fd)
        if self.in_write >= 0:
            posix.close(self.in_write)
        return in_time

    def _attend(self, fd: int) -> bool:
        """Write or read what can be now; False where there is nothing more to come."""
        if fd == self.in_write:
            self.document = _feed(fd, self.document)
            if self.document:
                return True
            posix.close(fd)
            self.in_write = -1
            return False
        chunk = _take(fd)
        self.printed[fd] = (self.printed[fd] + chunk)[:OUTPUT_LIMIT]
        return bool(chunk)


def open_output(path: str, origin: str) -> int:
    """Open the file that an annotation names for what hooks print; HostFailure at the hook `origin`."""
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOCTTY
    try:
        return posix.open(output.encode(path), flags, 0o700)
    except OSError as error:
        message = f'open "{path}" for the output of hooks'
        raise HostFailure(error.errno or 0, message, pointer=origin) from error


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
