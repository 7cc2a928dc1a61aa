"""delete: remove what is left of a container."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container

    force = request.options["force"]
    if request.options["regex"]:
        from pyrunc import selection

        selection.for_each(
            request.root,
            request.args[0],
            lambda found: container.delete(request.root, found, force),
        )
        return 0
    container.delete(request.root, request.id, force)
    return 0
