"""Turn csrc/constants.txt into a C program that prints runtime/pyrunc/shim/constants.py.

It must not know a value: the compiler resolves every name from kernel and C library headers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_sections(text: str) -> tuple[list[str], dict[str, list[tuple[str, str]]]]:
    """Return the headers to include and, by section, (name, C expression) pairs.

    A line is `NAME` or `NAME = expression`; `#` starts a comment. `[headers]` lists headers, `[constants]`
    plain names, any other section is a dictionary of that name beside the plain names.
    """
    headers: list[str] = []
    sections: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = line.strip("[]")
            if section != "headers":
                sections.setdefault(section, [])
        elif section == "headers":
            headers.append(line)
        else:
            name, _, expression = (part.strip() for part in line.partition("="))
            sections[section].append((name, expression or name))
    return headers, sections


def program(headers: list[str], sections: dict[str, list[tuple[str, str]]]) -> str:
    """Return the C program."""
    lines = ["#define _GNU_SOURCE", "#include <stdio.h>"]
    lines += [f"#include <{header}>" for header in headers]
    lines += ['#include "kernel_compat.h"', ""]
    lines += [
        "#define SHOW(text, value) \\",
        '    ((value) > 0 ? printf("%s%llu", text, (unsigned long long)(value)) \\',
        '                 : printf("%s%lld", text, (long long)(value)))',
        "",
        "int main(void)",
        "{",
        '    puts("\\"\\"\\"Kernel constants by their C names; written by the build.\\"\\"\\"\\n");',
    ]
    seen: set[str] = set()
    for section, pairs in sections.items():
        for name, expression in pairs:
            if name in seen or not NAME.fullmatch(name):
                continue
            seen.add(name)
            lines.append(f'    SHOW("{name} = ", {expression}); puts("");')
        if section != "constants":
            lines.append(f'    puts("\\n{section} = {{");')
            for name, expression in pairs:
                lines.append(f'    SHOW("    \\"{name}\\": ", {expression}); puts(",");')
            lines.append('    puts("}\\n");')
    lines += ["    return 0;", "}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(program(*read_sections(Path(sys.argv[1]).read_text())))
