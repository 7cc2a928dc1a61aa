"""Turn csrc/constants.txt and the enumerations of shim.h into a C program that prints runtime/pyrunc/shim/constants.py.

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


def enumerators(header: str) -> list[tuple[str, str]]:
    """Return the names in the enumerations of shim.h, as plain constants."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    names = []
    for body in re.findall(r"\benum\s+\w*\s*\{(.*?)\}", text, flags=re.DOTALL):
        names += [item.partition("=")[0].strip() for item in body.split(",")]
    return [(name, name) for name in names if name]


def program(headers: list[str], sections: dict[str, list[tuple[str, str]]]) -> str:
    """Return the C program."""
    lines = ["#define _GNU_SOURCE", "#include <stdio.h>"]
    lines += [f"#include <{header}>" for header in headers]
    lines += ['#include "kernel_compat.h"', '#include "shim.h"', ""]
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


def main(names: str, header: str, output: str) -> None:
    """Write the C program."""
    headers, sections = read_sections(Path(names).read_text())
    sections.setdefault("constants", []).extend(enumerators(Path(header).read_text()))
    Path(output).write_text(program(headers, sections))


if __name__ == "__main__":
    main(*sys.argv[1:])
