"""Decides how one more process comes into a container: from a request to a process that runs.

It must not change the container or its record, nor read the bundle again: the config is the copy that
create has made.
"""

from __future__ import annotations

import posix

from pyrunc import cgroup, container, exec_process, hooks, host, launch, log, state
from pyrunc.creation import Creation
from pyrunc.errors import Failure, HostFailure, StateFailure
from pyrunc.hostpath import absolute
from pyrunc.liveness import open_init
from pyrunc.plan import exec_build, ops
from pyrunc.plan.records import ExecOptions
from pyrunc.shim import constants as C
from pyrunc.shim import process as processes
from pyrunc.spec import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyrunc.cli import Request
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import Plan
    from pyrunc.state import Record, StateDirectory

EBUSY = 16
# What the kernel answers to whoever may not write to the cgroup above both places.
NOT_ALLOWED = (1, 13)
# Files of /proc/PID/ns (namespaces(7)).
NAMESPACES = (
    ("user", C.CLONE_NEWUSER),
    ("mnt", C.CLONE_NEWNS),
    ("pid", C.CLONE_NEWPID),
    ("net", C.CLONE_NEWNET),
    ("ipc", C.CLONE_NEWIPC),
    ("uts", C.CLONE_NEWUTS),
    ("cgroup", C.CLONE_NEWCGROUP),
    ("time", C.CLONE_NEWTIME),
)


class Execution(Creation):
    """The carrying out of a plan of `exec`, until execve(2) has happened.

    `init_fd` is a pidfd of the container's init, which stays the caller's.
    """

    def __init__(
        self,
        plan: Plan,
        directory: StateDirectory,
        record: Record,
        keep: list[int],
        console_fd: int,
        ready: Callable[[Creation], None],
        init_fd: int,
    ) -> None:
        super().__init__(plan, directory, record, keep, console_fd, self._in_place)
        self.when_in_place = ready
        # The cgroup that systemd has yet to move the process into.
        self.left_out = ""
        self.descriptors["container_init"] = posix.dup(init_fd)

    def _open_descriptors(self) -> None:
        """Nothing but what `__init__` has: the process does not wait for a start."""

    def _spawn(self, op: Op, flags: int, path: str | None, keep: list[int]) -> None:
        try:
            super()._spawn(op, flags, path, keep)
        except HostFailure as failure:
            if path is not None and failure.errno in NOT_ALLOWED and self.in_unit_of_user():
                super()._spawn(op, flags, None, keep)
                self.left_out = path
                return
            if failure.errno != EBUSY or path is None:
                raise
            super()._spawn(op, flags, self._cgroup_of_init(path, failure), keep)

    def _act(self, op: Op) -> None:
        try:
            super()._act(op)
        except HostFailure as failure:
            if op.kind == "join_cgroup" and failure.errno in NOT_ALLOWED and self.in_unit_of_user():
                self._attach(op.args[0])
                return
            if failure.errno != EBUSY or op.kind != "join_cgroup":
                raise
            super()._act(ops.join_cgroup(op.origin, self._cgroup_of_init(op.args[0], failure)))

    def in_unit_of_user(self) -> bool:
        return self.record.get("systemd_manager") == "user"

    def _in_place(self, execution: Creation) -> None:
        """Init waits now, as the process that stays: before, a child of it could be born elsewhere."""
        if self.left_out:
            self._attach(self.left_out)
        self.when_in_place(execution)

    def _attach(self, path: str) -> None:
        from pyrunc.cgroup import systemd

        systemd.attach(self.record, path, self.pid)

    def _cgroup_of_init(self, path: str, refusal: HostFailure) -> str:
        """Where init is, below the container's cgroup `path` that takes no processes any more.

        A container that has its cgroup delegated moves its processes down to enable controllers
        (cgroups(7), "no internal processes" rule).
        """
        from pyrunc.cgroup import layout

        found = layout.read()
        text = _read(f"/proc/{self.record['init_process_pid']}/cgroup")
        for line in text.split("\n"):
            if line.startswith("0::/") and found.unified is not None:
                own = found.unified.rstrip("/") + line[3:]
                if own.startswith(path + "/") and "/../" not in own:
                    return own
        raise refusal

    def state(self) -> dict[str, Any]:
        return hooks.state(self.record, self.record["init_process_pid"], "running")

    def undo(self, failure: Failure) -> None:
        """Leave nothing of the process; the container stays as it is."""
        try:
            self._end_init()
        except (Failure, OSError) as problem:
            failure.add_undo(problem)


