#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the suites that others wrote, and the checks of engines, on a runtime; must not know any test.

A suite is a command that takes `--runtime PATH` and prints `ok NAME`, `FAIL NAME reason` or
`SKIP NAME reason` a line. Where the runtimes to compare with are installed, the suite runs on them too:
an engine's case that passes with runc has to pass. Ends with 0 if every suite was passed. What the
suites print is kept in build/conformance/.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
sys.path.insert(0, str(TREE / "tests"))

from harness.lanes import Lane  # noqa: E402

RESULTS = HERE / "results" / "suites.tsv"
SECONDS = 900


class Result(NamedTuple):
    """What a suite said of a runtime. `where` is the view of the cgroup hierarchies, or a machine."""

    suite: str
    where: str
    runtime: str
    ok: frozenset[str]
    failed: int
    skipped: int
    status: int

    def counts(self) -> str:
        total = len(self.ok) + self.failed + self.skipped
        if self.suite == "runtime-tools":
            return f"{len(self.ok)} of {total}"
        return f"{len(self.ok)} ok, {self.failed} failed, {self.skipped} skipped"


class Bench:
    """The runs of one call. `where` names the machine if it is not this one ("" for the view)."""

    def __init__(self, runtime: str, where: str, record: bool) -> None:
        self.record = record
        self.where = where
        self.mode = Lane().mode
        self.logs = TREE / "build" / "conformance"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.runtime = runtime
        self.name = Path(runtime).name

    def run(self, suite: str, runtime: str, view: str, command: list[str]) -> Result:
        """Runs a suite and shows what it prints."""
        name = Path(runtime).name
        where = f"{self.where} {view}".strip()
        print(f"\n--- {suite}: {name}, {where}", flush=True)
        begun = time.monotonic()
        try:
            found = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                timeout=SECONDS,
            )
            output, status = found.stdout, found.returncode
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode(errors="replace")
            status = 124
        (self.logs / f"{suite}-{name}-{where.replace(' ', '-')}.log").write_text(output)
        lines = output.splitlines()
        print("\n".join(line for line in lines if not line.startswith("ok ")))
        print(f"--- exit status {status} after {time.monotonic() - begun:.0f} s", flush=True)
        ok = frozenset(
            line[3:].split(" (not expected: ")[0] for line in lines if line.startswith("ok ")
        )
        failed, skipped = (
            sum(line.startswith(word) for line in lines) for word in ("FAIL ", "SKIP ")
        )
        return Result(suite, where, name, ok, failed, skipped, status)

    def runtime_tools(self) -> list[Result]:
        """The suite of OCI runtime-tools, in each view that this machine can give."""
        views = [self.mode] if self.mode == "v2" or self.where else ["hybrid", "v1", "v2"]
        runs = [(self.runtime, view) for view in views]
        if runc := shutil.which("runc"):
            runs.append((runc, self.mode))
        if crun := shutil.which("crun"):
            # crun refuses hybrid hierarchies.
            runs.append((crun, self.mode.replace("hybrid", "v1")))
        results = []
        for number, (runtime, view) in enumerate(runs):
            command = [sys.executable, str(HERE / "runtime_tools"), "--runtime", runtime]
            command += ["--layout", view] + ["--floor"] * (number == 0)
            if self.record:
                command += [
                    "--record",
                    f"{Path(runtime).name} {self.where} {view}".replace("  ", " "),
                ]
            results.append(self.run("runtime-tools", runtime, view, command))
        return results

    def engine(self, script: Path) -> list[Result]:
        """The check of an engine: first with runc, which shows what can pass here."""
        runtimes = [runtime for runtime in (shutil.which("runc"), self.runtime) if runtime]
        return [
            self.run(script.stem, runtime, self.mode, [str(script), "--runtime", runtime])
            for runtime in runtimes
        ]


def engines() -> dict[str, Path]:
    """The scripts that check an engine, and not those that they source."""
    found = sorted((HERE / "engines").glob("*.sh"))
    return {script.stem: script for script in found if script.read_text().startswith("#!")}


def problems(ours: list[Result], others: list[Result]) -> list[str]:
    """Why the suite was not passed: nothing, if it was."""
    found = [f"exit status {result.status} ({result.where})" for result in ours if result.status]
    if ours[0].suite != "runtime-tools":
        for other in others:
            if lost := sorted(other.ok - ours[0].ok):
                found.append(f"passes with {other.runtime} alone: {'; '.join(lost)}")
    return found


def summary(ours: list[Result], others: list[Result]) -> str:
    """A line such as "runtime-tools: 39 of 58 (v1: 39 of 58; runc: 31 of 58)"."""
    rest = [f"{result.where}: {result.counts()}" for result in ours[1:]]
    rest += [f"{result.runtime}: {result.counts()}" for result in others]
    return f"{ours[0].suite}: {ours[0].counts()}" + (f" ({'; '.join(rest)})" if rest else "")


def write(results: list[Result]) -> None:
    """Puts the counts into the recorded results, in place of those of the same runs."""
    columns = ("suite", "where", "runtime", "ok", "failed", "skipped")
    rows: dict[tuple[str, ...], tuple[str, ...]] = {}
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            rows = {
                tuple(row[:3]): tuple(row) for row in list(csv.reader(file, delimiter="\t"))[1:]
            }
    for result in results:
        counts = (str(len(result.ok)), str(result.failed), str(result.skipped))
        rows[result[:3]] = (*result[:3], *counts)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([columns, *(rows[key] for key in sorted(rows))])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", required=True, metavar="PATH")
    parser.add_argument("--record", action="store_true", help="write conformance/results/")
    parser.add_argument("--where", default="", help="the machine, if it is not the usual one")
    names = ["runtime-tools", *engines()]
    parser.add_argument("suites", nargs="*", help=f"some of: {' '.join(names)} (default: all)")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(names):
        parser.error(f"no such suite: {' '.join(sorted(unknown))}")
    bench = Bench(str(Path(options.runtime).resolve()), options.where, options.record)
    lines, bad = [], False
    for suite in options.suites or names:
        results = (
            bench.runtime_tools() if suite == "runtime-tools" else bench.engine(engines()[suite])
        )
        ours = [result for result in results if result.runtime == bench.name]
        others = [result for result in results if result.runtime != bench.name]
        if options.record:
            write(results)
        lines.append(summary(ours, others))
        found = problems(ours, others)
        bad = bad or bool(found)
        lines += [f"  FAILED: {text}" for text in found]
    print("\n" + "\n".join(lines))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
