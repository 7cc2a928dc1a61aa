"""The systemd cgroup driver: containers are units of the system's manager."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import kernel, lanes
from harness.signatures import Make, Popen
from harness.units import UnitContainer, is_there, show, systemctl

pytestmark = [pytest.mark.needs("systemd", "runtime:pyrunc")]

MIB = 1 << 20


def unit_of(container: Make, *args: str) -> UnitContainer:
    return UnitContainer(container(*args))


def gone(unit: str) -> None:
    kernel.wait_until(lambda: not is_there(unit), f"end of unit {unit}", 10.0)


def memory_limit(u: UnitContainer) -> str:
    name = {1: "memory.limit_in_bytes", 2: "memory.max"}[u.container.lane.version_of("memory")]
    return (u.cgroup("memory") / name).read_text().strip()


def test_limits_are_properties_of_the_unit_and_in_the_files(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.resources.update(
        {
            "memory": {"limit": 128 * MIB},
            "cpu": {"quota": 50000, "period": 100000, "shares": 512},
            "pids": {"limit": 64},
        }
    )
    c.running()
    is_v2 = c.lane.mode == "v2"
    names = ["ActiveState", "Slice", "Delegate", "TasksMax", "CPUQuotaPerSecUSec", "DevicePolicy"]
    names += ["MemoryMax", "CPUWeight"] if is_v2 else ["MemoryLimit", "CPUShares"]
    found = show(u.unit, *names, "Description")
    assert found.pop("Description") == f"pyrunc container {c.id}"
    assert found == {
        "ActiveState": "active",
        "Slice": "system.slice",
        "Delegate": "yes",
        "TasksMax": "64",
        "CPUQuotaPerSecUSec": "500ms",
        "DevicePolicy": "strict",
        **(
            {"MemoryMax": str(128 * MIB), "CPUWeight": "59"}
            if is_v2
            else {"MemoryLimit": str(128 * MIB), "CPUShares": "512"}
        ),
    }
    assert u.path() == f"/system.slice/{u.unit}"
    assert memory_limit(u) == str(128 * MIB)
    assert (u.cgroup("pids") / "pids.max").read_text().strip() == "64"
    if is_v2:
        assert (u.cgroup("cpu") / "cpu.max").read_text().strip() == "50000 100000"
    else:
        assert (u.cgroup("cpu") / "cpu.cfs_quota_us").read_text().strip() == "50000"
    status = systemctl("status", u.unit)
    assert status.returncode == 0
    assert str(c.pid) in status.stdout
    c.delete(force=True).ok()
    assert not is_there(u.unit)
    assert not c.lane.ours() or all(Path(path).name == lanes.TOKEN for path in c.lane.ours())


def test_a_quota_is_rounded_up_for_systemd_and_exact_in_the_file(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.resources["cpu"] = {"quota": 12345, "period": 50000}
    c.running()
    found = show(u.unit, "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec")
    assert found == {"CPUQuotaPerSecUSec": "250ms", "CPUQuotaPeriodUSec": "50ms"}
    name = "cpu.max" if c.lane.mode == "v2" else "cpu.cfs_quota_us"
    assert (u.cgroup("cpu") / name).read_text().split()[0] == "12345"


@pytest.mark.parametrize("above", ["", "-.slice", f"{lanes.TOKEN.replace('-', '_')}-a-b.slice"])
def test_slices(container: Make, above: str) -> None:
    u = unit_of(container)
    u.place(above)
    c = u.container.running()
    stem = above.removesuffix(".slice").split("-")
    wanted = {
        "": "/system.slice",
        "-.slice": "",
    }.get(above) if above in ("", "-.slice") else "".join(
        f"/{'-'.join(stem[: count + 1])}.slice" for count in range(len(stem))
    )  # fmt: skip
    assert u.path() == f"{wanted}/{u.unit}"
    assert show(u.unit, "Slice")["Slice"] == (above or "system.slice")
    c.delete(force=True).ok()
    gone(u.unit)


def test_without_prefix_and_without_a_path(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.linux["cgroupsPath"] = f"system.slice::{c.id}"
    c.running()
    assert u.path() == f"/system.slice/{c.id}.scope"
    c.delete(force=True).ok()
    other = unit_of(container).container
    del other.bundle.linux["cgroupsPath"]
    other.running()
    other_path = Path(f"/proc/{other.pid}/cgroup").read_text()
    assert f"/system.slice/runc-{other.id}.scope\n" in other_path
    other.delete(force=True).ok()
    gone(f"runc-{other.id}.scope")


def test_a_name_in_slice_makes_a_slice(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    name = f"{c.id.replace('-', '_')}.slice"
    c.bundle.linux["cgroupsPath"] = f"::{name}"
    c.bundle.resources["pids"] = {"limit": 33}
    c.running()
    assert u.path() == f"/{name}"
    assert show(name, "TasksMax", "ActiveState") == {"TasksMax": "33", "ActiveState": "active"}
    c.delete(force=True).ok()
    gone(name)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/a/b", "expected cgroupsPath to be of format"),
        ("a:b", "expected cgroupsPath to be of format"),
        ("a:b:c:d", "expected cgroupsPath to be of format"),
        ("system:b:c", "invalid slice name"),
        ("a--b.slice:b:c", "invalid slice name"),
        (".slice:b:c", "invalid slice name"),
        ("a/b.slice:b:c", "invalid slice name"),
        ("system.slice:b:", "invalid unit name"),
        ("system.slice:b/c:d", "invalid unit name"),
    ],
)
def test_wrong_paths(container: Make, path: str, words: str) -> None:
    u = unit_of(container)
    u.container.bundle.linux["cgroupsPath"] = path
    u.container.create().failed("/linux/cgroupsPath", words)


def test_exec_pause_kill_ps_and_events(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.namespace("cgroup")
    c.running()
    assert "0::/" in c.exec("cat", "/proc/self/cgroup").ok().out or c.lane.mode == "v1"
    c.call("exec", "-d", "--pid-file", str(c.bundle.path / "p2"), c.id, "/bin/probe", "wait").ok()
    other = int((c.bundle.path / "p2").read_text())
    assert Path(f"/proc/{other}/cgroup").read_text() == Path(f"/proc/{c.pid}/cgroup").read_text()
    assert {c.pid, other} == set(json.loads(c.call("ps", "--format", "json", c.id).ok().out))
    c.call("pause", c.id).ok()
    assert c.status == "paused"
    c.call("resume", c.id).ok()
    assert c.status == "running"
    assert json.loads(c.call("events", "--stats", c.id).ok().out)["data"]["pids"]["current"] >= 2
    c.kill("KILL").ok()
    # The end of the pid namespace waits for the one that joined it, which is ours to wait for.
    os.waitpid(other, 0)
    c.wait()
    assert c.status == "stopped"
    c.delete().ok()
    gone(u.unit)


def test_update_is_seen_in_properties_and_files(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.resources.update({"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}})
    c.running()
    c.call("update", "--memory", "96m", "--cpu-quota", "30000", "--cpu-share", "2048", c.id).ok()
    is_v2 = c.lane.mode == "v2"
    name = "MemoryMax" if is_v2 else "MemoryLimit"
    found = show(u.unit, name, "CPUQuotaPerSecUSec", "TasksMax")
    assert found == {name: str(96 * MIB), "CPUQuotaPerSecUSec": "300ms", "TasksMax": "50"}
    assert memory_limit(u) == str(96 * MIB)
    # After a reload systemd writes its files anew.
    assert systemctl("daemon-reload").returncode == 0
    assert memory_limit(u) == str(96 * MIB)


def test_update_that_fails_leaves_the_unit_as_it_was(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.resources.update({"pids": {"limit": 50}})
    c.running()
    change = {"pids": {"limit": 40}, "hugepageLimits": [{"pageSize": "3KB", "limit": 4096}]}
    assert c.call("update", "-r", "-", c.id, stdin=json.dumps(change).encode()).status != 0
    assert show(u.unit, "TasksMax") == {"TasksMax": "50"}
    assert (u.cgroup("pids") / "pids.max").read_text().strip() == "50"


def test_annotations_become_properties(container: Make) -> None:
    u = unit_of(container)
    u.container.bundle.config["annotations"] = {
        "org.systemd.property.TimeoutStopSec": "uint32 7",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.After": "['basic.target', 'sysinit.target']",
    }
    u.container.running()
    found = show(u.unit, "TimeoutStopUSec", "CollectMode", "After")
    assert (found["TimeoutStopUSec"], found["CollectMode"]) == ("7s", "inactive")
    assert {"basic.target", "sysinit.target"} <= set(found["After"].split())


@pytest.mark.parametrize(
    ("name", "value"),
    [("NoSuchThing", "5"), ("T1meout", "5"), ("TimeoutStopSec", "'x'"), ("KillMode", "[")],
)
def test_wrong_annotations(container: Make, name: str, value: str) -> None:
    u = unit_of(container)
    key = f"org.systemd.property.{name}"
    u.container.bundle.config["annotations"] = {key: value}
    u.container.create().failed(f"/annotations/{key}")
    u.container.nothing_left()
    assert not is_there(u.unit)


def test_failed_unit_of_the_same_name(container: Make) -> None:
    u = unit_of(container)
    command = ["systemd-run", "--scope", f"--unit={u.unit}", "-p", "RuntimeMaxSec=1", "sleep", "60"]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    kernel.wait_until(
        lambda: show(u.unit, "ActiveState")["ActiveState"] == "failed", "the unit's failure", 30.0
    )
    u.container.running()
    assert show(u.unit, "ActiveState") == {"ActiveState": "active"}


def test_living_unit_of_the_same_name_stays(container: Make) -> None:
    first = unit_of(container)
    first.container.running()
    second = unit_of(container)
    second.container.bundle.linux["cgroupsPath"] = first.container.bundle.linux["cgroupsPath"]
    second.container.create().failed("cgroup is not empty")
    assert first.container.status == "running"
    assert show(first.unit, "ActiveState") == {"ActiveState": "active"}


@pytest.mark.needs("cgroup:memory")
def test_unit_of_a_container_killed_for_want_of_memory(container: Make) -> None:
    u = unit_of(container, "/bin/sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done")
    c = u.container
    c.bundle.resources["memory"] = {"limit": 16 * MIB, "swap": 16 * MIB}
    c.run_detached().ok()
    assert c.wait() == 128 + signal.SIGKILL
    c.delete().ok()
    gone(u.unit)


def test_subgroup(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.config["annotations"] = {"run.oci.systemd.subgroup": "payload"}
    c.bundle.resources["pids"] = {"limit": 21}
    c.bundle.namespace("cgroup")
    c.running()
    assert u.path() == f"/system.slice/{u.unit}/payload"
    assert (u.cgroup("pids") / "pids.max").read_text().strip() == "21"
    assert c.exec("/bin/true").status == 0
    c.delete(force=True).ok()
    gone(u.unit)


def test_device_rules_survive_a_reload(container: Make) -> None:
    u = unit_of(container)
    c = u.container
    c.bundle.capabilities("CAP_MKNOD")
    c.bundle.resources["devices"] += [
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}
    ]
    c.running()
    # The console is none of the default devices, and its node opens for anybody else.
    script = (
        "cd /dev; mknod k c 1 11; mknod m c 5 1; (echo x >k); echo $?;"
        " (: <m) 2>&1; echo $?; rm -f k m"
    )
    before = c.exec("/bin/sh", "-c", script).out
    assert before.startswith("0\n")
    assert "Operation not permitted" in before
    assert systemctl("daemon-reload").returncode == 0
    assert c.exec("/bin/sh", "-c", script).out == before


def test_killed_while_the_unit_is_there(container: Make, popen: Popen, tmp_path: Path) -> None:
    u = unit_of(container, "/bin/probe", "wait")
    c = u.container
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    c.bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo >{fifo}; exec sleep 99"]}]
    }
    c.bundle.write()
    process = popen(
        ["--root", str(c.root), *c.globals, "create", "--bundle", str(c.bundle.path), c.id]
    )
    assert fifo.read_text() == "\n"
    assert is_there(u.unit)
    process.send_signal(signal.SIGKILL)
    process.wait()
    c.call("delete", "--force", c.id).ok()
    c.nothing_left()
    assert not is_there(u.unit)
    for pid in kernel.children():
        os.kill(pid, signal.SIGKILL)


def test_killed_at_random_moments(container: Make, popen: Popen) -> None:
    """Whatever of it systemd had been told by then."""
    moments = random.Random(20260101)
    whole, died = 0.2, 0
    for _ in range(20):
        u = unit_of(container, "/bin/probe", "wait")
        c = u.container
        c.bundle.write()
        begin = time.monotonic()
        process = popen(
            ["--root", str(c.root), *c.globals, "create", "--bundle", str(c.bundle.path), c.id],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(moments.uniform(0, whole))
            whole = time.monotonic() - begin
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        died += process.wait() == -signal.SIGKILL
        c.call("delete", "--force", c.id).ok()
        c.nothing_left()
        gone(u.unit)
    assert died > 5


def test_damaged_record(container: Make) -> None:
    u = unit_of(container)
    u.container.created()
    (u.container.root / u.container.id / "state.json").write_text("{")
    u.container.call("delete", "--force", u.container.id).ok()
    assert not is_there(u.unit)
    u.container.nothing_left()


def test_the_manager_without_a_bus(container: Make) -> None:
    """Root reaches systemd itself where no bus runs."""
    u = unit_of(container, "/bin/probe", "wait")
    env = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"}
    u.container.create(env=env).ok()
    assert show(u.unit, "ActiveState") == {"ActiveState": "active"}
    u.container.call("delete", "--force", u.container.id, env=env).ok()
    assert not is_there(u.unit)


def test_a_run_in_the_foreground_keeps_no_connection(container: Make, popen: Popen) -> None:
    """The bus would keep for it all the signals that it does not read."""
    u = unit_of(container, "/bin/probe", "wait")
    c = u.container
    c.bundle.write()
    process = popen(
        ["--root", str(c.root), *c.globals, "run", "--bundle", str(c.bundle.path), c.id],
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    held = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{process.pid}/fd")}
    assert not [name for name in held if name.startswith("socket:")]
    c.kill("KILL").ok()
    assert process.wait(30) == 128 + signal.SIGKILL
    gone(u.unit)
