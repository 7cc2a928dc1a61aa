"""The cgroup driver against the kernel: what it makes, limits, freezes, kills and removes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("_pyrunc_shim", reason="the extension module is not built (make extension)")

from harness import lanes  # noqa: E402
from pyrunc import cgroup  # noqa: E402
from pyrunc.cgroup import layout  # noqa: E402
from pyrunc.errors import HostFailure, SpecFailure, StateFailure  # noqa: E402
from pyrunc.plan import cgroups, devices_program, ops  # noqa: E402

PARENT = f"{lanes.TOKEN}-driver"
Paths = dict[str, str]
Make = Callable[..., Paths]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a cgroup by its plan; all that is left of it at the end is removed."""
    made: list[Paths] = []
    found = layout.read()

    def carry_out(resources: dict[str, Any] | None = None, name: str = "one") -> Paths:
        spec = {"linux": {"cgroupsPath": f"/{PARENT}/{name}", "resources": resources or {}}}
        paths = cgroups.locate(spec, name, found)
        made.append(paths)
        for op in cgroups.operations(spec, paths, found):
            cgroup.carry_out(op)
        return paths

    yield carry_out
    for paths in made:
        cgroup.kill_and_remove(paths)
        cgroup.remove({key: path.rpartition("/")[0] for key, path in paths.items()})


@pytest.fixture
def enter() -> Iterator[Callable[[Paths, Callable[[], int]], int]]:
    """Runs a function in a child within the cgroup; gives its pid."""
    started: list[int] = []

    def start(paths: Paths, function: Callable[[], int]) -> int:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(function())
        os.close(reading)
        started.append(pid)
        for path in dict.fromkeys(paths.values()):
            cgroup.join(path, pid)
        os.close(writing)
        return pid

    yield start
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def sleep() -> int:
    time.sleep(60)
    return 0


def read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def test_cgroups_are_made_and_removed_with_those_below(make: Make) -> None:
    paths = make()
    assert all(os.path.isdir(path) for path in paths.values())
    for path in paths.values():
        os.makedirs(path + "/below/deeper", exist_ok=True)
    cgroup.remove(paths)
    assert not cgroup.exists(paths)
    assert all(os.path.isdir(path.rpartition("/")[0]) for path in paths.values())
    cgroup.remove(paths)


def test_limits_are_in_the_kernel(make: Make) -> None:
    found = layout.read()
    if "pids" not in {name for one in found.v1 for name in one.controllers}:
        pytest.skip("no v1 controller pids")
    paths = make({"pids": {"limit": 7}, "memory": {"limit": 1 << 26, "swap": 1 << 27}})
    assert read(paths["pids"] + "/pids.max") == "7"
    assert read(paths["memory"] + "/memory.limit_in_bytes") == str(1 << 26)
    assert read(paths["memory"] + "/memory.memsw.limit_in_bytes") == str(1 << 27)


def test_new_cpuset_can_be_entered(make: Make, enter: Any) -> None:
    paths = make()
    if "cpuset" in paths:
        assert read(paths["cpuset"] + "/cpuset.cpus")
        assert read(paths["cpuset"] + "/cpuset.mems")
    pid = enter(paths, sleep)
    assert cgroup.processes(paths) == [pid]


def test_device_list_begins_with_the_config_in_its_order(make: Make) -> None:
    rules = [
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        {"allow": True, "type": "b", "major": 8, "minor": 20, "access": "rw"},
        {"allow": True, "type": "b", "major": 10, "minor": 200, "access": "r"},
    ]
    if layout.read().mode == "v2":
        pytest.skip("cgroup v2 has no devices.list")
    paths = make({"devices": rules})
    listed = read(paths["devices"] + "/devices.list").split("\n")
    assert listed[:3] == ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r"]
    assert "a *:* rwm" not in listed


def device_report(tmp_node: str) -> int:
    """Which of three things are allowed: /dev/zero, mknod of 1:11, opening that (all bits: 7)."""
    result = 0
    for bit, attempt in (
        (1, lambda: os.close(os.open("/dev/zero", os.O_RDWR))),
        (2, lambda: os.mknod(tmp_node, 0o20600, os.makedev(1, 11))),
        (4, lambda: os.close(os.open(tmp_node, os.O_RDONLY))),
    ):
        try:
            attempt()
            result |= bit
        except OSError:
            continue
    return result


