"""Decides how create and run go: from a request to a container that waits or runs.

It must not decide what a container consists of (the plan does) nor how that is done (`creation`).
"""

from __future__ import annotations

import posix

from pyrunc import cgroup, container, host, log, state
from pyrunc.cgroup.files import read_file
from pyrunc.creation import Creation
from pyrunc.errors import Failure, HostFailure, SpecFailure
from pyrunc.hostpath import absolute
from pyrunc.plan import build
from pyrunc.plan.records import CreateOptions
from pyrunc.shim import process
from pyrunc.spec import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from pyrunc.cli import Request
    from pyrunc.host import Host
    from pyrunc.notify import Proxy
    from pyrunc.plan.records import Plan
    from pyrunc.spec.types import Spec
    from pyrunc.state import Record, StateDirectory
    from pyrunc.trace import Trace

    T = TypeVar("T")


EPERM = 1
ENOSPC = 28


class Launch:
    """One create or run: what was asked, what was read, what came of it."""

    def __init__(self, request: Request, detach: bool) -> None:
        options = request.options
        self.request = request
        self.detach = detach
        self.pid_file = _absolute(options["pid_file"])
        self.trace = trace_to(_absolute(options["trace"]))
        self.console_socket = _absolute(options["console_socket"])
        self.pidfd_socket = _absolute(options["pidfd_socket"])
        self.bundle = enter_bundle(options["bundle"])
        name = options["config"]
        self.config = load.read(name, name)
        self.spec, warnings = load.accept(load.parse(self.config, name))
        for finding in warnings:
            log.warning(": ".join(finding))
        check_terminal(self.spec["process"]["terminal"], self.console_socket, detach)
        self.host = host.read()
        self.rootfs = find_rootfs(self.bundle, self.spec)
        self.notify_directory = ""
        if self.host.notify_socket:
            from pyrunc import notify

            self.notify_directory = notify.directory(f"{request.root}/{request.id}", self.spec)
        self.plan = plan_for(
            request,
            self.spec,
            self.host,
            self.bundle,
            self.rootfs,
            detach,
            self.console_socket,
            self.notify_directory,
        )
        for pointer, text in self.plan.warnings:
            log.warning(f"{pointer}: {text}")
        self.directory: StateDirectory | None = None
        self.record: Record = {}
        self.creation: Creation | None = None

    def create(self) -> Creation:
        """Make the container; on failure nothing of it is left."""
        keep = preserved(self.host.listen_fds, self.request.options["preserve_fds"])
        process.close_on_exec_from(3)
        console_fd = connect(self.console_socket, "console socket") if self.console_socket else -1
        if self.notify_directory and self.host.notify_socket:
            from pyrunc import notify

            notify.check(self.host.notify_socket)
        directory = self.directory = state.claim(self.request.root, self.request.id)
        creation = None
        try:
            self.record = self.new_record()
            # Whoever removes what a record names ends the processes in it: they have to be ours.
            directory.lock_cgroups(self.plan.cgroup_paths)
            cgroup.check_unused(self.plan.cgroup_paths)
            directory.write_record(self.record)
            state.write_file(directory.file(state.CONFIG), self.config)
            if self.notify_directory:
                notify.make_directory(self.notify_directory)
            kind = self.trace.following(Creation) if self.trace else Creation
            creation = kind(self.plan, directory, self.record, keep, console_fd, self.ready)
            creation.carry_out()
        except BaseException as problem:
            failure = problem if isinstance(problem, Failure) else Failure(str(problem))
            failure = self.explained(failure)
            if creation is not None:
                creation.undo(failure)
            else:
                directory.remove()
            directory.unlock_cgroups()
            if isinstance(problem, Failure) and failure is not problem:
                raise failure from problem
            raise
        self.creation = creation
        return creation

    def explained(self, failure: Failure) -> Failure:
        """A failure whose errno misleads, in words that say more: runc's where its callers know them."""
        cpus = self.spec["linux"]["resources"].get("cpu", {}).get("cpus")
        if failure.pointer == "/process/scheduler" and cpus and failure.errno == EPERM:
            return Failure(
                "process scheduler can't be used together with AllowedCPUs", pointer=failure.pointer
            )
        if failure.errno in (EPERM, ENOSPC) and self.spec["linux"]["uidMappings"]:
            from pyrunc import init_setup

            return init_setup.explained(failure)
        return failure

    def new_record(self) -> Record:
        spec = self.spec
        record: dict[str, Any] = {
            "version": state.VERSION,
            "id": self.request.id,
            "phase": "creating",
            "init_process_pid": 0,
            "init_process_start": 0,
            "created": log.rfc3339(),
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "annotations": spec["annotations"],
            "owner": posix.geteuid(),
            "rootless": self.host.euid != 0,
            "cgroup_paths": self.plan.cgroup_paths,
            "private_pid_namespace": any(
                namespace["type"] == "pid" and "path" not in namespace
                for namespace in spec["linux"]["namespaces"]
            ),
        }
        if self.plan.unit:
            record["systemd_unit"] = self.plan.unit
            record["systemd_manager"] = self.plan.manager
        if not spec["process"]["terminal"]:
            record["external_descriptors"] = external_descriptors()
        if self.request.options["no_new_keyring"]:
            record["no_new_keyring"] = True
        if self.notify_directory:
            record["notify_socket"] = self.host.notify_socket
        if spec["linux"].get("intelRdt"):
            from pyrunc import resctrl

            record["resctrl_groups"] = resctrl.missing_groups(self.plan.ops)
        hooks: Any = spec["hooks"]
        later = {name: hooks[name] for name in ("poststart", "poststop") if hooks.get(name)}
        if later:
            record["hooks"] = later
        return record

    def ready(self, creation: Creation) -> None:
        """Init has done all but execve: what must survive us is recorded before it may go on."""
        assert_directory = creation.directory
        creation.identify()
        self.record["phase"] = "created"
        assert_directory.write_record(self.record)
        if self.pidfd_socket:
            send_pidfd(self.pidfd_socket, creation.pid_fd)
        if self.spec["annotations"]:
            from pyrunc import annotated

            receiver = self.spec["annotations"].get(annotated.PIDFD_RECEIVER)
            if receiver:
                send_pidfd(receiver, creation.pid_fd, self.request.id.encode() + b"\0")
        if self.pid_file:
            state.write_pid_file(self.pid_file, creation.pid)


