"""How the container's process is scheduled: scheduler, I/O priority, processors, memory nodes, personality."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path
from typing import Any

import pytest

from conftest import Make
from harness import kernel
from harness.container import Container

X86_64 = platform.machine() == "x86_64"
SYS_SCHED_GETATTR, SYS_IOPRIO_GET = (315, 252) if X86_64 else (275, 31)
SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
ADDR_NO_RANDOMIZE = 0x0040000
_libc = ctypes.CDLL(None, use_errno=True)


def attributes(pid: int) -> dict[str, int]:
    """sched_getattr(2)."""
    buffer = ctypes.create_string_buffer(48)
    assert _libc.syscall(SYS_SCHED_GETATTR, pid, buffer, 48, 0) == 0
    names = ("size", "policy", "flags", "nice", "priority", "runtime", "deadline", "period")
    return dict(zip(names, struct.unpack("=IIQiIQQQ", buffer.raw), strict=True))


def io_priority(pid: int) -> tuple[int, int]:
    value = _libc.syscall(SYS_IOPRIO_GET, 1, pid)
    return value >> 13, value & 0x1FFF


def with_users(c: Container) -> Container:
    c.bundle.namespace("user")
    for name in ("uidMappings", "gidMappings"):
        c.bundle.linux[name] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    return c


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"policy": "SCHED_OTHER", "nice": 5}, {"policy": SCHED_OTHER, "nice": 5}),
        ({"policy": "SCHED_OTHER", "nice": -5}, {"policy": SCHED_OTHER, "nice": -5}),
        ({"policy": "SCHED_BATCH", "nice": 19}, {"policy": SCHED_BATCH, "nice": 19}),
        ({"policy": "SCHED_IDLE"}, {"policy": SCHED_IDLE}),
        (
            {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
            {"policy": SCHED_BATCH, "flags": 1},
        ),
    ],
    ids=["nice", "negative-nice", "batch", "idle", "flags"],
)
@pytest.mark.parametrize("user_namespace", [False, True], ids=["initial-users", "own-users"])
def test_scheduler(
    container: Make, scheduler: dict[str, Any], expected: dict[str, int], user_namespace: bool
) -> None:
    c = container(scheduler=scheduler)
    if user_namespace:
        with_users(c)
    found = attributes(c.running().pid)
    assert {name: found[name] for name in expected} == expected


def real_time_from_above(c: Container) -> None:
    """With CONFIG_RT_GROUP_SCHED a cgroup v1 has no real time that the one above does not lend it."""
    if c.lane.version_of("cpu") != 1:
        return
    above = c.cgroup("cpu").parent
    above.mkdir(parents=True, exist_ok=True)
    lent = above / "cpu.rt_runtime_us"
    if lent.exists():
        lent.write_text("20000")
        c.bundle.resources["cpu"] = {"realtimeRuntime": 1000}


@pytest.mark.parametrize("user_namespace", [False, True], ids=["initial-users", "own-users"])
@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
def test_real_time(container: Make, policy: str, user_namespace: bool) -> None:
    c = container(scheduler={"policy": policy, "priority": 3})
    if user_namespace:
        with_users(c)
    real_time_from_above(c)
    found = attributes(c.running().pid)
    assert (found["policy"], found["priority"]) == ({"SCHED_FIFO": 1, "SCHED_RR": 2}[policy], 3)


def test_deadline(container: Make) -> None:
    numbers = {"runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000}
    c = container(scheduler={"policy": "SCHED_DEADLINE", **numbers}).running()
    found = attributes(c.pid)
    assert found["policy"] == SCHED_DEADLINE
    assert {name: found[name] for name in numbers} == numbers


@pytest.mark.needs("cgroup:cpuset")
def test_deadline_on_some_processors_only(container: Make) -> None:
    if len(kernel.processors()) < 2:
        pytest.skip("needs two processors")
    numbers = {"runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000}
    c = container(scheduler={"policy": "SCHED_DEADLINE", **numbers})
    c.bundle.resources["cpu"] = {"cpus": "0", "mems": "0"}
    c.create().failed(
        "/process/scheduler", "process scheduler can't be used together with AllowedCPUs"
    )
    c.nothing_left()


@pytest.mark.runc_fails("its texts have no place")
@pytest.mark.parametrize(
    ("scheduler", "place"),
    [
        ({"policy": "SCHED_OTHER", "nice": 20}, "/process/scheduler/nice"),
        ({"policy": "SCHED_OTHER", "priority": 1}, "/process/scheduler/priority"),
        ({"policy": "SCHED_BATCH", "runtime": 1}, "/process/scheduler/runtime"),
        ({"policy": "SCHED_FIFO"}, "/process/scheduler/priority"),
        ({"policy": "SCHED_ISO"}, "/process/scheduler/policy"),
    ],
)
def test_refused_scheduler(container: Make, scheduler: dict[str, Any], place: str) -> None:
    c = container(scheduler=scheduler)
    c.create().failed(place)
    c.nothing_left()


def test_deadline_that_the_kernel_refuses(container: Make) -> None:
    """sched_setattr(2): runtime must not exceed the deadline."""
    numbers = {"runtime": 100_000_000, "deadline": 50_000_000, "period": 100_000_000}
    c = container(scheduler={"policy": "SCHED_DEADLINE", **numbers})
    c.create().failed("invalid argument")
    c.nothing_left()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"class": "IOPRIO_CLASS_RT", "priority": 2}, (1, 2)),
        ({"class": "IOPRIO_CLASS_BE", "priority": 7}, (2, 7)),
        ({"class": "IOPRIO_CLASS_IDLE"}, (3, 0)),
    ],
    ids=["rt", "be", "idle"],
)
@pytest.mark.parametrize("user_namespace", [False, True], ids=["initial-users", "own-users"])
def test_io_priority(
    container: Make, asked: dict[str, Any], expected: tuple[int, int], user_namespace: bool
) -> None:
    c = container(ioPriority=asked)
    if user_namespace:
        with_users(c)
    assert io_priority(c.running().pid) == expected


def test_io_priority_out_of_range(container: Make) -> None:
    c = container(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 8})
    c.create().failed("riority")
    c.nothing_left()


@pytest.mark.runc_fails("it took CPU lists later than 1.1")
@pytest.mark.parametrize("cpus", ["3-1", "1-", "0-1,x", ","])
def test_affinity_that_is_no_list(container: Make, cpus: str) -> None:
    c = container(execCPUAffinity={"initial": cpus})
    c.create().failed("/process/execCPUAffinity/initial")
    c.nothing_left()


def test_affinity_of_the_caller_is_not_the_containers(container: Make) -> None:
    """Without a cpuset all processors are the container's, whatever the caller confined itself to."""
    own, allowed = os.sched_getaffinity(0), kernel.processors()
    if len(allowed) < 2:
        pytest.skip("needs two processors")
    os.sched_setaffinity(0, {min(allowed)})
    try:
        c = container().running()
    finally:
        os.sched_setaffinity(0, own)
    assert os.sched_getaffinity(c.pid) == allowed


