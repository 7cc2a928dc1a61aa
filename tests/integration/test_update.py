"""Update: limits of living containers, read back from the cgroup files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Make

LIMITS = pytest.mark.needs("cgroup:memory", "cgroup:pids", "cgroup:cpu")
V1_FILES = {
    "memory": ("memory", "memory.limit_in_bytes"),
    "pids": ("pids", "pids.max"),
    "shares": ("cpu", "cpu.shares"),
    "quota": ("cpu", "cpu.cfs_quota_us"),
    "period": ("cpu", "cpu.cfs_period_us"),
}
V2_FILES = {
    "memory": ("memory", "memory.max", 0),
    "pids": ("pids", "pids.max", 0),
    "shares": ("cpu", "cpu.weight", 0),
    "quota": ("cpu", "cpu.max", 0),
    "period": ("cpu", "cpu.max", 1),
}


def read(c: Container, what: str) -> str:
    controller = V1_FILES[what][0]
    if c.lane.version_of(controller) == 1:
        return c.cgroup_value(*V1_FILES[what])
    _controller, file, word = V2_FILES[what]
    return c.cgroup_value(controller, file).split()[word]


@LIMITS
def test_flags(container: Make) -> None:
    c = container().running()
    c.call("update", "--memory", "32m", "--pids-limit", "20", "--cpu-share", "512", c.id).ok()
    shares = "512" if c.lane.version_of("cpu") == 1 else "59"
    assert [read(c, name) for name in ("memory", "pids", "shares")] == ["33554432", "20", shares]


@LIMITS
def test_resources_from_standard_input_keep_the_rest(container: Make) -> None:
    c = container()
    c.bundle.resources.update({"pids": {"limit": 30}})
    c.running()
    change = json.dumps({"memory": {"limit": 33554432}})
    c.call("update", "--resources=-", c.id, stdin=change.encode()).ok()
    assert (read(c, "memory"), read(c, "pids")) == ("33554432", "30")
    c.call("update", "--cpu-quota", "50000", c.id).ok()
    assert (read(c, "memory"), read(c, "quota"), read(c, "period")) == (
        "33554432",
        "50000",
        "100000",
    )
    c.call("update", "--cpu-period", "200000", c.id).ok()
    assert (read(c, "quota"), read(c, "period")) == ("50000", "200000")


@pytest.mark.needs("cgroup:pids")
def test_resources_from_a_file(container: Make, tmp_path: Path) -> None:
    c = container()
    c.bundle.resources.update({"pids": {"limit": 30}})
    c.running()
    file = tmp_path / "resources.json"
    file.write_text('{"pids": {"limit": -1}, "memory": null}')
    c.call("update", "-r", str(file), c.id).ok()
    assert read(c, "pids") == "max"


@LIMITS
@pytest.mark.needs("cgroup:cpuset")
def test_refused_part_leaves_all_as_it_was(container: Make) -> None:
    c = container()
    c.bundle.resources.update({"pids": {"limit": 30}, "memory": {"limit": 67108864}})
    c.running()
    result = c.call("update", "--memory", "64m", "--cpuset-cpus", "4095", "--pids-limit", "5", c.id)
    result.failed("/cpu/cpus")
    assert (read(c, "memory"), read(c, "pids")) == ("67108864", "30")
    c.call("update", "--pids-limit", "6", c.id).ok()
    assert read(c, "pids") == "6"


@pytest.mark.needs("cgroup:memory")
def test_memory_and_swap_in_both_directions(container: Make) -> None:
    """v1 limits the sum of both, v2 swap alone: the same words, other figures."""
    c = container()
    c.bundle.resources.update({"memory": {"limit": 67108864}})
    c.running()
    version = c.lane.version_of("memory")
    name = "memory.memsw.limit_in_bytes" if version == 1 else "memory.swap.max"
    swap = c.cgroup("memory") / name
    if not swap.exists():
        pytest.skip("no swap accounting on this kernel")
    for limit, both in (("32m", "64m"), ("128m", "256m"), ("16m", "16m"), ("-1", "-1")):
        c.call("update", "--memory", limit, "--memory-swap", both, c.id).ok()
    c.call("update", "--memory", "16m", "--memory-swap", "48m", c.id).ok()
    expected = "50331648" if version == 1 else "33554432"
    assert (read(c, "memory"), swap.read_text().strip()) == ("16777216", expected)


@pytest.mark.needs("cgroup:freezer", "cgroup:pids")
def test_paused_container_stays_paused(container: Make) -> None:
    c = container().running()
    if c.lane.version_of("freezer") == 1:
        (c.cgroup("freezer") / "freezer.state").write_text("FROZEN")
    else:
        (c.cgroup("freezer") / "cgroup.freeze").write_text("1")
    kernel.wait_until(lambda: c.status == "paused", "a frozen cgroup")
    c.call("update", "--pids-limit", "7", c.id).ok()
    assert (read(c, "pids"), c.status) == ("7", "paused")


def test_devices_can_be_given_and_taken(container: Make) -> None:
    """No other runtime changes them."""
    c = container()
    c.bundle.linux["devices"] = [
        {"path": "/dev/one", "type": "c", "major": 1, "minor": 11, "fileMode": 438}
    ]
    c.running()

    def opens() -> bool:
        path = Path(f"/proc/{c.pid}/root/dev/one")
        if not path.exists():
            raise AssertionError("no device node")
        procs = "cgroup.procs"
        joins = "".join(f"echo 0 >{one}/{procs}; " for one in c.all_cgroups())
        done = subprocess.run(
            ["sh", "-c", f"{joins} exec 3<{path}"], capture_output=True, check=False
        )
        return done.returncode == 0

    rule: dict[str, Any] = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    assert not opens()
    c.call(
        "update",
        "-r",
        "-",
        c.id,
        stdin=json.dumps({"devices": [{"allow": False, "access": "rwm"}, rule]}).encode(),
    ).ok()
    assert opens()
    c.call(
        "update",
        "-r",
        "-",
        c.id,
        stdin=json.dumps({"devices": [{"allow": False, "access": "rwm"}]}).encode(),
    ).ok()
    assert not opens()
    assert c.status == "running"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--memory", "many"), "invalid value for --memory: many"),
        (("--cpu-quota", "x"), "invalid value for --cpu-quota: x"),
        (("-r", "/does/not/exist"), "/does/not/exist"),
        (
            ("--l3-cache-schema", "L3:0=f"),
            "updating a non-existent Intel RDT configuration is not supported",
        ),
    ],
)
def test_wrong_value(container: Make, words: tuple[str, ...], text: str) -> None:
    c = container().running()
    assert text in c.call("update", *words, c.id).failed().err


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ('{"memory": {"limit": "x"}}', "/memory/limit"),
        ('{"pids": {"limit": 1}', "line 1"),
        ('{"memory": {"limit": 1048576, "swap": 5}}', "/memory/swap"),
        ('{"unified": {"a/b": "1"}}', "/unified/a~1b"),
    ],
)
def test_wrong_document(container: Make, document: str, text: str) -> None:
    c = container().running()
    err = c.call("update", "-r", "-", c.id, stdin=document.encode()).failed().err
    assert text in err
    assert "/linux/" not in err


def test_stopped_container(container: Make) -> None:
    c = container().running()
    c.kill("KILL").ok()
    c.wait()
    assert "container not running" in c.call("update", "--pids-limit", "5", c.id).failed().err
