"""Update on cgroup v2: each property of config-linux.md, and that a refused part undoes the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness import devices, kernel
from harness.container import Container
from harness.signatures import Make

MIB = 1 << 20
DISK = ":".join(str(number) for number in devices.disk() or ())
MAJOR, _, MINOR = DISK.partition(":")
PAGES = devices.page_sizes()


def of_disk(**rest: int) -> list[dict[str, int]]:
    return [{"major": int(MAJOR or 0), "minor": int(MINOR or 0), **rest}]


# Controller, change, files afterwards.
CASES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("memory", {"memory": {"limit": 64 * MIB}}, {"memory.max": str(64 * MIB)}),
    (
        "memory",
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
        {"memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB)},
    ),
    ("memory", {"memory": {"reservation": 32 * MIB}}, {"memory.low": str(32 * MIB)}),
    ("memory", {"unified": {"memory.high": str(48 * MIB)}}, {"memory.high": str(48 * MIB)}),
    ("memory", {"unified": {"memory.oom.group": "1"}}, {"memory.oom.group": "1"}),
    ("cpu", {"cpu": {"shares": 512}}, {"cpu.weight": "59"}),
    ("cpu", {"cpu": {"quota": 50000, "period": 200000}}, {"cpu.max": "50000 200000"}),
    (
        "cpu",
        {"cpu": {"quota": 50000, "burst": 20000}},
        {"cpu.max": "50000 100000", "cpu.max.burst": "20000"},
    ),
    ("cpu", {"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
    ("cpuset", {"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset.cpus": "0", "cpuset.mems": "0"}),
    ("pids", {"pids": {"limit": 33}}, {"pids.max": "33"}),
    (
        "io",
        {"blockIO": {"throttleReadBpsDevice": of_disk(rate=MIB)}},
        {"io.max": f"{DISK} rbps={MIB} wbps=max riops=max wiops=max"},
    ),
    ("io", {"blockIO": {"weight": 500}}, {"io.weight": "default 4950"}),
    (
        "io",
        {"blockIO": {"weightDevice": of_disk(weight=500)}},
        {"io.weight": f"default 100\n{DISK} 4950"},
    ),
    *(
        (
            "hugetlb",
            {"hugepageLimits": [{"pageSize": size, "limit": 4 << 30}]},
            {f"hugetlb.{size}.max": str(4 << 30)},
        )
        for size in PAGES
    ),
]
EACH = pytest.mark.parametrize(
    ("controller", "change", "expected"),
    [
        pytest.param(
            *case,
            id=" ".join(case[2]),
            marks=pytest.mark.needs("cgroup2", f"cgroup2:{case[0]}"),
        )
        for case in CASES
    ],
)


def running(container: Make, controller: str, expected: dict[str, str]) -> Container:
    c = container().running()
    for name in expected:
        if not (c.cgroup(controller) / name).exists():
            pytest.skip(f"this kernel has no {name}")
    if controller == "io" and not DISK:
        pytest.skip("this machine has no disk")
    if any("\n" in value for value in expected.values()):
        try:
            (c.cgroup("io") / "io.weight").write_text(f"{DISK} 100")
        except OSError as error:
            pytest.skip(f"the disk is not weighed here (io.cost.qos): {error}")
        (c.cgroup("io") / "io.weight").write_text(f"{DISK} default")
    return c


def update(c: Container, change: dict[str, Any]) -> Any:
    return c.call("update", "--resources", "-", c.id, stdin=json.dumps(change).encode())


def values(c: Container, controller: str, names: Any) -> dict[str, str]:
    # A limit of huge pages that nobody has written yet is a figure, and "max" afterwards.
    never = str((1 << 63) - 4096)
    return {name: c.cgroup_value(controller, name).replace(never, "max") for name in names}


@EACH
def test_property(
    container: Make, controller: str, change: dict[str, Any], expected: dict[str, str]
) -> None:
    c = running(container, controller, expected)
    update(c, change).ok()
    assert values(c, controller, expected) == expected
    # What a later update does not name stays.
    update(c, {"unified": {"cgroup.max.depth": "9"}}).ok()
    assert values(c, controller, expected) == expected


@EACH
def test_refused_part_undoes_it(
    container: Make, controller: str, change: dict[str, Any], expected: dict[str, str]
) -> None:
    c = running(container, controller, expected)
    # While a process is in it, a cpuset that was set cannot be unset.
    names = [f"{name}.effective" if controller == "cpuset" else name for name in expected]
    before = values(c, controller, names)
    refused = {**change, "unified": {**change.get("unified", {}), "cgroup.max.depth": "many"}}
    result = update(c, refused).failed("/unified/cgroup.max.depth")
    # One line: nothing that could not be undone.
    assert len(result.err.strip().splitlines()) == 1
    assert values(c, controller, names) == before
    # Nor does the record have it: the next update does not bring it back.
    update(c, {"unified": {"cgroup.max.depth": "9"}}).ok()
    assert values(c, controller, names) == before


@pytest.mark.needs("cgroup2:memory")
def test_limit_below_the_usage(container: Make) -> None:
    """checkBeforeUpdate: the kernel would kill for it."""
    c = container(
        "/bin/sh", "-c", "head -c 20000000 /dev/zero >/dev/shm/x; echo up; exec sleep 1000"
    )
    c.create().ok()
    c.start().ok()
    c.wait_for_output("up\n")
    change = {"memory": {"limit": 8 * MIB, "checkBeforeUpdate": True}}
    update(c, change).failed("/memory/limit", "checkBeforeUpdate")
    assert c.cgroup_value("memory", "memory.max") == "max"
    assert c.status == "running"
    change["memory"]["limit"] = 64 * MIB
    update(c, change).ok()
    assert c.cgroup_value("memory", "memory.max") == str(64 * MIB)


@pytest.mark.needs("cgroup2:memory")
def test_lower_limit_is_felt(container: Make) -> None:
    c = container(
        "/bin/sh", "-c", "read x </go; head -c 100m /dev/zero | tail >/dev/null; sleep 1000"
    )
    fifo = c.bundle.rootfs / "go"
    os.mkfifo(fifo)
    c.bundle.resources["memory"] = {"limit": 512 * MIB, "swap": 512 * MIB}
    c.create().ok()
    c.start().ok()
    update(c, {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}).ok()
    fifo.write_text("go\n")
    events = c.cgroup("memory") / "memory.events"

    def killed() -> bool:
        text = events.read_text() if events.exists() else ""
        return any(line.startswith("oom_kill ") and line[9:] != "0" for line in text.splitlines())

    kernel.wait_until(killed, "a process that the kernel killed for want of memory")


@pytest.mark.needs("cgroup2:pids")
def test_lower_number_of_processes_is_felt(container: Make) -> None:
    c = container().running()
    # The first process, that of exec, and the one that it was born of.
    c.call("update", "--pids-limit", "3", c.id).ok()
    result = c.exec("/bin/sh", "-c", "sleep 1 & sleep 1 & sleep 1 & wait")
    assert result.status != 0
    assert "fork" in result.err
    c.call("update", "--pids-limit", "-1", c.id).ok()
    c.exec("/bin/sh", "-c", "sleep 0 & sleep 0 & sleep 0 & wait").ok()
    assert Path(c.cgroup("pids") / "pids.events").read_text() != "max 0\n"
