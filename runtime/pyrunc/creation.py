"""Decides how a plan is carried out: which side does what when, and how all of it is undone.

It must not decide what is done: that is the plan's. Nothing here reads config.json.
"""

from __future__ import annotations

import posix

from pyrunc import cgroup, hooks, init_report, log, state
from pyrunc.errors import Failure, HostFailure
from pyrunc.liveness import start_time
from pyrunc.plan.ops import INIT_SETUP_KINDS, RESCTRL_KINDS, RUNTIME_KINDS
from pyrunc.shim import constants as C
from pyrunc.shim import process
from pyrunc.shim.plan_buffer import PlanBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pyrunc.plan.build import Plan
    from pyrunc.plan.ops import Op
    from pyrunc.state import Record, StateDirectory

EOPNOTSUPP = 95
# Files of /proc/PID/ns (namespaces(7)) for what a plan may let the runtime enter.
NAMESPACE_FILES = {
    C.CLONE_NEWPID: "pid",
    C.CLONE_NEWTIME: "time",
    C.CLONE_NEWNET: "net",
    C.CLONE_NEWIPC: "ipc",
    C.CLONE_NEWUTS: "uts",
    C.CLONE_NEWCGROUP: "cgroup",
}


class Creation:
    """The carrying out of one plan, from the first operation until init waits for its start.

    `keep` are descriptors of the caller that the container keeps; `console_fd` is the connected
    console socket or -1; `ready` is called when all but execve is done, with init waiting.
    `listener_fd` is init's descriptor of its seccomp listener, at STAGE_SECCOMP.
    After `carry_out`: `pid`, `pid_fd` and, with a terminal in the foreground, `ptmx_fd`.
    """

    def __init__(
        self,
        plan: Plan,
        directory: StateDirectory,
        record: Record,
        keep: list[int],
        console_fd: int,
        ready: Callable[[Creation], None],
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.record = record
        self.keep = keep
        self.ready = ready
        self.pid = 0
        self.pid_fd = -1
        self.sync_fd = -1
        self.ptmx_fd = -1
        self.listener_fd = -1
        # The stage that init waits at, 0 while it goes on.
        self.held_at = 0
        self.hooks_told = False
        self.has_unit = False
        self.entered: set[str] = set()
        self.namespaces_left: list[tuple[int, int]] = []
        self.descriptors = {"console_socket": console_fd}
        self.buffer = PlanBuffer(self.descriptors)

    def carry_out(self) -> None:
        """Raise Failure as soon as an operation fails; `undo` is the caller's then."""
        self._open_descriptors()
        self.buffer.extend(op for op in self.plan.ops if op.kind not in RUNTIME_KINDS)
        for op in self.plan.ops:
            if op.kind in RUNTIME_KINDS:
                self._act(op)
            else:
                self._let_go()
                if op.kind == "stage":
                    self._await_stage(op.args[0])
                elif op.kind == "respawn":
                    self._await_birth()
        self._let_go()
        self._await_end_of_conversation()

    def _open_descriptors(self) -> None:
        """Open what init needs before the clone: the exec fifo, namespaces."""
        fifo = self.directory.file(state.FIFO)
        try:
            posix.mkfifo(fifo, 0o600)
            self.descriptors["exec_fifo"] = posix.open(fifo, posix.O_RDWR | posix.O_CLOEXEC)
        except OSError as error:
            raise HostFailure(error.errno or 0, "make the exec fifo") from error
        for op in self.plan.ops:
            if op.kind == "setns" and op.args[1] not in self.descriptors:
                self.descriptors[op.args[1]] = open_namespace(op.args[1], op.origin)
            elif op.kind == "hook":
                for name, path in zip(("hooks_stdout", "hooks_stderr"), op.args[-2:], strict=True):
                    if path and name not in self.descriptors:
                        self.descriptors[name] = hooks.open_output(path, op.origin)

    def _act(self, op: Op) -> None:
        kind = op.kind
        if kind == "clone":
            self._clone(op)
        elif kind == "join_cgroup":
            if op.args[0] not in self.entered:
                cgroup.join(op.args[0], self.pid, op.origin)
        elif kind == "unit_property":
            # Told to systemd all at once.
            return
        elif kind == "start_unit":
            self._start_unit(op)
        elif kind == "enter_namespace":
            self._enter_namespace(op)
        elif kind in INIT_SETUP_KINDS:
            from pyrunc import init_setup

            init_setup.carry_out(op, self.pid)
        elif kind == "new_time_namespace":
            self._make_time_namespace(op)
        elif kind in RESCTRL_KINDS:
            from pyrunc import resctrl

            resctrl.carry_out(op, self.pid)
        elif kind == "move_net_device":
            from pyrunc import netdevices

            netdevices.carry_out(op, self.pid)
        elif kind == "send_seccomp_listener":
            from pyrunc import seccomp_listener

            seccomp_listener.send(op, self)
        elif kind == "run_hook":
            hooks.run(op, self._state_document(), self.record["annotations"])
        else:
            cgroup.carry_out(op)

    def _start_unit(self, op: Op) -> None:
        from pyrunc.cgroup import systemd

        systemd.start(op, [one for one in self.plan.ops if one.kind == "unit_property"], self.pid)
        self.has_unit = True

    def _enter_namespace(self, op: Op) -> None:
        """Enter it until the clone: hooks and all that follows belong to the runtime's own."""
        nstype, path = op.args
        self.namespaces_left.append(
            (open_namespace(f"/proc/self/ns/{NAMESPACE_FILES[nstype]}", op.origin), nstype)
        )
        fd = open_namespace(path, op.origin)
        try:
            process.setns(fd, nstype)
        except HostFailure as failure:
            failure.pointer = op.origin
            raise
        finally:
            posix.close(fd)

    def _make_time_namespace(self, op: Op) -> None:
        from pyrunc import init_setup

        self.namespaces_left.append(
            (open_namespace("/proc/self/ns/time", op.origin), C.CLONE_NEWTIME)
        )
        init_setup.unshare_time(op)

    def _return_to_own_namespaces(self) -> None:
        while self.namespaces_left:
            fd, nstype = self.namespaces_left.pop()
            try:
                process.setns(fd, nstype)
            finally:
                posix.close(fd)

    def _clone(self, op: Op) -> None:
        own = [fd for fd in self.descriptors.values() if fd >= 0]
        try:
            flags, path = op.args
            self._spawn(op, flags, path, own + self.keep)
        finally:
            for fd in own:
                posix.close(fd)
            self._return_to_own_namespaces()

    def _spawn(self, op: Op, flags: int, path: str | None, keep: list[int]) -> None:
        """Clone init into the cgroup v2 `path`; what it can enter of all other cgroups, it enters."""
        tasks = self._open_tasks()
        unified = path or self._joined_unified()
        cgroup_fd = -1
        try:
            if unified is not None:
                cgroup_fd = _open_cgroup(unified)
            try:
                child = self._clone_init(op, flags, cgroup_fd, tasks.values(), keep)
            except HostFailure as failure:
                if cgroup_fd < 0 or (path is not None and failure.errno != EOPNOTSUPP):
                    raise
                child = self._clone_init(op, flags, -1, tasks.values(), keep)
                unified = None
            self.pid, self.pid_fd, self.sync_fd, entered = child
            if log.debug_enabled():
                self._log_setup()
        finally:
            for fd in (cgroup_fd, *tasks.values()):
                if fd >= 0:
                    posix.close(fd)
        self.entered = {name for index, name in enumerate(tasks) if entered >> index & 1}
        if unified is not None:
            self.entered.add(unified)
        elif path is not None:
            cgroup.join(path, self.pid, op.origin)

    def _log_setup(self) -> None:
        """With the words by which people find this in runc's log; no process of ours has that name."""
        operations = self.buffer.operations
        log.debug(f"nsexec: container setup: {len(operations)} operations in process {self.pid}")
        for flags in [op.args[1] for op in operations if op.kind == "load_seccomp"]:
            log.debug(f"seccomp filter flags: {flags}")

    def _clone_init(
        self, op: Op, flags: int, cgroup_fd: int, tasks: Iterable[int], keep: list[int]
    ) -> tuple[int, int, int, int]:
        try:
            return process.spawn(self.buffer, flags, cgroup_fd, tasks, keep)
        except HostFailure as failure:
            failure.pointer = op.origin
            raise

    def _open_tasks(self) -> dict[str, int]:
        """Open the files that a thread enters cgroups of v1 by, where it need not wait for a grace
        period; what is not there is entered by `cgroup.join`."""
        found: dict[str, int] = {}
        if self.plan.unit:
            # The cgroups of a unit are not there yet.
            return found
        for op in self.plan.ops:
            if op.kind == "join_cgroup" and op.args[0] != self.record["cgroup_paths"].get(""):
                try:
                    fd = posix.open(op.args[0] + "/tasks", posix.O_WRONLY | posix.O_CLOEXEC)
                except OSError:
                    continue
                found[op.args[0]] = fd
        return found

    def _joined_unified(self) -> str | None:
        """The cgroup v2 directory beside those of v1, which init can be born in."""
        path = self.record["cgroup_paths"].get("")
        joins = not self.plan.unit and any(
            op.kind == "join_cgroup" and op.args[0] == path for op in self.plan.ops
        )
        return path if joins else None

    def _await_stage(self, stage: int) -> None:
        reached, listener_fd = 0, -1
        while not reached:
            report = self._next_report()
            if report is None:
                raise self._unexpected_end()
            if report.kind == C.REPORT_STAGE:
                reached, listener_fd = report.stage, report.listener_fd
        if reached != stage:
            raise Failure(f"init is at stage {reached} instead of {stage}")
        self.listener_fd = listener_fd
        self.held_at = stage
        if stage in (C.STAGE_HOOKS, C.STAGE_READY):
            # All joins are over, and a hook may make a container itself.
            self.directory.unlock_cgroups()
        if stage == C.STAGE_READY:
            log.debug("child process in init is ready")
            self.ready(self)
            log.release_warnings()

    def _next_report(self) -> Any:
        """Return the next report, having taken care of those that ask for nothing but that."""
        report = process.read_report(self.sync_fd)
        if report is None:
            return None
        if report.kind == C.REPORT_FAILURE:
            raise init_report.failure(report, self.buffer.operations)
        if report.kind == C.REPORT_WARNING:
            log.warning(str(init_report.failure(report, self.buffer.operations)))
        elif report.kind == C.REPORT_PTY:
            self.ptmx_fd = report.fd
            # Before the process can ask for it; later changes come with SIGWINCH.
            process.copy_window_size(report.fd)
        elif report.kind == C.REPORT_BORN:
            # The one that has made it has nothing left to do but end.
            posix.waitpid(self.pid, 0)
            posix.close(self.pid_fd)
            self.pid, self.pid_fd = report.pid, report.fd
        elif report.kind == C.REPORT_SOURCE:
            from pyrunc import mount_sources

            op = self.buffer.operations[report.op]
            mount_sources.answer(self.sync_fd, self._source_process(), op)
        return report

    def _source_process(self) -> int:
        """The process in whose mount namespace the sources of binds are looked up."""
        return self.pid

    def _await_birth(self) -> None:
        """What follows in the plan is about the process that init goes on as."""
        while True:
            report = self._next_report()
            if report is None:
                raise self._unexpected_end()
            if report.kind == C.REPORT_BORN:
                return

    def _let_go(self) -> None:
        if not self.held_at:
            return
        payload = b""
        if self.held_at in (C.STAGE_HOOKS, C.STAGE_READY) and not self.hooks_told:
            self.hooks_told = True
            payload = self._state_document() if self.plan.has_hooks else b""
        self.held_at = 0
        process.go(self.sync_fd, payload)

    def _await_end_of_conversation(self) -> None:
        """Init closes its end when it waits at the exec fifo; what it says before is a failure."""
        while self._next_report() is not None:
            pass
        posix.close(self.sync_fd)
        self.sync_fd = -1

    def _unexpected_end(self) -> Failure:
        _pid, status = posix.waitpid(self.pid, 0)
        self.pid = 0
        how = f"signal {posix.WTERMSIG(status)}" if posix.WIFSIGNALED(status) else "no word"
        if posix.WIFSIGNALED(status) and cgroup.oom_killed(self.plan.cgroup_paths):
            return Failure("container init was OOM-killed (memory limit too low?)")
        # With next to no memory not even the message that tells of it can be sent (ENOBUFS).
        if posix.WIFEXITED(status) and posix.WEXITSTATUS(status) == C.SHIM_NOT_EXECUTED:
            return Failure("init cannot be executed (memory limit too low?)")
        return Failure(f"init ended early: {how}")

    def state(self) -> dict[str, Any]:
        """What a seccomp agent is told of the container."""
        return hooks.state(self.record, self.pid, "creating")

    def _state_document(self) -> bytes:
        # runtime.md, "State": created is what comes after step 2 of the life cycle, and hooks begin
        # with step 3. The conformance suite and crun have it so; runc says "creating".
        return hooks.state_document(self.record, self.pid, "created")

    def identify(self) -> None:
        """Put what names init for good into the record."""
        self.record["init_process_pid"] = self.pid
        self.record["init_process_start"] = start_time(self.pid)

    def undo(self, failure: Failure) -> None:
        """Leave nothing: init, cgroups, directory. What cannot be undone is told with `failure`."""
        for step in (self._end_init, self._remove_cgroups, self._run_poststop, self._remove_state):
            try:
                step()
            except Failure as problem:
                failure.add_undo(problem)
            except OSError as problem:
                failure.add_undo(problem.strerror)

    def _end_init(self) -> None:
        if self.sync_fd >= 0:
            posix.close(self.sync_fd)
            self.sync_fd = -1
        if self.pid > 0:
            process.send_signal(self.pid_fd, C.SIGKILL)
            posix.waitpid(self.pid, 0)

    def _remove_cgroups(self) -> None:
        if self.has_unit or (self.pid_fd >= 0 and not self.plan.unit):
            cgroup.kill_and_remove(self.plan.cgroup_paths, self.record)
        else:
            # Before the clone, or the unit, whatever runs in there is another container's.
            cgroup.remove_unused(self.plan.cgroup_paths)
        if self.record.get("resctrl_groups"):
            from pyrunc import resctrl

            resctrl.remove(self.record["resctrl_groups"])

    def _run_poststop(self) -> None:
        hooks.run_poststop(self.record)

    def _remove_state(self) -> None:
        self.directory.remove()


def _open_cgroup(path: str) -> int:
    try:
        return posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise HostFailure(error.errno or 0, f"open cgroup {path}") from error


def open_namespace(path: str, origin: str) -> int:
    try:
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise HostFailure(error.errno or 0, f'open namespace "{path}"', pointer=origin) from error
