"""Decides how a container reaches the socket by which it says that it is ready (sd_notify(3)).

It must not know who listens there: `pyrunc.notify` does. Imported only where somebody waits for it.
"""

from __future__ import annotations

from pyrunc.plan import ops
from pyrunc.shim.constants import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan.ops import Op

# Where runc has them.
TARGET = "/run/notify"
VARIABLE = f"NOTIFY_SOCKET={TARGET}/notify.sock"


def mount(directory: str) -> Op:
    """Bind the directory, for the socket in it is made by start; as read-only, lest the container
    puts another there. Sending to a socket is no writing to its file system (unix(7))."""
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV
    return ops.bind("", directory, TARGET, 0, 0, attributes, 0, 0, 0)
