"""create: make the container of a bundle, waiting to be started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container

    refuse_unsupported(request)
    container.create(request)
    return 0


def refuse_unsupported(request: Request) -> None:
    """Raise Failure for what the options ask for and this version cannot do: never in silence."""
    from pyrunc.errors import Failure

    if request.systemd_cgroup:
        raise Failure("--systemd-cgroup: not supported yet, use the cgroupfs driver")
    if request.cgroup_manager == "disabled":
        raise Failure("--cgroup-manager disabled: not supported yet")
    if request.options["pidfd_socket"]:
        raise Failure("--pidfd-socket: not supported yet")
