"""Turn csrc/shim.h into the source of the cffi module `_pyrunc_shim`.

It must not add a declaration of its own: the header is the whole contract.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI

MODULE = "_pyrunc_shim"


def declarations(header: str) -> str:
    """Return what cffi can parse: no comments, preprocessor lines or static assertions."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\b_?[Ss]tatic_assert\s*\(.*?\)\s*;", "", text, flags=re.DOTALL)


def main(header: str, output: str) -> None:
    """Write the C source of the module."""
    ffi = FFI()
    ffi.cdef(declarations(Path(header).read_text()))
    ffi.set_source(MODULE, '#include "shim.h"\n')
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
