"""restore: make a container from a checkpoint, by CRIU."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc.checkpoint import restore

    # What create takes beside these is fixed in the images.
    request.options.update(pidfd_socket="", trace="", no_new_keyring=False, preserve_fds=0)
    return restore.restore(request)
