"""Options as engines write them: one dash or two, `=` or a word, from anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.signatures import Call, Make


def test_long_options_with_one_dash(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.write()
    assert c.call("run", "-bundle", str(c.bundle.path), "-no-subreaper", c.id).ok().out == "fine\n"


@pytest.mark.parametrize("form", ["--bundle={}", "-bundle={}", "-b={}"])
def test_values_after_an_equals_sign(container: Make, form: str) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.write()
    assert c.call("run", form.format(c.bundle.path), c.id).ok().out == "fine\n"


def test_short_options(container: Make) -> None:
    c = container("/bin/probe", "wait")
    c.bundle.write()
    c.call("run", "-d", "-b", str(c.bundle.path), c.id).ok()
    assert c.status == "running"
    (pid,) = kernel.children()
    c.init = pid


@pytest.mark.parametrize("value", ["true", "false", "auto"])
def test_rootless(container: Make, value: str) -> None:
    c = container().created()
    if value == "true" and c.runtime.kind == "runc":
        pytest.skip("runc then looks for cgroups of its own user")
    assert c.call(f"--rootless={value}", "state", c.id).ok().json()["id"] == c.id


@pytest.mark.needs("runtime:pyrunc")
def test_obsolete_criu_option(container: Make) -> None:
    c = container().created()
    assert c.call("--criu", "/usr/sbin/criu", "state", c.id).ok().json()["id"] == c.id


def test_boolean_values(container: Make) -> None:
    c = container().created()
    c.call("delete", "--force=false", c.id).ok()
    c.call("delete", "--force=true", c.id).ok()


@pytest.mark.parametrize(
    "words",
    [["--nosuch", "list"], ["list", "--nosuch"], ["nosuch"], ["create"], ["state"], ["kill"]],
)
def test_usage_errors(call: Call, tmp_path: Path, words: list[str]) -> None:
    result = call("--root", str(tmp_path), *words)
    if words == ["nosuch"] and result.command[0].endswith("runc") and result.status == 3:
        return
    assert result.status != 0
    assert "Traceback" not in result.err + result.out


def test_option_without_its_value(call: Call) -> None:
    result = call("create", "--bundle")
    assert result.status != 0
    assert (
        "flag needs an argument" in result.err + result.out
        or "requires an argument" in result.err + result.out
    )


@pytest.mark.runc_fails("its words are on standard output")
def test_number_of_arguments(call: Call) -> None:
    result = call("create", "a", "b")
    assert result.status == 1
    assert '"create" requires exactly 1 argument(s)' in result.err


@pytest.mark.parametrize(
    "verb", ["create", "run", "start", "state", "kill", "delete", "list", "spec", "features"]
)
def test_help(call: Call, verb: str) -> None:
    for words in ([verb, "--help"], [verb, "-h"]):
        result = call(*words).ok()
        assert verb in result.out
        assert result.err == ""


def test_help_of_all(call: Call) -> None:
    out = call("--help").ok().out
    for verb in ("create", "start", "state", "kill", "delete", "run", "list", "spec", "features"):
        assert verb in out


def test_options_after_the_id(container: Make) -> None:
    c = container().running()
    c.call("delete", c.id, "--force").ok()
    c.nothing_left()


def test_hidden_all_of_kill(container: Make) -> None:
    c = container().running()
    c.call("kill", "-a", c.id, "KILL").ok()
    assert c.wait() == 137


def test_signal_that_looks_like_an_option_is_a_word(container: Make) -> None:
    c = container().running()
    c.call("kill", c.id, "9").ok()
    assert c.wait() == 137


def test_relative_root_and_bundle(container: Make, tmp_path: Path) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.write()
    result = c.runtime.call(
        "--root",
        "root",
        "run",
        "--bundle",
        c.bundle.path.name,
        c.id,
        directory=tmp_path / "call",
        cwd=tmp_path,
    )
    assert result.ok().out == "fine\n"
    assert c.root.is_dir()


def test_other_config_file(container: Make) -> None:
    c = container("/bin/echo", "fine")
    if c.runtime.kind == "runc":
        pytest.skip("an option of crun")
    c.bundle.write()
    (c.bundle.path / "config.json").rename(c.bundle.path / "other.json")
    assert (
        c.call("run", "--config", "other.json", "--bundle", str(c.bundle.path), c.id).ok().out
        == "fine\n"
    )


def test_root_is_private(container: Make) -> None:
    c = container().created()
    assert c.root.stat().st_mode & 0o077 == 0 or c.runtime.kind == "runc"
    assert (c.root / c.id).stat().st_mode & 0o066 == 0
    assert (c.root / c.id / "state.json").stat().st_mode & 0o077 == 0 or c.runtime.kind == "runc"


def test_working_directory_that_is_gone(container: Make, tmp_path: Path) -> None:
    c = container("/bin/echo", "fine")
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    assert c.run(preexec_fn=leave).ok().out == "fine\n"
