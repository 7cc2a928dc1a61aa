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


def processor_time(c: Container) -> int:
    """What the cgroup has used so far, in nanoseconds."""
    if c.lane.version_of("cpuacct") == 1:
        return int(c.cgroup_value("cpuacct", "cpuacct.usage"))
    lines = dict(line.split() for line in c.cgroup_value("cpu", "cpu.stat").splitlines())
    return int(lines["usage_usec"]) * 1000


@pytest.mark.needs("cgroup:memory", "cgroup:pids", "cgroup:cpu")
def test_figures_are_those_of_the_files(container: Make) -> None:
    c = container()
    c.bundle.resources.update({"memory": {"limit": 67108864}, "pids": {"limit": 40}})
    c.running()
    before = processor_time(c)
    data = stats(c)
    usage = data["memory"]["usage"]
    assert usage["limit"] == 67108864
    assert usage["usage"] > 0
    # memory.peak came with Linux 5.19.
    if c.lane.version_of("memory") == 1 or (c.cgroup("memory") / "memory.peak").exists():
        assert usage["usage"] <= usage["max"]
    assert data["pids"] == {"current": 1, "limit": 40}
    assert before <= data["cpu"]["usage"]["total"] <= processor_time(c)
    if c.lane.version_of("cpuset") == 1:
        assert data["cpuset"]["cpus"]


@pytest.mark.needs("cgroup2:memory", "cgroup2:cpu", "cgroup2:io")
def test_pressure(container: Make) -> None:
    c = container().running()
    data = stats(c)
    for kind, file in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
        if not (c.cgroup(file) / f"{file}.pressure").exists():
            pytest.skip("this kernel does not tell about pressure")
        for part in data[kind]["psi"].values():
            assert set(part) == {"avg10", "avg60", "avg300", "total"}
        assert "some" in data[kind]["psi"]


@pytest.mark.needs("cgroup:cpu")
def test_quota_is_felt(container: Make) -> None:
    """A tenth of a processor for one that would take all of it."""
    c = container()
    c.bundle.resources["cpu"] = {"quota": 2000, "period": 20000}
    c.bundle.process["args"] = ["/bin/sh", "-c", "while :; do :; done"]
    c.create().ok()
    c.start().ok()

    def throttled() -> bool:
        figures = stats(c)["cpu"]["throttling"]
        return bool(0 < figures["throttledPeriods"] <= figures["periods"])

    kernel.wait_until(throttled, "a period in which it had to wait")
    assert stats(c)["cpu"]["throttling"]["throttledTime"] > 0


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


@pytest.mark.needs("cgroup:memory")
def test_out_of_memory(container: Make) -> None:
    c = container()
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