def external_descriptors() -> list[str]:
    """Return what the standard streams lead to, "" for a closed one, as checkpoint has to know it.

    Now, since later they may be elsewhere at any instant: a shell moves them for a redirection. Names
    that CRIU has for what is not the container's are "file[MOUNT:INODE]", a regular file, and
    "tty[RDEV:DEV]", a terminal, all hexadecimal.
    """
    found = []
    for number in (0, 1, 2):
        try:
            link = posix.readlink(f"/proc/self/fd/{number}")
            status = posix.fstat(number)
            kind = status.st_mode & 0o170000
            if kind == 0o100000:
                told = read_file(f"/proc/self/fdinfo/{number}").partition("mnt_id:")[2].split()[0]
                link = f"file[{int(told):x}:{status.st_ino:x}]"
            elif kind == 0o020000 and posix.isatty(number):
                link = f"tty[{status.st_rdev:x}:{status.st_dev:x}]"
        except (OSError, IndexError):
            link = ""
        found.append(link)
    return found


def check_terminal(terminal: bool, console_socket: str, detach: bool) -> None:
    """The two refusals are runc's to the letter: its callers look for them."""
    if console_socket and not (terminal and detach):
        raise Failure(
            "cannot use console socket if runc will not detach or allocate tty",
            pointer="/process/terminal",
        )
    if terminal and detach and not console_socket:
        raise Failure(
            "cannot allocate tty if runc will detach without setting console socket",
            pointer="/process/terminal",
        )


def create(request: Request) -> None:
    launch = Launch(request, detach=True)
    with_trace(launch.trace, launch.create)


def trace_to(path: str) -> Trace | None:
    """Return the trace to be written to `path`, None where none is asked for."""
    if not path:
        return None
    from pyrunc.trace import Trace

    return Trace(path)


def with_trace(trace: Trace | None, work: Callable[[], T]) -> T:
    """Do `work`; a trace of it is written even where it fails."""
    if trace is None:
        return work()
    try:
        return work()
    finally:
        trace.write()


def run(request: Request) -> int:
    """Create and start; in the foreground wait for the end, remove the container (unless --keep) and
    return its exit status, 128 + the signal that killed it."""
    detach = request.options["detach"]
    launch = Launch(request, detach)
    if not detach:
        process.block_signals()
        if not request.options["no_subreaper"]:
            process.set_subreaper(True)
    creation, proxy = with_trace(launch.trace, lambda: _create_and_start(launch))
    if detach:
        if proxy is not None:
            _await_ready(launch, creation, proxy)
        return 0
    proxy_fd = proxy.in_background(creation.ptmx_fd) if proxy is not None else -1
    status = process.foreground(creation.pid, creation.pid_fd, creation.ptmx_fd)
    if proxy_fd >= 0:
        # Lest the end of the container is told before what it said last.
        process.wait(proxy_fd, -1)
    if not request.options["keep"]:
        container.remove_ended(creation.directory, launch.record)
    if posix.WIFSIGNALED(status):
        return 128 + posix.WTERMSIG(status)
    return posix.WEXITSTATUS(status)


def _create_and_start(launch: Launch) -> tuple[Creation, Proxy | None]:
    creation = launch.create()
    try:
        proxy = container.notify_proxy(creation.directory, launch.record)
    except Failure:
        container.destroy(creation.directory, launch.record)
        raise
    container.start_locked(creation.directory, launch.record)
    creation.directory.unlock()
    return creation, proxy


