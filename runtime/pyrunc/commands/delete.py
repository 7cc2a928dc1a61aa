"""delete: remove what is left of a container."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container

    container.delete(request.root, request.id, request.options["force"])
    return 0