class Exec:
    """One exec: what was asked, what was found, what came of it."""

    def __init__(self, request: Request) -> None:
        options = request.options
        self.request = request
        self.detach: bool = options["detach"]
        self.pid_file = absolute(options["pid_file"]) if options["pid_file"] else ""
        self.trace = launch.trace_to(absolute(options["trace"]) if options["trace"] else "")
        self.pidfd_socket = absolute(options["pidfd_socket"]) if options["pidfd_socket"] else ""
        self.console_socket = (
            absolute(options["console_socket"]) if options["console_socket"] else ""
        )
        self.directory, self.record = container.load(request.root, request.id)
        self.init_fd = self.find_init()
        spec = load.load_copy(self.directory.file(state.CONFIG))
        process = exec_process.build(spec, options, request.args[1:])
        self.spec: Mapping[str, Any] = {**spec, "process": process}
        launch.check_terminal(process["terminal"], self.console_socket, self.detach)
        self.host = host.read(with_cgroup=False)
        if "umask" not in process["user"]:
            process["user"]["umask"] = _own_umask()
        self.plan = exec_build.build(self.spec, self.find_options(), self.host)
        for pointer, text in self.plan.warnings:
            log.warning(f"{pointer}: {text}")

    def find_init(self) -> int:
        """Return a pidfd of init; StateFailure where the container's state forbids exec."""
        record = self.record
        if record["phase"] == "creating":
            raise StateFailure(
                f"cannot exec in a {container.status(self.directory, record)} container"
            )
        fd = open_init(record)
        if fd < 0:
            raise StateFailure("cannot exec in a stopped container")
        if not self.request.options["ignore_paused"] and cgroup.is_frozen(record["cgroup_paths"]):
            raise StateFailure(
                "cannot exec in a paused container (use --ignore-paused to override)"
            )
        return fd

    def find_options(self) -> ExecOptions:
        request, record = self.request, self.record
        program, flags = None, 0
        if "seccomp" in self.spec["linux"]:
            from pyrunc import seccomp

            program, flags = seccomp.compile(
                self.spec["linux"]["seccomp"], request.root, self.spec["annotations"]
            )
        pid = record["init_process_pid"]
        namespaces = differing_namespaces(pid)
        paths = cgroup_directories(record["cgroup_paths"], request.options["cgroup"])
        born_in = paths[""] if list(paths) == [""] else None
        return ExecOptions(
            id=request.id,
            terminal=self.spec["process"]["terminal"],
            has_console_socket=self.console_socket != "",
            namespaces=namespaces,
            init_pid=pid,
            rootfs=record["rootfs"],
            born_in=born_in,
            cgroups=() if born_in else tuple(dict.fromkeys(paths.values())),
            no_new_keyring=record.get("no_new_keyring", False),
            preserve_fds=request.options["preserve_fds"],
            rootless=record["rootless"],
            seccomp_program=program,
            seccomp_flags=flags,
        )

    def carry_out(self) -> Execution:
        """Make the process run; on failure nothing of it is left."""
        keep = launch.preserved(self.host.listen_fds, self.request.options["preserve_fds"])
        processes.close_on_exec_from(3)
        console_fd = -1
        if self.console_socket:
            console_fd = launch.connect(self.console_socket, "console socket")
        kind = self.trace.following(Execution) if self.trace else Execution
        execution = kind(
            self.plan, self.directory, self.record, keep, console_fd, self.ready, self.init_fd
        )
        try:
            execution.carry_out()
            # The file says that the command runs: callers tell by it a failure of ours from one of
            # the command.
            if self.pid_file:
                state.write_pid_file(self.pid_file, execution.pid)
        except BaseException as problem:
            execution.undo(problem if isinstance(problem, Failure) else Failure(str(problem)))
            raise
        return execution

    def ready(self, execution: Creation) -> None:
        """Whoever deletes the container has either seen the process in its cgroup, or has ended init
        before this."""
        if processes.wait(self.init_fd, 0):
            raise StateFailure("cannot exec in a stopped container")
        if self.pidfd_socket:
            launch.send_pidfd(self.pidfd_socket, execution.pid_fd, b"setns")


