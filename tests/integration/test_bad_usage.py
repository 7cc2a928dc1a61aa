"""Wrong usage of every command that `--help` names: one line, a documented status, nothing left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from functools import cache
from pathlib import Path

import pytest

from harness.container import Container
from harness.runtime import Result, Runtime
from harness.signatures import Call, Make

pytestmark = pytest.mark.needs("runtime:pyrunc")

# These make a container; whatever else is called on one needs it to be there.
MAKERS = ("create", "run", "restore")
# Whether there is a container to restore, or the program to do it, is asked for in either order.
UNORDERED = ("restore",)
ENDLESS = "[arguments] [ps options]"


@cache
def help_of(*words: str) -> str:
    command = [Runtime().path, *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout


def section(text: str, title: str) -> list[str]:
    """The lines of a section of a help text, without the empty ones."""
    _, _, rest = text.partition(f"\n{title}:\n")
    return [line.strip() for line in re.split(r"\n\S", rest)[0].splitlines() if line.strip()]


def verbs() -> list[str]:
    if not Path(Runtime().path).exists():
        return []
    return [line.split()[0] for line in section(help_of(), "COMMANDS") if "[command]" not in line]


def options(*words: str) -> list[tuple[str, str, str]]:
    """(long name, placeholder of the value or "", text) of each option in the help of `words`."""
    found = []
    title = "OPTIONS" if words else "GLOBAL OPTIONS"
    for line in section(help_of(*words), title):
        names, _, text = line.partition("  ")
        *_, last = names.split(", ")
        _, _, value = last.partition(" ")
        found.append((names.split(", ")[0].split(" ")[0], value, text.strip()))
    return found


def arguments(verb: str) -> list[str]:
    """The arguments of a verb as its usage line names them: <needed>, [optional], add|remove."""
    (usage,) = section(help_of(verb), "USAGE")
    words = usage.partition("[options]")[2]
    return re.findall(r"<[^>]*>|\[[^\]]*\]|\S+", words)


def needed(verb: str) -> list[str]:
    """As few arguments as the verb takes; the id is `nope`."""
    values = {"<container-id>": "nope"}
    return [
        values.get(word, word.split("|")[0]) for word in arguments(verb) if not word.startswith("[")
    ]


def status_of(verb: str) -> int:
    """Status of an error of the runtime's own: exec keeps those below for the command."""
    return 255 if verb == "exec" else 1


def refused(result: Result, verb: str, *texts: str) -> None:
    result.failed(*texts)
    assert result.status == status_of(verb)


VERBS = verbs()
VALUED = [(verb, name) for verb in VERBS for name, value, _ in options(verb) if value]
FLAGS = [(verb, name) for verb in VERBS for name, value, _ in options(verb) if not value]
NUMERIC = [
    (verb, name)
    for verb in VERBS
    for name, value, _ in options(verb)
    if value in ("N", "US", "BYTES", "DURATION", "GID", "UID[:GID]")
]
OF_CONTAINERS = [verb for verb in VERBS if "<container-id>" in arguments(verb)]


def test_the_help_was_read() -> None:
    assert {"create", "exec", "update", "mounts", "list"} <= set(VERBS)
    assert ("exec", "--cap") in VALUED
    assert ("exec", "--tty") in FLAGS
    assert ("update", "--memory") in NUMERIC
    assert set(OF_CONTAINERS) >= {"create", "kill", "exec", "ps", "events", "mounts"}


# The command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "name"), VALUED)
def test_option_without_its_value(call: Call, tmp_path: Path, verb: str, name: str) -> None:
    result = call("--root", str(tmp_path / "root"), verb, name)
    refused(result, verb, f"flag needs an argument: {name}")


@pytest.mark.parametrize("name", [name for name, value, _ in options() if value] if VERBS else [])
def test_global_option_without_its_value(call: Call, name: str) -> None:
    refused(call(name), "", f"flag needs an argument: {name}")


@pytest.mark.parametrize(("verb", "name"), FLAGS)
def test_flag_with_a_value_that_is_none(call: Call, tmp_path: Path, verb: str, name: str) -> None:
    result = call("--root", str(tmp_path / "root"), verb, f"{name}=maybe", *needed(verb))
    refused(result, verb, f'invalid boolean value "maybe" for -{name.lstrip("-")}')


