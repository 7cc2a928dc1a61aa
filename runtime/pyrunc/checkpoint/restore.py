"""Decides how a container is made from a checkpoint: cgroups and record as create does, processes by
CRIU.

It must not save. The root file system, the sources of mounts and named namespaces are those of the
bundle that is given, which may be another one than before.
"""

from __future__ import annotations

import posix

from pyrunc import cgroup, container, hooks, log, state, unix_socket
from pyrunc.checkpoint import criu, descriptors, images, messages, mounts, options
from pyrunc.errors import Failure, HostFailure
from pyrunc.launch import Launch
from pyrunc.liveness import start_time
from pyrunc.shim import constants as C
from pyrunc.shim import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request
    from pyrunc.state import StateDirectory

LOG = "restore.log"
_CGROUP_OPERATIONS = ("create_cgroup", "adopt_cgroup", "write_cgroup", "attach_device_program")


def restore(request: Request) -> int:
    """Restore a container; in the foreground wait for its end and return its exit status."""
    flags = request.options
    asked = options.from_flags(flags)
    options.refuse_unprivileged()
    criu.find()
    # From the directory of the caller, before the bundle becomes the working directory.
    places = images.Directories(flags, make=False)
    detach: bool = flags["detach"]
    making = Restoration(Launch(request, detach), places, asked)
    if not detach:
        process.block_signals()
        if not flags["no_subreaper"]:
            process.set_subreaper(True)
    directory = making.carry_out()
    directory.unlock()
    if detach:
        return 0
    status = process.foreground(making.pid, making.pid_fd, making.ptmx_fd)
    container.remove_ended(directory, making.record)
    if posix.WIFSIGNALED(status):
        return 128 + posix.WTERMSIG(status)
    return posix.WEXITSTATUS(status)


