"""Time namespaces: new with offsets, joined by path, refused."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from harness.container import Container
from harness.mappings import joining, mapped
from harness.signatures import Make

pytestmark = [
    pytest.mark.needs("kernel:5.6", "file:/proc/self/ns/time"),
    pytest.mark.runc_fails("it came with runc 1.2"),
]
DAY = 86400


def offset(container: Container, **clocks: int) -> Container:
    container.bundle.namespace("time")
    container.bundle.linux["timeOffsets"] = {
        clock: {"secs": seconds, "nanosecs": 0} for clock, seconds in clocks.items()
    }
    return container


def uptime(container: Container) -> float:
    """CLOCK_BOOTTIME as the container sees it."""
    return float(container.shell("cut -d' ' -f1 /proc/uptime"))


def is_near(value: float, wanted: float) -> bool:
    return abs(value - wanted) < 60


def test_new(container: Make) -> None:
    c = container()
    c.bundle.namespace("time")
    facts = c.facts()
    assert facts["namespaces"]["time"] != os.readlink("/proc/self/ns/time")


def test_of_the_host_when_not_asked_for(container: Make) -> None:
    assert container().facts()["namespaces"]["time"] == os.readlink("/proc/self/ns/time")


@pytest.mark.parametrize("days", [3, 40])
def test_boottime(container: Make, days: int) -> None:
    host = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert is_near(uptime(offset(container(), boottime=days * DAY)), host + days * DAY)


def test_offsets_as_the_kernel_has_them(container: Make) -> None:
    c = offset(container(), monotonic=DAY, boottime=2 * DAY)
    c.bundle.linux["timeOffsets"]["monotonic"]["nanosecs"] = 5
    lines = [line.split() for line in c.shell("cat /proc/self/timens_offsets").splitlines()]
    assert lines == [["monotonic", str(DAY), "5"], ["boottime", str(2 * DAY), "0"]]


def test_backwards(container: Make) -> None:
    host = time.clock_gettime(time.CLOCK_BOOTTIME)
    seconds = int(host / 2)
    assert is_near(uptime(offset(container(), boottime=-seconds)), host - seconds)


def test_before_boot(container: Make) -> None:
    c = offset(container("/bin/true"), boottime=-(10**9))
    c.create().failed("/linux/timeOffsets", "before boot")
    c.nothing_left()


def test_in_a_new_user_namespace(container: Make) -> None:
    c = offset(mapped(container()), boottime=DAY)
    host = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert is_near(uptime(c), host + DAY)


def test_in_a_joined_user_namespace(container: Make) -> None:
    infra = mapped(container()).running()
    c = offset(joining(container(), infra), boottime=DAY)
    host = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert is_near(uptime(c), host + DAY)


def test_hooks_and_process_see_the_same(container: Make) -> None:
    c = offset(container(), boottime=DAY)
    where = c.bundle.path / "seen"
    c.bundle.config["hooks"] = {
        "createContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", f"readlink /proc/self/ns/time > {where}"]}
        ]
    }
    facts = c.facts()
    assert where.read_text().strip() == facts["namespaces"]["time"]


@pytest.mark.parametrize("kind", ["time", "time_for_children"])
def test_joined(container: Make, kind: str) -> None:
    first = offset(container(), boottime=DAY).running()
    second = container()
    second.bundle.namespace("time", f"/proc/{first.pid}/ns/{kind}")
    host = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert is_near(uptime(second), host + DAY)


def test_joined_beside_a_new_user_namespace(container: Make) -> None:
    first = offset(container(), boottime=DAY).running()
    second = mapped(container())
    second.bundle.namespace("time", f"/proc/{first.pid}/ns/time")
    facts = second.facts()
    assert facts["namespaces"]["time"] == os.readlink(f"/proc/{first.pid}/ns/time")


@pytest.mark.parametrize(
    ("namespaces", "text"),
    [
        ([], "time namespace offsets specified, but time namespace isn't enabled"),
        ([{"type": "time", "path": "/proc/self/ns/time"}], "joined time namespace"),
    ],
)
def test_offsets_without_a_new_namespace(container: Make, namespaces: list[Any], text: str) -> None:
    c = container("/bin/true")
    c.bundle.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    c.bundle.linux["namespaces"] += namespaces
    c.create().failed("/linux/timeOffsets", text)
    c.nothing_left()


def test_too_many_nanoseconds(container: Make) -> None:
    c = offset(container("/bin/true"), boottime=1)
    c.bundle.linux["timeOffsets"]["boottime"]["nanosecs"] = 10**9
    c.create().failed("/linux/timeOffsets/boottime/nanosecs", "999999999")
    c.nothing_left()
