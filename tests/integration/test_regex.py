"""kill --regex and delete --regex, as crun has them."""

from __future__ import annotations

import pytest

from harness.signatures import Call, Make

pytestmark = pytest.mark.needs("runtime:pyrunc")


def test_kill(container: Make) -> None:
    one, other, third = (container().running() for _ in range(3))
    pattern = f"^({one.id}|{other.id})$"
    one.call("kill", "--regex", pattern, "USR1").ok()
    one.wait_for_output("signal 10\n")
    other.wait_for_output("signal 10\n")
    assert "signal 10" not in third.out()


def test_kill_goes_on_after_a_failure(container: Make) -> None:
    stopped = container("/bin/true")
    stopped.create().ok()
    stopped.start().ok()
    stopped.wait()
    running = container().running()
    result = stopped.call("kill", "-r", ".", "USR1").ok()
    assert "container not running" in result.err
    assert stopped.id in result.err
    running.wait_for_output("signal 10\n")


def test_delete(container: Make) -> None:
    one, other = container().created(), container().created()
    kept = container().running()
    result = one.call("delete", "--regex", f"{one.id}|{other.id}|{kept.id}").ok()
    assert "that is not stopped: running" in result.err
    one.nothing_left()
    other.nothing_left()
    assert kept.status == "running"
    kept.call("delete", "--force", "--regex", kept.id[:-1]).ok()
    kept.nothing_left()


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("^pyrunc-test-[[:digit:]]+-[0-9]+$", True),
        ("[[:upper:]]", False),
        ("t-[^[:alpha:]]*$", True),
        ("^test", False),
    ],
)
def test_extended_expressions(container: Make, pattern: str, matches: bool) -> None:
    c = container().running()
    c.call("kill", "--regex", pattern, "USR1").ok()
    c.kill("USR2").ok()
    c.wait_for_output("signal 12\n")
    assert ("signal 10" in c.out()) is matches


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_no_container(call: Call, verb: str) -> None:
    result = call(verb, "--regex", "nothing").ok()
    assert (result.out, result.err) == ("", "")


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_expression_that_is_none(call: Call, verb: str) -> None:
    call(verb, "--regex", "(").failed('invalid regular expression "("')


def test_id_is_not_an_expression_without_it(call: Call) -> None:
    call("kill", ".*").failed("invalid container ID format")
