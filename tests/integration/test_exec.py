"""exec: one more process, as the config and the options say."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.bundle import DEFAULT_PATH
from harness.container import Container, Facts
from harness.signatures import Make, Popen

ENV = [DEFAULT_PATH, "TERM=xterm"]


def process(c: Container, **changes: Any) -> str:
    """A process object in a file, as engines write it."""
    path = c.bundle.path / "process.json"
    made = {"args": ["/bin/probe", "facts"], "cwd": "/", "env": ENV, "user": {"uid": 0, "gid": 0}}
    path.write_text(json.dumps({**made, **changes}))
    return str(path)


def end(pid: int) -> None:
    """Ends a detached process and reaps it, as an engine does: its container cannot end before."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# Exit statuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["/bin/true"], 0),
        (["/bin/false"], 1),
        (["/bin/sh", "-c", "exit 42"], 42),
        (["/bin/sh", "-c", "kill -9 $$"], 137),
        (["/bin/sh", "-c", "kill -TERM $$"], 143),
    ],
)
def test_b13_status_of_the_command(container: Make, command: list[str], status: int) -> None:
    assert container().running().exec(*command).status == status


def test_b13_missing_container(call: Any) -> None:
    result = call("exec", "nope", "true")
    assert result.status == 255
    result.failed("container does not exist")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
        ("/bad", "exec /bad: "),
        ("/script", "exec /script: no such file or directory"),
    ],
)
@pytest.mark.runc_fails(
    "older ones leave the directory and the script to the container's standard error"
)
def test_commands_that_cannot_be_executed(container: Make, command: str, text: str) -> None:
    c = container()
    (c.bundle.rootfs / "bad").write_bytes(b"\x7fELF nothing")
    (c.bundle.rootfs / "script").write_text("#!/no/interpreter\n")
    for name in ("bad", "script"):
        (c.bundle.rootfs / name).chmod(0o755)
    c.running()
    result = c.exec(command)
    assert result.status == 255
    result.failed(text)
    pid_file = c.bundle.path / "exec.pid"
    assert c.exec(command, options=["-d", "--pid-file", str(pid_file)]).status == 255
    assert not pid_file.exists()


def test_no_command(container: Make) -> None:
    c = container().running()
    result = c.exec()
    assert result.status != 0
    result.failed("process args cannot be empty")


# States ----------------------------------------------------------------------------------------------


def test_stopped_container(container: Make) -> None:
    c = container("/bin/true")
    c.create().ok()
    c.start().ok()
    c.wait()
    result = c.exec("/bin/true")
    assert result.status == 255
    result.failed("cannot exec in a stopped container")


def test_created_container(container: Make) -> None:
    c = container().created()
    assert c.exec("/bin/echo", "in").ok().out == "in\n"
    assert c.status == "created"


@pytest.mark.needs("cgroup:freezer")
def test_b15_paused_container(container: Make) -> None:
    c = container().running()
    c.call("pause", c.id).ok()
    result = c.exec("/bin/true")
    assert result.status == 255
    result.failed("cannot exec in a paused container (use --ignore-paused to override)")
    c.call("resume", c.id).ok()
    c.exec("/bin/true").ok()


@pytest.mark.needs("cgroup:freezer")
def test_ignore_paused_waits_for_resume(container: Make, popen: Popen) -> None:
    c = container().running()
    c.call("pause", c.id).ok()
    running = popen(["--root", str(c.root), "exec", "--ignore-paused", c.id, "/bin/echo", "late"])
    time.sleep(0.3)
    assert running.poll() is None
    c.call("resume", c.id).ok()
    assert running.communicate(timeout=kernel.PATIENCE)[0] == b"late\n"
    assert running.returncode == 0


# What the process is ---------------------------------------------------------------------------------


def test_namespaces_and_cgroups_are_those_of_init(container: Make) -> None:
    c = container().running()
    facts = c.exec_facts()
    for name, target in facts["namespaces"].items():
        assert target == os.readlink(f"/proc/{c.pid}/ns/{name}"), name
    assert facts["cgroup"] == Path(f"/proc/{c.pid}/cgroup").read_text()
    assert facts["pid"] > 1
    assert facts["ppid"] == 0
    assert facts["sid"] == facts["pgid"] == facts["pid"]


