"""pause: suspend all processes of a container."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container

    container.pause(request.root, request.id)
    return 0
