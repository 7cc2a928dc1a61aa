"""The entry of the command, called by the executable and by `python3 -m pyrunc`.

It must not import more than the request needs.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Carry out the command of `argv` (the program's name first) and return its exit status."""
    from pyrunc.cli import main as run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
