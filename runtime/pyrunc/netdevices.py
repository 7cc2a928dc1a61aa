"""Decides how network devices get into a container's network namespace (config-linux.md, "Network
Devices").

It must not decide which: operations say so. It is imported only for a config that has some.
"""

from __future__ import annotations

import posix
import sys

from pyrunc import log
from pyrunc.errors import Failure, HostFailure
from pyrunc.netlink import Route
from pyrunc.shim import constants as C
from pyrunc.shim import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.ops import Op

OWN = "/proc/self/ns/net"
ENODEV = 19
# What an address is, apart from what the kernel counts: its cache information and its label.
KEPT = (C.IFA_ADDRESS, C.IFA_LOCAL, C.IFA_BROADCAST, C.IFA_FLAGS, C.IFA_RT_PRIORITY)


def carry_out(op: Op, pid: int) -> None:
    """Carry out move_net_device: into the namespace that it names, or that of init `pid`.

    What has been moved is not moved back when a later step fails: virtual devices end with the
    namespace, and the kernel brings physical ones back when it ends (network_namespaces(7)).
    """
    name, new_name, path = op.args
    try:
        target_fd = posix.open(path or f"/proc/{pid}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            own, target = posix.stat(OWN), posix.fstat(target_fd)
            if (own.st_dev, own.st_ino) == (target.st_dev, target.st_ino):
                log.warning(f"{op.origin}: the container shares the runtime's network namespace")
            else:
                _move(name, new_name, target_fd)
        finally:
            posix.close(target_fd)
    except Failure as failure:
        failure.pointer, failure.subject = op.origin, name
        raise
    except OSError as error:
        raise HostFailure(
            error.errno or 0, "move network device", pointer=op.origin, subject=name
        ) from error


def _move(name: str, new_name: str, target_fd: int) -> None:
    here, there = Route(), _route_of(target_fd)
    try:
        index = here.find(name)
        if index is None:
            raise HostFailure(ENODEV, "find network device")
        addresses = [
            (head, {kind: value for kind, value in attributes.items() if kind in KEPT})
            for head, scope, attributes in here.addresses(index)
            if scope == C.RT_SCOPE_UNIVERSE and _is_permanent(head, attributes)
        ]
        before = {index for index, _attributes in there.links()}
        here.move(index, target_fd, new_name)
        # The number may be another one there, and the name too, if it is a template such as eth%d.
        moved = there.find(new_name)
        if moved is None:
            moved = next((index for index, _ in there.links() if index not in before), None)
        if moved is None:
            raise HostFailure(ENODEV, "find the moved network device")
        for head, attributes in addresses:
            there.add_address(head, moved, attributes)
        there.set_up(moved)
    finally:
        here.close()
        there.close()


def _is_permanent(head: bytes, attributes: dict[int, bytes]) -> bool:
    """Not by autoconfiguration, nor with a lifetime; what did that will see to it there too."""
    flags = attributes.get(C.IFA_FLAGS)
    value = int.from_bytes(flags, sys.byteorder) if flags else head[2]
    return bool(value & C.IFA_F_PERMANENT)


def _route_of(namespace_fd: int) -> Route:
    """A socket in another namespace: it stays there when the runtime returns."""
    own_fd = posix.open(OWN, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        process.setns(namespace_fd, C.CLONE_NEWNET)
        try:
            return Route()
        finally:
            process.setns(own_fd, C.CLONE_NEWNET)
    finally:
        posix.close(own_fd)
