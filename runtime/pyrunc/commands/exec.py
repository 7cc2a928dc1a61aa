"""exec: run one more process in a container."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import execution

    return execution.execute(request)