@pytest.mark.needs("cgroup:cpuset")
def test_affinity_is_that_of_the_cpuset(container: Make) -> None:
    c = container()
    c.bundle.resources["cpu"] = {"cpus": "0", "mems": "0"}
    assert os.sched_getaffinity(c.running().pid) == {0}


def policies(pid: int) -> set[str]:
    """Memory policies of the process's mappings (numa_maps of proc(5))."""
    lines = Path(f"/proc/{pid}/numa_maps").read_text().splitlines()
    return {line.split()[1] for line in lines}


@pytest.mark.runc_fails("it knows memoryPolicy from 1.4 on")
@pytest.mark.needs("file:/proc/self/numa_maps")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]},
            "bind=relative:0",
        ),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
    ids=[
        "interleave",
        "bind-static",
        "bind-relative",
        "preferred",
        "preferred-many",
        "local",
        "default",
    ],
)
def test_memory_policy(container: Make, policy: dict[str, Any], expected: str) -> None:
    c = container()
    c.bundle.linux["memoryPolicy"] = policy
    text = Path(f"/proc/{c.running().pid}/numa_maps").read_text()
    assert any(line.split(" ", 1)[1].startswith(expected) for line in text.splitlines()), text


@pytest.mark.runc_fails("it knows memoryPolicy from 1.4 on")
@pytest.mark.needs("file:/proc/self/numa_maps")
def test_memory_node_that_is_not_there(container: Make) -> None:
    c = container()
    c.bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    c.create().failed("/linux/memoryPolicy", "invalid argument")
    c.nothing_left()


def personality(pid: int) -> int:
    return int(Path(f"/proc/{pid}/personality").read_text(), 16)


@pytest.mark.runc_fails("it takes no flags, and personality from 1.2 on")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"domain": "LINUX"}, 0),
        ({"domain": "LINUX32"}, 8),
        ({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, ADDR_NO_RANDOMIZE),
        ({"domain": "LINUX32", "flags": ["UNAME26", "ADDR_NO_RANDOMIZE"]}, 0x0060008),
    ],
    ids=["linux", "linux32", "flag", "flags"],
)
@pytest.mark.parametrize("privileges", [True, False], ids=["no-new-privileges", "new-privileges"])
def test_personality(
    container: Make, asked: dict[str, Any], expected: int, privileges: bool
) -> None:
    c = container(noNewPrivileges=privileges)
    c.bundle.linux["personality"] = asked
    assert personality(c.running().pid) == expected


@pytest.mark.needs("runtime:pyrunc")
def test_personality_is_felt(container: Make) -> None:
    c = container()
    c.bundle.linux["personality"] = {"domain": "LINUX32", "flags": ["UNAME26"]}
    machine, release = c.shell("/bin/busybox uname -m; /bin/busybox uname -r").split()
    assert machine in ("i686", "armv8l")
    assert release.startswith("2.6.")


def test_personality_with_an_unknown_flag(container: Make) -> None:
    c = container()
    c.bundle.linux["personality"] = {"domain": "LINUX", "flags": ["NO_SUCH_FLAG"]}
    if c.runtime.kind == "pyrunc":
        c.create().failed("/linux/personality/flags/0", "NO_SUCH_FLAG")
        c.nothing_left()
    else:
        c.create().ok()
