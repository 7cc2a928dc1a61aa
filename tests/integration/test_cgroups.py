"""Cgroups: where they are, limits read back from their files, devices, freezing, what is left."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, lanes
from harness.container import Container, error_number
from harness.signatures import Make

PAGE = os.sysconf("SC_PAGE_SIZE")


def limited(container: Make, resources: dict[str, Any]) -> Container:
    c = container()
    c.bundle.resources.update(resources)
    return c.created()


def test_process_is_in_every_hierarchy(container: Make) -> None:
    c = container().created()
    for line in Path(f"/proc/{c.pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":")
        visible = (
            c.lane.unified if number == "0" else c.lane.hierarchies.get(controllers.split(",")[0])
        )
        if visible:
            assert path == c.bundle.linux["cgroupsPath"], line


@pytest.mark.runc_fails(
    "in hybrid mode it leaves the unified hierarchy alone, whose cgroup.kill ends all at once"
)
def test_unified_hierarchy_is_used_too(container: Make) -> None:
    c = container().created()
    if c.lane.unified is None:
        pytest.skip("no unified hierarchy in this lane")
    assert (c.lane.unified / c.bundle.linux["cgroupsPath"].lstrip("/")).is_dir()


def test_relative_path(container: Make) -> None:
    c = container()
    name = f"{lanes.TOKEN}-relative"
    c.bundle.linux["cgroupsPath"] = name
    c.created()
    lines = Path(f"/proc/{c.pid}/cgroup").read_text().splitlines()
    assert [line for line in lines if line.endswith("/" + name)]
    c.delete(force=True).ok()
    assert not [path for path in c.lane.ours() if path.endswith(name)]


def test_path_by_default_is_the_id(container: Make) -> None:
    c = container()
    del c.bundle.linux["cgroupsPath"]
    c.created()
    assert [path for path in c.lane.ours() if path.endswith("/" + c.id)]
    c.delete(force=True).ok()
    assert not [path for path in c.lane.ours() if path.endswith("/" + c.id)]


def test_deep_path(container: Make) -> None:
    c = container()
    path = c.bundle.linux["cgroupsPath"]
    c.bundle.linux["cgroupsPath"] = f"{path}/deep/er"
    c.created()
    assert c.cgroup("devices" if c.lane.mode != "v2" else "freezer").is_dir()
    c.delete(force=True).ok()
    assert not c.all_cgroups()
    lanes.remove([one for one in c.lane.ours() if path in one])


def test_dots_do_not_lead_out(container: Make) -> None:
    """`..` is resolved as text, so the cgroup stays below the hierarchy."""
    c = container()
    c.bundle.linux["cgroupsPath"] = f"/../../{lanes.TOKEN}/../{lanes.TOKEN}/dots"
    result = c.create()
    if result.status == 0:
        assert [path for path in c.lane.ours() if path.endswith(f"{lanes.TOKEN}/dots")]
        c.delete(force=True).ok()
    assert not [path for path in c.lane.ours() if path.endswith("dots")]


def test_cgroup_made_by_the_container_is_removed(container: Make) -> None:
    c = container()
    entry = next(one for one in c.bundle.mounts if one["destination"] == "/sys/fs/cgroup")
    entry["options"].remove("ro")
    c.bundle.capabilities("CAP_SYS_ADMIN")
    c.bundle.namespace("cgroup")
    directory = "/sys/fs/cgroup" if c.lane.mode == "v2" else "/sys/fs/cgroup/devices"
    c.bundle.process["args"] = [
        "/bin/sh",
        "-c",
        f"mkdir {directory}/sub {directory}/sub/sub; echo up; exec sleep 1000",
    ]
    c.create().ok()
    c.start().ok()
    c.wait_for_output("up")
    assert [path for path in c.lane.ours() if path.endswith("sub/sub")]
    c.delete(force=True).ok()
    c.nothing_left()


def test_foreign_cgroup_is_not_removed(container: Make) -> None:
    """Delete removes what create made, not a neighbour."""
    c = container().created()
    neighbours = [path.with_name(path.name + "-neighbour") for path in c.all_cgroups()]
    for path in neighbours:
        path.mkdir()
    c.delete(force=True).ok()
    assert all(path.is_dir() for path in neighbours)
    lanes.remove([str(path) for path in neighbours])


@pytest.mark.runc_fails("1.1 warns, and puts two containers into one cgroup")
def test_cgroup_with_processes_is_refused(container: Make) -> None:
    first, second = container().created(), container("/bin/true")
    second.bundle.linux["cgroupsPath"] = first.bundle.linux["cgroupsPath"]
    second.create().failed("is not empty")
    assert not (second.root / second.id).exists()
    assert first.status == "created"


# Limits on v1 ------------------------------------------------------------------------------------

V1 = [
    ("memory", {"memory": {"limit": 64 << 20}}, {"memory.limit_in_bytes": str(64 << 20)}),
    (
        "memory",
        {"memory": {"reservation": 32 << 20}},
        {"memory.soft_limit_in_bytes": str(32 << 20)},
    ),
    ("memory", {"memory": {"limit": 64 << 20, "swappiness": 10}}, {"memory.swappiness": "10"}),
    (
        "memory",
        {"memory": {"limit": 64 << 20, "disableOOMKiller": True}},
        {"memory.oom_control": "oom_kill_disable 1"},
    ),
    ("memory", {"memory": {"useHierarchy": True}}, {"memory.use_hierarchy": "1"}),
    ("pids", {"pids": {"limit": 33}}, {"pids.max": "33"}),
    ("pids", {"pids": {"limit": -1}}, {"pids.max": "max"}),
    ("cpu", {"cpu": {"shares": 512}}, {"cpu.shares": "512"}),
    (
        "cpu",
        {"cpu": {"quota": 50000, "period": 200000}},
        {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "200000"},
    ),
    ("cpu", {"cpu": {"quota": 50000, "burst": 10000}}, {"cpu.cfs_burst_us": "10000"}),
    ("cpu", {"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
    ("cpuset", {"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset.cpus": "0", "cpuset.mems": "0"}),
]
OLD = {"burst": "burst came with runc 1.2", "idle": "idle came with runc 1.2"}


def unlimited(name: str, marks: list[Any]) -> list[Any]:
    return [
        mark
        for key, mark in ((key, pytest.mark.runc_fails(text)) for key, text in OLD.items())
        if key in name
    ] + marks


@pytest.mark.parametrize(
    ("controller", "resources", "expected"),
    [
        pytest.param(
            *case,
            id=" ".join(case[2]),
            marks=unlimited(str(case[1]), [pytest.mark.needs(f"cgroup1:{case[0]}")]),
        )
        for case in V1
    ],
)
def test_limit_v1(
    container: Make, controller: str, resources: dict[str, Any], expected: dict[str, str]
) -> None:
    c = container()
    names = [name for name in expected if not (Path("/sys/fs/cgroup") / controller / name).exists()]
    root_has_not = {
        "memory.limit_in_bytes",
        "pids.max",
        "cpu.cfs_quota_us",
        "cpu.cfs_period_us",
        "cpu.cfs_burst_us",
        "cpu.idle",
        "cpu.shares",
    }
    if set(names) - root_has_not:
        pytest.skip(f"this kernel has no {names}")
    c.bundle.resources.update(resources)
    c.created()
    if not all((c.cgroup(controller) / name).exists() for name in expected):
        pytest.skip(f"this kernel has not all of {sorted(expected)}")
    got = {name: c.cgroup_value(controller, name).splitlines()[0] for name in expected}
    assert got == expected


@pytest.mark.needs("cgroup1:cpuset")
def test_cpuset_is_taken_from_the_parents_when_unset(container: Make) -> None:
    c = container().created()
    assert c.cgroup_value("cpuset", "cpuset.cpus") != ""
    assert c.cgroup_value("cpuset", "cpuset.mems") != ""


@pytest.mark.needs("cgroup:memory")
def test_memory_limit_is_felt(container: Make) -> None:
    c = container("/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    c.bundle.resources["memory"] = {"limit": 16 << 20}
    assert c.run().status == 137


@pytest.mark.needs("cgroup:pids")
def test_pids_limit_is_felt(container: Make) -> None:
    c = container("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done")
    c.bundle.resources["pids"] = {"limit": 5}
    c.run()
    assert "fork" in c.err()


# Limits on v2 ------------------------------------------------------------------------------------

V2 = [
    ("memory", {"memory": {"limit": 64 << 20}}, {"memory.max": str(64 << 20)}),
    ("memory", {"memory": {"reservation": 32 << 20}}, {"memory.low": str(32 << 20)}),
    ("pids", {"pids": {"limit": 33}}, {"pids.max": "33"}),
    ("cpu", {"cpu": {"quota": 50000, "period": 200000}}, {"cpu.max": "50000 200000"}),
    ("cpu", {"cpu": {"shares": 1024}}, {"cpu.weight": "100"}),
    ("cpuset", {"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset.cpus": "0", "cpuset.mems": "0"}),
    ("pids", {"unified": {"pids.max": "44"}, "pids": {"limit": 33}}, {"pids.max": "44"}),
]


@pytest.mark.parametrize(
    ("controller", "resources", "expected"),
    [
        pytest.param(*case, id=" ".join(case[2]), marks=pytest.mark.needs(f"cgroup2:{case[0]}"))
        for case in V2
    ],
)
def test_limit_v2(
    container: Make, controller: str, resources: dict[str, Any], expected: dict[str, str]
) -> None:
    c = limited(container, resources)
    assert {name: c.cgroup_value(controller, name) for name in expected} == expected


@pytest.mark.runc_fails("in hybrid mode it uses no controller of the unified hierarchy")
@pytest.mark.needs("cgroup2:hugetlb")
def test_hugetlb_v2(container: Make) -> None:
    c = limited(container, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    if not (c.cgroup("hugetlb") / "hugetlb.2MB.max").exists():
        pytest.skip("this machine has no huge pages of 2 MB")
    assert c.cgroup_value("hugetlb", "hugetlb.2MB.max") == str(4 << 20)


@pytest.mark.runc_fails("1.1 does not write the reservation limit")
@pytest.mark.needs("cgroup2:hugetlb")
def test_hugetlb_reservation_v2(container: Make) -> None:
    c = limited(container, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    if not (c.cgroup("hugetlb") / "hugetlb.2MB.rsvd.max").exists():
        pytest.skip("this machine has no reservations of huge pages")
    assert c.cgroup_value("hugetlb", "hugetlb.2MB.rsvd.max") == str(4 << 20)


@pytest.mark.needs("cgroup2", "cgroup2:hugetlb")
def test_unified_v2(container: Make) -> None:
    c = limited(container, {"unified": {"hugetlb.2MB.max": str(8 << 20), "cgroup.max.depth": "7"}})
    assert c.cgroup_value("hugetlb", "hugetlb.2MB.max") == str(8 << 20)
    assert c.cgroup_value("hugetlb", "cgroup.max.depth") == "7"


@pytest.mark.needs("cgroup2")
def test_unified_key_with_a_slash(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["unified"] = {"../cgroup.max.depth": "7"}
    c.create().failed("unified")
    c.nothing_left()


@pytest.mark.needs("cgroup2")
def test_unified_of_a_missing_controller(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["unified"] = {"nosuch.max": "7"}
    c.create().failed("nosuch")
    c.nothing_left()


def test_unified_without_v2(container: Make) -> None:
    c = container("/bin/true")
    if c.lane.mode != "v1":
        pytest.skip("there is a unified hierarchy in this lane")
    c.bundle.resources["unified"] = {"pids.max": "7"}
    c.create().failed("unified")
    c.nothing_left()


@pytest.mark.needs("cgroup:memory")
def test_swap_below_memory(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["memory"] = {"limit": 64 << 20, "swap": 32 << 20}
    c.create().failed("swap" if c.runtime.kind == "pyrunc" else "")
    c.nothing_left()


@pytest.mark.runc_fails("it tells it in two lines")
@pytest.mark.needs("cgroup:cpuset")
def test_cpus_that_are_not_there(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["cpu"] = {"cpus": "4000"}
    c.create().failed("cpuset")
    c.nothing_left()


# Devices -----------------------------------------------------------------------------------------


def try_device(container: Make, rules: list[dict[str, Any]], *probe: str) -> int:
    c = container()
    c.bundle.capabilities("CAP_MKNOD")
    c.bundle.linux["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666},
    ]
    c.bundle.resources["devices"] = rules
    return error_number(c.probe(*probe))


DENY_ALL = {"allow": False, "access": "rwm"}
FUSE = {"allow": True, "type": "c", "major": 10, "minor": 229}
OPEN = ("open", "/dev/fuse")


@pytest.mark.parametrize(
    ("rules", "probe", "expected"),
    [
        pytest.param([DENY_ALL], (*OPEN, "r"), 1, id="denied"),
        pytest.param([DENY_ALL, FUSE | {"access": "rwm"}], (*OPEN, "r"), 0, id="allowed"),
        pytest.param([DENY_ALL, FUSE | {"access": "r"}], (*OPEN, "r"), 0, id="read"),
        pytest.param([DENY_ALL, FUSE | {"access": "r"}], (*OPEN, "w"), 1, id="read is not write"),
        pytest.param([DENY_ALL, FUSE | {"access": "w"}], (*OPEN, "rw"), 1, id="write is not read"),
        pytest.param(
            [DENY_ALL, FUSE | {"access": "rw"}, FUSE | {"allow": False, "access": "w"}], (*OPEN, "w"), 1,
            id="later rule denies",
        ),
        pytest.param(
            [DENY_ALL, {"allow": True, "type": "c", "major": 10, "access": "rw"}], (*OPEN, "r"), 0, id="any minor"
        ),
        pytest.param(
            [DENY_ALL, {"allow": True, "type": "b", "major": 10, "minor": 229, "access": "rw"}], (*OPEN, "r"), 1,
            id="other type",
        ),
        pytest.param([{"allow": True, "access": "rwm"}], (*OPEN, "r"), 0, id="all allowed"),
        pytest.param([DENY_ALL], ("open", "/dev/null", "rw"), 0, id="null is always allowed"),
        pytest.param([DENY_ALL], ("open", "/dev/zero", "rw"), 0, id="zero is always allowed"),
        pytest.param([DENY_ALL], ("mknod", "c", "1", "11", "/dev/made"), 0, id="mknod is always allowed"),
        pytest.param([DENY_ALL], ("mknod", "b", "7", "0", "/dev/made"), 0, id="mknod of block devices"),
    ],
)  # fmt: skip
def test_device_rules(
    container: Make, rules: list[dict[str, Any]], probe: tuple[str, ...], expected: int
) -> None:
    """A device without a driver answers ENODEV or ENXIO, which the rules did let through."""
    answer = try_device(container, rules, *probe)
    assert (answer == errno.EPERM) is (expected == errno.EPERM), os.strerror(answer)


def test_no_rules_at_all(container: Make) -> None:
    """Without resources.devices the configuration asks for no limit, and the default devices work."""
    c = container()
    del c.bundle.resources["devices"]
    assert error_number(c.probe("open", "/dev/null", "rw")) == 0


def test_bad_device_rule(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["devices"] = [DENY_ALL, {"allow": True, "type": "z", "access": "rwm"}]
    c.create().failed("devices" if c.runtime.kind == "pyrunc" else "")
    c.nothing_left()


# Freezing ----------------------------------------------------------------------------------------


def freeze(c: Container, value: bool) -> None:
    if c.lane.mode == "v2":
        (c.cgroup("freezer") / "cgroup.freeze").write_text(str(int(value)))
        wanted = f"frozen {int(value)}"
        kernel.wait_until(
            lambda: wanted in (c.cgroup("freezer") / "cgroup.events").read_text(), wanted
        )
    else:
        state = "FROZEN" if value else "THAWED"
        (c.cgroup("freezer") / "freezer.state").write_text(state)
        kernel.wait_until(lambda: c.cgroup_value("freezer", "freezer.state") == state, state)


def test_frozen_container_is_paused(container: Make) -> None:
    c = container().running()
    freeze(c, True)
    assert c.status == "paused"
    freeze(c, False)
    assert c.status == "running"


def test_forced_delete_of_a_paused_container(container: Make) -> None:
    c = container().running()
    freeze(c, True)
    c.delete().failed("paused")
    c.delete(force=True).ok()
    c.nothing_left()


def test_kill_of_a_paused_container(container: Make) -> None:
    c = container().running()
    freeze(c, True)
    c.kill("KILL").ok()
    if c.lane.mode != "v2" and c.runtime.kind == "runc":
        freeze(c, False)
    assert c.wait() == 137


def test_cgroups_of_the_runtime_are_left_alone(container: Make) -> None:
    before = Path("/proc/self/cgroup").read_text()
    container("/bin/true").run().ok()
    assert Path("/proc/self/cgroup").read_text() == before


def test_init_enters_cgroups_by_itself(container: Make, tmp_path: Path) -> None:
    """Any other way waits for a grace period of the kernel, which takes longer than all the rest."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    c = container("/bin/probe", "wait")
    c.bundle.write()
    command = ["strace", "-f", "-qq", "-e", "trace=openat,write", "-o", str(tmp_path / "trace")]
    command += [
        c.runtime.path,
        "--root",
        str(c.root),
        "run",
        "--detach",
        "--bundle",
        str(c.bundle.path),
        c.id,
    ]
    with open(tmp_path / "out", "w") as out:
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    deadline = time.monotonic() + 20
    while "ready" not in (tmp_path / "out").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        written = re.findall(
            r'"([^"]*/cgroup\.procs)", O_(?:WRONLY|RDWR)', (tmp_path / "trace").read_text()
        )
        assert c.status == "running"
    finally:
        c.delete(force=True)
        tracer.wait(kernel.PATIENCE)
    assert written == []


@pytest.mark.runc_fails("a path has an end, and so do its ways through the tree")
def test_deeply_nested_cgroups_are_removed(container: Make) -> None:
    """A container may nest cgroups as deeply as it likes, beyond the length of a path."""
    c = container().running()
    fd = os.open(c.all_cgroups()[0], os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2100):
        os.mkdir("a", dir_fd=fd)
        below = os.open("a", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    procs_fd = os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd)
    os.write(procs_fd, str(c.pid).encode())
    os.close(procs_fd)
    os.close(fd)
    # The kernel takes a moment for each: many moments on a busy machine.
    patience = 10 * kernel.PATIENCE
    assert c.call("ps", "--format", "json", c.id, timeout=patience).ok().json() == [c.pid]
    c.call("delete", "--force", c.id, timeout=patience).ok()
    c.nothing_left()
