"""run: create and start a container, and wait for it unless detached."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import launch

    return launch.run(request)
