"""Events: what a container uses, and that it ran out of memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make


def stats(c: Container) -> dict[str, Any]:
    result = c.call("events", "--stats", c.id).ok()
    assert result.err == ""
    assert len(result.out.splitlines()) == 1
    event = result.json()
    assert (event["type"], event["id"]) == ("stats", c.id)
    data: dict[str, Any] = event["data"]
    return data


def test_document(container: Make) -> None:
    data = stats(container().running())
    wanted = {
        "cpu",
        "cpuset",
        "memory",
        "pids",
        "blkio",
        "hugetlb",
        "intel_rdt",
        "network_interfaces",
    }
    assert wanted <= set(data)
    assert set(data["cpu"]) >= {"usage", "throttling"}
    assert set(data["memory"]) >= {"cache", "usage", "swap", "kernel", "kernelTCP", "raw"}


def test_figures_are_those_of_the_files(container: Make) -> None:
    c = container()
    if c.lane.mode == "v2":
        pytest.skip("the unified hierarchy of this lane has no controller for these figures")
    c.bundle.resources.update({"memory": {"limit": 67108864}, "pids": {"limit": 40}})
    c.running()
    before = int(c.cgroup_value("cpuacct", "cpuacct.usage"))
    data = stats(c)
    assert data["memory"]["usage"]["limit"] == 67108864
    assert 0 < data["memory"]["usage"]["usage"] <= data["memory"]["usage"]["max"]
    assert data["pids"] == {"current": 1, "limit": 40}
    assert (
        before <= data["cpu"]["usage"]["total"] <= int(c.cgroup_value("cpuacct", "cpuacct.usage"))
    )
    assert data["cpuset"]["cpus"]


def test_stream_ends_with_the_container(container: Make) -> None:
    c = container().running()
    with (c.work / "stream").open("wb") as file:
        process = c.runtime.popen(
            ["--root", str(c.root), "events", "--interval", "50ms", c.id], stdout=file, stderr=file
        )
        lines: Callable[[], list[str]] = lambda: (c.work / "stream").read_text().splitlines()  # noqa: E731
        kernel.wait_until(lambda: len(lines()) >= 3, "three events")
        c.kill("KILL").ok()
        assert process.wait(kernel.PATIENCE) == 0
    assert {json.loads(line)["type"] for line in lines()} == {"stats"}


def test_out_of_memory(container: Make) -> None:
    c = container()
    if c.lane.mode == "v2":
        pytest.skip("the unified hierarchy of this lane has no memory controller")
    c.bundle.resources.update({"memory": {"limit": 16777216, "swap": 16777216}})
    c.bundle.process["args"] = [
        "/bin/sh",
        "-c",
        "read x </go; head -c 100m /dev/zero | tail; sleep 100",
    ]
    kernel_fifo = c.bundle.rootfs / "go"
    os.mkfifo(kernel_fifo)
    c.bundle.linux["namespaces"] = [
        n for n in c.bundle.linux["namespaces"] if n["type"] != "cgroup"
    ]
    c.create().ok()
    c.start().ok()
    with (c.work / "stream").open("wb") as file:
        process = c.runtime.popen(
            ["--root", str(c.root), "events", "--interval", "100ms", c.id], stdout=file, stderr=file
        )
        kernel.wait_until(lambda: (c.work / "stream").read_text() != "", "the first event")
        kernel_fifo.write_text("go\n")
        wanted = json.dumps({"type": "oom", "id": c.id}, separators=(",", ":"))
        kernel.wait_until(
            lambda: wanted in (c.work / "stream").read_text().splitlines(), "the event", 20.0
        )
        # Not "kill": whom the kernel kills is its choice, and with the eater dying but its memory not yet given back
        # it also takes the shell, so that the container may have ended by now.
        c.delete(force=True).ok()
        assert process.wait(kernel.PATIENCE) == 0


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ("0s", "duration interval must be greater than 0"),
        ("-1s", "duration interval must be greater than 0"),
        ("5", 'invalid duration "5"'),
        ("", 'invalid duration ""'),
    ],
)
def test_wrong_interval(container: Make, interval: str, text: str) -> None:
    c = container().running()
    assert text in c.call("events", f"--interval={interval}", c.id).failed().err


def test_stopped_container(container: Make) -> None:
    c = container().running()
    c.kill("KILL").ok()
    c.wait()
    assert (
        f"container with id {c.id} is not running" in c.call("events", "--stats", c.id).failed().err
    )
