"""Decides how a running container is given mounts, and relieved of them.

It must not change the container's config: what is added lasts as long as the container's init.
"""

from __future__ import annotations

import posix

from pyrunc import container, execution, host, state
from pyrunc.errors import Failure, StateFailure
from pyrunc.liveness import open_init
from pyrunc.plan import hotplug
from pyrunc.plan.records import ExecOptions
from pyrunc.shim import constants as C
from pyrunc.spec import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.creation import Creation
    from pyrunc.plan.records import Plan


class Mounting(execution.Execution):
    """The carrying out of a plan whose init ends when all is done."""

    def _source_process(self) -> int:
        return posix.getpid()

    def _await_end_of_conversation(self) -> None:
        super()._await_end_of_conversation()
        posix.waitpid(self.pid, 0)
        self.pid = 0


def change(root: str, container_id: str, add: bool, entries: list[dict[str, Any]]) -> None:
    """Add or remove mounts ({destination, source, type, options}) of a created or running container.

    They are carried out in their order; a failure leaves those before it.
    """
    directory, record = container.load_locked(root, container_id)
    init_fd = -1
    try:
        if container.status(directory, record) not in ("created", "running", "paused"):
            raise StateFailure("container not running")
        init_fd = open_init(record)
        if init_fd < 0:
            raise StateFailure("container not running")
        config = load.parse(load.read(directory.file(state.CONFIG), state.CONFIG), state.CONFIG)
        if not add:
            # A destination is all that is asked for.
            entries = [{"source": "none", "type": "tmpfs", **entry} for entry in entries]
        config["mounts"] = entries
        spec, _warnings = load.accept(config)
        options = _options(record)
        if not options.namespaces & C.CLONE_NEWNS:
            raise Failure("the container has no mount namespace of its own")
        plan: Plan
        if add:
            paths = record["cgroup_paths"]
            plan = hotplug.add(spec, options, host.read(), record["bundle"], paths)
        else:
            plan = hotplug.remove([entry["destination"] for entry in spec["mounts"]], options)
        mounting = Mounting(plan, directory, record, [], -1, _never, init_fd)
        try:
            mounting.carry_out()
        except BaseException as problem:
            mounting.undo(problem if isinstance(problem, Failure) else Failure(str(problem)))
            raise
    finally:
        if init_fd >= 0:
            posix.close(init_fd)
        directory.unlock()


def _never(_creation: Creation) -> None:
    raise AssertionError("a plan of mounts has no stage")


def _options(record: dict[str, Any]) -> ExecOptions:
    pid = record["init_process_pid"]
    namespaces = execution.differing_namespaces(pid)
    return ExecOptions(
        id=record["id"],
        terminal=False,
        has_console_socket=False,
        namespaces=namespaces,
        init_pid=pid,
        rootfs=record["rootfs"],
        born_in=None,
        cgroups=(),
        rootless=record["rootless"],
    )
