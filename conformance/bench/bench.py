#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the speed and the memory of pyrunc with runc and crun; must not judge what they do.

Every number is the median of interleaved rounds on the same bundle in one run, since machines are
noisy and ratios are not: each round measures every runtime, in an order that alternates. crun refuses
a hybrid cgroup layout, so there it is compared in views that have cgroup v1 or v2 alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
WARM_UPS = 5
# (key, name, of runc at most, of crun at best) as the project promises them.
TABLE = (
    ("run", "`run` of /bin/true, ms", 0.6, 1.3),
    ("life", "create + start + kill + delete, ms", 0.6, 1.3),
    ("force", "`delete --force` of a running container, ms", 0.05, 1.3),
    ("exec", "`exec` of /bin/true, ms", 0.5, 1.3),
    ("state", "`state`, ms", 1.5, 1.7),
    ("rss", "peak memory during create, KiB", 1.0, None),
    ("pss", "memory kept by a created container, KiB", 0.1, 0.5),
    ("create", "`create`, ms", None, None),
    ("start", "`start`, ms", None, None),
    ("kill", "`kill`, ms", None, None),
    ("delete", "`delete` of a stopped container, ms", None, None),
    ("version", "`--version`, ms", None, None),
)
Series = dict[str, dict[str, list[float]]]


class Bench:
    """One bundle, and the runtimes that are compared on it. `rounds` of each measurement count."""

    def __init__(self, directory: Path, runtimes: dict[str, str], rounds: int) -> None:
        self.directory = directory
        self.runtimes = runtimes
        self.rounds = rounds
        self.series: Series = {key: {name: [] for name in runtimes} for key, *_ in TABLE}
        self.pid_file = directory / "pid"
        self.measurer = directory / "measure"
        source = str(HERE / "measure.c")
        subprocess.run(["gcc", "-O2", "-static", "-o", self.measurer, source], check=True)
        self.short = self._bundle("short", ["/bin/true"])
        self.long = self._bundle("long", ["/bin/sleep", "1000"])

    def _bundle(self, name: str, command: list[str]) -> str:
        bundle = self.directory / name
        binaries = bundle / "rootfs" / "bin"
        binaries.mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox, "busybox-static is not installed"
        shutil.copy(busybox, binaries / "busybox")
        for link in ("true", "sleep"):
            (binaries / link).symlink_to("busybox")
        subprocess.run([self.runtimes["runc"], "spec", "--bundle", bundle], check=True)
        config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        config["process"]["terminal"] = False
        config["process"]["args"] = command
        (bundle / "config.json").write_text(json.dumps(config))
        return str(bundle)

    def usable(self, name: str) -> str:
        """The empty string, or why a runtime cannot run the bundle here."""
        container = f"pyrunc-bench-{name}"
        command = self.call(name, "run", "--bundle", self.short, container)[1:]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            return ""
        self.clean_up()
        for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            if Path(top, container).is_dir():
                os.rmdir(Path(top, container))
        return done.stderr.strip() or f"exit status {done.returncode}"

    def allow_devices(self) -> None:
        """Allow every device, so that no device program has to be loaded."""
        for bundle in (self.short, self.long):
            path = Path(bundle, "config.json")
            config = json.loads(path.read_text())
            config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
            path.write_text(json.dumps(config))

    def drop_unusable(self) -> list[str]:
        """Leave out what cannot run here; returns what was done and why, a sentence each."""
        notes = []
        if "crun" in self.runtimes:
            reason = self.usable("crun")
            # crun raises RLIMIT_MEMLOCK before it loads a program, which needs CAP_SYS_RESOURCE.
            if "RLIM_MEMLOCK" in reason:
                self.allow_devices()
                notes.append(f"no device rules for any runtime here, since crun says: {reason}")
                reason = self.usable("crun")
            if reason:
                del self.runtimes["crun"]
                for of in self.series.values():
                    del of["crun"]
                notes.append(f"crun is left out here: {reason}")
        return notes

    def measure(self, *steps: list[str]) -> list[tuple[float, float]]:
        """Carry the steps out; returns (milliseconds, KiB) of each."""
        arguments = [word for step in steps for word in (*step, ";")]
        log = self.directory / "log"
        # A runtime may chown its standard streams: they are files of this run.
        with open(self.directory / "input", "a+") as empty:
            done = subprocess.run(
                [self.measurer, log, *arguments], stdin=empty, stdout=subprocess.PIPE, text=True
            )
        if done.returncode:
            raise SystemExit(f"bench: {steps} failed: {log.read_text()}")
        lines = [line.split() for line in done.stdout.splitlines()]
        return [(int(took) / 1e6, int(peak)) for took, peak, _ in lines]

    def call(self, name: str, *arguments: str) -> list[str]:
        """The step that calls a runtime with a state directory of its own."""
        return ["run", self.runtimes[name], "--root", f"{self.directory}/root-{name}", *arguments]

    def create(self, name: str, container: str) -> list[str]:
        """The step that creates a container of the long-running bundle."""
        pid_file = str(self.pid_file)
        return self.call(name, "create", "--bundle", self.long, "--pid-file", pid_file, container)

    def one_round(self, name: str, counts: bool) -> None:
        """Take every measurement of one runtime once."""
        container = f"pyrunc-bench-{name}"
        ended = ["ended", str(self.pid_file)]
        found = {}
        found["version"] = self.measure(["run", self.runtimes[name], "--version"])[0][0]
        found["run"] = self.measure(self.call(name, "run", "--bundle", self.short, container))[0][0]
        life = self.measure(
            self.create(name, container),
            self.call(name, "start", container),
            self.call(name, "kill", container, "KILL"),
            ended,
            self.call(name, "delete", container),
        )
        found["life"] = sum(took for took, _ in life)
        for key, step in (("create", 0), ("start", 1), ("kill", 2), ("delete", 4)):
            found[key] = life[step][0]
        found["rss"] = life[0][1]
        self.measure(self.create(name, container))
        found["pss"] = self._kept()
        running = self.measure(
            self.call(name, "start", container),
            self.call(name, "state", container),
            self.call(name, "exec", container, "/bin/true"),
            self.call(name, "delete", "--force", container),
            ended,
        )
        found["state"] = running[1][0]
        found["exec"] = running[2][0]
        found["force"] = running[3][0]
        if counts:
            for key, value in found.items():
                self.series[key][name].append(value)

    def _kept(self) -> float:
        rollup = Path("/proc", self.pid_file.read_text(), "smaps_rollup").read_text()
        return next(
            float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
        )

    def run(self) -> dict[str, dict[str, float]]:
        """All rounds; returns the medians, by measurement and runtime."""
        names = list(self.runtimes)
        for number in range(-WARM_UPS, self.rounds):
            for name in names if number % 2 else reversed(names):
                self.one_round(name, number >= 0)
        return {
            key: {name: median(values) for name, values in of.items()}
            for key, of in self.series.items()
        }

    def clean_up(self) -> None:
        """Remove what an interrupted round left."""
        for name, path in self.runtimes.items():
            root = f"{self.directory}/root-{name}"
            command = [path, "--root", root, "delete", "--force", f"pyrunc-bench-{name}"]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def in_lane(runtimes: dict[str, str], rounds: int) -> None:
    """Measure in the mount namespace that this process is in, and print the medians as JSON."""
    with tempfile.TemporaryDirectory(prefix="pyrunc-bench-") as directory:
        bench = Bench(Path(directory), runtimes, rounds)
        try:
            notes = bench.drop_unusable()
            medians = bench.run()
        finally:
            bench.clean_up()
    json.dump({"notes": notes, "medians": medians}, sys.stdout)


