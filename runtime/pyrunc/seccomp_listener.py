"""Decides what an agent that answers for system calls is told (config-linux.md, "Seccomp").

It must not answer for any call itself. It is imported only for a filter with a listener.
"""

from __future__ import annotations

import posix

from pyrunc import jsontext, output, unix_socket
from pyrunc.errors import HostFailure
from pyrunc.shim import process
from pyrunc.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.creation import Creation
    from pyrunc.plan.ops import Op

# seccomp.md of runtime-spec: the name of the first descriptor of the message.
LISTENER_NAME = "seccompFd"


def send(op: Op, creation: Creation) -> None:
    """Carry out send_seccomp_listener: what cannot be handed over is a Failure at its place."""
    path, metadata = op.args
    try:
        # Init cannot send it: that call may be one of those that only the agent answers.
        fd = process.copy_descriptor(
            creation.pid_fd, creation.listener_fd, "take the seccomp listener"
        )
        try:
            document = container_process_state(creation.pid, metadata, creation.state())
            unix_socket.send_descriptor(path, "seccomp agent", document, fd)
        finally:
            posix.close(fd)
    except HostFailure as failure:
        failure.pointer = op.origin
        raise


def container_process_state(pid: int, metadata: str, state: dict[str, Any]) -> bytes:
    """The container process state of config-linux.md; `pid` is the process that has the filter."""
    document: dict[str, Any] = {
        "ociVersion": SPEC_VERSION,
        "fds": [LISTENER_NAME],
        "pid": pid,
    }
    if metadata:
        document["metadata"] = metadata
    document["state"] = state
    return output.encode(jsontext.dumps(document))
