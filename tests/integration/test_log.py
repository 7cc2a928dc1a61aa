"""The log contract: one error record, in a file, as JSON or text, besides the line on standard error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.signatures import Call, Make

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"


def test_json_log_of_an_error(call: Call, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    result = call(
        "--root", str(tmp_path / "root"), "--log", str(log), "--log-format", "json", "state", "nope"
    )
    assert result.status == 1
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    record = json.loads(lines[0])
    assert list(record) == ["level", "msg", "time"]
    assert record["level"] == "error"
    assert "does not exist" in record["msg"]
    assert "does not exist" in result.err
    assert len(result.lines()) == 1
    assert re.fullmatch(TIME, record["time"])


@pytest.mark.needs("runtime:pyrunc")
def test_message_is_that_of_standard_error(call: Call, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    result = call(
        "--root", str(tmp_path / "root"), "--log", str(log), "--log-format", "json", "state", "nope"
    )
    assert json.loads(log.read_text())["msg"] in result.err


def test_json_log_of_create(container: Make, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    c = container("nosuch")
    c.bundle.write()
    result = c.call(
        "--log", str(log), "--log-format", "json", "create", "--bundle", str(c.bundle.path), c.id
    )
    assert result.status != 0
    lines = log.read_text().splitlines()
    last = json.loads(lines[-1])
    assert last["level"] == "error"
    assert "executable file not found in $PATH" in last["msg"]
    assert len(lines) == 1
    c.nothing_left()


def test_nothing_is_logged_on_success(container: Make, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    c = container("/bin/true")
    c.bundle.write()
    c.call(
        "--log", str(log), "--log-format", "json", "run", "--bundle", str(c.bundle.path), c.id
    ).ok()
    assert not log.exists() or log.read_text() == ""


def test_log_is_appended_to(call: Call, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    call("--root", str(tmp_path / "root"), "--log", str(log), "state", "nope")
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert len(lines) == 2
    assert re.match(rf'time="{TIME}" level=error msg="', lines[1])


def test_json_on_standard_error_without_a_file(call: Call, tmp_path: Path) -> None:
    result = call("--root", str(tmp_path / "root"), "--log-format", "json", "state", "nope")
    record = json.loads(result.err)
    assert record["level"] == "error"


def test_message_with_quotes_and_newlines_is_one_record(call: Call, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    name = 'a"b\nc'
    call("--root", str(tmp_path / "root"), "--log", str(log), "--log-format", "json", "state", name)
    assert len(log.read_text().splitlines()) == 1
    json.loads(log.read_text())


def test_unknown_format(call: Call) -> None:
    result = call("--log-format", "xml", "list")
    assert result.status == 1
    assert "xml" in result.err


def test_log_file_that_cannot_be_opened(call: Call, tmp_path: Path) -> None:
    result = call(
        "--log", "/no/such/directory/log", "--root", str(tmp_path / "root"), "state", "nope"
    )
    assert result.status == 1


@pytest.mark.needs("runtime:pyrunc")
def test_debug_follows_the_set_up(container: Make, tmp_path: Path) -> None:
    """By the words that runc's users look for; on standard error, or in the file alone."""
    words = [r"nsexec: container setup: \d+ operations", "child process in init is ready"]
    c = container("/bin/true")
    c.bundle.write()
    told = c.call("--debug", "run", "-b", str(c.bundle.path), c.id).ok().err
    log = tmp_path / "log"
    quiet = c.call("--debug", "--log", str(log), "run", "-b", str(c.bundle.path), c.id).ok()
    assert quiet.err == ""
    for text in (told, log.read_text()):
        assert re.search("level=debug.*" + ".*".join(words), text, re.DOTALL)


@pytest.mark.needs("runtime:pyrunc")
def test_warning_is_for_people_and_not_for_a_file(container: Make, tmp_path: Path) -> None:
    """config.md: what cannot be granted "MUST be logged as a warning"; engines read the file."""
    sets = {kind: ["CAP_KILL"] for kind in ("bounding", "permitted", "inheritable")}
    sets["ambient"] = ["CAP_CHOWN"]
    c = container("/bin/true", capabilities=sets)
    c.bundle.write()
    run = ["run", "-b", str(c.bundle.path), c.id]
    text = "can't raise ambient capability CAP_CHOWN: "
    lines = c.call(*run).ok().err.splitlines()
    assert [line for line in lines if "level=warning" in line and text in line] == lines
    assert len(lines) == 1
    log = tmp_path / "log"
    assert c.call("--log", str(log), *run).ok().err == ""
    assert log.read_text() == ""
    assert (
        text in c.call("--log", str(log), "--log-level", "warning", *run).ok().err + log.read_text()
    )
    assert c.call("--log-level", "error", *run).ok().err == ""
    c.bundle.config["process"]["args"] = ["/no/such/file"]
    c.run().failed("no such file")


def test_debug_does_not_disturb_the_answer(container: Make, tmp_path: Path) -> None:
    c = container().created()
    result = c.call(
        "--debug", "--log", str(tmp_path / "log"), "--log-format", "json", "state", c.id
    ).ok()
    assert result.json()["id"] == c.id
    assert result.err == ""