def outcome(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_devices_are_denied_but_for_the_rules(make: Make, enter: Any, tmp_path: Any) -> None:
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    for name, rules, expected in (("none", [], 3), ("kmsg", [kmsg], 7)):
        pid = enter(make({"devices": rules}, name), lambda n=name: device_report(f"{tmp_path}/{n}"))
        assert outcome(pid) == expected, name


def test_a_program_replaces_the_one_before(make: Make, enter: Any, tmp_path: Any) -> None:
    unified = make().get("")
    if unified is None:
        pytest.skip("no cgroup v2 hierarchy")
    zero = {"allow": False, "type": "c", "major": 1, "minor": 5, "access": "rwm"}
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    for name, rules in (("first", [zero]), ("second", [kmsg])):
        program = devices_program.program(
            devices_program.read_rules({"resources": {"devices": rules}})
        )
        cgroup.carry_out(ops.attach_device_program("", unified, program))
        pid = enter({"": unified}, lambda n=name: device_report(f"{tmp_path}/{n}"))
        assert outcome(pid) == {"first": 3, "second": 7}[name]


def test_verifier_accepts_every_kind_of_program(make: Make) -> None:
    unified = make().get("")
    if unified is None:
        pytest.skip("no cgroup v2 hierarchy")
    for rules in (
        [],
        [{"allow": True, "access": "rwm"}],
        [{"allow": True, "access": "rwm"}, {"allow": False, "type": "b", "access": "w"}],
        [{"allow": False, "type": "a", "major": 3, "access": "m"}],
        [{"allow": True, "type": "c", "major": 2**31 - 1, "minor": 0, "access": "r"}] * 64,
    ):
        program = devices_program.program(
            devices_program.read_rules({"resources": {"devices": rules}})
        )
        cgroup.carry_out(ops.attach_device_program("", unified, program))


def test_freeze_and_thaw(make: Make, enter: Any) -> None:
    paths = make()
    if "freezer" not in paths and "" not in paths:
        pytest.skip("no freezer")
    pid = enter(paths, sleep)
    assert not cgroup.is_frozen(paths)
    cgroup.freeze(paths)
    assert cgroup.is_frozen(paths)
    with pytest.raises(StateFailure, match="is not empty: 1 process"):
        cgroup.check_unused(paths)
    cgroup.kill_all(paths, signal.SIGUSR1)
    assert cgroup.is_frozen(paths)
    cgroup.kill_all(paths, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] in (signal.SIGKILL, signal.SIGUSR1)
    assert cgroup.wait_empty(paths, 5)
    assert not cgroup.is_frozen(paths) or "freezer" not in paths


def test_kill_reaches_processes_of_cgroups_below(make: Make, enter: Any) -> None:
    paths = make()
    below = {key: path + "/below" for key, path in paths.items()}
    for name, path in dict(below).items():
        if not os.path.isdir(path):
            cgroup.carry_out(ops.create_cgroup("", name, path, (name,) if name else ()))
    pids = [enter(below, sleep), enter(paths, sleep)]
    assert cgroup.processes(paths) == sorted(pids)
    assert not cgroup.is_empty(paths)
    assert not cgroup.wait_empty(paths, 0.01)
    cgroup.kill_all(paths, signal.SIGKILL)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [signal.SIGKILL] * 2
    assert cgroup.wait_empty(paths, 5)
    assert cgroup.processes(paths) == []


def test_cgroup_in_use_is_refused_and_left_alone(make: Make, enter: Any) -> None:
    paths = make()
    pid = enter(paths, sleep)
    with pytest.raises(
        StateFailure, match=r"container's cgroup is not empty: 1 process\(es\) found"
    ):
        make()
    cgroup.remove_unused(paths)
    assert cgroup.processes(paths) == [pid]


def test_empty_cgroup_that_exists_is_taken(make: Make) -> None:
    assert make() == make()


def test_frozen_cgroup_is_refused(make: Make) -> None:
    paths = make()
    if "freezer" not in paths and "" not in paths:
        pytest.skip("no freezer")
    cgroup.freeze(paths)
    with pytest.raises(StateFailure, match="container's cgroup unexpectedly frozen"):
        make()
    cgroup.thaw(paths)


def test_refused_value_names_file_value_and_property(make: Make) -> None:
    path = next(iter(make().values()))
    with pytest.raises(HostFailure) as caught:
        cgroup.carry_out(ops.write_cgroup("/linux/x", path + "/cgroup.procs", "nonsense"))
    assert (
        str(caught.value) == '/linux/x: write "nonsense" to cgroup.procs: invalid argument (EINVAL)'
    )


def test_missing_file_is_told_without_the_words_that_engines_look_for(make: Make) -> None:
    for path in make().values():
        with pytest.raises(SpecFailure) as caught:
            cgroup.carry_out(ops.write_cgroup("/linux/x", path + "/nonsense.max", "1"))
        assert "no such file" not in str(caught.value).lower()
        assert "nonsense" in str(caught.value)


def test_file_instead_of_a_missing_one_is_written(make: Make) -> None:
    path = next(iter(make().values()))
    with pytest.raises(HostFailure, match=r'write "x" to cgroup\.procs'):
        cgroup.carry_out(
            ops.write_cgroup("", path + "/no.file", "1", (), (path + "/cgroup.procs", "x"))
        )


def test_no_memory_is_told_from_another_end(make: Make, enter: Any) -> None:
    found = layout.read()
    if "memory" not in found.unified_controllers and "memory" not in {one.name for one in found.v1}:
        pytest.skip("no controller memory")
    paths = make({"memory": {"limit": 1 << 23, "swap": 1 << 23}})
    assert not cgroup.oom_killed(paths)
    pid = enter(paths, lambda: len(b"x" * (1 << 26)) and 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert cgroup.oom_killed(paths)