def instructions(command: list[str]) -> str:
    """How many instructions a command executes, as valgrind counts them."""
    if not shutil.which("valgrind"):
        return "valgrind is not installed"
    options = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run(["valgrind", *options, *command], capture_output=True, text=True)
    for line in done.stderr.splitlines():
        if "I   refs:" in line or "I refs:" in line:
            return line.rpartition(":")[2].strip()
    return f"valgrind failed: {done.stderr.strip()[-200:]}"


def lanes() -> list[str]:
    """The views to compare in: as the machine is, and where crun refuses that, each version alone."""
    mounted = {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
    if {"cgroup", "cgroup2"} <= mounted:
        return ["hybrid", "v1", "v2"]
    return ["v1" if "cgroup" in mounted else "v2"]


def compare(medians: dict[str, dict[str, float]], other: str, column: int, limit_word: str) -> int:
    """Print one table; returns how many limits are missed."""
    missed = 0
    print(f"| measured | pyrunc | {other} | of {other} | {limit_word} | |")
    print("|---|---|---|---|---|---|")
    for row in TABLE:
        ours, theirs = medians[row[0]]["pyrunc"], medians[row[0]][other]
        ratio, limit = ours / theirs, row[column]
        verdict = ""
        if isinstance(limit, float):
            missed += ratio > limit
            verdict = "missed" if ratio > limit else "holds"
        digits = 0 if "KiB" in row[1] else 2
        shown = "" if limit is None else limit
        print(
            f"| {row[1]} | {ours:.{digits}f} | {theirs:.{digits}f} | {ratio:.2f} | {shown} | {verdict} |"
        )
    print(flush=True)
    return missed


def main() -> int:
    """Print the tables; 1 with --strict when a limit against runc is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default="build/pyrunc", help="the pyrunc to measure")
    parser.add_argument("--runc", default=shutil.which("runc") or "/usr/sbin/runc")
    parser.add_argument("--crun", default=shutil.which("crun"))
    parser.add_argument(
        "--rounds", type=int, default=50, help="rounds that count, of each measurement"
    )
    parser.add_argument("--strict", action="store_true", help="end with 1 when a limit is missed")
    parser.add_argument("--lane", choices=["hybrid", "v1", "v2"], action="append")
    parser.add_argument("--in-lane", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    runtimes = {"pyrunc": os.path.abspath(options.runtime), "runc": options.runc}
    if options.in_lane:
        if options.crun and options.lane != ["hybrid"]:
            runtimes["crun"] = options.crun
        in_lane(runtimes, options.rounds)
        return 0
    missed = 0
    for number, lane in enumerate(options.lane or lanes()):
        command = [
            TESTS / "mount-namespace",
            TESTS / "run-lane",
            lane,
            "--",
            sys.executable,
            __file__,
        ]
        again = ["--in-lane", "--lane", lane, "--rounds", str(options.rounds)]
        paths = [
            "--runtime",
            runtimes["pyrunc"],
            "--runc",
            options.runc,
            "--crun",
            options.crun or "",
        ]
        done = subprocess.run([*command, *again, *paths], stdout=subprocess.PIPE, check=True)
        result = json.loads(done.stdout)
        medians = result["medians"]
        print(
            "\n".join(
                [
                    f"cgroups {lane}: medians of {options.rounds} interleaved rounds",
                    *result["notes"],
                ]
            )
        )
        print()
        others = compare(medians, "runc", 2, "at most")
        missed += others if number == 0 else 0
        if "crun" in medians["run"]:
            compare(medians, "crun", 3, "aim")
    version = [runtimes["pyrunc"], "--version"]
    print(f"instructions of `pyrunc --version`: {instructions(version)}")
    print(f"size of the executable: {os.path.getsize(version[0])} bytes")
    print(f"limits missed: {missed}")
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
