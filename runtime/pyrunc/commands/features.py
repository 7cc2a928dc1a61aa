"""features: print what this runtime supports."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:  # noqa: ARG001
    from pyrunc import features, output
    from pyrunc.jsontext import dumps

    output.write(dumps(features.build(), "    ") + "\n")
    return 0
