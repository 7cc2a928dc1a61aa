"""create: make the container of a bundle, waiting to be started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import launch

    launch.create(request)
    return 0
