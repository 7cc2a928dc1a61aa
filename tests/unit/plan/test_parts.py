"""Namespaces, identity, devices, terminal, hooks, sysctls: each part of the plan on its own."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import ALL_CAPABILITIES, host, minimal, options

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops, sysctl
from pyrunc.plan.build import Plan, build
from pyrunc.plan.describe import capability_names, describe
from pyrunc.plan.ops import Op
from pyrunc.shim import constants as C

MAPS = {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 1000}],
    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 1000}],
}


def plan(
    given: dict[str, Any] | None = None, facts: dict[str, Any] | None = None, **members: Any
) -> Plan:
    spec = minimal(**members)
    return build(spec, options(spec, **(given or {})), host(**(facts or {})))


def find(made: Plan, kind: str) -> list[Op]:
    return [op for op in made.ops if op.kind == kind]


def lines(made: Plan) -> list[str]:
    return [describe(op) for op in made.ops]


def namespaces(*entries: str, **linux: Any) -> dict[str, Any]:
    """`entries` are types, or type=path to join."""
    parts = [entry.partition("=") for entry in entries]
    return {
        "namespaces": [
            {"type": name, **({"path": path} if path else {})} for name, _, path in parts
        ],
        **linux,
    }


def test_new_namespaces_are_cloned_but_the_cgroup_one() -> None:
    made = plan(linux=namespaces("mount", "pid", "cgroup", "network"))
    assert find(made, "clone")[0].args[0] == C.CLONE_NEWNS | C.CLONE_NEWPID | C.CLONE_NEWNET
    assert [op.args for op in find(made, "unshare")] == [(C.CLONE_NEWCGROUP,)]


def test_joined_namespaces() -> None:
    made = plan(linux=namespaces("mount", "pid=/p", "user=/u", "network=/n", "ipc=/i"))
    assert [op.args for op in find(made, "enter_namespace")] == [(C.CLONE_NEWPID, "/p")]
    joined = [op for op in made.ops if op.kind in ("setns", "unshare", "set_ids")][:5]
    # The user namespace comes last, since it takes the rights over the others away; what is new
    # belongs to it.
    assert [op.args for op in joined] == [
        (C.CLONE_NEWNET, "/n"),
        (C.CLONE_NEWIPC, "/i"),
        (C.CLONE_NEWUSER, "/u"),
        (0, 0, (), 0, C.IDS_KEEP_CAPS | C.IDS_ANY_MAPPED),
        (C.CLONE_NEWNS,),
    ]
    assert find(made, "clone")[0].args[0] == 0


def test_joined_namespaces_beside_a_new_user_namespace_are_entered_before() -> None:
    made = plan(linux=namespaces("mount", "pid", "user", "network=/n", **MAPS))
    assert [op.args for op in find(made, "enter_namespace")] == [(C.CLONE_NEWNET, "/n")]
    assert find(made, "setns") == []


def test_user_namespace_is_mapped_before_anything_else() -> None:
    made = plan(
        linux=namespaces("mount", "pid", "user", **MAPS),
        process={"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], "oomScoreAdj": -5},
    )
    kinds = [op.kind for op in made.ops]
    start = kinds.index("clone") + 1
    assert kinds[start : start + 6] == [
        "stage",
        "write_id_map",
        "write_id_map",
        "set_init_oom_score_adj",
        "raise_init_rlimit",
        "set_ids",
    ]
    assert find(made, "write_id_map")[1].args == ("uid_map", ((0, 100000, 1000),))


@pytest.mark.parametrize(
    ("entries", "pointer"),
    [
        (("mount=/m", "user"), "/linux/namespaces/0"),
    ],
)
def test_what_cannot_be_combined_is_refused(entries: tuple[str, ...], pointer: str) -> None:
    maps = MAPS if "user" in entries else {}
    with pytest.raises(SpecFailure) as caught:
        plan(linux=namespaces(*entries, **maps))
    assert caught.value.pointer == pointer


def test_new_pid_namespace_in_a_joined_user_namespace() -> None:
    made = plan(
        linux=namespaces("mount", "pid", "user=/u", "network=/n", **MAPS),
        process={"oomScoreAdj": 5},
    )
    start = [op.kind for op in made.ops].index("clone") + 1
    assert lines(made)[start : start + 8] == [
        "join network namespace /n",
        "join user namespace /u",
        "become 0:0, groups none, umask 0000 (keeping capabilities,or what is mapped)",
        "go on in a child in new namespaces: mount,pid",
        "stage born",
        "compare gid_map with 0 to 100000 for 1000",
        "compare uid_map with 0 to 100000 for 1000",
        "set init's oom_score_adj to 5",
    ]


def test_joined_user_namespace_is_the_first_without_privileges() -> None:
    made = plan(
        facts={"capabilities": 0, "euid": 1000},
        linux=namespaces("mount", "pid=/p", "user=/u", "network=/n"),
    )
    start = [op.kind for op in made.ops].index("clone") + 1
    assert lines(made)[start : start + 6] == [
        "join user namespace /u",
        "become 0:0, groups none, umask 0000 (keeping capabilities,or what is mapped)",
        "join pid namespace /p",
        "join network namespace /n",
        "go on in a child in new namespaces: mount",
        "stage born",
    ]


def test_unprivileged_mappings() -> None:
    own = [{"containerID": 0, "hostID": 1000, "size": 1}]
    ranges = [*own, {"containerID": 1, "hostID": 100000, "size": 65536}]
    facts = {"capabilities": 0, "euid": 1000, "egid": 1000}
    for mappings, told in (
        (own, ["deny setgroups to init", "write gid_map: 0 to 1000 for 1"]),
        (ranges, ["let newgidmap write gid_map: 0 to 1000 for 1, 1 to 100000 for 65536"]),
    ):
        maps = {"uidMappings": own, "gidMappings": mappings}
        made = plan(facts=facts, linux=namespaces("mount", "pid", "user", **maps))
        start = [op.kind for op in made.ops].index("clone") + 1
        assert lines(made)[start : start + 2 + len(told)] == [
            "stage user idmap",
            *told,
            "write uid_map: 0 to 1000 for 1",
        ]


def test_nothing_of_another_owner_is_joined_without_privileges() -> None:
    with pytest.raises(SpecFailure, match="needs privileges") as caught:
        plan(facts={"capabilities": 0}, linux=namespaces("mount", "user", "network=/n", **MAPS))
    assert caught.value.pointer == "/linux/namespaces/2"


def test_time_namespace() -> None:
    offsets = {"timeOffsets": {"monotonic": {"secs": 5, "nanosecs": 6}, "boottime": {"secs": -7}}}
    linux = namespaces("mount", "time", **offsets)
    made = lines(plan(facts={"kernel": (6, 2)}, linux=linux))
    start = made.index(
        "clone init into new namespaces: mount; into cgroup /sys/fs/cgroup/user.slice/c1"
    )
    assert made[start + 1 : start + 4] == [
        "unshare time namespace",
        "stage born",
        "write timens_offsets: monotonic 5 s 6 ns, boottime -7 s 0 ns",
    ]
    made = lines(plan(facts={"kernel": (6, 1)}, linux=linux))
    assert "make a time namespace for init: monotonic 5 s 6 ns, boottime -7 s 0 ns" in made
    assert (
        "clone init into new namespaces: mount,time; into cgroup /sys/fs/cgroup/user.slice/c1"
        in made
    )


def test_unmapped_user_is_refused() -> None:
    with pytest.raises(SpecFailure, match="cannot setuid to unmapped uid 1000 in user namespace"):
        plan(linux=namespaces("mount", "user", **MAPS), process={"user": {"uid": 1000, "gid": 0}})


def test_without_a_mount_namespace() -> None:
    made = plan(linux=namespaces("pid"))
    assert find(made, "pivot_root")[0].args == (C.PIVOT_CHROOT,)
    assert find(made, "host_propagation") == []
    assert find(made, "open_rootfs")[0].args == ("/bundle/rootfs", 0)
    warned = plan(linux=namespaces("pid"), mounts=[{"destination": "/a", "type": "tmpfs"}])
    assert warned.warnings == (
        ("/mounts", "without a private MNT namespace mounts outlive the container"),
    )
    with pytest.raises(SpecFailure, match="without a private MNT namespace"):
        plan(linux=namespaces("pid"), root={"path": "r", "readonly": True})


def test_no_pivot() -> None:
    assert find(plan({"no_pivot": True}), "pivot_root")[0].args == (C.PIVOT_MOVE,)


def test_read_only_root_has_its_working_directory_made_before() -> None:
    made = lines(plan(root={"path": "r", "readonly": True}, process={"cwd": "/work/deep"}))
    made_at = made.index("make directory /work/deep mode 0755")
    assert (
        made_at
        < made.index("set mount attributes of / (ro)")
        < made.index("change to /work/deep, made if missing")
    )


def test_capabilities() -> None:
    names = {"permitted": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL", "CAP_SETUID"]}
    names |= {
        "bounding": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL", "CAP_CHOWN"],
    }
    made = plan(process={"capabilities": names})
    kill, chown = 1 << C.CAP_KILL, 1 << C.CAP_CHOWN
    assert find(made, "drop_bounding")[0].args == (kill,)
    # What is not permitted cannot be effective, what is not inheritable not ambient.
    assert find(made, "set_caps")[0].args == (kill, kill | chown, kill, kill)
    assert made.warnings == ()


def test_capabilities_that_cannot_be_given_are_left_out_with_a_warning() -> None:
    names = {"bounding": ["CAP_BPF", "CAP_KILL"]}
    old = plan(facts={"last_capability": C.CAP_AUDIT_READ}, process={"capabilities": names})
    weak = plan(
        facts={"capabilities": ALL_CAPABILITIES & ~(1 << C.CAP_BPF)},
        process={"capabilities": names},
    )
    for made in (old, weak):
        assert find(made, "drop_bounding")[0].args == (1 << C.CAP_KILL,)
        assert made.warnings == (
            (
                "/process/capabilities/bounding/0",
                "ignoring unknown or unavailable capabilities: [CAP_BPF]",
            ),
        )


def test_no_capabilities_without_the_property() -> None:
    made = plan()
    assert find(made, "drop_bounding")[0].args == (0,)
    assert find(made, "set_caps")[0].args == (0, 0, 0, 0)
    assert capability_names(0) == "none"


def test_user() -> None:
    made = plan(process={"user": {"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 63}})
    flags = C.IDS_SET_GROUPS | C.IDS_KEEP_CAPS
    assert find(made, "set_ids")[0].args == (5, 6, (7, 8), 63, flags)
    assert find(plan(), "set_ids")[0].args[3] == 0o022


@pytest.mark.parametrize(
    ("env", "expected", "flags"),
    [
        ([], (), C.ENVIRONMENT_HOME),
        (["HOME="], ("HOME=",), C.ENVIRONMENT_HOME),
        (["HOME=/x"], ("HOME=/x",), 0),
        (["A=1", "B=2", "A=3"], ("B=2", "A=3"), C.ENVIRONMENT_HOME),
        (["A=b=c\nd"], ("A=b=c\nd",), C.ENVIRONMENT_HOME),
    ],
)
def test_environment(env: list[str], expected: tuple[str, ...], flags: int) -> None:
    assert find(plan(process={"env": env}), "set_environment")[0].args == (expected, 0, flags)


def test_socket_activation_and_preserved_descriptors() -> None:
    made = plan({"preserve_fds": 2}, {"listen_fds": 3}, process={"env": ["LISTEN_FDS=9"]})
    assert find(made, "set_environment")[0].args[0] == ("LISTEN_FDS=3",)
    assert find(made, "set_environment")[0].args[2] & C.ENVIRONMENT_LISTEN_PID
    assert find(made, "close_fds")[0].args == (8,)


@pytest.mark.parametrize("name", ["apparmorProfile", "selinuxLabel"])
def test_labels_need_their_module(name: str) -> None:
    with pytest.raises(SpecFailure) as caught:
        plan(facts={"apparmor": False, "selinux": False}, process={name: "x"})
    assert caught.value.pointer == f"/process/{name}"
    assert len(find(plan(process={name: "x"}), "set_label")) == 1


SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW"}


def test_filter_without_no_new_privs_comes_before_capabilities_go() -> None:
    kinds = [op.kind for op in plan(linux=namespaces("mount", seccomp=SECCOMP)).ops]
    assert kinds[kinds.index("load_seccomp") + 1] == "drop_bounding"
    assert "no_new_privs" not in kinds


def test_filter_with_no_new_privs_comes_last() -> None:
    made = plan(linux=namespaces("mount", seccomp=SECCOMP), process={"noNewPrivileges": True})
    kinds = [op.kind for op in made.ops]
    assert kinds[-3:] == ["close_fds", "load_seccomp", "execute"]
    assert kinds.index("set_caps") < kinds.index("no_new_privs") < kinds.index("await_start")


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_hooks_of_the_rootfs_run_under_the_filter(no_new_privs: bool) -> None:
    made = plan(
        linux=namespaces("mount", seccomp=SECCOMP),
        process={"noNewPrivileges": no_new_privs},
        hooks={"startContainer": [{"path": "/s"}]},
    )
    kinds = [op.kind for op in made.ops]
    assert kinds.count("load_seccomp") == 1
    assert kinds.index("load_seccomp") < kinds.index("hook")


def test_oom_score_is_left_alone_unless_given() -> None:
    assert find(plan(), "set_oom_score_adj") == []
    assert find(plan(process={"oomScoreAdj": 0}), "set_oom_score_adj")[0].args == (0, 0)
    rootless = find(plan({"rootless": True}, process={"oomScoreAdj": 0}), "set_oom_score_adj")
    assert rootless[0].args == (0, C.TOLERATE_EPERM)


def test_keyring() -> None:
    assert find(plan(), "session_keyring")[0].args == ("_ses.c1", None)
    assert find(plan({"no_new_keyring": True}), "session_keyring") == []


def test_devices_of_the_config_win() -> None:
    null = {
        "path": "/dev//null",
        "type": "c",
        "major": 1,
        "minor": 3,
        "fileMode": 0o100600,
        "uid": 1,
        "gid": 2,
    }
    fifo = {"path": "/run/f", "type": "p"}
    made = find(plan(linux=namespaces("mount", devices=[null, fifo])), "make_node")
    assert made[-2].args == ("/dev/null", C.S_IFCHR | 0o600, 1, 3, 1, 2, "/dev/null")
    assert made[-1].args == ("/run/f", C.S_IFIFO | 0o666, 0, 0, 0, 0, None)
    assert [op.args[0] for op in made].count("/dev/null") == 1


def test_a_bound_dev_is_left_alone() -> None:
    bound = plan(
        mounts=[{"destination": "/dev/", "type": "none", "source": "/dev", "options": ["rbind"]}]
    )
    assert find(bound, "make_node") == find(bound, "symlink") == []
    below = plan(
        mounts=[{"destination": "/dev/x", "type": "none", "source": "/x", "options": ["rbind"]}]
    )
    assert len(find(below, "make_node")) == 6


def test_core_link_only_where_the_host_has_kcore() -> None:
    assert "/dev/core" in [op.args[1] for op in find(plan(), "symlink")]
    assert "/dev/core" not in [
        op.args[1] for op in find(plan(facts={"has_kcore": False}), "symlink")
    ]


@pytest.mark.parametrize("socket", [True, False])
def test_terminal(socket: bool) -> None:
    process = {
        "terminal": True,
        "consoleSize": {"height": 24, "width": 80},
        "user": {"uid": 5, "gid": 0},
    }
    made = plan({"has_console_socket": socket}, process=process)
    flags = C.PTY_BIND_CONSOLE | C.PTY_HAS_SIZE
    assert find(made, "open_pty")[0].args == (socket, flags, 5, 24, 80)
    kinds = [op.kind for op in made.ops]
    assert kinds.index("pivot_root") < kinds.index("open_pty") < kinds.index("own_stdio")
    assert find(plan(), "open_pty") == []


def test_hooks() -> None:
    hooks = {
        "prestart": [{"path": "/p", "args": ["p0", "a"], "env": ["A=1"], "timeout": 3}],
        "createRuntime": [{"path": "/r"}],
        "createContainer": [{"path": "/c"}],
        "startContainer": [{"path": "/s"}, {"path": "/t", "env": ["B=1"]}],
        "poststop": [{"path": "/x"}],
    }
    made = plan(hooks=hooks, process={"env": ["E=1"]})
    assert made.has_hooks
    assert [(op.origin, *op.args) for op in find(made, "run_hook")] == [
        ("/hooks/prestart/0", "prestart", "/p", ("p0", "a"), ("A=1",), 3),
        ("/hooks/createRuntime/0", "createRuntime", "/r", ("/r",), (), 0),
    ]
    assert [op.args for op in find(made, "hook")] == [
        (C.HOOK_CREATE_CONTAINER, 0, "/c", 0, ("/c",), (), "", ""),
        (C.HOOK_START_CONTAINER, 0, "/s", 0, ("/s",), ("E=1",), "", ""),
        (C.HOOK_START_CONTAINER, 1, "/t", 0, ("/t",), ("B=1",), "", ""),
    ]
    assert not plan().has_hooks
    assert not plan(hooks={"poststop": [{"path": "/x"}]}).has_hooks


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
    ],
)
def test_sysctl_names(key: str, path: str) -> None:
    assert sysctl.path_of(key) == path


@pytest.mark.parametrize(
    "key", ["net/../kernel/core_pattern", "net..x", "/net/x", ".net", "net//x"]
)
def test_sysctl_stays_below_proc_sys(key: str) -> None:
    with pytest.raises(SpecFailure):
        sysctl.operations({"linux": {"sysctl": {key: "1"}}}, options(minimal()))


def test_each_restricted_path_once() -> None:
    made = plan(
        linux=namespaces("mount", maskedPaths=["/a", "/b", "/a"], readonlyPaths=["/a", "/a"])
    )
    assert [op.args[0] for op in find(made, "mask")] == ["/a", "/b"]
    assert [op.args[0] for op in find(made, "readonly")] == ["/a"]


def test_description_is_one_line() -> None:
    assert "\n" not in describe(ops.set_hostname("", "a\nb"))


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_a_listener_is_handed_over_before_the_start(no_new_privs: bool) -> None:
    rules = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "syscalls": rules}
    made = plan(
        {"seccomp_flags": C.SECCOMP_FILTER_FLAG_NEW_LISTENER},
        linux=namespaces("mount", seccomp=seccomp),
        process={"noNewPrivileges": no_new_privs},
    )
    kinds = [op.kind for op in made.ops]
    at = kinds.index("load_seccomp")
    assert kinds[at : at + 3] == ["load_seccomp", "stage", "send_seccomp_listener"]
    assert at < kinds.index("await_start")
    assert (at > kinds.index("set_caps")) is no_new_privs
    assert "send the seccomp listener to /l" in lines(made)


def test_network_devices_are_there_before_sysctls_are_written() -> None:
    linux = {
        "namespaces": [{"type": "mount"}, {"type": "network"}],
        "netDevices": {"eth0": {"name": "c0"}, "eth1": {}},
        "sysctl": {"net.ipv4.conf.c0.rp_filter": "1"},
    }
    made = lines(plan(linux=linux))
    moves = [
        "move network device eth0 into the new namespace as c0",
        "move network device eth1 into the new namespace as eth1",
    ]
    at = made.index(moves[0])
    assert made[at : at + 2] == moves
    assert at < made.index("stage cgroup") < made.index("pivot_root")
    linux["namespaces"] = [{"type": "mount"}, {"type": "network", "path": "/run/netns/x"}]
    assert "move network device eth1 into /run/netns/x as eth1" in lines(plan(linux=linux))
    linux["namespaces"] = [{"type": "mount"}, {"type": "network"}, {"type": "user"}]
    linux |= MAPS
    with pytest.raises(SpecFailure, match="not supported in rootless containers"):
        plan(facts={"euid": 1000}, linux=linux)


def test_notify_directory() -> None:
    mounts = [{"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}]
    given = {"notify_directory": "/state/c1/notify"}
    made = plan(given, mounts=mounts, process={"env": ["NOTIFY_SOCKET=/x", "A=b"]})
    op = find(made, "bind")[0]
    assert op.origin == ""
    assert op.args[:2] == ("/state/c1/notify", "/run/notify")
    attributes = (
        C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NOSUID | C.MOUNT_ATTR_NODEV | C.MOUNT_ATTR_NOEXEC
    )
    assert op.args[4] == attributes
    kinds = [op.kind for op in made.ops]
    assert kinds.index("mount") < kinds.index("bind") < kinds.index("set_mount_attr")
    variables = find(made, "set_environment")[0].args[0]
    assert variables == ("A=b", "NOTIFY_SOCKET=/run/notify/notify.sock")
    assert not find(plan(mounts=mounts), "bind")
