"""The entry of the command.

It must not import more than the request needs.
"""

from __future__ import annotations

import sys

from pyrunc.shim import initialize_main, json_loads
from pyrunc.version import SPEC_VERSION, VERSION


def main(argv: list[str]) -> int:
    """Run the command that argv asks for and return its exit status."""
    import posix

    if argv[1:] == ["--version"]:
        posix.write(1, f"pyrunc version {VERSION}\nspec: {SPEC_VERSION}\n".encode())
        return 0
    if argv[1:2] == ["--json"]:
        fd = posix.open(argv[2], posix.O_RDONLY)
        posix.write(1, repr(json_loads(posix.read(fd, 1 << 20))).encode() + b"\n")
        return 0
    initialize_main()
    if argv[1:2] == ["--exec"]:
        exec(argv[2])
        return 0
    print("hello", sys.path, argv)
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv))
