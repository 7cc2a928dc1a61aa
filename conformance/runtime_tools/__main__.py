# SPDX-License-Identifier: Apache-2.0
"""Runs the validation tests of OCI runtime-tools on a runtime; must not judge by anything but what they print.

Ends with 0 if every test passed that a runtime can pass in this view of the cgroup hierarchies
(verdicts.tsv). A test that passes though verdicts.tsv says that none can is told, and no failure:
another machine may have what it needs.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import programs
import tap

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
RESULTS = HERE.parent / "results" / "runtime-tools.tsv"
sys.path.insert(0, str(TESTS))

from harness.lanes import Lane  # noqa: E402

# What these tests make of nothing: they want an error, and any error will do.
NOISE_FLOOR = {
    "linux_ns_path_type",
    "prestart_fail",
    "process_capabilities_fail",
    "process_rlimits_fail",
}
RETRIES = 3
# How often else a test that races is run again. `killsig` sends its signals without waiting for the
# trap that shall catch them: on a loaded machine it loses one time in four.
RACES = {"killsig": 9}
SECONDS = 90
# Cgroups that the tests name, and those that runtimes name after the containers' ids.
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CGROUP = re.compile(rf"cgrouptest|testdir|((crun|pyrunc|runc)-)?{UUID}(\.scope)?")


class Expected(NamedTuple):
    """A row of verdicts.tsv: "pass", or who is in the way on cgroup v1 (or hybrid) and on v2; why."""

    test: str
    v1: str
    v2: str
    reason: str

    def on(self, layout: str) -> str:
        return self.v2 if layout == "v2" else self.v1


def expectations() -> dict[str, Expected]:
    with (HERE / "verdicts.tsv").open(newline="") as file:
        return {row["test"]: Expected(**row) for row in csv.DictReader(file, delimiter="\t")}


class Suite:
    """The tests for one runtime in one view of the hierarchies ("hybrid", "v1", "v2")."""

    def __init__(self, runtime: str, layout: str, retries: int) -> None:
        self.layout = layout
        self.retries = retries
        self.environment = {**os.environ, "RUNTIME": runtime, "LC_ALL": "C"}

    def run(self, test: str) -> tap.Verdict:
        """One test, once, in namespaces that end with it."""
        inside = [HERE / "one-test", str(SECONDS), programs.place() / "validation" / test]
        namespaces = ["unshare", "-p", "-f", "--kill-child", "--mount-proc"]
        found = subprocess.run(
            [TESTS / "run-lane", self.layout, "--", *namespaces, *inside],
            cwd=programs.place(),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        output, errors = (data.decode(errors="replace") for data in (found.stdout, found.stderr))
        if found.returncode in (124, 137):
            return tap.Verdict("fail", f"took longer than {SECONDS} s")
        return tap.judge(output, found.returncode, errors)


def in_order(tests: list[str]) -> list[list[str]]:
    """What runs at the same time as others: tests that use one cgroup run one after the other."""
    shared = [name for name in tests if re.search("cgroup|resources", name)]
    return [shared, *([name] for name in tests if name not in shared)]


def is_doubtful(name: str, kind: str, verdict: tap.Verdict) -> bool:
    """Whether another run may end otherwise, since tests poll, and race with the container."""
    if name == "pidfile":
        # It kills a process that ends by itself: who comes first is luck.
        return verdict.outcome == "pass"
    return verdict.outcome != "pass" and kind in ("pass", "specification")


def run_all(suite: Suite, table: dict[str, Expected], jobs: int) -> dict[str, tap.Verdict]:
    """Runs every test of `table`, and again, alone, those whose verdict may be a race's."""
    verdicts: dict[str, tap.Verdict] = {}

    def chain(names: list[str]) -> None:
        for name in names:
            verdicts[name] = suite.run(name)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(chain, names) for names in in_order(sorted(table))]:
            future.result()
    for name in sorted(table):
        kind = table[name].on(suite.layout)
        left = RACES.get(name, suite.retries) if suite.retries else 0
        while left and is_doubtful(name, kind, verdicts[name]):
            verdicts[name], left = suite.run(name), left - 1
    return verdicts


def line(row: Expected, expected: str, verdict: tap.Verdict) -> str:
    """`ok NAME`, `FAIL NAME reason`, `SKIP NAME reason`: a failure is one only where a test can pass."""
    if verdict.outcome == "pass":
        return f"ok {row.test}" + ("" if expected == "pass" else f" (not expected: {row.reason})")
    if expected == "pass":
        return f"FAIL {row.test} {verdict.reason}"
    return f"SKIP {row.test} {expected}: {row.reason}"


def floor(layout: str, table: dict[str, Expected], jobs: int) -> bool:
    """Whether a runtime that does nothing passes what is stated, so that a pass says something."""
    verdicts = run_all(Suite("/bin/false", layout, 0), table, jobs)
    passed = {name for name, verdict in verdicts.items() if verdict.outcome == "pass"}
    for name in sorted(passed ^ NOISE_FLOOR):
        print(f"FAIL noise floor: {name} {'passes' if name in passed else 'does not pass'}")
    print(f"noise floor: {len(passed)} of {len(verdicts)}")
    return passed == NOISE_FLOOR