def execute(request: Request) -> int:
    """Run the process; in the foreground wait for its end and return its exit status, 128 + the
    signal that killed it."""
    asked = Exec(request)
    if not asked.detach:
        processes.block_signals()
    execution = launch.with_trace(asked.trace, asked.carry_out)
    if asked.detach:
        return 0
    status = processes.foreground(execution.pid, execution.pid_fd, execution.ptmx_fd)
    if posix.WIFSIGNALED(status):
        return 128 + posix.WTERMSIG(status)
    return posix.WEXITSTATUS(status)


def differing_namespaces(pid: int) -> int:
    """CLONE_NEW* of the namespaces that process `pid` does not share with the runtime."""
    found = 0
    for name, flag in NAMESPACES:
        try:
            own = posix.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            # A kernel without this kind of namespace.
            continue
        except OSError as error:
            raise HostFailure(error.errno or 0, f"look at namespace {name}") from error
        try:
            other = posix.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            raise StateFailure("cannot exec in a stopped container") from None
        except OSError as error:
            raise HostFailure(error.errno or 0, f"look at namespace {name} of init") from error
        if (own.st_dev, own.st_ino) != (other.st_dev, other.st_ino):
            found |= flag
    return found


def cgroup_directories(paths: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """Where the process goes: `wanted` are [CTRL[,CTRL]:]PATH, below the recorded `paths`."""
    found = dict(paths)
    seen: set[str] = set()
    for text in wanted:
        names, colon, path = text.rpartition(":")
        if not colon:
            if len(wanted) != 1:
                raise Failure(f"invalid --cgroup argument: {text} (missing <controller>: prefix)")
            controllers = list(paths)
        else:
            controllers = names.split(",")
        below = "/".join([part for part in path.split("/") if part not in ("", ".")])
        if ".." in below.split("/") or "\n" in below:
            raise Failure(f"bad --cgroup: {path} is not a sub cgroup path")
        for name in controllers:
            if colon and not name:
                raise Failure(f"invalid --cgroup argument: {text} (empty <controller> prefix)")
            if name not in paths:
                raise Failure(f"unknown controller {name} in --cgroup {text}")
            if name in seen:
                raise Failure(
                    f"invalid --cgroup argument(s): controller {name} specified multiple times"
                )
            seen.add(name)
            if below:
                found[name] = f"{paths[name]}/{below}"
                # In runc's words, which its callers may know; it is they who have named it.
                if not posix.access(found[name], posix.F_OK):
                    raise Failure(
                        f"bad --cgroup: adding pid to {found[name]}: no such file or directory"
                    )
    return found


def _own_umask() -> int:
    """What the process inherits where the config has none: the caller's."""
    mask = posix.umask(0o077)
    posix.umask(mask)
    return mask


def _read(path: str) -> str:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise StateFailure("cannot exec in a stopped container") from error
    try:
        return posix.read(fd, 65536).decode("utf-8", "surrogateescape")
    finally:
        posix.close(fd)