@pytest.mark.needs("userns")
def test_user_namespace(container: Make) -> None:
    c = container()
    c.bundle.namespace("user")
    c.bundle.without_mount("/sys")
    c.bundle.without_mount("/sys/fs/cgroup")
    c.bundle.without_mount("/dev/mqueue")
    for kind in ("uidMappings", "gidMappings"):
        c.bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    for path in (c.bundle.path, *c.bundle.path.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(path.stat().st_mode | 0o055)
    os.chown(c.bundle.rootfs, 100000, 100000)
    c.running()
    facts = c.exec_facts("-u", "1000:1001")
    assert facts["uid"] == [1000] * 3
    assert facts["gid"] == [1001] * 3
    assert facts["namespaces"]["user"] == os.readlink(f"/proc/{c.pid}/ns/user")
    assert c.exec("/bin/cat", "/proc/self/uid_map").ok().out.split() == ["0", "100000", "65536"]


def test_host_pid_namespace(container: Make) -> None:
    c = container()
    c.bundle.without_namespace("pid")
    c.running()
    facts = c.exec_facts()
    assert facts["namespaces"]["pid"] == os.readlink("/proc/self/ns/pid")
    assert facts["cgroup"] == Path(f"/proc/{c.pid}/cgroup").read_text()


@pytest.mark.runc_fails("it does not enter the rootfs of a container without a mount namespace")
def test_without_mount_namespace(container: Make) -> None:
    c = container("/bin/busybox", "sleep", "1000")
    c.bundle.config["mounts"] = []
    c.bundle.config["root"]["readonly"] = False
    c.bundle.linux["maskedPaths"] = []
    c.bundle.linux["readonlyPaths"] = []
    c.bundle.without_namespace("mount")
    c.create().ok()
    c.start().ok()
    assert c.exec("/bin/ls", "/").ok().out == "".join(
        f"{n}\n" for n in sorted(os.listdir(c.bundle.rootfs))
    )


def test_identity_is_the_config_s(container: Make) -> None:
    c = container(user={"uid": 1000, "gid": 1001, "additionalGids": [7, 9], "umask": 0o027})
    c.bundle.process["cwd"] = "/tmp"
    c.running()
    facts = c.exec_facts()
    assert facts["uid"] == [1000] * 3
    assert facts["gid"] == [1001] * 3
    assert set(facts["groups"]) - {1001} == {7, 9}
    assert facts["umask"] == 0o027
    assert facts["cwd"] == "/tmp"
    assert "HOME=/home/user" in facts["env"]
    assert facts["rlimits"]["RLIMIT_NOFILE"] == [1024, 1024]
    assert facts.status["NoNewPrivs"] == "1"
    assert facts.status["CapInh"] == facts.status["CapAmb"] == "0" * 16
    assert facts.status["SigIgn"] == facts.status["SigBlk"] == "0" * 16


@pytest.mark.parametrize("mask", [0o022, 0o077, 0])
def test_umask_is_the_caller_s_without_one(container: Make, mask: int) -> None:
    c = container().running()
    facts = c.exec_facts(preexec_fn=lambda: os.umask(mask))
    assert facts["umask"] == mask


def test_config_is_the_copy(container: Make) -> None:
    c = container().running()
    c.bundle.process["env"] = ["CHANGED=1"]
    c.bundle.write()
    if c.runtime.kind != "runc":
        assert "CHANGED=1" not in c.exec_facts()["env"]
    (c.bundle.path / "config.json").unlink()
    if c.runtime.kind != "runc":
        c.exec("/bin/true").ok()


@pytest.mark.parametrize(
    ("text", "uid", "gid"),
    [
        ("1", 1, 8),
        ("1:2", 1, 2),
        ("0", 0, 8),
        ("0:0", 0, 0),
        ("4294967294:4294967294", 4294967294, 4294967294),
    ],
)
def test_user(container: Make, text: str, uid: int, gid: int) -> None:
    """Without a group it is the config's."""
    facts = container(user={"uid": 5, "gid": 8}).running().exec_facts("--user", text)
    assert facts["uid"] == [uid] * 3
    assert facts["gid"] == [gid] * 3


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1:",
        ":1",
        ":",
        "1x",
        "x1",
        "root",
        "0x1",
        "1:root",
        "4294967295",
        "4294967296",
        "1:-1",
        "1:2:3",
        " 1",
        "+1",
        "1_0",
    ],
)
def test_users_that_are_none(container: Make, text: str) -> None:
    result = container().running().exec("/bin/true", options=[f"--user={text}"])
    assert result.status == 255
    result.failed("must be a number from 0 to 4294967294")


