"""Descriptors that are handed down: --preserve-fds and LISTEN_FDS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.container import Container
from harness.signatures import Make


@pytest.fixture
def files(leaks: object, tmp_path: Path) -> Iterator[list[int]]:  # noqa: ARG001
    opened = []
    for number in range(3):
        path = tmp_path / f"file{number}"
        path.write_text(f"content {number}\n")
        opened.append(os.open(path, os.O_RDONLY))
    yield opened
    for fd in opened:
        os.close(fd)


def placed(files: list[int], first: int = 3) -> Any:
    """For the child: `files` become the descriptors from `first` on."""

    def place() -> None:
        high = [os.dup2(fd, 100 + number) for number, fd in enumerate(files)]
        for number, fd in enumerate(high):
            os.dup2(fd, first + number, inheritable=True)
            os.close(fd)

    return {"preexec_fn": place, "close_fds": False}


def test_preserved(container: Make, files: list[int]) -> None:
    c = container("/bin/probe", "facts")
    got = c.run("--preserve-fds", "2", **placed(files)).ok().json()["fds"]
    assert sorted(got) == ["0", "1", "2", "3", "4"]
    assert got["3"].endswith("file0")
    assert got["4"].endswith("file1")


def test_preserved_by_create(container: Make, files: list[int]) -> None:
    c = container("/bin/sh", "-c", "cat <&3; cat <&5")
    c.create("--preserve-fds=3", **placed(files)).ok()
    c.start().ok()
    assert c.wait() == 0
    assert c.out() == "content 0\ncontent 2\n"


def test_none_by_default(container: Make, files: list[int]) -> None:
    c = container("/bin/probe", "facts")
    assert sorted(c.run(**placed(files)).ok().json()["fds"]) == ["0", "1", "2"]


@pytest.mark.runc_fails("it counts descriptors of its own")
def test_preserved_one_that_is_not_open(container: Make) -> None:
    c = container("/bin/true")

    def close_all() -> None:
        os.closerange(3, 200)

    c.create("--preserve-fds", "2", preexec_fn=close_all, close_fds=False).failed("preserved-fd")
    c.nothing_left()


@pytest.mark.parametrize("value", ["-1", "x", "1.5"])
def test_number_that_is_none(container: Make, value: str) -> None:
    c = container("/bin/true")
    result = c.create(f"--preserve-fds={value}")
    if value == "-1" and c.runtime.kind == "runc":
        pytest.skip("runc takes -1 as 0")
    assert result.status != 0
    c.nothing_left()


def with_listen(
    c: Container, files: list[int], count: int, *options: str, own_pid: bool = True
) -> dict[str, Any]:
    """Runs with LISTEN_FDS as systemd sets it: for the process with the pid in LISTEN_PID."""
    c.bundle.process["args"] = ["/bin/probe", "facts"]
    c.bundle.write()
    pid = "os.getpid()" if own_pid else "1"
    code = (
        "import os, sys\n"
        f"os.environ.update(LISTEN_FDS='{count}', LISTEN_PID=str({pid}))\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    directory = c.work / "listen"
    arguments = [
        sys.executable, "-I", "-S", "-c", code, c.runtime.path, "--root", str(c.root),
        "run", "--bundle", str(c.bundle.path), *options, c.id,
    ]  # fmt: skip
    kept = c.runtime.path
    c.runtime.path = arguments[0]
    try:
        result = c.runtime.call(*arguments[1:], directory=directory, **placed(files))
    finally:
        c.runtime.path = kept
    return result.ok().json()  # type: ignore[no-any-return]


def test_listen_fds(container: Make, files: list[int]) -> None:
    facts = with_listen(container(), files, 2)
    assert sorted(facts["fds"]) == ["0", "1", "2", "3", "4"]
    assert {"LISTEN_FDS=2", "LISTEN_PID=1"} <= set(facts["env"])


def test_listen_fds_come_before_preserved_ones(container: Make, files: list[int]) -> None:
    facts = with_listen(container(), files, 1, "--preserve-fds", "2")
    assert sorted(facts["fds"]) == ["0", "1", "2", "3", "4", "5"]
    assert "LISTEN_FDS=1" in facts["env"]


def test_listen_fds_of_another_process(container: Make, files: list[int]) -> None:
    facts = with_listen(container(), files, 2, own_pid=False)
    assert sorted(facts["fds"]) == ["0", "1", "2"]
    assert not [entry for entry in facts["env"] if entry.startswith("LISTEN")]
