"""Decide which Python modules travel in the executable as frozen code, and write them for the linker.

It must not decide what is imported at run time: a frozen module that nobody imports costs only its bytes.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import marshal
from pathlib import Path
from types import CodeType

# Our replacements of stdlib modules; see each for its reason.
REPLACEMENTS = Path(__file__).parent / "frozen"


def modules(*roots: Path) -> dict[str, tuple[Path, bool]]:
    """Return the modules below directories of packages: name to (source file, whether a package)."""
    found: dict[str, tuple[Path, bool]] = {}
    for root in roots:
        for path in sorted(path for path in root.rglob("*.py") if not path.is_symlink()):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found[".".join(parts[:-1] if is_package else parts)] = (path, is_package)
    return found


def compile_module(name: str, path: Path, cache: Path, replaced: dict[str, str]) -> bytes:
    """Return the marshalled code of one module, without docstrings and asserts.

    The cache holds one file a module; it is valid while it is newer than the source and this script.
    """
    cached = cache / f"{name}.marshal"
    if name not in replaced and cached.exists():
        newest = max(path.stat().st_mtime_ns, Path(__file__).stat().st_mtime_ns)
        if cached.stat().st_mtime_ns > newest:
            return cached.read_bytes()
    source = replaced.get(name) or path.read_text()
    filename = "/".join(["<pyrunc>", *name.split(".")]) + ".py"
    data = marshal.dumps(compile_source(source, filename))
    cached.write_bytes(data)
    return data


def compile_source(source: str, filename: str) -> CodeType:
    """Compile without docstrings and asserts.

    `from __future__ import annotations` is also an ordinary import, of a module that defines classes
    nobody wants: the compiler gets it as a flag instead.
    """
    tree = ast.parse(source, filename)
    flags = 0
    for node in tree.body[:]:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            tree.body.remove(node)
            for alias in node.names:
                flags |= getattr(__future__, alias.name).compiler_flag
    code: CodeType = compile(tree, filename, "exec", flags=flags, optimize=2, dont_inherit=True)
    return code


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
    version = found.get("pyrunc.version")
    replaced = (
        {"pyrunc.version": with_commit(version[0].read_text(), options.commit)} if version else {}
    )
    blob = bytearray()
    rows = []
    for name, (path, is_package) in found.items():
        code = compile_module(name, path, cache, replaced)
        rows.append((name, len(blob), len(code), is_package))
        blob += code
    binary = options.output / "frozen.bin"
    binary.write_bytes(bytes(blob))
    table = "\n".join(
        f'    {{.name = "{name}", .code = frozen_code + {offset}, .size = {size}, .is_package = {int(package)}}},'
        for name, offset, size, package in rows
    )
    (options.output / "frozen.c").write_text(
        '#include "frozen.h"\n\n'
        f'__asm__(".section .rodata.frozen, \\"a\\"\\n.balign 16\\n.globl frozen_code\\n.hidden frozen_code\\n"\n'
        f'        "frozen_code:\\n.incbin \\"{binary}\\"\\n.previous\\n");\n'
        'extern const unsigned char frozen_code[] __attribute__((visibility("hidden")));\n\n'
        f"const struct _frozen frozen_modules[] = {{\n{table}\n    {{.name = NULL}},\n}};\n"
    )


if __name__ == "__main__":
    main()
