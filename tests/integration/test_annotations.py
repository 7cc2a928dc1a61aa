"""Annotations that have an effect, as they have it in crun."""

from __future__ import annotations

import array
import base64
import errno
import json
import os
import platform
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from conftest import Call, Make
from harness.container import Container, error_number

pytestmark = pytest.mark.needs("runtime:pyrunc")

SHELL = "/bin/busybox" if os.path.exists("/bin/busybox") else "/usr/bin/busybox"
GETPPID = 110 if platform.machine() == "x86_64" else 173


def annotated(container: Make, *args: str, **annotations: str) -> Container:
    c = container(*args)
    c.bundle.config["annotations"] = {
        f"run.oci.{name}": value for name, value in annotations.items()
    }
    return c


def shell_hook(script: str) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}


def test_features_name_what_is_honoured(call: Call) -> None:
    named = call("features").ok().json()["potentiallyUnsafeConfigAnnotations"]
    wanted = ["hooks.stdout", "hooks.stderr", "keep_original_groups", "mount_context_type"]
    wanted += ["delegate-cgroup"]
    wanted += ["pidfd_receiver", "seccomp_bpf_data", "seccomp_fail_unknown_syscall"]
    assert {f"run.oci.{name}" for name in wanted} <= set(named)


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("0", False), ("", False)])
def test_original_groups(container: Make, value: str, kept: bool) -> None:
    c = annotated(container, "/bin/probe", "facts", keep_original_groups=value)
    groups = c.run(extra_groups=[4, 24]).ok().json()["groups"]
    assert sorted(groups) == ([4, 24] if kept else [])


def test_output_of_hooks_is_appended_to_files(container: Make, tmp_path: Path) -> None:
    out, err = tmp_path / "hooks.out", tmp_path / "hooks.err"
    out.write_text("before\n")
    c = annotated(container, "/bin/true", **{"hooks.stdout": str(out), "hooks.stderr": str(err)})
    c.bundle.config["hooks"] = {
        kind: [shell_hook(f"echo {kind}; echo {kind} error >&2")]
        for kind in ("createRuntime", "poststart", "poststop")
    }
    c.run().ok()
    assert out.read_text() == "before\ncreateRuntime\npoststart\npoststop\n"
    assert err.read_text().split("\n")[0] == "createRuntime error"


def test_output_of_hooks_in_the_container(container: Make, tmp_path: Path) -> None:
    """The files are the runtime's, though these hooks run elsewhere; what fails is in there, too."""
    out, err = tmp_path / "hooks.out", tmp_path / "hooks.err"
    c = annotated(container, "/bin/true", **{"hooks.stdout": str(out), "hooks.stderr": str(err)})
    kinds = ("createRuntime", "createContainer", "startContainer")
    hooks = {kind: [shell_hook(f"echo {kind}")] for kind in kinds}
    c.bundle.config["hooks"] = hooks
    hooks["startContainer"].append(shell_hook("echo again"))
    c.run().ok()
    assert out.read_text() == "createRuntime\ncreateContainer\nstartContainer\nagain\n"
    assert err.read_text() == ""
    hooks["startContainer"].append(shell_hook("echo reason >&2; exit 9"))
    c.run().failed("startContainer hook #2", "exit status 9")
    assert err.read_text() == "reason\n"


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_of_hooks_cannot_be_opened(container: Make, kind: str, stream: str) -> None:
    c = annotated(container, "/bin/true", **{f"hooks.{stream}": "/nowhere/at/all"})
    c.bundle.config["hooks"] = {kind: [shell_hook("true")]}
    c.create().failed(f"/hooks/{kind}/0", "is missing")
    c.nothing_left()


def test_process_has_no_file_of_hooks(container: Make, tmp_path: Path) -> None:
    c = annotated(container, "/bin/probe", "facts", **{"hooks.stdout": str(tmp_path / "out")})
    c.bundle.config["hooks"] = {"startContainer": [shell_hook("true")]}
    assert sorted(c.facts()["fds"]) == ["0", "1", "2"]


def test_pidfd_receiver(container: Make, tmp_path: Path) -> None:
    path = tmp_path / "receiver"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        c = annotated(container, pidfd_receiver=str(path)).created()
        connection, _ = listener.accept()
        with connection:
            data, control, _, _ = connection.recvmsg(256, socket.CMSG_SPACE(4))
    fds = array.array("i", control[0][2])
    info = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    os.close(fds[0])
    assert data.rstrip(b"\0").decode() == c.id
    assert f"Pid:\t{c.pid}\n" in info


