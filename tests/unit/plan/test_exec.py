"""The plan of exec: its order, and what a process object and options become."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import host as host_facts

from pyrunc import exec_process
from pyrunc.errors import Failure
from pyrunc.plan import exec_build
from pyrunc.plan.records import ExecOptions
from pyrunc.shim import constants as C

OWN = C.CLONE_NEWPID | C.CLONE_NEWNS | C.CLONE_NEWIPC


def spec(**process: Any) -> dict[str, Any]:
    made = {
        "args": ["sh"],
        "cwd": "/",
        "env": [],
        "terminal": False,
        "noNewPrivileges": True,
        "rlimits": [],
        "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o22},
    }
    return {"process": {**made, **process}, "linux": {"namespaces": []}}


def plan(host: str = "v2", process: dict[str, Any] | None = None, **options: Any) -> Any:
    given = {
        "id": "web",
        "terminal": False,
        "has_console_socket": False,
        "namespaces": OWN,
        "init_pid": 77,
        "rootfs": "/bundle/rootfs",
        "born_in": "/sys/fs/cgroup/web",
        "cgroups": (),
    }
    return exec_build.build(
        spec(**(process or {})), ExecOptions(**{**given, **options}), host_facts(host)
    )


def kinds(made: Any) -> list[str]:
    return [op.kind for op in made.ops]


def test_order() -> None:
    assert kinds(plan()) == [
        *("clone", "join_process", "session_keyring", "respawn"),
        *("change_dir", "own_stdio", "set_environment", "find_executable"),
        *("drop_bounding", "set_ids", "set_caps", "change_dir", "no_new_privs"),
        *("stage", "outlive", "close_fds", "execute"),
    ]


def test_nothing_of_the_host_s_is_left_when_it_is_born() -> None:
    """CVE-2016-9962: all namespaces at once, then the birth in the pid namespace, /proc closed."""
    made = plan()
    found = {op.kind: op.args for op in made.ops}
    assert found["join_process"] == (OWN, 77)
    assert found["respawn"] == (0, C.RESPAWN_CLOSE_PROC)
    order = kinds(plan(process={"apparmorProfile": "x", "oomScoreAdj": 1}))
    assert order.index("set_label") < order.index("respawn")
    assert order.index("set_oom_score_adj") < order.index("join_process")


def test_it_is_in_its_cgroups_before_it_can_be_recorded() -> None:
    made = kinds(plan("hybrid", born_in=None, cgroups=("/a", "/b")))
    assert made.index("respawn") < made.index("join_cgroup") < made.index("stage")
    assert made.count("join_cgroup") == 2


def test_shared_namespaces() -> None:
    made = plan(namespaces=C.CLONE_NEWIPC)
    assert "respawn" not in kinds(made)
    assert kinds(made)[kinds(made).index("open_rootfs") + 1] == "pivot_root"
    assert "join_process" not in kinds(plan(namespaces=0))


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_filter(no_new_privs: bool) -> None:
    made = plan(process={"noNewPrivileges": no_new_privs}, seccomp_program=b"\0" * 16)
    order = kinds(made)
    if no_new_privs:
        assert order[-2:] == ["load_seccomp", "execute"]
    else:
        assert order.index("load_seccomp") < order.index("drop_bounding")


def test_initial_processors_hold_before_the_cgroup() -> None:
    made = plan(process={"execCPUAffinity": {"initial": "1", "final": "0,65"}})
    order = kinds(made)
    assert made.ops[0].args == (0, None)
    assert order.index("set_affinity") < order.index("join_cgroup")
    assert [op.args for op in made.ops if op.kind == "set_affinity"] == [((2,),), ((1, 2),)]


OPTIONS = {
    "process": "",
    "tty": False,
    "no_new_privs": False,
    "cwd": "",
    "apparmor": "",
    "process_label": "",
    "env": (),
    "user": (),
    "additional_gids": (),
    "cap": (),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", (1, None)),
        ("1:2", (1, 2)),
        ("0", (0, None)),
        ("0:0", (0, 0)),
        ("00", (0, None)),
        ("4294967294:4294967294", (4294967294, 4294967294)),
    ],
)
def test_users(text: str, expected: tuple[int, int | None]) -> None:
    assert exec_process.parse_user(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":",
            "1:",
            ":1",
            "-1",
            "1:-1",
            "1x",
            "x1",
            "root",
            "1:root",
            "0x1",
            "1:2:3",
            " 1",
            "1 ",
        ),
        *("+1", "1_0", "4294967295", "1:4294967295", "99999999999999999999", "\u0661", "1\n"),
    ],
)
def test_users_that_are_none(text: str) -> None:
    """CVE-2026-30892: nothing but a 0 is 0."""
    with pytest.raises(Failure, match="must be a number from 0 to 4294967294"):
        exec_process.parse_user(text)


def test_container_s_process_is_not_changed() -> None:
    own = spec(capabilities={"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]})
    options = {
        **OPTIONS,
        "user": ("9",),
        "additional_gids": ("8",),
        "env": ("A=1",),
        "cap": ("chown",),
    }
    made = exec_process.build(own, options, ("true",))
    assert own == spec(capabilities={"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]})
    assert made["user"] == {"uid": 9, "gid": 6, "additionalGids": [7, 8], "umask": 0o22}
    assert made["args"] == ["true"]
    assert made["capabilities"] == {
        "bounding": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_CHOWN"],
        "permitted": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_CHOWN"],
    }


def test_terminal_is_asked_for() -> None:
    assert exec_process.build(spec(terminal=True), OPTIONS, ("sh",))["terminal"] is False
    assert exec_process.build(spec(), {**OPTIONS, "tty": True}, ("sh",))["terminal"] is True