def test_name_that_looks_like_a_number(container: Make) -> None:
    """CVE-2016-3697: a uid is a number first."""
    c = container()
    (c.bundle.rootfs / "etc/passwd").write_text("1000:x:0:0::/:/bin/sh\n")
    assert c.running().exec_facts("-u", "1000")["uid"] == [1000] * 3


def test_additional_groups(container: Make) -> None:
    c = container(user={"uid": 0, "gid": 0, "additionalGids": [3]}).running()
    assert set(c.exec_facts("-g", "10", "--additional-gids=11")["groups"]) - {0} == {3, 10, 11}
    assert c.exec("/bin/true", options=["-g", "x"]).status != 0


def test_environment(container: Make) -> None:
    c = container(env=[DEFAULT_PATH, "A=config", "B=config"]).running()
    env = c.exec_facts("-e", "A=1,2", "--env", "C=a=b", "--env=D=")["env"]
    assert sorted(env) == sorted([DEFAULT_PATH, "A=1,2", "B=config", "C=a=b", "D=", "HOME=/root"])


@pytest.mark.parametrize("entry", ["NOVALUE", "=x"])
@pytest.mark.runc_fails("it passes them on")
def test_environment_that_is_none(container: Make, entry: str) -> None:
    container().running().exec("/bin/true", options=["--env", entry]).failed(
        "invalid environment variable"
    )


def test_working_directory(container: Make) -> None:
    c = container().running()
    assert c.exec_facts("--cwd", "/bin")["cwd"] == "/bin"
    assert c.exec("./busybox", "true", options=["--cwd=/bin"]).status == 0
    assert c.exec("/bin/true", options=["--cwd", "/missing"]).status == 255


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize("path", ["relative", "./x"])
def test_working_directory_that_is_relative(container: Make, path: str) -> None:
    container().running().exec("/bin/true", options=["--cwd", path]).failed(
        "cwd must be an absolute path"
    )


def test_working_directory_that_only_the_user_may_enter(container: Make) -> None:
    c = container(user={"uid": 1000, "gid": 1000})
    (c.bundle.rootfs / "private").mkdir(mode=0o700)
    os.chown(c.bundle.rootfs / "private", 1000, 1000)
    assert c.running().exec_facts("--cwd", "/private")["cwd"] == "/private"


# Privileges ------------------------------------------------------------------------------------------

CHOWN, SYS_ADMIN = 1 << 0, 1 << 21


def capabilities(facts: Any) -> dict[str, int]:
    return {
        kind: int(facts.status[kind], 16)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    }


def test_capability_is_never_inheritable(container: Make) -> None:
    """CVE-2022-29162, CVE-2022-27650."""
    got = capabilities(
        container().running().exec_facts("--cap", "CAP_CHOWN", "-c", "CAP_SYS_ADMIN")
    )
    assert got["CapInh"] == got["CapAmb"] == 0
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert got[kind] & (CHOWN | SYS_ADMIN) == CHOWN | SYS_ADMIN


def test_capability_is_not_kept_by_a_user(container: Make) -> None:
    got = capabilities(container().running().exec_facts("--cap", "CAP_CHOWN", "-u", "1000"))
    assert got["CapEff"] == got["CapPrm"] == got["CapInh"] == got["CapAmb"] == 0


def test_ambient_follows_from_inheritable(container: Make) -> None:
    c = container()
    c.bundle.process["capabilities"]["inheritable"] = ["CAP_KILL"]
    got = capabilities(
        c.running().exec_facts("--cap", "CAP_KILL", "--cap", "CAP_CHOWN", "-u", "1000")
    )
    assert got["CapAmb"] == got["CapInh"] == 1 << 5


@pytest.mark.needs("runtime:pyrunc")
def test_capability_in_any_spelling(container: Make) -> None:
    c = container().running()
    assert capabilities(c.exec_facts("--cap", "chown"))["CapEff"] & CHOWN
    c.exec("/bin/true", options=["--cap", "CAP_NOSUCH"]).failed('unknown capability "CAP_NOSUCH"')


