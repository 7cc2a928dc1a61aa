"""checkpoint: save a running container to files, by CRIU."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc.checkpoint import dump

    dump.checkpoint(request)
    return 0
