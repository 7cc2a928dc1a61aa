"""Create, start, state, kill, delete and run: statuses, exit codes, what is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import kernel
from harness.signatures import Make, Popen


def test_whole_life(container: Make) -> None:
    c = container("/bin/probe", "wait")
    c.create().ok()
    assert c.status == "created"
    assert c.out() == ""
    c.start().ok()
    assert c.status == "running"
    c.wait_for_output("ready\n")
    c.kill("TERM").ok()
    assert c.wait() == 0
    assert c.status == "stopped"
    c.delete().ok()
    c.nothing_left()
    c.call("state", c.id).failed("does not exist")


def test_calls_print_nothing_on_success(container: Make) -> None:
    c = container("/bin/probe", "wait")
    for result in (c.create(), c.start(), c.kill("KILL")):
        assert (result.ok().err) == ""
    c.wait()
    assert c.delete().ok().out == ""


def test_state_of_created_and_stopped(container: Make) -> None:
    c = container().created()
    state = c.state()
    assert state["id"] == c.id
    assert state["pid"] == c.pid
    assert state["bundle"] == str(c.bundle.path)
    assert state["rootfs"] == str(c.bundle.rootfs)
    assert state["status"] == "created"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", state["created"])
    c.kill("KILL").ok()
    assert c.wait() == 128 + signal.SIGKILL
    state = c.state()
    assert (state["status"], state["pid"]) == ("stopped", 0)


def test_process_is_child_of_the_subreaper(container: Make) -> None:
    c = container().created()
    assert kernel.status_fields(c.pid)["PPid"] == str(os.getpid())
    assert kernel.children() == [c.pid], "a helper process is left besides the container"


def test_pid_file_has_no_newline_and_is_relative_to_the_caller(
    container: Make, tmp_path: Path
) -> None:
    c = container("/bin/probe", "wait")
    c.create("--pid-file", "here.pid", cwd=tmp_path).ok()
    text = (tmp_path / "here.pid").read_text()
    assert text.isdigit()
    assert int(text) == c.state()["pid"]
    assert os.listdir(c.bundle.path).count("here.pid") == 0


def test_bundle_is_the_working_directory_by_default(container: Make) -> None:
    c = container("/bin/echo", "hello")
    c.bundle.write()
    assert c.call("run", c.id, cwd=c.bundle.path).ok().out == "hello\n"


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_run_gives_the_exit_code(container: Make, code: int) -> None:
    c = container("/bin/probe", "exit", str(code))
    assert c.run().status == code
    c.nothing_left()


def test_run_gives_128_and_the_signal(container: Make) -> None:
    c = container("/bin/probe", "die", "6")
    c.bundle.without_namespace(
        "pid"
    )  # as PID 1 of its namespace it would be immune to its own signals
    assert c.run().status == 128 + 6
    c.nothing_left()


def test_run_whose_process_is_killed(container: Make, popen: Popen, tmp_path: Path) -> None:
    c = container("/bin/probe", "wait")
    c.bundle.write()
    with open(tmp_path / "out", "wb") as out:
        process = popen(
            ["--root", str(c.root), "run", "--bundle", str(c.bundle.path), c.id], stdout=out
        )
    kernel.wait_until(lambda: "ready" in (tmp_path / "out").read_text(), "ready")
    c.kill("KILL").ok()
    assert process.wait(kernel.PATIENCE) == 128 + signal.SIGKILL
    process.communicate()
    c.nothing_left()


def test_run_of_what_is_deleted_meanwhile(container: Make, popen: Popen, tmp_path: Path) -> None:
    """The exit status is still that of the process, though there is nothing left to remove."""
    c = container("/bin/probe", "wait")
    c.bundle.write()
    with open(tmp_path / "out", "wb") as out:
        process = popen(
            ["--root", str(c.root), "run", "--bundle", str(c.bundle.path), c.id], stdout=out
        )
    kernel.wait_until(lambda: "ready" in (tmp_path / "out").read_text(), "ready")
    c.delete(force=True).ok()
    assert process.wait(kernel.PATIENCE) == 128 + signal.SIGKILL
    assert process.communicate()[1] == b""
    c.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_passes_signals_on(container: Make, popen: Popen, tmp_path: Path, number: int) -> None:
    c = container("/bin/probe", "wait")
    c.bundle.write()
    with open(tmp_path / "out", "wb") as out:
        process = popen(
            ["--root", str(c.root), "run", "--bundle", str(c.bundle.path), c.id], stdout=out
        )
    kernel.wait_until(lambda: "ready" in (tmp_path / "out").read_text(), "ready")
    process.send_signal(signal.SIGUSR1)
    kernel.wait_until(lambda: "signal 10" in (tmp_path / "out").read_text(), "SIGUSR1 to arrive")
    process.send_signal(number)
    assert process.wait(kernel.PATIENCE) == 0
    process.communicate()
    c.nothing_left()


def test_run_passes_stdio_through(container: Make) -> None:
    c = container("/bin/sh", "-c", "cat; echo error >&2")
    result = c.run(stdin=b"input\n")
    assert (result.status, result.out, result.err) == (0, "input\n", "error\n")


def test_run_detached(container: Make) -> None:
    c = container("/bin/probe", "wait")
    c.run_detached().ok()
    assert c.state()["pid"] == c.pid
    assert c.status == "running"
    c.kill("TERM").ok()
    assert c.wait() == 0
    assert c.status == "stopped"
    c.delete().ok()
    c.nothing_left()


def test_run_keeps_the_container_when_asked(container: Make) -> None:
    c = container("/bin/true")
    probe = c.call("run", "--help")
    if "keep" not in probe.out:
        pytest.skip(f"{c.runtime.kind} of this version has no run --keep")
    c.run("--keep").ok()
    assert c.status == "stopped"
    c.delete().ok()


def test_pipes_end_with_the_container(container: Make, popen: Popen) -> None:
    """Engines wait for the end of the output: no copy of the pipe may outlive the container."""
    c = container("/bin/echo", "last words")
    c.bundle.write()
    pid_file = c.bundle.path / "pid"
    arguments = [
        "--root",
        str(c.root),
        "create",
        "--bundle",
        str(c.bundle.path),
        "--pid-file",
        str(pid_file),
        c.id,
    ]
    process = popen(arguments, stdin=subprocess.DEVNULL)
    assert process.wait(kernel.PATIENCE) == 0
    c.start().ok()
    out, err = process.communicate(timeout=kernel.PATIENCE)
    assert (out, err) == (b"last words\n", b"")


def test_start_twice(container: Make) -> None:
    c = container().running()
    c.start().failed("cannot start an already running container")
    c.kill("KILL").ok()
    c.wait()
    c.start().failed("cannot start a container that has stopped")


def test_start_of_nothing(container: Make) -> None:
    c = container()
    c.start().failed("does not exist")


def test_delete_of_running_is_refused(container: Make) -> None:
    c = container().running()
    c.delete().failed("is not stopped: running")
    assert c.status == "running"
    c.delete(force=True).ok()
    c.nothing_left()


def test_delete_of_created(container: Make) -> None:
    c = container().created()
    c.delete().ok()
    c.nothing_left()


def test_delete_twice(container: Make) -> None:
    c = container().created()
    c.delete(force=True).ok()
    c.delete().failed("does not exist")


def test_forced_delete_of_nothing_is_silent(container: Make) -> None:
    c = container()
    result = c.delete(force=True).ok()
    assert (result.out, result.err) == ("", "")


def test_delete_without_pid_namespace_ends_all_processes(container: Make) -> None:
    c = container("/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; exec sleep 1000")
    c.bundle.without_namespace("pid")
    c.create().ok()
    c.start().ok()
    c.wait_for_output("up\n")
    assert len(c.lane.members()) == 3
    c.delete(force=True).ok()
    c.nothing_left()
    assert not c.lane.members()


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "sigusr1", "usr1", str(int(signal.SIGUSR1))])
def test_names_of_signals(container: Make, name: str) -> None:
    c = container().running()
    c.kill(name).ok()
    c.wait_for_output("signal 10\n")


def test_default_signal_is_term(container: Make) -> None:
    c = container().running()
    c.kill().ok()
    assert c.wait() == 0
    assert "signal 15" in c.out()


def test_unknown_signal(container: Make) -> None:
    c = container().running()
    c.kill("NOSUCH").failed("unknown signal")
    c.kill("4096").failed("signal")
    assert c.status == "running"


def test_kill_of_created(container: Make) -> None:
    c = container().created()
    c.kill("KILL").ok()
    assert c.wait() == 128 + signal.SIGKILL
    assert c.status == "stopped"


def test_kill_of_stopped(container: Make) -> None:
    c = container().created()
    c.kill("KILL").ok()
    c.wait()
    c.kill("TERM").failed("container not running")
    c.call("kill", "--all", c.id, "KILL").ok()


def test_kill_of_nothing(container: Make) -> None:
    container().kill("KILL").failed("does not exist")


def test_ids(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.write()
    for name in ("a", "A-b_c.d+e", "x" * 200):
        assert c.call("run", "--bundle", str(c.bundle.path), name).ok().out == ""
    assert not [name for name in os.listdir(c.root) if not name.startswith(".")]


def test_id_twice(container: Make) -> None:
    c = container().created()
    c.call("create", "--bundle", str(c.bundle.path), c.id).failed(
        "container with given ID already exists"
    )
    assert c.status == "created"
    c.start().ok()
    c.wait_for_output("ready\n")


def test_id_can_be_used_again(container: Make) -> None:
    c = container().created()
    c.delete(force=True).ok()
    os.waitpid(c.pid, 0)
    c.create().ok()
    assert c.status == "created"


def test_change_of_config_after_create_has_no_effect(container: Make) -> None:
    c = container("/bin/echo", "first")
    c.create().ok()
    c.bundle.process["args"] = ["/bin/echo", "second"]
    c.bundle.write()
    c.start().ok()
    assert c.wait() == 0
    assert c.out() == "first\n"


def test_state_outlives_the_bundle(container: Make) -> None:
    c = container().created()
    (c.bundle.path / "config.json").unlink()
    assert c.status == "created"
    c.delete(force=True).ok()
    c.nothing_left()


@pytest.mark.runc_fails("start reads the fifo without a lock: the losers wait for ever")
def test_waiting_container_answers_start_once(container: Make, popen: Popen) -> None:
    """Of starts at the same time exactly one wins."""
    c = container().created()
    starts = [popen(["--root", str(c.root), "start", c.id]) for _ in range(6)]
    for start in starts:
        start.communicate(timeout=kernel.PATIENCE)
    assert sorted(start.returncode for start in starts) == [0, 1, 1, 1, 1, 1]
    assert c.status == "running"


def test_annotations_are_in_the_state(container: Make) -> None:
    c = container()
    c.bundle.config["annotations"] = {"org.example.key": 'a "value" <&> ü'}
    c.created()
    assert c.state()["annotations"] == {"org.example.key": 'a "value" <&> ü'}


def test_unknown_properties_are_ignored(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.config["org.example"] = {"x": [1, None]}
    c.bundle.process["unheardOf"] = 1
    assert c.run().ok().out == "fine\n"


def test_null_means_absent(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.config.update(hooks=None, annotations=None)
    c.bundle.process["user"]["additionalGids"] = None
    c.bundle.process["rlimits"] = None
    c.bundle.mounts[0]["options"] = None
    c.bundle.linux.update(sysctl=None, seccomp=None, devices=None, uidMappings=None)
    assert c.run().ok().out == "fine\n"


def test_state_is_for_machines(container: Make) -> None:
    c = container().created()
    result = c.call("state", c.id, stderr=subprocess.STDOUT).ok()
    json.loads(result.out)
