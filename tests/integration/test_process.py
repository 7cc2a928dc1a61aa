"""What the container process is given: environment, identity, limits, signals, descriptors."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from harness.container import signal_mask
from harness.signatures import Make

# CAP_SYS_RESOURCE: limits above those of the caller, and a lower oom_score_adj.
SYS_RESOURCE = "capability:24"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def capability_set(text: str) -> set[int]:
    bits = int(text, 16)
    return {number for number in range(64) if bits >> number & 1}


def test_environment_is_that_of_the_config(container: Make) -> None:
    c = container(env=[PATH, "A=1", "EMPTY=", "TWO=a=b", "LINES=one\ntwo"])
    facts = c.facts()
    assert sorted(facts["env"]) == sorted(
        [PATH, "A=1", "EMPTY=", "TWO=a=b", "LINES=one\ntwo", "HOME=/root"]
    )


def test_environment_of_the_caller_does_not_leak(container: Make) -> None:
    c = container("/bin/env")
    assert "SECRET" not in c.run(env={"SECRET": "x", "PATH": "/bin"}).ok().out


def test_last_of_a_doubled_variable_wins(container: Make) -> None:
    facts = container(env=[PATH, "A=1", "A=2"]).facts()
    assert [entry for entry in facts["env"] if entry.startswith("A=")] == ["A=2"]


@pytest.mark.parametrize(
    ("uid", "home"),
    [(0, "/root"), (1000, "/home/user"), (4242, "/")],
    ids=["root", "user", "unknown"],
)
def test_home_comes_from_the_container(container: Make, uid: int, home: str) -> None:
    facts = container(user={"uid": uid, "gid": 0}).facts()
    assert f"HOME={home}" in facts["env"]


def test_home_of_the_config_stays(container: Make) -> None:
    facts = container(env=[PATH, "HOME=/elsewhere"]).facts()
    assert [entry for entry in facts["env"] if entry.startswith("HOME=")] == ["HOME=/elsewhere"]


def test_empty_home_is_filled(container: Make) -> None:
    facts = container(env=[PATH, "HOME="]).facts()
    assert [entry for entry in facts["env"] if entry.startswith("HOME=")] == ["HOME=/root"]


def test_passwd_that_leads_outside_is_not_followed(container: Make) -> None:
    c = container(user={"uid": 0, "gid": 0})
    (c.bundle.rootfs / "etc/passwd").unlink()
    (c.bundle.rootfs / "etc/passwd").symlink_to("/../../../../../../../../etc/passwd")
    assert "HOME=/" in c.facts()["env"]


@pytest.mark.parametrize("cwd", ["/", "/tmp", "/made/for/you"])
def test_working_directory(container: Make, cwd: str) -> None:
    c = container(cwd=cwd)
    c.bundle.writable()
    assert c.facts()["cwd"] == cwd
    if cwd.startswith("/made"):
        assert (c.bundle.rootfs / "made/for/you").stat().st_mode & 0o7777 == 0o755


def test_working_directory_is_relative(container: Make) -> None:
    c = container("/bin/true", cwd="tmp")
    c.run().failed("must be an absolute path")
    c.nothing_left()


def test_arguments_are_kept(container: Make) -> None:
    c = container("/bin/probe", "facts", "", "two words", 'quote"', "ü")
    assert c.run().ok().json()["argv"] == ["/bin/probe", "facts", "", "two words", 'quote"', "ü"]


def test_command_is_found_in_the_path_of_the_container(container: Make) -> None:
    c = container("probe", "exit", "7", env=["PATH=/nowhere:/bin"])
    assert c.run(env={"PATH": "/usr/bin"}).status == 7


def test_user_and_groups(container: Make) -> None:
    facts = container(user={"uid": 1000, "gid": 1001, "additionalGids": [5, 27]}).facts()
    assert facts["uid"] == [1000, 1000, 1000]
    assert facts["gid"] == [1001, 1001, 1001]
    assert sorted(facts["groups"]) == [5, 27]


def test_groups_of_the_caller_do_not_leak(container: Make) -> None:
    c = container("/bin/probe", "facts")
    assert c.run(extra_groups=[4, 24]).ok().json()["groups"] in ([], [0])


@pytest.mark.runc_fails("it knows ids up to 2^31 - 1 only")
def test_large_ids(container: Make) -> None:
    facts = container(user={"uid": 4294967294, "gid": 4294967294}).facts()
    assert facts["uid"] == [4294967294] * 3
    assert facts["gid"] == [4294967294] * 3


@pytest.mark.parametrize(("configured", "expected"), [(None, 0o022), (0o077, 0o077), (0, 0)])
def test_umask(container: Make, configured: int | None, expected: int) -> None:
    user = {"uid": 0, "gid": 0} | ({} if configured is None else {"umask": configured})
    assert (
        container("/bin/probe", "facts", user=user).run(umask=0o055).ok().json()["umask"]
        == expected
    )


def test_capability_sets(container: Make) -> None:
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    # With uid 0, execve would raise permitted and effective to the bounding set (capabilities(7)).
    status = container(capabilities=sets, user={"uid": 1, "gid": 1}).facts().status
    assert capability_set(status["CapBnd"]) == {0, 5, 7, 13}
    assert capability_set(status["CapInh"]) == {5}
    assert capability_set(status["CapAmb"]) == {5}
    assert capability_set(status["CapPrm"]) == {5}
    assert capability_set(status["CapEff"]) == {5}


def test_root_keeps_to_the_bounding_set(container: Make) -> None:
    status = container().facts().status
    for name in ("CapBnd", "CapPrm", "CapEff"):
        assert capability_set(status[name]) == {5, 10, 29}, name
    assert capability_set(status["CapInh"]) == set()
    assert capability_set(status["CapAmb"]) == set()


def test_no_capabilities_at_all(container: Make) -> None:
    status = container(capabilities={}).facts().status
    for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert capability_set(status[name]) == set(), name


def test_unknown_capability_is_no_reason_to_fail(container: Make) -> None:
    sets = {kind: ["CAP_KILL", "CAP_TO_FLY"] for kind in ("bounding", "permitted", "effective")}
    c = container("/bin/probe", "facts", capabilities=sets)
    assert c.run().status == 0
    assert '"CapBnd' not in c.err()


def test_capabilities_end_where_the_kernel_ends(container: Make) -> None:
    sets = {
        kind: ["CAP_CHECKPOINT_RESTORE", "CAP_BPF"]
        for kind in ("bounding", "permitted", "effective")
    }
    assert capability_set(container(capabilities=sets).facts().status["CapBnd"]) == {39, 40}


def test_limits(container: Make) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 22},
        {"type": "RLIMIT_FSIZE", "soft": 1 << 40, "hard": 18446744073709551615},
    ]
    got = container(rlimits=limits).facts()["rlimits"]
    assert got["RLIMIT_NOFILE"] == [100, 200]
    assert got["RLIMIT_CORE"] == [0, 0]
    assert got["RLIMIT_STACK"] == [1 << 20, 1 << 22]
    assert got["RLIMIT_FSIZE"] == [1 << 40, -1]


@pytest.mark.needs(SYS_RESOURCE)
@pytest.mark.parametrize("kind", ["RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_NPROC"])
def test_limit_above_that_of_the_caller(container: Make, kind: str) -> None:
    number = getattr(resource, kind)
    c = container("/bin/probe", "facts", rlimits=[{"type": kind, "soft": 70000, "hard": 80000}])
    result = c.run(preexec_fn=lambda: resource.setrlimit(number, (2000, 2000))).ok()
    assert result.json()["rlimits"][kind] == [70000, 80000]


@pytest.mark.needs(SYS_RESOURCE)
def test_limit_of_exec_above_that_of_the_caller(container: Make) -> None:
    c = container(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 70000, "hard": 80000}]).running()
    result = c.exec(
        *("/bin/probe", "facts"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000)),
    )
    assert result.ok().json()["rlimits"]["RLIMIT_NOFILE"] == [70000, 80000]


@pytest.mark.runc_fails("the specification says that a doubled type MUST be an error")
def test_limit_twice(container: Make) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}
    c = container("/bin/true", rlimits=[limit, limit])
    c.run().failed("RLIMIT_NOFILE")
    c.nothing_left()


@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(container: Make, value: bool) -> None:
    assert container(noNewPrivileges=value).facts().status["NoNewPrivs"] == str(int(value))


@pytest.mark.parametrize("value", [0, 500, 1000])
def test_oom_score_adj(container: Make, value: int) -> None:
    assert container(oomScoreAdj=value).facts()["oom_score_adj"].strip() == str(value)


@pytest.mark.needs(SYS_RESOURCE)
@pytest.mark.parametrize("value", [-1000, -500])
def test_oom_score_adj_below_that_of_the_caller(container: Make, value: int) -> None:
    c = container(oomScoreAdj=value).running()
    assert Path(f"/proc/{c.pid}/oom_score_adj").read_text().strip() == str(value)
    assert c.exec_facts()["oom_score_adj"].strip() == str(value)


def test_oom_score_adj_stays_when_unset(container: Make) -> None:
    c = container("/bin/probe", "facts")

    def raise_own() -> None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("321")

    assert c.run(preexec_fn=raise_own).ok().json()["oom_score_adj"].strip() == "321"


@pytest.mark.runc_fails("the mask of blocked signals is handed down")
def test_signals_are_as_after_boot(container: Make) -> None:
    """What the caller ignores or blocks, and what Python ignores, is not handed down."""
    c = container("/bin/probe", "facts")

    def spoil() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})

    result = c.run(preexec_fn=spoil, restore_signals=False).ok().json()
    lines = dict(line.split(":\t", 1) for line in result["status"].splitlines() if ":\t" in line)
    assert signal_mask(lines["SigIgn"]) == set()
    assert signal_mask(lines["SigBlk"]) == set()


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_caller_that_ignores_its_children(container: Make) -> None:
    """The kernel then keeps no status of a child, which the runtime has to give back."""
    c = container("/bin/sh", "-c", "exit 7")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "kill -PIPE $$; exit 0"]}
    c.bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    assert c.run(preexec_fn=ignore_children).status == 7
    c.bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    c.run(preexec_fn=ignore_children).failed("error running createRuntime hook #0")
    # What the runtime ignores for itself is not handed down to a hook.
    c.bundle.config["hooks"] = {"createRuntime": [hook]}
    c.run(preexec_fn=ignore_children).failed("error running createRuntime hook #0")
    c.bundle.config["hooks"] = {}
    c.running()
    assert c.exec("/bin/sh", "-c", "exit 9", preexec_fn=ignore_children).status == 9


def test_created_process_is_as_a_detached_one(container: Make) -> None:
    c = container("/bin/probe", "facts")
    c.create(restore_signals=False).ok()
    c.start().ok()
    assert c.wait() == 0
    facts = json.loads(c.out())
    assert facts["pid"] == 1
    assert facts["sid"] == 1
    assert facts["pgid"] == 1
    assert sorted(facts["fds"]) == ["0", "1", "2"]


def test_only_stdio_is_open(container: Make) -> None:
    c = container("/bin/probe", "facts")
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(5)]
    try:
        facts = c.run(pass_fds=leaked).ok().json()
    finally:
        for fd in leaked:
            os.close(fd)
    assert sorted(facts["fds"]) == ["0", "1", "2"]


@pytest.mark.runc_fails("its sockets and logs become the container's stdio")
def test_closed_stdio_of_the_caller(container: Make) -> None:
    """Descriptors 0 to 2 of the container are never something that the runtime opened for itself."""
    c = container("/bin/probe", "wait")

    def close_all() -> None:
        for fd in (0, 1, 2):
            os.close(fd)

    c.create(preexec_fn=close_all)
    if c.init is None:
        c.nothing_left()
        return
    for fd in (0, 1, 2):
        target = os.readlink(f"/proc/{c.pid}/fd/{fd}")
        assert target in ("/dev/null", "/null") or target.startswith(("pipe:", "socket:")), target


def test_interpreter_that_is_missing(container: Make) -> None:
    """After start the error is told on the container's standard error, with status 1."""
    c = container("/bin/script")
    script = c.bundle.rootfs / "bin/script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    c.create().ok()
    c.start()
    assert c.wait() == 1
    assert "exec /bin/script: no such file or directory" in c.err()


def test_standard_input_that_is_a_null_device(container: Make, tmp_path: Path) -> None:
    """The container gets its own null device, and the caller's keeps its owner."""
    device = tmp_path / "null"
    os.mknod(device, 0o20666, os.makedev(1, 3))
    before = device.stat()
    c = container("/bin/probe", "facts", user={"uid": 1000, "gid": 1000})
    with device.open("rb") as null:
        c.create(stdin=null).ok()
    c.start().ok()
    assert c.wait() == 0
    assert json.loads(c.out())["fds"]["0"] == "/dev/null"
    after = device.stat()
    assert (before.st_uid, before.st_gid, before.st_mode) == (
        after.st_uid,
        after.st_gid,
        after.st_mode,
    )


def test_standard_streams_belong_to_the_user(container: Make) -> None:
    c = container(
        "/bin/sh",
        "-c",
        "stat -L -c %u /proc/self/fd/1; echo x >>/proc/self/fd/1",
        user={"uid": 1000, "gid": 1000},
    )
    c.create().ok()
    c.start().ok()
    assert c.wait() == 0
    assert c.out().split()[0] == "1000"
