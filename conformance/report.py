#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/conformance.md, and the numbers in the README, from recorded results; must not run anything.

`make conformance CONFORMANCE=--record` records them in conformance/results/.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
BEGIN, END = "<!-- from conformance/report.py -->\n", "<!-- end -->\n"
SIGNS = {"pass": "✓", "fail": "-", "skip": "skipped"}
ORDER = ("pyrunc", "runc", "crun")
MARKS = {
    "engines": "a difference by intention: engines depend on runc's way",
    "machine": "the machine lacks what the test needs",
    "specification": "runtime-spec 1.3.0 and the test differ: pyrunc follows the specification",
    "suite": "the test cannot pass",
}

INTRODUCTION = """# Conformance

Written by `conformance/report.py` from what `make conformance CONFORMANCE=--record` recorded; `make check` fails
where the two differ.

`make conformance` runs what others wrote about runtimes, and engines that others wrote, with the built executable
and, to compare, with Debian's runc and crun. It installs what it needs and ends with a line a suite. Any runtime
can be tried:

    conformance/suites.py --runtime PATH [SUITE...]
    python3 conformance/runtime_tools --runtime PATH [--layout hybrid|v1|v2] [TEST...]
    conformance/engines/podman.sh --runtime PATH

"""

RUNTIME_TOOLS = """
## OCI runtime-tools

The validation tests of [runtime-tools](https://github.com/opencontainers/runtime-tools), made by the Go tool from
the module as of commit 7e2d60f (2022-01-10). The module proxy does not have the later 0105384; its neighbours on
both sides, 7e2d60f and 2e043c6 (2022-11-07), have the same tests to the byte. Each test runs in mount and pid
namespaces of its own, for at most 90 seconds, on a root file system made of busybox. Its verdict is what it prints
(TAP). Tests race with containers and with time: one that fails runs again, alone, up to three times, and `killsig`
up to nine. crun 1.8.1 refuses hybrid hierarchies, so it is run on v1.

Not every test can pass. `conformance/runtime_tools/verdicts.tsv` says which can, and for the others who is in the
way; the run fails if one that can pass does not, and tells if one passes that should not. A runtime that does
nothing, `/bin/false`, passes four tests, whose wish is any error: `--floor` checks that it is these four.

{marks}

{table}
"""


def rows(name: str) -> list[dict[str, str]]:
    path = HERE / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rank(column: str) -> tuple[int, bool, str]:
    """pyrunc's columns first, and this kind of machine before a virtual one."""
    runtime, _, where = column.partition(" ")
    return (ORDER.index(runtime) if runtime in ORDER else len(ORDER), " " in where, where)


def suites() -> str:
    """A line for each suite, place and runtime."""
    body = []
    found = rows("results/suites.tsv")
    found.sort(
        key=lambda row: (
            row["suite"] != "runtime-tools",
            row["suite"],
            rank(f"{row['runtime']} {row['where']}"),
        )
    )
    for row in found:
        ok, failed, skipped = int(row["ok"]), int(row["failed"]), int(row["skipped"])
        counts = [str(ok), str(failed), str(skipped)]
        body.append([row["suite"], row["runtime"], row["where"], *counts])
    return table(
        ["suite", "runtime", "cgroups", "passed", "failed", "could not pass, or not here"], body
    )


def runtime_tools() -> str:
    """A line for each test, with every runtime's outcome and the reason."""
    results = {row["test"]: row for row in rows("results/runtime-tools.tsv")}
    expected = rows("runtime_tools/verdicts.tsv")
    first = next(iter(results.values()), {"test": ""})
    columns = sorted((name for name in first if name != "test"), key=rank)
    body = []
    for row in expected:
        who = next((kind for kind in (row["v1"], row["v2"]) if kind != "pass"), "")
        # What is in the way on cgroup v2 alone is told by the reason.
        mark = f"*{who}*: " if row["v1"] != "pass" else ""
        outcomes = [SIGNS[results[row["test"]][name]] for name in columns] if results else []
        body.append([row["test"], *outcomes, mark + row["reason"]])
    total = [f"**{sum(row[name] == 'pass' for row in results.values())}**" for name in columns]
    return table(["test", *columns, "why"], [*body, [f"**of {len(expected)}**", *total, ""]])


def document() -> str:
    marks = "\n".join(f"- *{kind}*: {text}." for kind, text in MARKS.items())
    rest = RUNTIME_TOOLS.format(marks=marks, table=runtime_tools())
    return INTRODUCTION + suites() + "\n" + rest.rstrip() + "\n"


def readme() -> str:
    """The README with its numbers."""
    text = (TREE / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    counts: dict[str, list[str]] = {}
    for row in sorted(
        rows("results/suites.tsv"), key=lambda row: rank(f"{row['runtime']} {row['where']}")
    ):
        if row["where"] in ("hybrid", "v1"):
            total = sum(int(row[name]) for name in ("ok", "failed", "skipped"))
            said = counts.setdefault(row["suite"], [])
            if not any(text.startswith(row["runtime"]) for text in said):
                said.append(f"{row['runtime']} {row['ok']} of {total}")
    lines = [
        f"- {suite}: {', '.join(counts[suite])}"
        for suite in sorted(counts, key=lambda name: (name != "runtime-tools", name))
    ]
    return before + BEGIN + "\n".join(lines) + "\n" + END + after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if it would change"
    )
    options = parser.parse_args()
    status = 0
    for path, text in (
        (TREE / "docs" / "conformance.md", document()),
        (TREE / "README.md", readme()),
    ):
        if path.exists() and path.read_text() == text:
            continue
        if options.check:
            print(f"{path}: is not what conformance/report.py writes: run it", file=sys.stderr)
            status = 1
        else:
            path.write_text(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
