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

    if len(argv) > 1 and argv[1] == "--print-modules":
        status = run([argv[0], *argv[2:]])
        _print_modules()
        return status
    return run(argv)


def _print_modules() -> None:
    """Tell what was imported, for the test that compares it with csrc/build/hot_modules.txt."""
    from pyrunc import output

    output.write_stderr("".join(f"module {name}\n" for name in sorted(sys.modules)))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
