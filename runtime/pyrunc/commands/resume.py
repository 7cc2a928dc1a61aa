"""resume: let a paused container go on."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container

    container.resume(request.root, request.id)
    return 0
