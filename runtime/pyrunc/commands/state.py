"""state: print the state document of a container."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container, output
    from pyrunc.jsontext import dumps

    # Without a newline at its end, as runc; nothing else may be printed, on standard error neither:
    # go-runc parses both streams together.
    output.write(dumps(container.state_document(request.root, request.id), "  "))
    return 0
