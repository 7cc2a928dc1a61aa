"""Decides which containers a regular expression means, and that each is treated on its own.

It must not be on the hot path: it needs the completed interpreter.
"""

from __future__ import annotations

from pyrunc import output, state
from pyrunc.errors import Failure, HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# regex(7): classes that stand in brackets, and what they are in the syntax of Python.
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


def for_each(root: str, pattern: str, act: Callable[[str], None]) -> None:
    """Call `act` with the id of each container that the POSIX extended regular expression is found
    in, as crun does: what fails for one of them is told as a warning and does not stop the others.
    """
    from pyrunc.shim import initialize_main

    initialize_main()
    import re

    text = pattern
    for name, characters in _CLASSES.items():
        text = text.replace(f"[:{name}:]", characters)
    try:
        expression = re.compile(text, re.ASCII)
    except re.error as error:
        raise Failure(f'invalid regular expression "{pattern}": {error}') from error
    try:
        names = state.list_ids(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostFailure(error.errno or 0, f'read directory "{root}"') from error
    for name in names:
        if not expression.search(name):
            continue
        try:
            act(name)
        except Failure as failure:
            output.write_stderr(f"warning: {name}: {failure}\n")