def test_no_new_privileges(container: Make) -> None:
    c = container(noNewPrivileges=False).running()
    assert c.exec_facts().status["NoNewPrivs"] == "0"
    assert c.exec_facts("--no-new-privs").status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_seccomp(container: Make, no_new_privs: bool) -> None:
    c = container(noNewPrivileges=no_new_privs)
    c.bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    c.running()
    assert c.exec_facts().status["Seccomp"] == "2"
    assert "not supported" in c.exec("/bin/mkdir", "/tmp/x").err.lower()


@pytest.mark.parametrize(
    ("option", "text"),
    [("--apparmor", "apparmor not supported"), ("--process-label", "selinux is disabled")],
)
@pytest.mark.needs("runtime:pyrunc")
def test_labels_without_a_module(container: Make, option: str, text: str) -> None:
    if os.path.exists("/sys/kernel/security/apparmor") or os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("a security module is active")
    container().running().exec("/bin/true", options=[option, "x"]).failed(text)


def test_oom_score(container: Make) -> None:
    c = container(oomScoreAdj=321).running()
    assert c.exec_facts()["oom_score_adj"].strip() == "321"


def test_session_keyring_is_the_container_s(container: Make) -> None:
    c = container("/bin/sh", "-c", "/bin/probe keyring; exec /bin/probe wait")
    c.create().ok()
    c.start().ok()
    c.wait_for_output("ready\n")
    if "errno" in c.out():
        pytest.skip(f"no keyrings here: {c.out()}")
    assert c.exec("/bin/probe", "keyring").ok().out.split()[0] == c.out().split()[0]


def processors(facts: Any) -> str:
    return str(facts.status["Cpus_allowed_list"])


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.skipif(not {0, 1} <= kernel.processors(), reason="needs processors 0 and 1")
def test_processors_of_exec(container: Make) -> None:
    """config.md, "execCPUAffinity": initial holds until the cgroup is joined, final from there on."""
    c = container(execCPUAffinity={"initial": "1", "final": "0"}).running()
    assert processors(c.exec_facts()) == "0"
    result = c.call("exec", "-p", process(c, execCPUAffinity={"initial": "1"}), c.id).ok()
    assert processors(Facts(result.json())) == "1"
    assert kernel.status_fields(c.pid)["Cpus_allowed_list"] not in ("0", "1")


@pytest.mark.needs("runtime:pyrunc")
def test_processors_that_are_not_there(container: Make) -> None:
    c = container(execCPUAffinity={"final": "4000"}).running()
    assert c.exec("/bin/true").status == 255


# The process file ------------------------------------------------------------------------------------


def test_process_file(container: Make) -> None:
    c = container(user={"uid": 1, "gid": 1}, env=["X=config"]).running()
    made = process(
        c,
        cwd="/tmp",
        env=["A=1"],
        user={"uid": 1000, "gid": 1001, "additionalGids": [5]},
        capabilities={"bounding": ["CAP_CHOWN"]},
        rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}],
        noNewPrivileges=True,
    )
    facts = json.loads(c.call("exec", "--process", made, c.id).ok().out)
    assert (facts["cwd"], facts["uid"], facts["gid"]) == ("/tmp", [1000] * 3, [1001] * 3)
    assert facts["env"] == ["A=1", "HOME=/home/user"]
    assert facts["rlimits"]["RLIMIT_CORE"] == [1, 2]
    assert kernel.parse_status(facts["status"])["CapBnd"] == f"{CHOWN:016x}"


