"""What engines need of a runtime, one row after the other: short proofs, fuller ones stand elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, programs
from harness.bundle import DEFAULT_PATH
from harness.container import Container, Facts, signal_mask
from harness.signatures import Call, Make, Popen
from harness.terminal import ConsoleReceiver, window_size

HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"


def reaped(pid: int) -> int:
    """Waits for a process as a subreaper does: exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# The command line ------------------------------------------------------------------------------------


@pytest.mark.runc_fails("1.1.5 is built for an older specification")
def test_b01_version(call: Call) -> None:
    result = call("--version", env={}).ok()
    lines = result.out.splitlines()
    assert re.fullmatch(r"(pyrunc|runc) version \d+\.\d+\.\d+(\S*)", lines[0])
    assert [line for line in lines if line.startswith("commit: ")]
    assert "spec: 1.3.0" in lines
    assert result.err == ""


def test_b02_state_of_nothing(call: Call, tmp_path: Path) -> None:
    result = call("--root", str(tmp_path / "root"), "state", "nope", env={}).failed(
        "does not exist"
    )
    assert (result.status, result.out) == (1, "")


def test_b03_log_as_json(call: Call, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["--root", str(tmp_path / "root"), "--log", str(log), "--log-format", "json"]
    result = call(*words, "state", "nope").failed("does not exist")
    (line,) = log.read_text().splitlines()
    record = json.loads(line)
    assert record["level"] == "error"
    assert re.fullmatch(RFC3339, record["time"])
    assert record["msg"] in result.err


@pytest.mark.parametrize(
    "words", [["state", "ID"], ["ps", "-f", "json", "ID"], ["list", "-f", "json"], ["features"]]
)
def test_b04_output_and_errors_together_are_json(container: Make, words: list[str]) -> None:
    c = container().running()
    arguments = [c.id if word == "ID" else word for word in words]
    result = c.call("--criu", "/no/such", *arguments, stderr=subprocess.STDOUT)
    assert json.loads(result.ok().out)


@pytest.mark.runc_fails("1.1 does not tell whether mounts can have ids mapped")
def test_b16_features(call: Call) -> None:
    features = call("features").ok().json()
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    assert {"ro", "rro"} <= set(features["mountOptions"])
    idmap = features["linux"]["mountExtensions"]["idmap"]["enabled"]
    assert isinstance(idmap, bool)
    assert not idmap or version >= (5, 12)


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_b17_help_of_checkpoint(call: Call, verb: str) -> None:
    assert verb in call(verb, "--help").ok().out


@pytest.mark.parametrize("name", ["--lsm-mount-context", "--lsm-profile"])
def test_b17_option_that_engines_look_for(call: Call, name: str) -> None:
    result = call("restore", name)
    assert result.status != 0
    assert "flag needs an argument" in result.out + result.err


def test_b18_obsolete_options(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.write()
    result = c.call(
        "--rootless=false", "--criu", "x", "run", "-no-subreaper", "--bundle", str(c.bundle.path), c.id
    )  # fmt: skip
    assert result.ok().out == "fine\n"


# Life ------------------------------------------------------------------------------------------------


def test_b05_pid_file_and_parent(container: Make) -> None:
    c = container("/bin/sh", "-c", "exit 7")
    c.create().ok()
    text = (c.bundle.path / "pid").read_text()
    assert text == str(c.pid)
    assert kernel.status_fields(c.pid)["PPid"] == str(os.getpid())
    c.start().ok()
    assert reaped(c.pid) == 7


def test_b06_terminal(container: Make, tmp_path: Path) -> None:
    receiver = ConsoleReceiver(tmp_path / "console")
    try:
        c = container("/bin/probe", "wait", terminal=True, user={"uid": 1000, "gid": 1000})
        c.bundle.process["consoleSize"] = {"height": 31, "width": 97}
        c.create("--console-socket", str(receiver.path)).ok()
        data, fds = receiver.receive()
        (ptmx,) = fds
        try:
            assert data
            assert stat.S_ISCHR(os.fstat(ptmx).st_mode)
            assert window_size(ptmx) == (31, 97)
            assert os.stat(f"/proc/{c.pid}/root/dev/pts/0").st_uid == 1000
        finally:
            os.close(ptmx)
    finally:
        receiver.close()


def test_b06_terminal_and_socket_go_together(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true", terminal=True)
    c.create().failed("cannot allocate tty if runc will detach without setting console socket")
    c.nothing_left()
    c.bundle.process["terminal"] = False
    c.create("--console-socket", str(tmp_path / "none")).failed(
        "cannot use console socket if runc will not detach or allocate tty"
    )
    c.nothing_left()


def test_b07_missing_program(container: Make) -> None:
    c = container("nosuch")
    c.create().failed('exec: "nosuch": executable file not found in $PATH')
    c.nothing_left()


def test_b08_start_twice(container: Make) -> None:
    c = container().running()
    c.start().failed("cannot start an already running container")
    c.kill("KILL").ok()
    c.wait()
    c.start().failed("cannot start a container that has stopped")


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "sigterm", "15"])
def test_b09_names_of_signals(container: Make, name: str) -> None:
    c = container().running()
    c.kill(name).ok()
    assert c.wait() == 0
    assert "signal 15" in c.out()


def test_b09_kill_that_is_refused(container: Make) -> None:
    c = container().running()
    c.kill("NOSUCH").failed("unknown signal")
    c.kill("KILL").ok()
    c.wait()
    c.kill("TERM").failed("container not running")
    c.call("kill", "--all", c.id, "KILL").ok()


def test_b10_delete(container: Make) -> None:
    c = container().running()
    c.delete().failed("is not stopped: running")
    c.kill("KILL").ok()
    c.wait()
    c.delete().ok()
    c.nothing_left()
    c.delete().failed("does not exist")
    result = c.delete(force=True).ok()
    assert (result.out, result.err) == ("", "")


# What runs beside ------------------------------------------------------------------------------------


def process_file(c: Container, *arguments: str) -> str:
    path = c.bundle.path / "process.json"
    path.write_text(
        json.dumps({"args": arguments, "cwd": "/", "env": [DEFAULT_PATH], "user": {"uid": 0, "gid": 0}})
    )  # fmt: skip
    return str(path)


def test_b11_ps(container: Make) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    script = "sh -c 'sleep 1000; true' & sleep 1000; true"
    c.exec("/bin/sh", "-c", script, options=["-d", "--pid-file", str(pid_file)]).ok()
    pid = int(pid_file.read_text())
    below = [path / "below" for path in c.all_cgroups()]

    def listed() -> list[int]:
        out = c.call("ps", "--format", "json", c.id).ok().out
        assert out.count("\n") == 1
        return json.loads(out)  # type: ignore[no-any-return]

    kernel.wait_until(lambda: len(listed()) == 5, "children and grandchildren")
    try:
        for directory in below:
            directory.mkdir()
            if "cpuset" in str(directory):
                continue  # on v1 a new one takes no process before it has processors
            (directory / "cgroup.procs").write_text(str(pid))
        assert {c.pid, pid} < set(listed())
        assert len(listed()) == 5
    finally:
        c.kill("KILL").ok()
        os.waitpid(pid, 0)


def test_b12_detached_exec(container: Make) -> None:
    c = container().running()
    pid_file = c.bundle.path / "exec.pid"
    options = ["-d", "--pid-file", str(pid_file), "--process"]
    script = "until test -e /tmp/go; do sleep 0.01; done; exit 7"
    c.call("exec", *options, process_file(c, "/bin/sh", "-c", script), c.id).ok()
    pid = int(pid_file.read_text())
    assert kernel.status_fields(pid)["PPid"] == str(os.getpid())
    (c.bundle.rootfs / "tmp/go").touch()
    assert reaped(pid) == 7
    pid_file.unlink()
    assert c.call("exec", *options, process_file(c, "nosuch"), c.id).status != 0
    assert not pid_file.exists()


@pytest.mark.parametrize(
    ("command", "status"), [("false", 1), ("exit 42", 42), ("kill -9 $$", 137)]
)
def test_b13_status_of_exec(container: Make, command: str, status: int) -> None:
    assert container().running().exec("/bin/sh", "-c", command).status == status


def test_b13_exec_in_nothing(container: Make) -> None:
    c = container()
    assert c.exec("/bin/true").failed("does not exist").status == 255


@pytest.mark.runc_fails("its state forgets the limits that a later update does not name")
def test_b14_update_keeps_what_it_does_not_name(container: Make) -> None:
    c = container()
    version = c.lane.version_of("memory")
    if not all(c.lane.version_of(name) for name in ("memory", "pids", "cpu")):
        pytest.skip("this lane has no controllers for memory, pids and cpu")
    memory = "memory.limit_in_bytes" if version == 1 else "memory.max"
    c.running()
    change = json.dumps({"memory": {"limit": 33554432}, "pids": {"limit": 10}}).encode()
    c.call("update", "--resources=-", c.id, stdin=change).ok()
    c.call("update", "--cpu-quota", "50000", c.id).ok()
    found = (c.cgroup_value("memory", memory), c.cgroup_value("pids", "pids.max"))
    assert found == ("33554432", "10")
    assert "33554432" in (c.root / c.id / "state.json").read_text()


@pytest.mark.needs("cgroup:freezer")
def test_b15_pause(container: Make) -> None:
    c = container().running()
    c.call("pause", c.id).ok()
    assert c.status == "paused"
    assert c.exec("/bin/true").failed("paused").status == 255
    c.call("resume", c.id).ok()
    assert c.status == "running"
    c.call("pause", c.id).ok()
    c.delete(force=True).ok()
    c.nothing_left()


# What is handed over ---------------------------------------------------------------------------------


class Supervisor:
    """The socket that systemd listens on, and its answer to a barrier: the descriptor is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(kernel.PATIENCE)

    def receive_until(self, text: str) -> str:
        got = ""
        while text not in got:
            data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            for fd in fds:
                os.close(fd)
            got += data.decode() + "\n"
        return got


def test_b19_start_waits_until_the_process_is_ready(
    container: Make, popen: Popen, tmp_path: Path
) -> None:
    supervisor = Supervisor(tmp_path / "notify")
    env = {"NOTIFY_SOCKET": str(supervisor.path)}
    c = container("/bin/probe", "wait")
    try:
        c.create(env=env).ok()
        start = popen(["--root", str(c.root), "start", c.id], env=env)
        c.wait_for_output("ready\n")
        time.sleep(0.3)
        assert start.poll() is None, "start did not wait"
        entries = Path(f"/proc/{c.pid}/environ").read_bytes().decode().split("\0")
        (inside,) = (entry[14:] for entry in entries if entry.startswith("NOTIFY_SOCKET="))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", f"/proc/{c.pid}/root{inside}")
        got = supervisor.receive_until(f"MAINPID={c.pid}")
        assert "READY=1" in got.splitlines()
        supervisor.socket.setblocking(False)

        def ended() -> bool:
            with contextlib.suppress(BlockingIOError):
                supervisor.receive_until("BARRIER=1")
            return start.poll() is not None

        kernel.wait_until(ended, "end of start")
        assert start.returncode == 0
    finally:
        supervisor.socket.close()


@pytest.fixture
def two_files(leaks: object, tmp_path: Path) -> Iterator[list[int]]:  # noqa: ARG001
    opened = []
    for name in ("listened", "preserved"):
        (tmp_path / name).write_text(name)
        opened.append(os.open(tmp_path / name, os.O_RDONLY))
    yield opened
    for fd in opened:
        os.close(fd)


def test_b20_listen_fds(container: Make, two_files: list[int], tmp_path: Path) -> None:
    c = container("/bin/probe", "facts")
    c.bundle.write()

    def place() -> None:
        high = [os.dup2(fd, 100 + fd) for fd in two_files]
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number, inheritable=True)

    script = (
        "import os, sys; os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = ["run", "--preserve-fds", "1", "--bundle", str(c.bundle.path), c.id]
    with open(tmp_path / "out", "wb") as out:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, c.runtime.path, "--root", str(c.root), *words],
            stdout=out, check=True, preexec_fn=place, close_fds=False, env={},
        )  # fmt: skip
    facts = json.loads((tmp_path / "out").read_text())
    assert sorted(facts["fds"]) == ["0", "1", "2", "3", "4"]
    assert facts["fds"]["3"].endswith("listened")
    assert facts["fds"]["4"].endswith("preserved")
    assert {"LISTEN_FDS=1", "LISTEN_PID=1"} <= set(facts["env"])


@pytest.mark.runc_fails("1.1 runs poststart before startContainer, without waiting for the process")
def test_b21_hooks(container: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    c = container("/bin/sh", "-c", "echo process >>/log/order; exec sleep 1000")
    shell = str(programs.busybox())
    for kind in HOOKS:
        inside = kind == "startContainer"
        place, program = ("/log", "/bin/busybox") if inside else (str(log), shell)
        script = (
            f"{program} cat >{place}/{kind}.state; "
            f"{program} readlink /proc/self/ns/mnt >{place}/{kind}.mnt; echo {kind} >>{place}/order"
        )
        entry = {"path": program, "args": ["sh", "-c", script]}
        c.bundle.config.setdefault("hooks", {})[kind] = [entry]
    c.bundle.mounts.append(
        {"destination": "/log", "type": "bind", "source": str(log), "options": ["bind"]}
    )
    c.create().ok()
    own = os.readlink(f"/proc/{c.pid}/ns/mnt")
    c.start().ok()
    kernel.wait_until(lambda: "process" in (log / "order").read_text(), "the process")
    c.delete(force=True).ok()
    order = (log / "order").read_text().split()
    assert [name for name in order if name != "poststart"] == [*HOOKS[:4], "process", "poststop"]
    assert order.index("poststart") in (4, 5), "the process may write after poststart has begun"
    for kind in HOOKS:
        state = json.loads((log / f"{kind}.state").read_text())
        assert (state["id"], state["bundle"]) == (c.id, str(c.bundle.path))
        assert {"ociVersion", "status"} <= set(state)
        expected = own if kind.endswith("Container") else os.readlink("/proc/self/ns/mnt")
        assert (log / f"{kind}.mnt").read_text().strip() == expected, kind


def b22_facts(container: Make, **process: Any) -> Facts:
    c = container(
        cwd="/tmp", oomScoreAdj=77, env=[DEFAULT_PATH, "HOME=/", "A=1", "B=a b\nc"], **process
    )
    c.bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["syslog"], "action": "SCMP_ACT_ERRNO"}],
    }
    if c.lane.version_of("cpuset"):
        c.bundle.resources["cpu"] = {"cpus": "0"}
    # Whatever the caller blocks and ignores is not the container's.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return c.facts()
    finally:
        signal.signal(signal.SIGHUP, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.mark.runc_fails("the process gets the signals that the caller blocks, and never sees them")
@pytest.mark.parametrize("privileges", [True, False])
def test_b22_surroundings_of_the_process(container: Make, privileges: bool) -> None:
    facts = b22_facts(container, noNewPrivileges=privileges)
    status = facts.status
    assert (signal_mask(status["SigIgn"]), signal_mask(status["SigBlk"])) == (set(), set())
    assert status["NoNewPrivs"] == str(int(privileges))
    assert (status["Seccomp"], int(status["CapInh"], 16)) == ("2", 0)
    assert sorted(facts["fds"]) == ["0", "1", "2"]
    assert facts["env"] == [DEFAULT_PATH, "HOME=/", "A=1", "B=a b\nc"]
    assert (facts["cwd"], facts["umask"]) == ("/tmp", 0o022)
    assert facts["sid"] == facts["pid"] == 1
    assert facts["oom_score_adj"].strip() == "77"


@pytest.mark.needs("cgroup:cpuset")
def test_b22_processors(container: Make) -> None:
    assert b22_facts(container).status["Cpus_allowed_list"] == "0"