def _await_ready(launch: Launch, creation: Creation, proxy: Proxy) -> None:
    """A container whose readiness cannot be told is none that `run` has started."""
    try:
        proxy.wait()
    except Failure:
        container.remove_ended(creation.directory, launch.record)
        raise


def plan_for(
    request: Request,
    spec: Spec,
    facts: Host,
    bundle: str,
    rootfs: str,
    detach: bool,
    console_socket: str,
    notify_directory: str,
) -> Plan:
    options = request.options
    program, flags = None, 0
    if "seccomp" in spec["linux"]:
        from pyrunc import seccomp

        program, flags = seccomp.compile(
            spec["linux"]["seccomp"], request.root, spec["annotations"]
        )
    rootless = is_rootless(request.rootless, facts)
    denied: tuple[str, ...] = ()
    service_manager = None
    if request.cgroup_manager == "systemd":
        from pyrunc.cgroup import systemd

        kind = "user" if rootless else "system"
        if request.verb == "plan":
            service_manager = systemd.assume(kind)
        else:
            given = facts.listen_fds + options["preserve_fds"]
            service_manager = systemd.ask(kind, 3 + given)
    elif rootless and request.cgroup_manager == "cgroupfs":
        from pyrunc.cgroup import permission
        from pyrunc.plan import cgroups

        denied = permission.denied(cgroups.locate(spec, request.id, facts.cgroup), facts.cgroup)
    return build.build(
        spec,
        CreateOptions(
            id=request.id,
            bundle=bundle,
            rootfs=rootfs,
            detach=detach,
            terminal=spec["process"]["terminal"],
            has_console_socket=console_socket != "",
            no_pivot=options["no_pivot"],
            no_new_keyring=options["no_new_keyring"],
            preserve_fds=options["preserve_fds"],
            cgroup_manager=request.cgroup_manager,
            service_manager=service_manager,
            rootless=rootless,
            denied_cgroups=denied,
            network_is_own=_shares_network(spec),
            notify_directory=notify_directory,
            seccomp_program=program,
            seccomp_flags=flags,
        ),
        facts,
    )


def is_rootless(asked: str, facts: Host) -> bool:
    """Whether to go on where privileges are missing: root of a user namespace lacks them too."""
    return asked == "true" or (asked == "auto" and (facts.euid != 0 or facts.in_user_namespace))


def _shares_network(spec: Spec) -> bool:
    """Whether sysctls would be those of the runtime's own network, although a path is given.

    A namespace is one file of nsfs, whatever leads to it (ioctl_ns(2)).
    """
    if not spec["linux"]["sysctl"]:
        return False
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] == "network" and entry.get("path"):
            try:
                given, own = posix.stat(entry["path"]), posix.stat("/proc/self/ns/net")
            except OSError:
                return False
            return (given.st_dev, given.st_ino) == (own.st_dev, own.st_ino)
    return False


def enter_bundle(path: str) -> str:
    """Make the bundle the working directory, as hooks and relative paths expect; its real path."""
    try:
        if path:
            posix.chdir(path)
        return posix.getcwd()
    except OSError as error:
        raise HostFailure(error.errno or 0, f'enter bundle "{path}"') from error


def find_rootfs(bundle: str, spec: Spec) -> str:
    """Return the real path of the rootfs, which must be a directory other than "/"."""
    path = spec["root"]["path"]
    try:
        fd = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise HostFailure(
            error.errno or 0, f'open rootfs "{path}" of bundle "{bundle}"', pointer="/root/path"
        ) from error
    try:
        real = posix.readlink(f"/proc/self/fd/{fd}")
    except OSError as error:
        raise HostFailure(error.errno or 0, "read /proc/self/fd") from error
    finally:
        posix.close(fd)
    if real == "/":
        raise SpecFailure("/root/path", "must not be the root of the host")
    return real


def preserved(listen_fds: int, count: int) -> list[int]:
    """Return the descriptors of the caller that the container keeps; each of them must be open."""
    total = listen_fds + count
    for number in range(total):
        try:
            posix.fstat(3 + number)
        except OSError as error:
            raise HostFailure(
                error.errno or 0, f"unable to stat preserved-fd {number} (of {total})"
            ) from error
    return list(range(3, 3 + total))


def connect(path: str, noun: str) -> int:
    from pyrunc import unix_socket

    return unix_socket.connect(path, noun)


def send_pidfd(path: str, pid_fd: int, kind: bytes = b"standard") -> None:
    """Send a pidfd; `kind` as runc has it: "standard" for init, "setns" for exec."""
    from pyrunc import unix_socket

    unix_socket.send_descriptor(path, "pidfd socket", kind, pid_fd)


def _absolute(path: str) -> str:
    return absolute(path) if path else ""
