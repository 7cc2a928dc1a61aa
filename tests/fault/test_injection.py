"""Errors of system calls, one at a time: create undoes itself, with one line that tells the reason."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from harness import kernel
from harness.container import Container
from harness.runtime import Result, program
from harness.signatures import Make

CALLS = [
    ("mkdir", "ENOSPC", 4),
    ("openat", "EMFILE", 6),
    ("write", "ENOSPC", 6),
    ("rename", "EIO", 2),
    ("mknodat", "EPERM", 2),
    ("memfd_create", "ENOMEM", 2),
    ("socketpair", "EMFILE", 1),
    ("clone3", "EAGAIN", 1),
    ("pidfd_open", "EMFILE", 1),
    ("execveat", "ENOMEM", 1),
    ("mount_setattr", "EPERM", 4),
    ("move_mount", "EPERM", 6),
    ("open_tree", "EPERM", 4),
    ("fsopen", "EPERM", 4),
    ("fsmount", "EPERM", 3),
    ("mount", "EPERM", 4),
    ("pivot_root", "EPERM", 1),
    ("umount2", "EBUSY", 1),
    ("openat2", "EACCES", 6),
    ("sethostname", "EPERM", 1),
    ("setresuid", "EPERM", 1),
    ("setresgid", "EPERM", 1),
    ("setgroups", "EPERM", 1),
    ("capset", "EPERM", 2),
    ("prctl", "EPERM", 4),
    ("chdir", "EACCES", 2),
    ("keyctl", "EPERM", 2),
    ("mprotect", "ENOMEM", 1),
    ("sendto", "ENOBUFS", 2),
    ("sendmsg", "ENOBUFS", 2),
]
CASES = [(call, error, when) for call, error, last in CALLS for when in range(1, last + 1)]


def traced(c: Container, *expressions: str) -> Result:
    """Runs create under strace, which makes the calls of the expressions fail."""
    c.bundle.process["args"] = ["/bin/probe", "wait"]
    c.bundle.write()
    injected = [word for expression in expressions for word in ("-e", f"inject={expression}")]
    output = c.work / "stdout"
    output.parent.mkdir(parents=True, exist_ok=True)
    strace = program("strace")
    assert strace
    errors = c.work / "stderr"
    with output.open("wb") as out, errors.open("wb") as err:
        # With -D the tracer goes to the background, where it stays for as long as the container's init.
        status = subprocess.run(
            [
                strace, "-D", "-f", "-qq", "-o", str(c.work / "trace"), *injected, c.runtime.path,
                "--root", str(c.root), "create", "--bundle", str(c.bundle.path), c.id,
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=30, env={}, check=False,
        ).returncode  # fmt: skip
    return Result((), status, output.read_text(), errors.read_text())


@pytest.mark.needs("program:strace", "runtime:pyrunc")
@pytest.mark.parametrize(("call", "error", "when"), CASES, ids=str)
def test_call_that_fails(container: Make, call: str, error: str, when: int) -> None:
    c = container()
    result = traced(c, f"{call}:error={error}:when={when}")
    assert "Traceback" not in result.err
    assert "internal error" not in result.err
    if result.status == 0:
        c.delete(force=True).ok()
    else:
        assert len(result.err.splitlines()) == 1, result.err
    if (c.root / c.id).exists():
        # The undoing itself can be what was hit; then force removes the rest.
        c.delete(force=True).ok()
    c.nothing_left()
    kernel.wait_until(lambda: not c.lane.members(), "end of processes")


@pytest.mark.runc_fails("the Go runtime dies in words of its own")
@pytest.mark.parametrize("number", [3, 4, 6, 8, 10, 12, 16, 24])
def test_few_descriptors(container: Make, number: int) -> None:
    c = container("/bin/probe", "wait", rlimits=None)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))

    result = c.create(preexec_fn=limit)
    assert "Traceback" not in result.err
    c.clean_up()
    c.nothing_left()


@pytest.mark.parametrize("megabytes", [8, 16, 24, 32, 48, 64])
def test_little_memory(container: Make, megabytes: int) -> None:
    c = container("/bin/probe", "wait")
    if c.runtime.kind == "runc":
        pytest.skip("Go reserves more address space than that")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    result = c.create(preexec_fn=limit)
    assert "Traceback" not in result.err
    c.clean_up()
    c.nothing_left()


@pytest.mark.parametrize("size", [0, 100, 1000, 4096])
def test_small_files_only(container: Make, size: int) -> None:
    """RLIMIT_FSIZE: the state cannot be written whole."""
    c = container("/bin/probe", "wait")
    output = Path(c.work)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    result = c.create(preexec_fn=limit)
    assert "Traceback" not in result.err
    assert output.exists()
    c.clean_up()
    c.nothing_left()