class Restoration:
    """The making of one container from images.

    After `carry_out`: `pid` and `pid_fd` of init, and `ptmx_fd` where it has a terminal that no
    console socket took.
    """

    def __init__(self, launch: Launch, places: images.Directories, asked: dict[str, Any]) -> None:
        self.launch = launch
        self.places = places
        self.plan = launch.plan
        self.record = launch.new_record()
        self.pid = 0
        self.pid_fd = -1
        self.ptmx_fd = -1
        self.has_unit = False
        self.opened: list[int] = []
        links = descriptors.saved(places.images)
        if "external_descriptors" in self.record:
            own = self.record["external_descriptors"]
            self.record["external_descriptors"] = descriptors.kept(links, own)
        self.links = links
        self.values = {**options.fixed(places, LOG, launch.spec), **asked, **self._of_bundle()}
        if any(link.startswith("tty[") for link in links):
            # With it CRIU takes standard input for itself: it could not be inherited (CRIU 3.17, EBADF).
            self.values.pop("shell_job", None)

    def carry_out(self) -> StateDirectory:
        """Return the locked state directory of the running container; on failure nothing is left."""
        process.close_on_exec_from(3)
        request = self.launch.request
        directory = state.claim(request.root, request.id)
        made = False
        try:
            directory.lock_cgroups(self.plan.cgroup_paths)
            cgroup.check_unused(self.plan.cgroup_paths)
            directory.write_record(self.record)
            state.write_file(directory.file(state.CONFIG), self.launch.config)
            made = True
            if not self.plan.unit:
                self._make_cgroups()
            self._run_criu()
            self.record["init_process_pid"] = self.pid
            self.record["init_process_start"] = start_time(self.pid)
            self.record["phase"] = "created"
            directory.write_record(self.record)
            if self.launch.pid_file:
                state.write_pid_file(self.launch.pid_file, self.pid)
        except BaseException as problem:
            failure = problem if isinstance(problem, Failure) else Failure(str(problem))
            self._undo(directory, failure, made)
            raise
        finally:
            directory.unlock_cgroups()
            self.places.close()
        return directory

    def _of_bundle(self) -> dict[str, Any]:
        flags = self.launch.request.options
        spec = self.launch.spec
        values: dict[str, Any] = {
            "root": self.launch.rootfs,
            "rst_sibling": True,
            "external": mounts.to_restore(spec, self.plan),
            "inherit_fd": descriptors.inherited(self.links),
            "join_ns": [],
        }
        for name in ("lsm_profile", "lsm_mount_context"):
            if flags[name]:
                values[name] = flags[name]
        for kind, path in options.named_namespaces(spec):
            if kind in options.JOINED:
                values["join_ns"].append({"ns": options.JOINED[kind], "ns_file": path})
                continue
            try:
                self.opened.append(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC))
            except OSError as error:
                raise HostFailure(error.errno or 0, f'open namespace "{path}"') from error
            number = criu.FIRST_INHERITED + len(self.opened) - 1
            values["inherit_fd"].append({"key": options.EXTERNAL[kind][1], "fd": number})
        return values

    def _run_criu(self) -> None:
        mounts.make_points(self.launch.spec, self.launch.rootfs)
        program = self._start_criu()
        try:
            if self.plan.unit:
                # Systemd takes nothing but a process into a scope; what CRIU makes is born there.
                self._start_unit(program.pid)
                self._make_cgroups()
            for path in dict.fromkeys(self.plan.cgroup_paths.values()):
                cgroup.join(path, program.pid)
            self.values["cg_root"] = _cgroup_roots(program.pid)
            answer = program.ask(messages.RESTORE, self.values, self._notified)
        finally:
            program.close()
        if not answer.get("success"):
            raise criu.failure("restore the container", answer, self.places.log(LOG))
        self.pid = answer["restore"]["pid"]
        self.pid_fd = process.open_pidfd(self.pid)
        if self.pid_fd < 0:
            raise Failure("the restored process has ended at once")

    def _make_cgroups(self) -> None:
        for op in self.plan.ops:
            if op.kind in _CGROUP_OPERATIONS:
                cgroup.carry_out(op)

    def _start_unit(self, pid: int) -> None:
        from pyrunc.cgroup import systemd

        properties = [op for op in self.plan.ops if op.kind == "unit_property"]
        for op in self.plan.ops:
            if op.kind == "start_unit":
                systemd.start(op, properties, pid)
        self.has_unit = True

    def _start_criu(self) -> criu.Criu:
        """Start CRIU where the rootfs is a mount, and be back in our own mount namespace."""
        own_fd = here_fd = -1
        try:
            own_fd = posix.open("/proc/self/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
            here_fd = posix.open(".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            try:
                process.enter_restore_root(self.launch.rootfs)
                self.places.reopen()
                self.values["images_dir_fd"] = self.places.images_fd
                self.values["work_dir_fd"] = self.places.work_fd
                guarded = self.launch.spec["process"]["noNewPrivileges"]
                return criu.Criu(True, self.opened, guarded)
            finally:
                process.setns(own_fd, C.CLONE_NEWNS)
                posix.fchdir(here_fd)
        except OSError as error:
            raise HostFailure(error.errno or 0, "prepare the rootfs for CRIU") from error
        finally:
            for fd in (own_fd, here_fd):
                if fd >= 0:
                    posix.close(fd)

    def _notified(self, script: str, pid: int, fd: int) -> None:
        log.debug(f"CRIU: {script} {pid or ''}")
        if pid > 0:
            self.pid = pid
        if script == "setup-namespaces":
            document = hooks.state_document(self.record, pid, "created")
            for op in self.plan.ops:
                if op.kind == "run_hook":
                    hooks.run(op, document, self.record["annotations"])
        elif script == "post-restore" and self.launch.spec["root"]["readonly"]:
            # Before the processes go on. CRIU gives the mount of the root no flags (3.17).
            _make_root_readonly(self.pid)
        elif script == "orphan-pts-master" and fd >= 0:
            if self.launch.console_socket:
                unix_socket.send_descriptor(
                    self.launch.console_socket, "console socket", b"/dev/ptmx", fd
                )
                posix.close(fd)
            else:
                self.ptmx_fd = fd
                process.copy_window_size(fd)

    def _undo(self, directory: StateDirectory, failure: Failure, made: bool) -> None:
        for step in (self._end_init, self._remove_cgroups if made else None, directory.remove):
            if step is None:
                continue
            try:
                step()
            except Failure as problem:
                failure.add_undo(problem)
            except OSError as problem:
                failure.add_undo(problem.strerror)

    def _end_init(self) -> None:
        """End the restored process, which is our child whatever became of CRIU."""
        if self.pid <= 0:
            return
        pid_fd = process.open_pidfd(self.pid)
        if pid_fd < 0:
            return
        try:
            ours, _status = posix.waitpid(self.pid, posix.WNOHANG)
            if ours == 0 and process.send_signal(pid_fd, C.SIGKILL):
                posix.waitpid(self.pid, 0)
        except ChildProcessError:
            # Another's by now: CRIU had ended it, and the number was given away.
            pass
        finally:
            posix.close(pid_fd)

    def _remove_cgroups(self) -> None:
        if self.has_unit or not self.plan.unit:
            cgroup.kill_and_remove(self.plan.cgroup_paths, self.record)
        hooks.run_poststop(self.record)


def _make_root_readonly(pid: int) -> None:
    """In a child, which may enter the mount namespace without us."""
    child = posix.fork()
    if child == 0:
        status = 1
        try:
            process.make_root_readonly(posix.open(f"/proc/{pid}/ns/mnt", posix.O_RDONLY))
            status = 0
        except HostFailure as failure:
            status = failure.errno
        finally:
            posix._exit(status)
    _pid, waited = posix.waitpid(child, 0)
    if waited:
        raise HostFailure(posix.WEXITSTATUS(waited), "make the restored root read-only")


def _cgroup_roots(pid: int) -> list[dict[str, str]]:
    """Return CRIU's `cg_root` entries: where the process, in the container's cgroups, is."""
    from pyrunc.cgroup.files import read_file

    roots = []
    for line in read_file(f"/proc/{pid}/cgroup").split("\n"):
        _number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if colon:
            roots += [{"ctrl": name, "path": path} for name in names.split(",")]
    return roots