def test_compiled_filter(container: Make) -> None:
    """Whatever the call is, getppid(2) fails: load the number, compare, answer (linux/seccomp.h)."""
    instructions = [
        (0x20, 0, 0, 0),  # BPF_LD | BPF_W | BPF_ABS: seccomp_data.nr
        (0x15, 0, 1, GETPPID),  # BPF_JMP | BPF_JEQ | BPF_K
        (0x06, 0, 0, 0x00050000 | errno.EXDEV),  # BPF_RET: SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ]
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    c = annotated(container, seccomp_bpf_data=base64.b64encode(program).decode())
    c.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert error_number(c.probe("syscall", str(GETPPID))) == errno.EXDEV


@pytest.mark.parametrize("data", ["%%%", "AAAA"])
def test_compiled_filter_that_is_none(container: Make, data: str) -> None:
    c = annotated(container, seccomp_bpf_data=data)
    c.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    c.create().failed("/annotations/run.oci.seccomp_bpf_data")
    c.nothing_left()


def test_unknown_system_call(container: Make) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getppid", "no_such_call"], "action": "SCMP_ACT_ERRNO"}],
    }
    for value in ("0", "1"):
        c = annotated(container, seccomp_fail_unknown_syscall=value)
        c.bundle.linux["seccomp"] = profile
        result = c.create()
        if value == "0":
            result.ok()
        else:
            result.failed("/linux/seccomp/syscalls/0", "no_such_call")


# A cgroup that the container manages -----------------------------------------------------------------


def delegated(container: Make, name: str = "payload/own", *args: str) -> Container:
    c = annotated(container, *args, **{"delegate-cgroup": name})
    c.bundle.namespace("cgroup")
    c.bundle.resources["unified"] = {"cgroup.max.descendants": "21"} if c.lane.mode == "v2" else {}
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []}
    mounts = c.bundle.config["mounts"]
    mounts[:] = [one for one in mounts if one["destination"] != "/sys/fs/cgroup"] + [mount]
    return c


def only_v2(c: Container) -> None:
    if c.lane.mode != "v2":
        pytest.skip("not cgroup v2 alone")


def unified(c: Container, file: str) -> str:
    """Cgroups of v1 hierarchies are listed too, which the lane does not show."""
    lines = c.exec("/bin/cat", file).ok().out.splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


def test_delegated_cgroup(container: Make) -> None:
    c = delegated(container)
    only_v2(c)
    c.running()
    (top,) = c.all_cgroups()
    assert (top / "cgroup.max.descendants").read_text().strip() == "21"
    below = top / "payload" / "own"
    assert (below / "cgroup.procs").read_text().split() == [str(c.pid)]
    assert (below / "cgroup.max.descendants").read_text().strip() == "max"
    assert not (top / "cgroup.procs").read_text()
    assert unified(c, "/proc/1/cgroup") == "/payload/own"
    assert unified(c, "/proc/self/cgroup") == "/"
    assert c.call("ps", "--format", "json", c.id).ok().json() == [c.pid]
    c.call("pause", c.id).ok()
    assert "frozen 1" in (below / "cgroup.events").read_text()
    c.call("resume", c.id).ok()
    limit = json.dumps({"unified": {"cgroup.max.descendants": "30"}})
    c.call("update", "--resources", "-", c.id, stdin=limit.encode()).ok()
    assert (top / "cgroup.max.descendants").read_text().strip() == "30"
    # Nothing is in the way of controllers for cgroups of the payload: exec is where init is then.
    offered = (top / "cgroup.controllers").read_text().split()[0]
    (top / "cgroup.subtree_control").write_text(f"+{offered}")
    assert unified(c, "/proc/self/cgroup") == "/payload/own"
    read = c.exec("/bin/cat", "/sys/fs/cgroup/cgroup.subtree_control")
    assert read.ok().out.split() == [offered]
    c.delete(force=True).ok()
    c.nothing_left()
    assert not top.exists()


def test_delegated_cgroup_is_its_users(container: Make) -> None:
    c = delegated(container)
    only_v2(c)
    c.bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    c.created()
    (top,) = c.all_cgroups()
    places = (top, top / "payload", top / "payload" / "own")
    assert [(place / "cgroup.procs").stat().st_uid for place in places] == [1000] * 3


def test_delegated_cgroup_goes_with_what_failed(container: Make) -> None:
    c = delegated(container, "payload", "/no/such/program")
    only_v2(c)
    c.create().failed("/no/such/program")
    c.nothing_left()
    assert not c.all_cgroups()


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/", "..", "a/../../b", ".", "a\nb"])
def test_delegated_cgroup_elsewhere(container: Make, name: str) -> None:
    c = delegated(container, name)
    c.create().failed("/annotations/run.oci.delegate-cgroup", "invalid path")
    c.nothing_left()


def test_delegated_cgroup_needs_v2(container: Make) -> None:
    c = delegated(container)
    if c.lane.mode == "v2":
        pytest.skip("cgroup v2 alone")
    c.create().failed("/annotations/run.oci.delegate-cgroup", "needs cgroup v2")
    c.nothing_left()
