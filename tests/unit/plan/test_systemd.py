"""Containers as units of systemd: names, places, properties and the plan."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import LAYOUTS, host, minimal, options

from pyrunc.errors import SpecFailure
from pyrunc.plan import systemd, systemd_properties, variant_text
from pyrunc.plan.build import build
from pyrunc.plan.describe import describe
from pyrunc.plan.ops import Op
from pyrunc.plan.records import ServiceManager

SYSTEM = ServiceManager("system", 252, "")
USER = ServiceManager("user", 252, "/user.slice/user-1000.slice/user@1000.service")
INFINITY = 2**64 - 1


def spec(path: str | None, **resources: Any) -> dict[str, Any]:
    linux: dict[str, Any] = {"resources": resources} if resources else {}
    if path is not None:
        linux["cgroupsPath"] = path
    return minimal(linux={"namespaces": [{"type": "mount"}, {"type": "pid"}], **linux})


@pytest.mark.parametrize(
    ("given", "name", "path"),
    [
        (None, "runc-c1.scope", "/system.slice/runc-c1.scope"),
        ("", "runc-c1.scope", "/system.slice/runc-c1.scope"),
        (":docker:1234", "docker-1234.scope", "/system.slice/docker-1234.scope"),
        ("machine.slice:libpod:1", "libpod-1.scope", "/machine.slice/libpod-1.scope"),
        ("-.slice:cri:1", "cri-1.scope", "/cri-1.scope"),
        ("system.slice::web", "web.scope", "/system.slice/web.scope"),
        (
            "kubepods-burstable-pod1.slice:cri:9",
            "cri-9.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-9.scope",
        ),
        ("a.slice:x:a-b.slice", "a-b.slice", "/a.slice/a-b.slice"),
    ],
)
def test_units(given, name, path):
    found = systemd.unit(spec(given), "c1", "system")
    assert (found.name, found.path) == (name, path)


def test_the_slice_of_a_user():
    assert systemd.unit(spec(None), "c1", "user").path == "/user.slice/runc-c1.scope"
    paths = systemd.locate(spec(None), systemd.unit(spec(None), "c1", "user"), LAYOUTS["v2"], USER)
    below = "/sys/fs/cgroup" + USER.control_group
    assert paths == {"": f"{below}/user.slice/runc-c1.scope"}


@pytest.mark.parametrize(
    "given",
    [
        "/a", "a:b", "a:b:c:d", "system:b:c", ".slice:b:c", "a--b.slice:b:c", "-a.slice:b:c", "a-.slice:b:c",
        "a/b.slice:b:c", "system.slice:b:", "system.slice:b/:c", "system.slice:b:c d", "system.slice:b:\u00e9",
        f"system.slice:b:{'c' * 255}", "system.slice:b:-.slice/..", "system.slice:b:a--b.slice",
    ],
)  # fmt: skip
def test_wrong_paths(given):
    with pytest.raises(SpecFailure) as caught:
        systemd.unit(spec(given), "c1", "system")
    assert caught.value.pointer == "/linux/cgroupsPath"


def test_a_container_id_that_names_no_unit():
    with pytest.raises(SpecFailure, match=r'invalid unit name "runc-a\+b\.scope"'):
        systemd.unit(spec(None), "a+b", "system")


def properties(
    resources: dict[str, Any], version: int = 252, is_v2: bool = True
) -> dict[str, tuple[str, Any]]:
    manager = ServiceManager("system", version, "")
    made = systemd_properties.of_resources({"resources": resources}, manager, is_v2)
    return {
        op.args[0]: (op.origin, op.args[2])
        for op in made
        if op.args[0] not in ("DevicePolicy", "DeviceAllow")
    }


def values(*arguments: Any, **named: Any) -> dict[str, Any]:
    return {name: value for name, (_, value) in properties(*arguments, **named).items()}


def test_memory():
    block = {"memory": {"limit": 1000, "swap": 1500, "reservation": 500}}
    assert values(block) == {"MemoryMax": 1000, "MemorySwapMax": 500, "MemoryLow": 500}
    assert values(block, is_v2=False) == {"MemoryLimit": 1000}
    block = {"memory": {"limit": -1}}
    assert values(block) == {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}
    assert values(block, is_v2=False) == {"MemoryLimit": INFINITY}


@pytest.mark.parametrize(
    ("quota", "period", "wanted"),
    [
        (50000, 100000, 500000),
        (12345, 50000, 250000),
        (33333, 100000, 340000),
        (50000, 0, 500000),
        (-1, 100000, INFINITY),
        (0, 50000, INFINITY),
        (1000, 1000000, 10000),
    ],
)
def test_quota(quota, period, wanted):
    found = values({"cpu": {"quota": quota, "period": period}})
    assert found["CPUQuotaPerSecUSec"] == wanted
    assert found.get("CPUQuotaPeriodUSec") == (period or None)
    assert "CPUQuotaPeriodUSec" not in values({"cpu": {"quota": 1, "period": 5000}}, version=241)


def test_weights_and_sets():
    assert values({"cpu": {"shares": 1024}}) == {"CPUWeight": 100}
    assert values({"cpu": {"shares": 1}}, is_v2=False) == {"CPUShares": 2}
    assert values({"cpu": {"shares": 1024, "idle": 1}}) == {"CPUWeight": 0}
    assert values({"cpu": {"shares": 1024, "idle": 1}}, version=251) == {}
    assert values({"cpu": {"cpus": "0-1,9", "mems": "0"}}) == {
        "AllowedCPUs": b"\x03\x02",
        "AllowedMemoryNodes": b"\x01",
    }
    assert values({"cpu": {"cpus": "0"}}, version=243) == {}
    assert values({"blockIO": {"weight": 10}}) == {"IOWeight": 1}
    assert values({"blockIO": {"weight": 1000}}, is_v2=False) == {"BlockIOWeight": 1000}


@pytest.mark.parametrize(("limit", "wanted"), [(64, 64), (0, 1), (-1, INFINITY)])
def test_pids(limit, wanted):
    assert values({"pids": {"limit": limit}}) == {"TasksMax": wanted}


def test_unified():
    settings = {
        "memory.high": "100",
        "memory.max": "max",
        "cpu.max": "50000 100000",
        "cpuset.cpus": "1",
        "pids.max": "7",
        "cpu.weight": "50",
        "hugetlb.2MB.max": "0",
    }
    found = properties({"unified": settings})
    assert {name: value for name, (_, value) in found.items()} == {
        "MemoryHigh": 100,
        "MemoryMax": INFINITY,
        "CPUQuotaPerSecUSec": 500000,
        "CPUQuotaPeriodUSec": 100000,
        "AllowedCPUs": b"\x02",
        "TasksMax": 7,
        "CPUWeight": 50,
    }
    assert found["MemoryHigh"][0] == "/linux/resources/unified/memory.high"
    with pytest.raises(SpecFailure, match="is no number"):
        properties({"unified": {"memory.max": "1M"}})


def devices(rules: list[dict[str, Any]], is_v2: bool = True) -> tuple[str, tuple[Any, ...]]:
    linux = {"resources": {"devices": rules}}
    made = systemd_properties.of_resources(linux, SYSTEM, is_v2)
    found = {op.args[0]: op.args[2] for op in made}
    return found["DevicePolicy"], found["DeviceAllow"]


def test_devices():
    deny = {"allow": False, "access": "rwm"}
    policy, allowed = devices([deny])
    assert policy == "strict"
    assert {
        ("char-*", "m"),
        ("block-*", "m"),
        ("/dev/char/1:3", "rwm"),
        ("char-136", "rwm"),
    } <= set(allowed)
    disk = {"allow": True, "type": "b", "major": 8, "access": "r"}
    assert ("block-8", "r") in devices([deny, disk])[1]
    assert devices([{"allow": True, "access": "rwm"}]) == ("auto", ())
    # What systemd cannot say: nothing on v2, where our program decides; nothing allowed on v1.
    but_one = [{"allow": True, "access": "rwm"}, {**disk, "allow": False}]
    assert devices(but_one) == ("auto", ())
    assert devices(but_one, is_v2=False) == ("strict", ())
    minor_alone = {"allow": True, "type": "c", "minor": 7, "access": "r"}
    assert devices([deny, minor_alone]) == ("auto", ())
    # A rule that takes back what the one before gives.
    again = [deny, disk, {**disk, "allow": False}]
    assert "block-8" not in {name for name, _ in devices(again)[1]}


def test_a_user_manager_has_no_device_rules():
    assert systemd_properties.of_resources({"resources": {"devices": []}}, USER, is_v2=True) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("true", ("b", True)),
        ("5", ("i", 5)),
        ("-0x10", ("i", -16)),
        ("010", ("i", 8)),
        ("uint64 5", ("t", 5)),
        ("@t 5", ("t", 5)),
        ("1.5", ("d", 1.5)),
        ("double 2", ("d", 2.0)),
        ("'a \"b\\n'", ("s", 'a "b\n')),
        ('"\\u00e9"', ("s", "\u00e9")),
        ("['a', 'b']", ("as", ["a", "b"])),
        ("@as []", ("as", [])),
        ("[uint32 1, 2]", ("au", [1, 2])),
        ("@ay [1, 255]", ("ay", b"\1\xff")),
        ("b'ab'", ("ay", b"ab\0")),
        ("[('/dev/null', 'rw')]", ("a(ss)", [("/dev/null", "rw")])),
        ("(1,)", ("(i)", (1,))),
        ("@(tas) (7, ['x'])", ("(tas)", (7, ["x"]))),
        ("objectpath '/a'", ("o", "/a")),
    ],
)
def test_values(text, wanted):
    assert variant_text.parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "'a", "[", "[]", "[1 2]", "[1, 'a']", "1 2", "@", "@ii 5", "@s 5", "byte 256", "uint32 -1",
        "3000000000", "(1", "()", "@(ss) ('a')", "@(s) ('a', 'b')", "'\\u12'", "'a\\u0000'", "[" * 40, "<5>",
    ],
)  # fmt: skip
def test_wrong_values(text):
    with pytest.raises(ValueError, match="."):
        variant_text.parse(text)


def annotation(name: str, text: str) -> Op:
    (op,) = systemd_properties.of_annotations({f"org.systemd.property.{name}": text, "other": "x"})
    return op


def test_annotations():
    assert annotation("CollectMode", "'inactive'").args == ("CollectMode", "s", "inactive")
    assert annotation("TimeoutStopSec", "1.5").args == ("TimeoutStopUSec", "t", 1500000)
    assert annotation("TimeoutStopUSec", "uint64 7").args == ("TimeoutStopUSec", "t", 7)
    # Only a word that ends in Sec is a time.
    assert annotation("XSec", "'a'").args == ("XSec", "s", "a")
    assert annotation("After", "['a.b']").origin == "/annotations/org.systemd.property.After"


@pytest.mark.parametrize(
    ("name", "text"),
    [("Ab", "1"), ("A-bc", "1"), ("", "1"), ("Abc1", "1"), ("Abc", "["), ("StopSec", "'a'"), ("StopSec", "-1")],
)  # fmt: skip
def test_wrong_annotations(name, text):
    with pytest.raises(SpecFailure) as caught:
        annotation(name, text)
    assert caught.value.pointer == f"/annotations/org.systemd.property.{name}"


def plan(config: dict[str, Any], layout: str, manager: ServiceManager = SYSTEM) -> list[Op]:
    asked = options(config, cgroup_manager="systemd", service_manager=manager)
    return list(build(config, asked, host(layout)).ops)


@pytest.mark.parametrize("layout", ["v1", "hybrid", "v2"])
def test_the_unit_is_made_around_init_and_limited_then(layout):
    made = plan(spec("a.slice:b:c", pids={"limit": 5}), layout)
    kinds = [op.kind for op in made]
    assert kinds.index("clone") < kinds.index("unit_property") < kinds.index("start_unit")
    assert kinds.index("start_unit") < kinds.index("adopt_cgroup") < kinds.index("write_cgroup")
    assert "create_cgroup" not in kinds
    assert made[kinds.index("clone")].args[1] is None
    texts = [describe(op) for op in made]
    assert "want TasksMax of the unit to be 5" in texts
    assert "let the system's systemd make unit b-c.scope around init" in texts
    joined = [op.args[0] for op in made if op.kind == "join_cgroup"]
    assert ("/sys/fs/cgroup/freezer/a.slice/b-c.scope" in joined) == (layout != "v2")
    assert not [path for path in joined if "systemd" in path]


def test_a_new_cgroup_namespace_waits_for_the_unit():
    config = spec("a.slice:b:c")
    config["linux"]["namespaces"].append({"type": "cgroup"})
    kinds = [(op.kind, op.args[0] if op.args else None) for op in plan(config, "v2")]
    names = [kind for kind, _ in kinds]
    unshare = names.index("unshare")
    assert names[unshare - 1] == "stage"
    assert names.index("start_unit") < unshare


def test_a_mount_of_the_unit_waits_for_it():
    config = spec("a.slice:b:c")
    config["mounts"] = [
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    ]
    made = plan(config, "v1")
    index = next(
        number
        for number, op in enumerate(made)
        if op.kind == "bind" and op.args[0] == "/sys/fs/cgroup/memory/a.slice/b-c.scope"
    )
    stage = max(number for number, op in enumerate(made[:index]) if op.kind == "stage")
    assert any(op.kind == "start_unit" for op in made[:stage])


def test_subgroup():
    config = spec("a.slice:b:c")
    config["annotations"] = {"run.oci.systemd.subgroup": "payload"}
    made = plan(config, "v2")
    path = "/sys/fs/cgroup/a.slice/b-c.scope/payload"
    entered = [op.args for op in made if op.kind in ("adopt_cgroup", "join_cgroup")]
    assert entered[0] == ("", path, ())
    assert entered[1] == (path,)
    assert entered[2][1] == path
    assert entered[2][2]
    config["annotations"] = {"run.oci.systemd.subgroup": "../x"}
    with pytest.raises(SpecFailure, match="invalid name of a cgroup"):
        plan(config, "v2")


def test_delegated_cgroup_is_below_the_subgroup():
    config = spec("a.slice:b:c")
    config["linux"]["namespaces"].append({"type": "cgroup"})
    name = "run.oci.delegate-cgroup"
    config["annotations"] = {"run.oci.systemd.subgroup": "sub", name: "own"}
    made = plan(config, "v2")
    path = "/sys/fs/cgroup/a.slice/b-c.scope/sub/own"
    joined = next(number for number, op in enumerate(made) if op.args == (path,))
    kinds = [op.kind for op in made[: joined + 1]]
    assert kinds[-3:] == ["stage", "create_cgroup", "join_cgroup"]
    assert made[joined - 1].args == ("", path, ())
    assert "unshare" in kinds
    assert all(op.origin == f"/annotations/{name}" for op in made[joined - 1 : joined + 1])


def test_no_manager_delegates_nothing():
    config = spec(None)
    config["annotations"] = {"run.oci.delegate-cgroup": "own"}
    with pytest.raises(SpecFailure, match="no cgroup of its own"):
        build(config, options(config, cgroup_manager="disabled"), host("v2"))


def test_a_user_manager_needs_the_unified_hierarchy():
    with pytest.raises(
        SpecFailure, match="cannot use rootless systemd cgroups manager on cgroup v1"
    ):
        plan(spec("a.slice:b:c"), "v1", USER)


def test_no_manager_takes_no_limits():
    config = spec(None, pids={"limit": 5})
    with pytest.raises(SpecFailure, match="no limits without a cgroup manager"):
        build(config, options(config, cgroup_manager="disabled"), host("v2"))
    config = spec(None, devices=[{"allow": False, "access": "rwm"}])
    made = build(config, options(config, cgroup_manager="disabled"), host("v2"))
    assert made.cgroup_paths == {}
    assert not [op for op in made.ops if "cgroup" in op.kind]
