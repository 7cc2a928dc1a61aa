"""What is printed, byte for byte, since engines read it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from harness.signatures import Call, Make


def test_version(call: Call) -> None:
    result = call("--version").ok()
    lines = result.out.splitlines()
    assert re.fullmatch(r"(pyrunc|runc) version \d+\.\d+\.\d+\S*", lines[0])
    assert [line for line in lines if re.fullmatch(r"spec: \d+\.\d+\.\d+\S*", line)]
    assert result.err == ""
    assert call("-v").ok().out == result.out


@pytest.mark.needs("runtime:pyrunc")
def test_version_of_the_specification(call: Call) -> None:
    lines = call("--version").ok().out.splitlines()
    assert lines[1].startswith("commit: ")
    assert "spec: 1.3.0" in lines


def test_state_has_two_spaces_and_no_newline(container: Make) -> None:
    c = container().created()
    text = c.call("state", c.id).ok().out
    state = json.loads(text)
    assert text == json.dumps(state, indent=2, ensure_ascii=False)
    assert list(state) == [
        "ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner",
    ]  # fmt: skip
    assert state["owner"] == ""


def test_state_of_stopped(container: Make) -> None:
    c = container().created()
    c.kill("KILL").ok()
    c.wait()
    assert c.state()["pid"] == 0


@pytest.mark.parametrize("character", ["<", ">", "&", "\u2028", "\x01", "\t", "\\", '"'])
def test_state_escapes_as_go_does(container: Make, character: str) -> None:
    c = container()
    c.bundle.config["annotations"] = {"k": f"a{character}b"}
    c.created()
    text = c.call("state", c.id).ok().out
    assert json.loads(text)["annotations"]["k"] == f"a{character}b"
    if character in "<>&\u2028":
        assert f"a\\u{ord(character):04x}b" in text


def test_state_of_nothing(call: Call, tmp_path: object) -> None:
    result = call("--root", f"{tmp_path}/root", "state", "nope").failed("does not exist")
    assert result.out == ""
    assert result.status == 1


@pytest.mark.parametrize("command", [["state", "ID"], ["list", "-f", "json"], ["list", "-q"]])
def test_nothing_but_the_answer(container: Make, command: list[str]) -> None:
    """Engines read standard output and error together."""
    c = container().created()
    arguments = [c.id if word == "ID" else word for word in command]
    result = c.call(*arguments, stderr=subprocess.STDOUT).ok()
    assert c.id in result.out
    if "-q" not in command:
        json.loads(result.out)


def test_errors_go_to_standard_error(call: Call, tmp_path: object) -> None:
    result = call("--root", f"{tmp_path}/root", "delete", "nope").failed("does not exist")
    assert result.out == ""


@pytest.mark.needs("runtime:pyrunc")
def test_form_of_an_error(container: Make) -> None:
    c = container("nosuch")
    line = c.create().failed("executable file not found in $PATH").err
    assert line.startswith("pyrunc: ")
    assert line.endswith("\n")


def test_internal_errors_do_not_look_like_a_missing_command(container: Make) -> None:
    """Engines take any "no such file or directory" for a missing command."""
    c = container("/bin/true")
    c.bundle.linux["resources"]["unified"] = {"nosuch.file": "1"}
    result = c.create()
    if result.status:
        assert "executable file not found" not in result.err
    c.clean_up()
