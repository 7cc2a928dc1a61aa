"""A trace tells when each operation of the plan began and ended."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from harness.container import Container
from harness.signatures import Make


def planned(c: Container, *options: str) -> list[dict[str, Any]]:
    c.bundle.write()
    result = c.call("plan", "--json", "--bundle", str(c.bundle.path), *options, c.id).ok()
    return list(result.json())


def traced(file: Path) -> list[dict[str, Any]]:
    document = json.loads(file.read_text())
    assert document["displayTimeUnit"] == "ms"
    assert {event["ph"] for event in document["traceEvents"]} == {"M", "X"}
    return [event for event in document["traceEvents"] if event["ph"] == "X"]


def names(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((event["name"], event["args"]["origin"]) for event in events)


@pytest.mark.parametrize("detach", [False, True])
def test_operations_of_a_run_are_those_of_the_plan(
    container: Make, tmp_path: Path, detach: bool
) -> None:
    c = container("/bin/true")
    plan = planned(c, *(["--detach"] if detach else []))
    file = tmp_path / "trace.json"
    (c.run_detached if detach else c.run)("--trace", str(file)).ok()
    events = traced(file)
    assert names(events) == sorted((op["text"], op["origin"]) for op in plan)
    sides = {"runtime": 1, "init": 2, "both": 2}
    for op in plan:
        found = [event for event in events if event["name"] == op["text"]]
        assert {event["tid"] for event in found} == {sides[op["side"]]}


def test_times_of_one_side_follow_each_other(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true")
    file = tmp_path / "trace.json"
    c.run("--trace", str(file)).ok()
    events = traced(file)
    for side in (1, 2):
        moments = [
            (event["ts"], event["ts"] + event["dur"]) for event in events if event["tid"] == side
        ]
        assert moments
        for (begin, end), (following, _) in itertools.pairwise(moments):
            assert 0 <= begin <= end <= following + 0.001


def test_create_waits_for_its_start(container: Make, tmp_path: Path) -> None:
    c = container()
    file = tmp_path / "trace.json"
    c.create("--trace", str(file)).ok()
    assert traced(file)[-1]["cat"] == "await_start"
    c.start().ok()


def test_failed_create_is_traced_too(container: Make, tmp_path: Path) -> None:
    c = container("/not/there")
    file = tmp_path / "trace.json"
    c.create("--trace", str(file)).failed("/not/there")
    assert traced(file)[-1]["cat"] == "find_executable"
    c.nothing_left()


def test_strict_filter_and_trace(container: Make, tmp_path: Path) -> None:
    """A filter that allows execve and little else is not in the trace's way."""
    c = container("/bin/probe", "true")
    allowed = [
        "execve",
        "exit",
        "exit_group",
        "arch_prctl",
        "set_tid_address",
        "brk",
        "mmap",
        "ioctl",
        "writev",
    ]
    c.bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
    }
    c.bundle.process["args"] = ["/bin/probe"]
    plain = c.run().status
    file = tmp_path / "trace.json"
    assert c.run("--trace", str(file)).status == plain
    assert traced(file)[-1]["cat"] == "execute"


def test_exec(container: Make, tmp_path: Path) -> None:
    c = container().running()
    file = tmp_path / "trace.json"
    c.call("exec", "--trace", str(file), c.id, "/bin/true").ok()
    kinds = [event["cat"] for event in traced(file)]
    assert kinds[-1] == "execute"
    assert {"clone", "join_process", "set_ids"} <= set(kinds)


def test_file_that_cannot_be_written(container: Make) -> None:
    c = container("/bin/true")
    c.run("--trace", "/does/not/exist/trace.json").failed("/does/not/exist/trace.json")
    c.nothing_left()