def clean(before: set[Path]) -> list[str]:
    """Removes the cgroups that the tests left; what could not be removed."""
    left: list[str] = []
    for attempt in range(20):
        for directory in sorted(leftovers() - before, key=lambda path: -len(str(path))):
            for inner, _, _ in os.walk(directory, topdown=False):
                try:
                    os.rmdir(inner)
                except OSError:
                    pass
        left = sorted(str(path) for path in leftovers() - before)
        if not left:
            break
        time.sleep(0.05 * attempt)
    return left


def leftovers() -> set[Path]:
    """The cgroups that look like those of the tests: at the top, or in what this process may be in."""
    found = set()
    for top in Lane().tops():
        for directory, names, _ in os.walk(top):
            found.update(Path(directory, name) for name in names if CGROUP.fullmatch(name))
            if len(Path(directory).relative_to(top).parts) == 3:
                names.clear()
    return found


def version(runtime: str) -> str:
    """The first line of `--version`, such as "runc version 1.1.5+ds1"."""
    found = subprocess.run(
        [runtime, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return (found.stdout.splitlines() or [Path(runtime).name])[0]


def record(name: str, verdicts: dict[str, tap.Verdict]) -> None:
    """Puts a column of outcomes into the recorded results, for conformance/report.py."""
    rows: list[dict[str, str]] = [{"test": test} for test in sorted(expectations())]
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        row[name] = verdicts[row["test"]].outcome
    with RESULTS.open("w", newline="") as file:
        columns = ["test", *sorted(set(rows[0]) - {"test"})]
        writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance/runtime_tools", description=__doc__)
    parser.add_argument("--runtime", metavar="PATH", help="the runtime")
    layouts = ("hybrid", "v1", "v2")
    parser.add_argument("--layout", choices=layouts, help="the view (default: the machine's)")
    parser.add_argument("--jobs", type=int, default=4, help="tests at the same time (default: 4)")
    parser.add_argument("--floor", action="store_true", help="check the noise floor too")
    parser.add_argument("--record", metavar="COLUMN", help="record the outcomes as COLUMN")
    parser.add_argument("--make", action="store_true", help="make the programs, and run none")
    parser.add_argument("tests", nargs="*", help="the tests to run (default: all)")
    options = parser.parse_args()
    if not options.runtime and not options.make:
        parser.error("--runtime PATH is missing")
    if unknown := set(options.tests) - set(expectations()):
        parser.error(f"no such test: {' '.join(sorted(unknown))}")
    if options.record and options.tests:
        parser.error("--record is for all tests")
    return options


def run(options: argparse.Namespace) -> bool:
    """Runs the chosen tests; whether all went as it had to."""
    lane = Lane()
    layout = options.layout or lane.mode
    table = expectations()
    chosen = {name: table[name] for name in options.tests or table}
    runtime = str(Path(options.runtime).resolve())
    # Tests name cgroups, of which a machine has one each: one run at a time.
    lock = os.open(lane.tops()[0], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = leftovers()
    good = not options.floor or floor(layout, table, options.jobs)
    verdicts = run_all(Suite(runtime, layout, RETRIES), chosen, options.jobs)
    for name in sorted(chosen):
        print(line(chosen[name], chosen[name].on(layout), verdicts[name]))
    for path in clean(before):
        good = False
        print(f"FAIL a cgroup is left: {path}")
    os.close(lock)
    passed = {name for name, verdict in verdicts.items() if verdict.outcome == "pass"}
    expected = {name for name, row in chosen.items() if row.on(layout) == "pass"}
    if beyond := sorted(passed - expected):
        print(f"passed without being expected to: {' '.join(beyond)}")
    if options.record:
        record(options.record, verdicts)
    print(f"{version(runtime)}, cgroups {layout}, {len(expected)} expected to pass")
    print(f"runtime-tools: {len(passed)} of {len(verdicts)}")
    return good and expected <= passed


def main() -> int:
    options = read_options()
    if os.geteuid():
        print("runtime_tools: needs root", file=sys.stderr)
        return 1
    try:
        programs.make(sorted(expectations()))
    except programs.Missing as failure:
        print(f"runtime_tools: {failure}", file=sys.stderr)
        return 1
    if options.make:
        return 0
    if "RUNTIME_TOOLS_INSIDE" not in os.environ:
        # What a chroot lacks for containers to be made.
        environment = {**os.environ, "RUNTIME_TOOLS_INSIDE": "1"}
        entry = str(TESTS / "mount-namespace")
        os.execve(entry, [entry, sys.executable, str(HERE), *sys.argv[1:]], environment)
    return 0 if run(options) else 1


if __name__ == "__main__":
    sys.exit(main())
