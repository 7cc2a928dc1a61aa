"""Decides what a plan is asked with and what it is.

It must not hold behaviour: these are records.
"""

from __future__ import annotations

from pyrunc.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.ops import Op


@record
class ServiceManager:
    """What is known of a running systemd: `kind` "system" or "user"; `version` 252 and such;
    `control_group`, its own cgroup as a path below the mount point, "" for the root."""

    kind: str
    version: int
    control_group: str


@record
class CreateOptions:
    """What the caller asked for besides config.json.

    `bundle` and `rootfs` are absolute and free of symbolic links. `preserve_fds` counts descriptors
    from 3 (after those of socket activation). `seccomp_program` is what `pyrunc.seccomp.compile`
    made of linux.seccomp, None where there is none. `rootless`: what needs privileges may be refused;
    `denied_cgroups` are then the hierarchies in which the runtime cannot make the container's cgroup.
    `network_is_own`: the network namespace to join by path is the runtime's. `notify_directory` is what
    the container finds its NOTIFY_SOCKET in, "" where nobody waits for it. `cgroup_manager` is "cgroupfs",
    "systemd" (then there is a `service_manager`) or "disabled".
    """

    id: str
    bundle: str
    rootfs: str
    detach: bool
    terminal: bool
    has_console_socket: bool
    no_pivot: bool = False
    no_new_keyring: bool = False
    preserve_fds: int = 0
    cgroup_manager: str = "cgroupfs"
    service_manager: ServiceManager | None = None
    rootless: bool = False
    denied_cgroups: tuple[str, ...] = ()
    network_is_own: bool = False
    notify_directory: str = ""
    seccomp_program: bytes | None = None
    seccomp_flags: int = 0


@record
class ExecOptions:
    """What is known about the process that joins a container, besides its process object.

    `namespaces`: CLONE_NEW* of those of the container's init, `init_pid`, that are not the
    runtime's; `rootfs`: as the host sees it; `born_in`: the cgroup v2 directory for clone; `cgroups`:
    directories to be joined.
    """

    id: str
    terminal: bool
    has_console_socket: bool
    namespaces: int
    init_pid: int
    rootfs: str
    born_in: str | None
    cgroups: tuple[str, ...]
    no_new_keyring: bool = False
    preserve_fds: int = 0
    rootless: bool = False
    seccomp_program: bytes | None = None
    seccomp_flags: int = 0


@record
class Placement:
    """How a container gets into its cgroups: `paths` as in state.json; what is done before the clone,
    which cgroup v2 directory init is born in, and what is done to init; the unit of systemd that it is,
    and whose ("system" or "user"), "" for none."""

    paths: dict[str, str]
    before: tuple[Op, ...]
    after: tuple[Op, ...]
    born_in: str | None
    unit: str = ""
    manager: str = ""


@record
class Plan:
    """`ops` in the order of happening; `cgroup_paths` as in state.json; `warnings` are (pointer, text).

    `has_hooks`: whether one of them wants to be told the container's state. `unit` and `manager` are
    those of the Placement.
    """

    ops: tuple[Op, ...]
    cgroup_paths: dict[str, str]
    warnings: tuple[tuple[str, str], ...] = ()
    has_hooks: bool = False
    unit: str = ""
    manager: str = ""
