"""A container's cgroup belongs to it alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import kernel
from harness.signatures import Make


def is_waited_for(path: Path) -> bool:
    """Whether somebody waits for a lock on the file (proc(5), locks)."""
    if not path.exists():
        return False
    suffix = f":{path.stat().st_ino}"
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(line[1] == "->" and line[6].endswith(suffix) for line in lines)


def test_cgroup_of_a_living_container_is_refused_and_left_alone(container: Make) -> None:
    first = container("/bin/probe", "wait").running()
    second = container("/bin/probe", "wait")
    second.bundle.linux["cgroupsPath"] = first.bundle.linux["cgroupsPath"]
    second.create().failed("container's cgroup is not empty: 1 process(es) found")
    second.delete(force=True).ok()
    assert first.status == "running"
    assert all(path.is_dir() for path in first.all_cgroups())


def test_refused_limit_leaves_nothing(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["hugepageLimits"] = [{"pageSize": "3MB", "limit": 0}]
    c.create().failed("/linux/resources/hugepageLimits/0")
    c.nothing_left()


def test_path_that_is_refused_leaves_nothing(container: Make) -> None:
    """The kernel takes no line end in the name of a cgroup; the directories above it could be made."""
    c = container("/bin/true")
    top = c.bundle.linux["cgroupsPath"]
    c.bundle.linux["cgroupsPath"] = top + "/b/line\nend"
    c.create().failed("make cgroup", "EINVAL")
    c.nothing_left()
    assert not [path for path in c.lane.tops() if (path / top.lstrip("/")).exists()]


@pytest.mark.needs("runtime:pyrunc")
def test_cgroup_of_a_container_in_the_making(container: Make, tmp_path: Path) -> None:
    """Whoever comes second waits before anything names the cgroup as its own."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first, second = container("/bin/true"), container()
    # Opened before the clone: nobody is in the cgroup yet.
    first.bundle.namespace("network", str(fifo))
    second.bundle.linux["cgroupsPath"] = first.bundle.linux["cgroupsPath"]
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(first.create)
        kernel.wait_until((first.root / first.id / "state.json").exists, "record of the first")
        waiting = pool.submit(second.create)
        try:
            kernel.wait_until(
                lambda: waiting.done() or is_waited_for(first.root / ".cgroups.lock"), "second"
            )
            assert not waiting.done()
            assert not (second.root / second.id / "state.json").exists()
        finally:
            fifo.open("w").close()
        failing.result().failed("/linux/namespaces")
        waiting.result().ok()
    assert not (first.root / first.id).exists()
    assert second.status == "created"
    second.delete(force=True).ok()
    first.nothing_left()
    second.nothing_left()


@pytest.mark.needs("runtime:pyrunc")
def test_one_of_many_gets_a_cgroup(container: Make) -> None:
    """runc looks whether it is empty, too, but at once, so that it may give it to several."""
    top = ""
    for _ in range(4):
        racing = [container() for _ in range(4)]
        top = top or racing[0].bundle.linux["cgroupsPath"]
        for c in racing:
            c.bundle.linux["cgroupsPath"] = top
        with ThreadPoolExecutor(len(racing)) as pool:
            results = list(pool.map(lambda c: c.create(), racing))
        (winner,) = [c for c, result in zip(racing, results, strict=True) if result.status == 0]
        for c, result in zip(racing, results, strict=True):
            if c is not winner:
                result.failed("container's cgroup is not empty: 1 process(es) found")
        assert winner.status == "created"
        winner.delete(force=True).ok()
        for c in racing:
            c.nothing_left()