def test_process_file_leaves_out_what_is_the_container_s(container: Make) -> None:
    c = container().running()
    facts = json.loads(c.call("exec", "-p", process(c), c.id).ok().out)
    assert facts["rlimits"]["RLIMIT_NOFILE"] == [1024, 1024]
    assert kernel.parse_status(facts["status"])["CapBnd"] == kernel.status_fields(c.pid)["CapBnd"]


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    ("changes", "place", "text"),
    [
        ({"args": []}, "/args", "args must not be empty"),
        ({"cwd": "x"}, "/cwd", "cwd must be an absolute path"),
        ({"env": ["X"]}, "/env/0", "invalid environment variable"),
        ({"user": {"uid": "x", "gid": 0}}, "/user/uid", ""),
        ({"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, "/rlimits/0/type", ""),
        ({"oomScoreAdj": 5000}, "/oomScoreAdj", "must be between"),
    ],
)
def test_process_files_that_are_wrong(
    container: Make, changes: dict[str, Any], place: str, text: str
) -> None:
    c = container().running()
    result = c.call("exec", "-p", process(c, **changes), c.id)
    assert result.status == 255
    result.failed(place, text)


@pytest.mark.needs("runtime:pyrunc")
def test_process_file_that_is_no_json(container: Make) -> None:
    c = container().running()
    broken = c.bundle.path / "broken.json"
    broken.write_text("{")
    assert c.call("exec", "-p", str(broken), c.id).status == 255
    assert c.call("exec", "-p", str(c.bundle.path / "absent.json"), c.id).status == 255


# Detached --------------------------------------------------------------------------------------------


def test_b12_detached(container: Make) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    c.call(
        "exec",
        "-d",
        "--pid-file",
        str(pid_file),
        "--process",
        process(c, args=["/bin/sh", "-c", "until test -e /tmp/go; do sleep 0.01; done; exit 7"]),
        c.id,
    ).ok()
    text = pid_file.read_text()
    assert text.isdigit()
    pid = int(text)
    assert kernel.status_fields(pid)["PPid"] == str(os.getpid())
    (c.bundle.rootfs / "tmp/go").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_b12_detached_failure(container: Make) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    result = c.exec("nosuch", options=["-d", "--pid-file", str(pid_file)])
    assert result.status == 255
    assert not pid_file.exists()


def test_pid_file_in_the_foreground(container: Make) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    c.exec("/bin/true", options=["--pid-file", str(pid_file)]).ok()
    assert pid_file.read_text().isdigit()


def test_pid_file_that_cannot_be_written(container: Make) -> None:
    c = container().running()
    before = len(c.call("ps", "--format", "json", c.id).ok().json())
    result = c.exec("/bin/sleep", "1000", options=["-d", "--pid-file", "/nosuch/directory/pid"])
    assert result.status == 255
    assert len(c.call("ps", "--format", "json", c.id).ok().json()) == before


def test_nothing_of_the_runtime_stays(container: Make) -> None:
    """The caller's children are init and the process alone: no zombie of a helper."""
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    before = set(kernel.children())
    c.exec("/bin/sleep", "1000", options=["-d", "--pid-file", str(pid_file)]).ok()
    pid = int(pid_file.read_text())
    assert set(kernel.children()) - before == {pid}
    end(pid)


def test_streams_are_the_caller_s(container: Make) -> None:
    c = container().running()
    result = c.exec("/bin/sh", "-c", "cat; echo err >&2", stdin=b"input")
    assert (result.status, result.out, result.err) == (0, "input", "err\n")


def test_detached_streams_have_no_other_owner(container: Make, popen: Popen) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    options = ["-d", "--pid-file", str(pid_file)]
    running = popen(
        ["--root", str(c.root), "exec", *options, c.id, "/bin/sh", "-c", "sleep 0.3; echo out"]
    )
    assert running.communicate(timeout=kernel.PATIENCE)[0] == b"out\n"
    end(int(pid_file.read_text()))


# Signals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(container: Make, popen: Popen, number: signal.Signals) -> None:
    c = container().running()
    running = popen(["--root", str(c.root), "exec", c.id, "/bin/probe", "wait"])
    assert running.stdout
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(number)
    assert running.stdout.readline() == f"signal {int(number)}\n".encode()
    if number not in (signal.SIGTERM, signal.SIGINT):
        running.send_signal(signal.SIGTERM)
    assert running.wait(kernel.PATIENCE) == 0
    assert c.status == "running"


def test_end_of_the_container_ends_it(container: Make, popen: Popen) -> None:
    c = container().running()
    running = popen(["--root", str(c.root), "exec", c.id, "/bin/probe", "wait"])
    assert running.stdout
    running.stdout.readline()
    c.delete(force=True).ok()
    assert running.wait(kernel.PATIENCE) == 137


# Many ------------------------------------------------------------------------------------------------


def test_fifty_at_once(container: Make, popen: Popen) -> None:
    c = container().running()
    started = [
        popen(["--root", str(c.root), "exec", c.id, "/bin/sh", "-c", f"exit {n}"])
        for n in range(50)
    ]
    assert [one.wait(kernel.PATIENCE) for one in started] == list(range(50))
    assert c.call("ps", "-f", "json", c.id).ok().json() == [c.pid]