@pytest.mark.parametrize("value", ["x", "", "1.5x", "0x", "99999999999999999999999"])
@pytest.mark.parametrize(("verb", "name"), NUMERIC)
def test_number_that_is_none(container: Make, verb: str, name: str, value: str) -> None:
    """Not even a container that would have to be there hides it."""
    c = container("/bin/true")
    c.bundle.write()
    if verb in MAKERS:
        result = c.call(verb, f"{name}={value}", "--bundle", str(c.bundle.path), c.id)
    elif verb == "plan":
        result = c.call(verb, f"{name}={value}", "--bundle", str(c.bundle.path))
    else:
        c.running()
        more = ["/bin/true"] if verb == "exec" else []
        if value == "" and (verb == "update" or name == "--user"):
            pytest.skip("as in runc, one without a value is none")
        result = c.call(verb, f"{name}={value}", c.id, *more)
    refused(result, verb)
    if verb in MAKERS:
        c.nothing_left()


@pytest.mark.parametrize("word", ["--nosuch", "-Z", "--nosuch=1", "---help"])
@pytest.mark.parametrize("verb", VERBS)
def test_unknown_option(call: Call, tmp_path: Path, verb: str, word: str) -> None:
    result = call("--root", str(tmp_path / "root"), verb, word, *needed(verb))
    refused(result, verb, word.strip("-").partition("=")[0])


def test_unknown_global_option(call: Call) -> None:
    refused(call("--nosuch", "list"), "", "flag provided but not defined: -nosuch")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--log-level", "loud", "list"], "loud"),
        (["--log-format", "xml", "list"], "xml"),
        (["--rootless", "perhaps", "list"], "perhaps"),
        (["--cgroup-manager", "none", "list"], "none"),
        (["--debug=2", "list"], '"2"'),
    ],
)
def test_global_option_with_a_wrong_value(call: Call, words: list[str], text: str) -> None:
    refused(call(*words), "", text)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if needed(verb)])
def test_too_few_arguments(call: Call, tmp_path: Path, verb: str) -> None:
    result = call("--root", str(tmp_path / "root"), verb, *needed(verb)[:-1])
    refused(result, verb, f'"{verb}" requires ', "argument(s)")


@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS if not any(word in ENDLESS for word in arguments(verb))]
)
def test_too_many_arguments(call: Call, tmp_path: Path, verb: str) -> None:
    words = [*needed(verb), *["more"] * len(arguments(verb)), "more"]
    result = call("--root", str(tmp_path / "root"), verb, *words)
    refused(result, verb, f'"{verb}" requires ', "argument(s)")


def test_unknown_verb(call: Call) -> None:
    result = call("creat").failed("creat")
    assert (result.status, result.out) == (3, "")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../a", "a b", "ä", "", "a\nb", "/"])
@pytest.mark.parametrize("verb", OF_CONTAINERS)
def test_id_that_is_none(container: Make, verb: str, name: str) -> None:
    c = container("/bin/true")
    c.bundle.write()
    words = [name if word == "nope" else word for word in needed(verb)]
    more = ["--bundle", str(c.bundle.path)] if verb in MAKERS else []
    refused(c.call(verb, *more, *words, *rest(verb)), verb, "container" if name else "empty")
    c.nothing_left()
    assert not c.root.exists() or not list(c.root.iterdir())


# Containers ------------------------------------------------------------------------------------------


def rest(verb: str) -> list[str]:
    """What else a call needs to get as far as the container."""
    return {"exec": ["/bin/true"], "update": ["--memory=64m"], "events": ["--stats"]}.get(
        verb, ["--destination=/mnt", "--source=/"] if verb == "mounts" else []
    )


def on(c: Container, verb: str, *extra: str) -> Result:
    words = [c.id if word == "nope" else word for word in needed(verb)]
    after = rest(verb) if verb == "exec" else []
    before = [] if verb == "exec" else rest(verb)
    if verb in MAKERS:
        before = ["--bundle", str(c.bundle.path)]
    return c.call(verb, *extra, *before, *words, *after)


@pytest.mark.parametrize("verb", [verb for verb in OF_CONTAINERS if verb not in MAKERS])
def test_container_that_does_not_exist(container: Make, verb: str) -> None:
    c = container()
    refused(on(c, verb), verb, "does not exist")
    assert not c.root.exists() or not list(c.root.iterdir())


