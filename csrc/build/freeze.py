"""Decide which Python modules travel in the executable as frozen code, and write them for the linker.

It must not decide what is imported at run time: a frozen module that nobody imports costs only its bytes.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import marshal
from pathlib import Path

import slim
from slim import Slimmer, read_constants

# Our replacements of stdlib modules; see each for its reason.
REPLACEMENTS = Path(__file__).parent / "frozen"
HOT_MODULES = Path(__file__).parent / "hot_modules.txt"


def modules(*roots: Path) -> dict[str, tuple[Path, bool]]:
    """Return the modules below directories of packages: name to (source file, whether a package)."""
    found: dict[str, tuple[Path, bool]] = {}
    for root in roots:
        for path in sorted(path for path in root.rglob("*.py") if not path.is_symlink()):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found[".".join(parts[:-1] if is_package else parts)] = (path, is_package)
    return found


class Freezer:
    """Compiles modules; keeps the result of each until its source, these scripts or a constant changes."""

    def __init__(self, source: Path, cache: Path) -> None:
        self.cache = cache
        constants = source / "pyrunc/shim/constants.py"
        self.constants = read_constants(constants) if constants.exists() else {}
        inputs = [Path(__file__), Path(slim.__file__)]
        inputs += [constants] if constants.exists() else []
        self.newest = max(path.stat().st_mtime_ns for path in inputs)

    def freeze(self, name: str, path: Path) -> bytes:
        """Return the marshalled code of a module."""
        cached = self.cache / f"{name}.marshal"
        newest = max(path.stat().st_mtime_ns, self.newest)
        if cached.exists() and cached.stat().st_mtime_ns > newest:
            return cached.read_bytes()
        data = self.compile(name, path.read_text())
        cached.write_bytes(data)
        return data

    def compile(self, name: str, source: str) -> bytes:
        """Return marshalled code without docstrings, asserts and what slim leaves out.

        `from __future__ import annotations` is also an ordinary import, of a module that defines
        classes nobody wants: the compiler gets it as a flag instead.
        """
        filename = "/".join(["<pyrunc>", *name.split(".")]) + ".py"
        tree = ast.parse(source, filename)
        flags = 0
        for node in tree.body[:]:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                tree.body.remove(node)
                for alias in node.names:
                    flags |= getattr(__future__, alias.name).compiler_flag
        tree = Slimmer(self.constants).slim(tree)
        return marshal.dumps(
            compile(tree, filename, "exec", flags=flags, optimize=2, dont_inherit=True)
        )


def with_commit(source: str, commit: str) -> str:
    """Return the source of version.py with COMMIT set."""
    lines = [
        f'COMMIT = "{commit}"' if line.startswith("COMMIT = ") else line
        for line in source.splitlines()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write `frozen.bin` (marshal bytes, one after the other) and `frozen.c` (the table)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--commit", default="")
    parser.add_argument("--output", type=Path, required=True, help="directory")
    options = parser.parse_args()
    cache = options.output / "frozen"
    cache.mkdir(parents=True, exist_ok=True)
    found = modules(options.source, REPLACEMENTS)
    freezer = Freezer(options.source, cache)
    blob = bytearray()
    rows = []
    for name, (path, is_package) in found.items():
        if name == "pyrunc.version":
            code = freezer.compile(name, with_commit(path.read_text(), options.commit))
        else:
            code = freezer.freeze(name, path)
        rows.append((name, len(blob), len(code), is_package))
        blob += code
    binary = options.output / "frozen.bin"
    binary.write_bytes(bytes(blob))
    table = "\n".join(
        f'    {{.name = "{name}", .code = frozen_code + {offset}, .size = {size}, .is_package = {int(package)}}},'
        for name, offset, size, package in rows
    )
    lines = HOT_MODULES.read_text().splitlines()
    hot = "\n".join(f'    "{line}",' for line in lines if not line.startswith("#"))
    (options.output / "frozen.c").write_text(
        '#include "frozen.h"\n\n'
        f'__asm__(".section .rodata.frozen, \\"a\\"\\n.balign 16\\n.globl frozen_code\\n.hidden frozen_code\\n"\n'
        f'        "frozen_code:\\n.incbin \\"{binary}\\"\\n.previous\\n");\n'
        'extern const unsigned char frozen_code[] __attribute__((visibility("hidden")));\n\n'
        f"const struct _frozen frozen_modules[] = {{\n{table}\n    {{.name = NULL}},\n}};\n\n"
        f"const char *const snapshot_modules[] = {{\n{hot}\n    NULL,\n}};\n"
    )


if __name__ == "__main__":
    main()
