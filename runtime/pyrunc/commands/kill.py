"""kill: send a signal to a container."""

from __future__ import annotations

from pyrunc.errors import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import container

    number = parse_signal(request.args[1] if len(request.args) > 1 else "SIGTERM")
    everything = request.options["all"]
    if request.options["regex"]:
        from pyrunc import selection

        selection.for_each(
            request.root,
            request.args[0],
            lambda found: container.kill(request.root, found, number, everything),
        )
        return 0
    container.kill(request.root, request.id, number, everything)
    return 0


def parse_signal(text: str) -> int:
    """Return the number of a signal given as a number or a name, with or without SIG, in any case.

    RTMIN, RTMIN+N, RTMAX-N and RTMAX are names too. Raises Failure in runc's words.
    """
    from pyrunc.shim.constants import SIGNALS

    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 4 else -1
        if 0 <= number <= SIGNALS["SIGRTMAX"]:
            return number
    name = text.upper()
    if not name.startswith("SIG"):
        name = "SIG" + name
    found: int | None = SIGNALS.get(name)
    if found is None:
        raise Failure(f'unknown signal "{text}"')
    return found
