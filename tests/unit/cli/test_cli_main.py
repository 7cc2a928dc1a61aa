"""What the whole command prints and ends with, where no container is needed for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import cli, help, log, output, verbs  # noqa: A004
from pyrunc.errors import Failure

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def run(capfd, *words: str) -> tuple[int, str, str]:
    status = cli.main(["/usr/bin/pyrunc", *words])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.fixture(autouse=True)
def _default_log():
    yield
    log.configure("", "text", "error")


def fail_with(monkeypatch, error: BaseException) -> None:
    """Let the next command raise `error`."""

    def call(*_args):
        raise error

    monkeypatch.setattr(cli, "_call", call)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("nope",), 3, "No help topic for 'nope'"),
        (("help", "nope"), 3, "No help topic for 'nope'"),
        (("--nope",), 1, "flag provided but not defined: -nope"),
        (("--root",), 1, "flag needs an argument: --root"),
        (("create",), 1, '"create" requires exactly 1 argument(s)'),
        (("create", "a", "b"), 1, '"create" requires exactly 1 argument(s)'),
        (("kill",), 1, '"kill" requires a minimum of 1 argument(s)'),
        (("kill", "a", "b", "c"), 1, '"kill" requires a maximum of 2 argument(s)'),
        (("features", "x"), 1, '"features" requires exactly 0 argument(s)'),
        (("create", "../x"), 1, 'create: invalid container ID format: "../x"'),
        (("state", ""), 1, "state: container id cannot be empty"),
        (("--log-format", "x", "list"), 1, "invalid log-format: x"),
        (("--log-level", "x", "list"), 1, "invalid log-level: x"),
        (("--log", "journald:x", "list"), 1, "log to journald: not supported, use a file"),
        (
            ("--log", "/nonexistent/x", "list"),
            1,
            'open log file "/nonexistent/x": is missing (ENOENT)',
        ),
        (("list", "-f", "x"), 1, "list: invalid format option"),
        (
            ("--root", "/nonexistent/x", "list"),
            1,
            'list: open root directory "/nonexistent/x": is missing (ENOENT)',
        ),
    ],
)
def test_errors(capfd, words, status, message):
    ended, _out, err = run(capfd, *words)
    assert (ended, err) == (status, f"pyrunc: {message}\n")


@pytest.mark.parametrize(
    ("words", "heading"),
    [
        (
            ("--nope",),
            "Incorrect Usage. flag provided but not defined: -nope\n\nNAME:\n   pyrunc -",
        ),
        (("state",), "Incorrect Usage.\n\nNAME:\n   pyrunc state -"),
        (
            ("state", "--nope", "x"),
            "Incorrect Usage: flag provided but not defined: -nope\n\nNAME:\n   pyrunc state -",
        ),
    ],
)
def test_usage_errors_show_help(capfd, words, heading):
    assert run(capfd, *words)[1].startswith(heading)


@pytest.mark.parametrize(
    "words", [(), ("-h",), ("--help",), ("help",), ("h",), ("help", "help"), ("-help=true",)]
)
def test_help_of_the_whole(capfd, words):
    status, out, err = run(capfd, *words)
    assert (status, err) == (0, "")
    assert out == help.render("")
    for verb in verbs.NAMES:
        assert f"\n   {verb} " in out
    for option in verbs.global_options():
        assert (f"   --{option.names[0]}" in out) is not option.hidden


@pytest.mark.parametrize("verb", verbs.NAMES)
@pytest.mark.parametrize("form", [("help", "{}"), ("{}", "--help"), ("{}", "-h"), ("{}", "-help")])
def test_help_of_a_verb(capfd, verb, form):
    status, out, err = run(capfd, *[word.format(verb) for word in form])
    assert (status, err) == (0, "")
    assert out.startswith(f"NAME:\n   pyrunc {verb} - ")
    assert f"\nEXAMPLES:\n   # pyrunc {verb}" in out.replace("   $ ", "   # ") or (
        f" pyrunc {verb} " in out.partition("\nEXAMPLES:\n")[2]
    )
    found = verbs.find(verb)
    assert found is not None
    for option in found.options:
        for name in option.names:
            dashed = ("--" if len(name) > 1 else "-") + name
            assert bool(re.search(rf"[ ,]{dashed}\b", out)) is not option.hidden


@pytest.mark.parametrize("option", ["--version", "-v", "-V"])
def test_version(capfd, option):
    status, out, err = run(capfd, option)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(r"pyrunc version \d+\.\d+\.\d+", lines[0])
    assert "spec: 1.3.0" in lines
    assert re.fullmatch(r"libseccomp: \d+\.\d+\.\d+", lines[-1])


def test_the_error_names_verb_and_container(capfd, monkeypatch):
    fail_with(monkeypatch, Failure("first\nsecond", pointer="/mounts/3", subject="/dev/shm"))
    status, out, err = run(capfd, "create", "web")
    assert (status, out) == (1, "")
    assert err == 'pyrunc: create web: /mounts/3 "/dev/shm": first\\nsecond\n'


@pytest.mark.parametrize("prefix", ["", "file:"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_log_has_the_error_and_nothing_else(capfd, monkeypatch, tmp_path, prefix, log_format):
    path = tmp_path / "log"
    path.write_text("before\n")

    def call(*_args):
        log.debug("a detail")
        log.warning("a warning")
        raise Failure('say "no" <&>')

    monkeypatch.setattr(cli, "_call", call)
    words = ("--log", f"{prefix}{path}", "--log-format", log_format, "--criu", "x", "state", "web")
    status, _out, err = run(capfd, *words)
    assert (status, err) == (1, 'pyrunc: state web: say "no" <&>\n')
    before, *lines = path.read_text().splitlines()
    assert before == "before"
    assert len(lines) == 1
    if log_format == "json":
        record = json.loads(lines[0])
        assert list(record) == ["level", "msg", "time"]
        assert record["level"] == "error"
        assert record["msg"] == 'pyrunc: state web: say "no" <&>'
        assert RFC3339.fullmatch(record["time"])
    else:
        time, rest = lines[0].split(" ", 1)
        assert RFC3339.fullmatch(time.removeprefix('time="').removesuffix('"'))
        assert rest == r'level=error msg="pyrunc: state web: say \"no\" <&>"'


def test_a_new_log_file_may_be_read_by_all(capfd, monkeypatch, tmp_path):
    fail_with(monkeypatch, Failure("no"))
    run(capfd, "--log", f"{tmp_path}/log", "state", "web")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644


def test_json_without_a_log_file_is_one_record_on_standard_error(capfd, monkeypatch):
    fail_with(monkeypatch, Failure("no"))
    _status, _out, err = run(capfd, "--log-format", "json", "state", "web")
    assert json.loads(err)["msg"] == "pyrunc: state web: no"
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        ((), ["error"]),
        (("--log-level", "warning"), ["warning", "error"]),
        (("--debug",), ["debug", "warning", "error"]),
        (("--log-level", "debug"), ["debug", "warning", "error"]),
    ],
)
def test_levels(capfd, monkeypatch, tmp_path, words, levels):
    def call(*_args):
        log.debug("a detail")
        log.warning("a warning")
        raise Failure("no")

    monkeypatch.setattr(cli, "_call", call)
    path = tmp_path / "log"
    run(capfd, *words, "--log", str(path), "--log-format", "json", "state", "web")
    assert [json.loads(line)["level"] for line in path.read_text().splitlines()] == levels


def test_an_internal_error_is_one_line(capfd, monkeypatch):
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    status, out, err = run(capfd, "state", "web")
    assert (status, out) == (1, "")
    assert re.fullmatch(
        r"pyrunc: internal error: ZeroDivisionError: division by zero \(.*test_cli_main:\d+\)\n",
        err,
    )


def test_an_internal_error_is_not_taken_for_a_missing_command(capfd, monkeypatch):
    fail_with(monkeypatch, FileNotFoundError(2, "No such file or directory", "/x"))
    err = run(capfd, "state", "web")[2]
    assert "internal error: FileNotFoundError: /x: is missing (ENOENT) (" in err


def test_debug_shows_where_an_internal_error_came_from(capfd, monkeypatch):
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    record, line = run(capfd, "--debug", "state", "web")[2].splitlines()
    assert "level=debug" in record
    assert "in main" in record
    assert line.startswith("pyrunc: internal error: ")


@pytest.mark.parametrize(
    ("error", "status", "err"),
    [
        (MemoryError(), 1, "pyrunc: state web: cannot allocate memory (ENOMEM)\n"),
        (KeyboardInterrupt(), 130, ""),
        (output.ClosedOutput("gone"), 1, ""),
    ],
)
def test_other_ends(capfd, monkeypatch, error, status, err):
    fail_with(monkeypatch, error)
    assert run(capfd, "state", "web") == (status, "", err)


def test_a_closed_reader_and_a_full_disk():
    command = [sys.executable, "-m", "pyrunc", "help"]
    read_end = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert read_end.stdout is not None
    assert read_end.stderr is not None
    read_end.stdout.close()
    err = read_end.stderr.read()
    assert (read_end.wait(), err) == (1, b"")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 1
    text = "pyrunc: write to standard output: no space left on device (ENOSPC)\n"
    assert ended.stderr.decode() == text


def test_bytes_that_are_no_unicode_go_out_as_they_came(capfdbinary):
    cli.main(["pyrunc", "create", "\udcff"])
    assert capfdbinary.readouterr()[1] == b'pyrunc: create: invalid container ID format: "\xff"\n'


WORD = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["-", "--", "-h", "--debug", "--root", "-b", "--format=json", "web"]),
    st.sampled_from(verbs.NAMES),
)


@given(st.lists(WORD, max_size=6))
def test_any_words_end_with_a_status(words):
    """With no command behind it, the command line ends with 0, or with 1, 3 or 255 (exec) and its reason."""
    with (
        mock.patch.object(cli, "_call", return_value=0),
        mock.patch.object(output, "write") as written,
        mock.patch.object(output, "write_stderr") as told,
    ):
        status = cli.main(["pyrunc", *words])
    if status:
        assert status in (1, 3, 255)
        (line,) = [call.args[0] for call in told.mock_calls]
        assert line.startswith("pyrunc: ")
        assert "internal error" not in line
        assert line.count("\n") == 1
    else:
        assert not told.mock_calls
        assert len(written.mock_calls) <= 1