# Whatever a verb does not say to be wrong with a state, it does.
WRONG_STATES = [
    ("created", "create", "already exists"),
    ("created", "run", "already exists"),
    ("created", "resume", "container not paused"),
    ("running", "create", "already exists"),
    ("running", "run", "already exists"),
    ("running", "start", "cannot start an already running container"),
    ("running", "resume", "container not paused"),
    ("running", "delete", "is not stopped: running"),
    ("paused", "create", "already exists"),
    ("paused", "start", "paused"),
    ("paused", "pause", "container not running"),
    ("paused", "exec", "cannot exec in a paused container"),
    ("paused", "delete", "is not stopped: paused"),
    ("stopped", "create", "already exists"),
    ("stopped", "run", "already exists"),
    ("stopped", "start", "cannot start a container that has stopped"),
    ("stopped", "kill", "container not running"),
    ("stopped", "exec", "cannot exec in a stopped container"),
    ("stopped", "pause", "container not running"),
    ("stopped", "resume", "container not paused"),
    ("stopped", "update", "not running"),
    ("stopped", "events", "not running"),
    ("stopped", "mounts", "not running"),
]


def in_state(c: Container, state: str) -> Container:
    if state == "created":
        return c.created()
    c.running()
    if state == "paused":
        if not c.lane.version_of("freezer"):
            pytest.skip("no freezer in this lane")
        c.call("pause", c.id).ok()
    if state == "stopped":
        c.kill("KILL").ok()
        c.wait()
    assert c.status == state
    return c


@pytest.mark.parametrize(("state", "verb", "text"), WRONG_STATES)
def test_container_in_the_wrong_state(container: Make, state: str, verb: str, text: str) -> None:
    c = in_state(container(), state)
    refused(on(c, verb), verb, text)
    assert c.status == state
    c.delete(force=True).ok()
    c.nothing_left()


# Damaged state directories ---------------------------------------------------------------------------


def damage(c: Container, kind: str) -> None:
    path = c.root / c.id / "state.json"
    text = path.read_text()
    record = json.loads(text)
    changed = {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "of another": json.dumps({**record, "id": "other"}),
        "without fields": json.dumps({"id": c.id}),
        "of wrong types": json.dumps({**record, "cgroup_paths": [], "init_process_pid": "1"}),
        "no object": "[]",
        "binary": "\x00\x01",
    }
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to("state.json")
    elif kind != "absent":
        path.write_text(changed[kind])


KINDS = "empty|truncated|of another|without fields|of wrong types|no object|binary|directory|loop"


@pytest.mark.parametrize("kind", KINDS.split("|"))
def test_damaged_state(container: Make, kind: str) -> None:
    """Every command says what is wrong, and the container, which still runs, can be got rid of."""
    c = container().running()
    damage(c, kind)
    for verb in OF_CONTAINERS:
        text = "already exists" if verb in MAKERS else "state.json"
        refused(on(c, verb), verb, *([] if verb in UNORDERED else [text]))
    c.delete(force=True).ok()
    c.nothing_left()


@pytest.mark.parametrize("kind", KINDS.split("|"))
def test_damaged_state_hides_no_other_container(container: Make, kind: str) -> None:
    whole, broken = container().created(), container().created()
    damage(broken, kind)
    result = whole.call("list", "-q")
    assert (result.status, result.out.split()) == (0, [whole.id])
    broken.delete(force=True).ok()
    broken.nothing_left()
    assert whole.status == "created"


def test_absent_state(container: Make) -> None:
    """As of a create that was killed before it had made anything."""
    c = container()
    c.bundle.write()
    (c.root / c.id).mkdir(parents=True)
    for verb in OF_CONTAINERS:
        if verb in MAKERS:
            refused(on(c, verb), verb, *([] if verb in UNORDERED else ["already exists"]))
        elif verb != "delete":
            refused(on(c, verb), verb, "does not exist")
    c.delete(force=True).ok()
    c.nothing_left()


@pytest.mark.parametrize("kind", ["absent", "empty", "directory"])
@pytest.mark.parametrize("verb", ["exec", "update"])
def test_damaged_config(container: Make, verb: str, kind: str) -> None:
    """The copy of the config that create made."""
    c = container().running()
    path = c.root / c.id / "config.json"
    path.unlink()
    if kind == "empty":
        path.write_text("")
    if kind == "directory":
        path.mkdir()
    refused(on(c, verb), verb, "config.json")
    assert c.status == "running"
    c.delete(force=True).ok()
    c.nothing_left()


def test_both_damaged(container: Make) -> None:
    """Nothing says any more what it was: the directory goes, and what ran is the caller's to end."""
    c = container().created()
    damage(c, "empty")
    (c.root / c.id / "config.json").unlink()
    c.delete(force=True).ok()
    assert not (c.root / c.id).exists()
    os.kill(c.pid, signal.SIGKILL)
    c.wait()
    for path in c.all_cgroups():
        path.rmdir()
