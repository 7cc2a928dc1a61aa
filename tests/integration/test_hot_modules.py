"""The hot verbs import nothing but what the executable starts with: csrc/build/hot_modules.txt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from conftest import Make
from harness.runtime import REPOSITORY, Runtime

LIST = REPOSITORY / "csrc/build/hot_modules.txt"
# What CPython imports to start, and what a module brings with it that is no file.
ALWAYS = set(
    "_frozen_importlib _imp _io _thread _warnings _weakref builtins marshal posix sys _pyrunc_shim.lib".split()
)
TOO_SLOW = set(
    "argparse attr contextlib dataclasses encodings enum functools inspect io json jsonschema logging os pathlib re"
    " subprocess typing".split()
)


def listed() -> set[str]:
    return {line for line in LIST.read_text().split("\n") if line and line[0] != "#"}


@pytest.fixture(autouse=True)
def is_pyrunc() -> None:
    if Runtime().kind != "pyrunc":
        pytest.skip(f"{Runtime().path} is {Runtime().kind}: modules are pyrunc's own")


def modules(text: str) -> set[str]:
    found = {line[len("module ") :] for line in text.split("\n") if line.startswith("module ")}
    assert {"sys", "pyrunc.cli"} <= found, "the executable did not name its modules"
    return found


def test_the_list_has_nothing_slow() -> None:
    assert not listed() & TOO_SLOW
    assert sorted(listed()) == [
        line for line in LIST.read_text().split("\n") if line and line[0] != "#"
    ]


def test_hot_verbs_import_no_more_than_is_listed(container: Make, tmp_path: Path) -> None:
    c = container("/bin/probe", "wait")
    c.bundle.write()
    steps = [
        ["create", "--bundle", str(c.bundle.path), c.id],
        ["state", c.id],
        ["start", c.id],
        ["kill", c.id, "KILL"],
        ["delete", "--force", c.id],
        ["run", "--detach", "--bundle", str(c.bundle.path), c.id],
        ["delete", "--force", c.id],
    ]
    for step in steps:
        result = c.runtime.call(
            "--print-modules", "--root", str(c.root), *step, directory=tmp_path / step[0]
        )
        assert result.ok().status == 0
        assert (
            modules(result.err) - ALWAYS <= listed()
        ), f"{step[0]}: cold, or missing in {LIST.name}"


def test_the_executable_starts_with_what_is_listed(tmp_path: Path) -> None:
    command = [Runtime().path, "--print-modules", "--root", str(tmp_path), "state", "nothing"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60)
    assert listed() <= modules(done.stderr)


def test_the_environment_is_that_of_the_call(tmp_path: Path) -> None:
    """And not that of the build, where the executable's interpreter was initialised."""
    # What cannot be looked at is told by its path.
    (tmp_path / "here").write_text("")
    done = subprocess.run(
        [Runtime().path, "list"],
        env={"XDG_RUNTIME_DIR": str(tmp_path / "here")},
        capture_output=True,
        text=True,
        timeout=60,
        user=1 if os.geteuid() == 0 else None,
    )
    assert f"{tmp_path}/here/pyrunc" in done.stdout + done.stderr
