"""Turn csrc/shim.h into the source of the cffi module `_pyrunc_shim`.

It must not add a declaration of its own: the header is the whole contract.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI, model

MODULE = "_pyrunc_shim"
_STUB_TYPES = {model.VoidType: "None", model.PrimitiveType: "int"}


def declarations(header: str) -> str:
    """Return what cffi can parse: no comments, preprocessor lines or static assertions."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\b_?[Ss]tatic_assert\s*\(.*?\)\s*;", "", text, flags=re.DOTALL)


def stub(ffi: FFI) -> str:
    """Return what mypy shall know of the module: functions by what they return, and enumerators."""
    lines = ["from typing import Any", "", "ffi: Any", "", "class _Lib:"]
    for key, (kind, _) in ffi._parser._declarations.items():  # type: ignore[attr-defined]
        if key.startswith("function "):
            result = _STUB_TYPES.get(type(kind.result), "Any")
            lines.append(
                f"    def {key.removeprefix('function ')}(self, *arguments: Any) -> {result}: ..."
            )
        elif key.startswith("enum "):
            lines += [f"    {name}: int" for name in kind.enumerators]
    return "\n".join([*lines, "", "lib: _Lib", ""])


def main(header: str, output: str) -> None:
    """Write the C source of the module and, beside it, its stub."""
    ffi = FFI()
    ffi.cdef(declarations(Path(header).read_text()))
    ffi.set_source(MODULE, '#include "shim.h"\n')
    ffi.emit_c_code(output)
    Path(output).with_name(f"{MODULE}.pyi").write_text(stub(ffi))


if __name__ == "__main__":
    main(*sys.argv[1:])
