"""Rules that fixtures cannot show: warnings, and tables of names."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.spec import linux_rules, rules


def config(**process: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], **process},
    }


def test_unknown_capability_is_a_warning() -> None:
    warnings = rules.apply(config(capabilities={"bounding": ["CAP_KILL", "CAP_NEW"]}))
    place = "/process/capabilities/bounding/1"
    assert warnings == [(place, 'ignoring unknown capability "CAP_NEW"')]


def test_ambient_without_inheritable_is_a_warning() -> None:
    sets = {"ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
    assert [place for place, _ in rules.apply(config(capabilities=sets))] == [
        "/process/capabilities/ambient/0"
    ]
    assert rules.apply(config(capabilities={**sets, "inheritable": ["CAP_KILL"]})) == []


def test_relative_destination_is_a_warning() -> None:
    mounts = [{"destination": "proc", "type": "proc", "source": "proc"}]
    assert rules.apply({**config(), "mounts": mounts}) == [
        ("/mounts/0/destination", 'mount destination "proc" is not absolute')
    ]


def test_parameters_of_a_file_system_are_a_warning_for_a_bind() -> None:
    options = ["nosuid", "size=1k", "bind", "idmap=uids=0-1-1"]
    mounts = [{"destination": "/a", "source": "/s", "options": options}]
    assert rules.apply({**config(), "mounts": mounts}) == [
        ("/mounts/0/options/1", 'ignored: "size=1k" is for a file system, not for a bind mount')
    ]
    mounts[0] |= {"type": "tmpfs", "options": ["size=1k"]}
    assert rules.apply({**config(), "mounts": mounts}) == []


@pytest.mark.parametrize("text", ["a\0b", "/\0"])
def test_nul_bytes(text: str) -> None:
    """The JSON reader refuses them; a spec may also come from Python."""
    assert rules.judge(config(args=["sh", text]))[0][0][0] == "/process/args"
    assert rules.judge(config(env=[f"A={text}"]))[0][0][0] == "/process/env/0"
    assert rules.judge(config(cwd="/" + text))[0][0][0] == "/process/cwd"


@pytest.mark.parametrize(
    "text",
    ["1.0.0", "1.0.2-dev", "1.3.0+dev", "1.0.0-rc5+b.7", "10.20.30", "1.0.0-0.3.7", "1.0.0-x-y.0"],
)
def test_versions(text: str) -> None:
    assert rules.is_version(text)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.0",
        "1.0.0.0",
        "01.0.0",
        "1.0.0-",
        "1.0.0-a..b",
        "1.0.0-00",
        "1.0.0+",
        "1.0.x",
        "-1.0.0",
        "1.0.0-\u00e9",
        "1.\u0661.0",
        "1.0.0\n",
        " 1.0.0",
    ],
)
def test_no_versions(text: str) -> None:
    assert not rules.is_version(text)


@pytest.mark.parametrize(
    ("key", "namespace"),
    [
        ("net.ipv4.ip_forward", "network"),
        ("net/ipv4/conf/eno2.100/rp_filter", "network"),
        ("net.ipv4.conf.eno2/100.rp_filter", "network"),
        ("kernel.sem", "ipc"),
        ("kernel/shmmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("fs/mqueue/msg_max", "ipc"),
        ("kernel.domainname", "uts"),
        ("user.max_user_namespaces", "user"),
    ],
)
def test_sysctl_belongs_to_a_namespace(key: str, namespace: str) -> None:
    assert linux_rules.refused_sysctl(key, {namespace: ""}) is None
    others = dict.fromkeys({"network", "ipc", "uts", "user", "mount", "pid"} - {namespace}, "")
    assert linux_rules.refused_sysctl(key, others) is not None
