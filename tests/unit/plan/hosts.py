"""Decides which hosts plans are made for in tests; they are records, nothing is read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from pyrunc.cgroup.layout import CgroupLayout, Hierarchy
from pyrunc.host import Host
from pyrunc.plan.records import CreateOptions
from pyrunc.spec import defaults, load

FIXTURES = Path(__file__).parents[3] / "spec-fixtures" / "valid"

V1 = tuple(
    Hierarchy(controllers[0], controllers, f"/sys/fs/cgroup/{directory}", "/own")
    for controllers, directory in (
        (("name=systemd",), "systemd"),
        (("cpu", "cpuacct"), "cpu,cpuacct"),
        (("cpuset",), "cpuset"),
        (("memory",), "memory"),
        (("pids",), "pids"),
        (("devices",), "devices"),
        (("blkio",), "blkio"),
        (("hugetlb",), "hugetlb"),
        (("freezer",), "freezer"),
    )
)
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
LAYOUTS = {
    "v1": CgroupLayout("v1", None, "", (), V1),
    "hybrid": CgroupLayout("hybrid", "/sys/fs/cgroup/unified", "/own", (), V1),
    "v2": CgroupLayout("v2", "/sys/fs/cgroup", "/user.slice/own.scope", CONTROLLERS, ()),
    "none": CgroupLayout("none", None, "", (), ()),
}
ALL_CAPABILITIES = (1 << 41) - 1


def host(layout: str = "v2", **changes: Any) -> Host:
    facts: dict[str, Any] = {
        "euid": 0,
        "egid": 0,
        "kernel": (6, 1),
        "last_capability": 40,
        "capabilities": ALL_CAPABILITIES,
        "apparmor": True,
        "selinux": True,
        "in_user_namespace": False,
        "has_kcore": True,
        "cgroup": LAYOUTS[layout],
    }
    return Host(**{**facts, **changes})


def options(spec: dict[str, Any], **changes: Any) -> CreateOptions:
    given: dict[str, Any] = {
        "id": "c1",
        "bundle": "/bundle",
        "rootfs": "/bundle/rootfs",
        "detach": True,
        "terminal": spec["process"]["terminal"],
        "has_console_socket": spec["process"]["terminal"],
        # Stands for a compiled filter: two instructions.
        "seccomp_program": b"\0" * 16 if "seccomp" in spec["linux"] else None,
    }
    return CreateOptions(**{**given, **changes})


def accept(config: dict[str, Any]) -> dict[str, Any]:
    """A config in normal form, as `load` gives it."""
    config = copy.deepcopy(config)
    defaults.strip_nulls(config)
    spec, _warnings = load.accept(config)
    return spec  # type: ignore[return-value]


def fixture(name: str) -> dict[str, Any]:
    return accept(json.loads((FIXTURES / f"{name}.json").read_text()))


def minimal(**members: Any) -> dict[str, Any]:
    """A spec in normal form with `members` over the least that a container needs."""
    config: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["/bin/true"]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
    for name, value in members.items():
        if isinstance(value, dict) and name in config:
            config[name] = {**config[name], **value}
        else:
            config[name] = value
    return accept(config)
