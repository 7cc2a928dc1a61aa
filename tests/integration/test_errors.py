"""Bad input: one line on standard error, a non-zero status, nothing left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.signatures import Call, Make


def refused(c: Container, *texts: str, verb: str = "create") -> None:
    """`verb` fails with each of `texts` and leaves nothing; the same id is free afterwards."""
    before = sorted(os.listdir(c.bundle.path))
    getattr(c, verb)().failed(*texts)
    c.nothing_left()
    assert sorted(set(os.listdir(c.bundle.path)) - {"config.json"}) == [
        name for name in before if name != "config.json"
    ]


def test_config_is_missing(container: Make) -> None:
    c = container()
    c.call("create", "--bundle", str(c.bundle.path), c.id).failed("config.json")
    c.nothing_left()


def test_bundle_is_missing(container: Make) -> None:
    c = container()
    c.call("create", "--bundle", "/no/such/bundle", c.id).failed("/no/such/bundle")
    c.nothing_left()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("null", marks=pytest.mark.runc_fails("it dies of a nil pointer")),
        "",
        "{",
        "[]",
        '"text"',
        '{"ociVersion": "1.0.2"',
        "\x00",
        "{]",
        '{"ociVersion": 1.0.2}',
        "\xff" * 10,
    ],
)
def test_config_is_malformed(container: Make, text: str) -> None:
    c = container()
    (c.bundle.path / "config.json").write_text(text, encoding="latin-1")
    c.call("create", "--bundle", str(c.bundle.path), c.id).failed()
    c.nothing_left()


def test_config_is_a_directory(container: Make) -> None:
    c = container()
    (c.bundle.path / "config.json").mkdir()
    c.call("create", "--bundle", str(c.bundle.path), c.id).failed("config.json")
    c.nothing_left()


@pytest.mark.runc_fails("Go's decoder takes the last of doubled keys")
def test_config_has_a_key_twice(container: Make) -> None:
    c = container()
    text = json.dumps(c.bundle.config)
    (c.bundle.path / "config.json").write_text('{"ociVersion": "1.0.0", ' + text[1:])
    c.call("create", "--bundle", str(c.bundle.path), c.id).failed("duplicate key")
    c.nothing_left()


@pytest.mark.runc_fails("its decoder goes as deep as it is told")
def test_config_is_deep(container: Make) -> None:
    c = container()
    c.bundle.write()
    text = json.dumps(c.bundle.config)
    deep = "[" * 9000 + "]" * 9000
    (c.bundle.path / "config.json").write_text('{"org.example": ' + deep + ", " + text[1:])
    c.call("create", "--bundle", str(c.bundle.path), c.id).failed()
    c.nothing_left()


def set_at(config: dict[str, Any], pointer: str, value: Any) -> None:
    *parents, last = pointer.strip("/").split("/")
    place: Any = config
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value


WRONG_TYPES = [
    ("/process", []),
    ("/process/args", "sh"),
    ("/process/args/0", 1),
    ("/process/env", {"A": "1"}),
    ("/process/cwd", 5),
    ("/process/terminal", "yes"),
    ("/process/user/uid", "root"),
    ("/process/user/uid", -1),
    ("/process/user/uid", 1.5),
    ("/process/user/uid", 4294967296),
    ("/process/noNewPrivileges", 1),
    ("/process/oomScoreAdj", "high"),
    ("/process/rlimits", {}),
    ("/process/rlimits/0/soft", -5),
    ("/process/capabilities", ["CAP_KILL"]),
    ("/root", "rootfs"),
    ("/root/path", None),
    ("/root/readonly", "true"),
    ("/hostname", 1),
    ("/mounts", {}),
    ("/mounts/0/destination", 5),
    ("/mounts/0/options", "ro"),
    ("/linux/namespaces", {}),
    ("/linux/namespaces/0/type", 1),
    ("/linux/resources", []),
    ("/linux/resources/memory/limit", "32m"),
    ("/linux/resources/pids/limit", "many"),
    ("/linux/sysctl", ["a"]),
    ("/linux/maskedPaths", "x"),
    ("/hooks/prestart", {}),
    ("/annotations", ["a"]),
]
RUNC_TAKES = {"/root/path": "it takes the bundle itself as the root filesystem"}


@pytest.mark.parametrize(
    ("pointer", "value"), WRONG_TYPES, ids=lambda value: str(value).replace("/", ".").strip(".")
)
def test_wrong_type(
    container: Make, request: pytest.FixtureRequest, pointer: str, value: Any
) -> None:
    c = container()
    set_at(c.bundle.config, pointer, value)
    if c.runtime.kind == "runc" and pointer in RUNC_TAKES:
        request.applymarker(pytest.mark.xfail(reason=f"runc: {RUNC_TAKES[pointer]}"))
    refused(c, *([pointer.rsplit("/", 1)[0]] if c.runtime.kind == "pyrunc" else []))


UNKNOWN_VALUES = [
    ("/process/rlimits/0/type", "RLIMIT_MANNERS", "RLIMIT_MANNERS"),
    ("/linux/namespaces/0/type", "astral", "astral"),
    ("/linux/rootfsPropagation", "sideways", "sideways"),
    ("/linux/seccomp/defaultAction", "SCMP_ACT_PERHAPS", "SCMP_ACT_PERHAPS"),
    ("/ociVersion", "2.0.0", "2.0.0"),
    ("/ociVersion", "one", "one"),
]


@pytest.mark.parametrize(
    ("pointer", "value", "text"), UNKNOWN_VALUES, ids=lambda value: str(value).strip("/")
)
def test_unknown_value(
    container: Make, request: pytest.FixtureRequest, pointer: str, value: str, text: str
) -> None:
    c = container()
    set_at(c.bundle.config, pointer, value)
    if c.runtime.kind == "runc" and pointer == "/ociVersion":
        request.applymarker(pytest.mark.xfail(reason="runc: it does not look at the version"))
    refused(c, text)


REQUIRED = [
    "/ociVersion",
    "/process",
    "/process/cwd",
    "/process/args",
    "/root",
    "/root/path",
    "/mounts/0/destination",
]


@pytest.mark.parametrize("pointer", REQUIRED)
def test_required_property(container: Make, request: pytest.FixtureRequest, pointer: str) -> None:
    c = container()
    *parents, last = pointer.strip("/").split("/")
    place: Any = c.bundle.config
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    del place[last]
    if c.runtime.kind == "runc" and pointer in (
        "/ociVersion",
        "/root/path",
        "/mounts/0/destination",
    ):
        request.applymarker(
            pytest.mark.xfail(reason="runc: it takes what the specification requires as empty")
        )
    refused(c, *([last] if c.runtime.kind == "pyrunc" else []))


def test_empty_arguments(container: Make) -> None:
    refused(container(args=[]), "args")


@pytest.mark.parametrize("entry", ["NOEQUALS", "=value", "A=\0b"])
def test_environment_entry(container: Make, entry: str, request: pytest.FixtureRequest) -> None:
    c = container(env=[entry])
    if c.runtime.kind == "runc":
        request.applymarker(pytest.mark.xfail(reason="runc: 1.1 hands on what is not NAME=VALUE"))
    refused(c, "NUL" if "\0" in entry else "env")


def test_nul_in_a_string(container: Make) -> None:
    c = container("/bin/tr\0ue")
    refused(c)


BAD_IDS = ["", ".", "..", "a/b", "../x", "a b", "ü", "a\nb", "-x$", "a:b", "/abs"]


@pytest.mark.parametrize("verb", ["create", "run", "start", "state", "kill", "delete"])
@pytest.mark.parametrize("name", BAD_IDS, ids=repr)
def test_bad_id(container: Make, verb: str, name: str) -> None:
    c = container()
    c.bundle.write()
    bundle = ["--bundle", str(c.bundle.path)] if verb in ("create", "run") else []
    result = c.call(verb, *bundle, "--", name)
    assert result.status != 0
    assert "Traceback" not in result.err
    assert not c.root.exists() or not [
        entry for entry in os.listdir(c.root) if not entry.startswith(".")
    ]


def test_bad_id_is_named(container: Make) -> None:
    c = container()
    c.bundle.write()
    c.call("create", "--bundle", str(c.bundle.path), "a/b").failed("invalid container ID")


def test_id_that_is_too_long(container: Make) -> None:
    c = container()
    c.bundle.write()
    c.call("create", "--bundle", str(c.bundle.path), "x" * 2000).failed()


def test_forced_delete_does_not_reach_outside_of_the_root(container: Make, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    c = container()
    c.root.mkdir()
    for name in ("../victim", ".", ".."):
        assert c.call("delete", "--force", name).status != 0
    assert (victim / "file").exists()


def test_rootfs_is_missing(container: Make) -> None:
    c = container()
    c.bundle.config["root"]["path"] = "nowhere"
    refused(c, "nowhere")


def test_rootfs_is_a_file(container: Make) -> None:
    c = container()
    c.bundle.config["root"]["path"] = "config.json"
    refused(c)


def test_rootfs_is_empty(container: Make) -> None:
    c = container("sh")
    (c.bundle.path / "empty").mkdir()
    c.bundle.config["root"]["path"] = "empty"
    c.bundle.writable()
    refused(c, "executable file not found in $PATH")


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("detail", ["name", "path", "directory", "no permission"])
def test_command_that_cannot_be_executed(container: Make, verb: str, detail: str) -> None:
    command, text = {
        "name": ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        "path": ("/bin/nosuch", "no such file or directory"),
        "directory": ("/etc", "is a directory"),
        "no permission": ("/etc/passwd", "permission denied"),
    }[detail]
    c = container(command)
    if c.runtime.kind == "runc" and detail == "directory":
        text = "permission denied"  # Go's LookPath of that time did not tell directories apart
    refused(c, command, text, verb=verb)


def test_no_pid_file_when_create_fails(container: Make) -> None:
    c = container("nosuch")
    c.create().failed()
    assert not (c.bundle.path / "pid").exists()


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_symlinked_proc_and_sys(container: Make, name: str) -> None:
    c = container()
    (c.bundle.rootfs / name).rmdir()
    (c.bundle.rootfs / name).symlink_to("/tmp")
    refused(c, "must be mounted on ordinary directory")


def test_proc_that_is_a_file(container: Make) -> None:
    c = container()
    (c.bundle.rootfs / "proc").rmdir()
    (c.bundle.rootfs / "proc").touch()
    refused(c)


def test_console_socket_that_is_not_there(container: Make) -> None:
    c = container(terminal=True)
    c.create("--console-socket", "/no/such/socket").failed("/no/such/socket")
    c.nothing_left()


def test_console_socket_that_is_no_socket(container: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    c = container(terminal=True)
    c.create("--console-socket", str(tmp_path / "file")).failed("file")
    c.nothing_left()


def test_pid_file_that_cannot_be_written(container: Make) -> None:
    c = container("/bin/probe", "wait")
    c.create("--pid-file", "/no/such/directory/pid").failed("/no/such/directory")
    c.nothing_left()
    assert kernel.children() == [] or c.lane.members() == set()


@pytest.mark.parametrize("kilobytes", [0, 4, 8, 12])
def test_state_directory_is_full(container: Make, kilobytes: int) -> None:
    """Whatever still fits, a create that cannot keep its state undoes itself."""
    c = container("/bin/probe", "wait")
    c.root.mkdir()
    kernel.mount("tmpfs", str(c.root), "tmpfs", data="size=16k,mode=700")
    try:
        filler = c.root / ".filler"
        filler.write_bytes(b"x" * (16 - kilobytes) * 1024)
        result = c.create()
        if result.status == 0:
            c.delete(force=True).ok()
        else:
            result.failed()
        c.nothing_left()
    finally:
        kernel.unmount(str(c.root), kernel.MNT_DETACH)


def test_state_directory_without_inodes(container: Make) -> None:
    c = container("/bin/probe", "wait")
    c.root.mkdir()
    kernel.mount("tmpfs", str(c.root), "tmpfs", data="nr_inodes=2,mode=700")
    try:
        c.create().failed()
        c.nothing_left()
    finally:
        kernel.unmount(str(c.root), kernel.MNT_DETACH)


def test_root_that_is_a_file(container: Make) -> None:
    c = container()
    c.root.write_text("")
    c.create().failed()
    c.root.unlink()


@pytest.mark.needs("runtime:pyrunc")
def test_root_that_is_a_link_to_nothing(container: Make, tmp_path: Path) -> None:
    c = container()
    c.root.symlink_to(tmp_path / "nothing")
    c.create().failed("make state directory", "is missing (ENOENT)")
    c.root.unlink()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.runc_fails("1.1 takes / as its state directory")
def test_root_that_is_the_root(call: Call) -> None:
    call("--root", "/", "state", "x").failed("root")


def test_read_only_state_directory(container: Make) -> None:
    c = container()
    c.root.mkdir()
    kernel.mount("tmpfs", str(c.root), "tmpfs", flags=kernel.MS_RDONLY)
    try:
        c.create().failed()
    finally:
        kernel.unmount(str(c.root))


def test_socket_path_that_is_too_long_for_a_socket_address(container: Make) -> None:
    c = container("/bin/true", terminal=True)
    c.create("--console-socket", "/" + "x" * 200).failed()
    c.nothing_left()


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/process/user/uid", "x"),
        ("/mounts/2/options/0", 5),
        ("/linux/resources/memory/limit", "1g"),
    ],
)
def test_error_names_the_place(container: Make, pointer: str, value: Any) -> None:
    c = container()
    set_at(c.bundle.config, pointer, value)
    refused(c, pointer)


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/linux/intelRdt", {"closID": "x"}),
        ("/linux/netDevices", {"eth0": {}}),
        ("/linux/timeOffsets", {"boottime": {"secs": 1}}),
        ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0"}),
        ("/linux/personality", {"domain": "LINUX32"}),
        ("/process/scheduler", {"policy": "SCHED_BATCH"}),
        ("/process/ioPriority", {"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
        ("/process/selinuxLabel", "system_u:system_r:container_t:s0"),
        ("/process/apparmorProfile", "docker-default"),
    ],
    ids=str,
)
def test_unsupported_is_refused_or_done(container: Make, pointer: str, value: Any) -> None:
    """What is not supported on this machine or yet is refused at its place, never ignored in silence."""
    c = container("/bin/true")
    set_at(c.bundle.config, pointer, value)
    result = c.run()
    if result.status:
        result.failed(pointer.rsplit("/", 1)[1])
    c.nothing_left()


@pytest.mark.needs("runtime:pyrunc")
def test_long_value_does_not_bury_the_reason(container: Make, tmp_path: Path) -> None:
    """conmon reads 8 KiB of it at most: the place at its beginning and the reason at its end stay."""
    c = container("/bin/true")
    c.bundle.namespace("network")
    c.bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1" * 100_000}
    c.bundle.write()
    log = tmp_path / "log.json"
    options = ("--log", str(log), "--log-format", "json")
    result = c.call(*options, "create", "--bundle", str(c.bundle.path), c.id)
    result.failed("/linux/sysctl/net.ipv4.ip_forward", "invalid argument (EINVAL)")
    assert len(result.err) < 8192
    assert json.loads(log.read_text())["msg"] == result.err.rstrip("\n")
    c.nothing_left()
