"""The command line is read as runc reads it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import cli, verbs
from pyrunc.errors import Failure, UsageFailure
from pyrunc.verbs import FLAG, LIST, NUMBER


def read(verb: str, *words: str) -> tuple[dict[str, object], list[str]]:
    found = verbs.find(verb)
    assert found is not None
    return cli.read_options(found.options, words, permute=found.permute)


def read_globals(*words: str) -> tuple[dict[str, object], list[str]]:
    return cli.read_options(verbs.global_options(), words, permute=False)


EVERY_OPTION = [
    (verb, option, name)
    for verb in verbs.NAMES
    for option in verbs.find(verb).options  # type: ignore[union-attr]
    for name in option.names
]


@pytest.mark.parametrize(("verb", "option", "name"), EVERY_OPTION)
@pytest.mark.parametrize("dashes", ["-", "--"])
def test_every_option_in_every_form(verb, option, name, dashes):
    word = dashes + name
    if option.kind == FLAG:
        forms = {(word,): True, (f"{word}=true",): True, (f"{word}=false",): False}
    elif option.kind == NUMBER:
        forms = {(word, "3"): 3, (f"{word}=3",): 3}
    else:
        forms = {(word, "v"): "v", (f"{word}=v",): "v", (f"{word}=a=b",): "a=b", (f"{word}=",): ""}
    if option.kind == LIST:
        forms = {words: (value,) for words, value in forms.items()}
        forms[(word, "a,b", f"{word}=c")] = ("a,b", "c")
    for words, expected in forms.items():
        options, args = read(verb, *words)
        assert options[option.key] == expected
        assert args == []


@pytest.mark.parametrize(("verb", "option", "name"), EVERY_OPTION)
def test_an_option_without_its_value(verb, option, name):
    if option.kind == FLAG:
        assert read(verb, f"--{name}")[0][option.key] is True
        return
    with pytest.raises(UsageFailure, match=rf"^flag needs an argument: -{{1,2}}{name}$"):
        read(verb, f"--{name}")


@pytest.mark.parametrize("verb", verbs.NAMES)
def test_every_verb_has_its_module_and_its_defaults(verb):
    found = verbs.find(verb)
    assert found is not None
    options, args = read(verb)
    assert args == []
    assert options == {option.key: option.default for option in found.options}
    module = cli.__file__.replace("cli.py", f"commands/{found.module}.py")
    assert os.path.exists(module)


@pytest.mark.parametrize(
    ("words", "options", "args"),
    [
        (("c1", "--bundle", "/b"), {"bundle": "/b"}, ["c1"]),
        (("--bundle", "/b", "--", "-c1"), {"bundle": "/b"}, ["-c1"]),
        (("-b", "/a", "-b", "/b", "c1"), {"bundle": "/b"}, ["c1"]),
        (("-b", "", "c1"), {"bundle": ""}, ["c1"]),
        (("-b", "--no-pivot", "c1"), {"bundle": "--no-pivot", "no_pivot": False}, ["c1"]),
        (
            ("-no-pivot", "-no-new-keyring", "c1"),
            {"no_pivot": True, "no_new_keyring": True},
            ["c1"],
        ),
        (("--preserve-fds", "0x10", "c1"), {"preserve_fds": 16}, ["c1"]),
        (("-", "c1"), {}, ["-", "c1"]),
    ],
)
def test_create(words, options, args):
    read_options, read_args = read("create", *words)
    assert options.items() <= read_options.items()
    assert read_args == args


def test_kill_ends_its_options_at_the_first_argument():
    assert read("kill", "-a", "c1", "9") == (
        {"all": True, "regex": False, "help": False},
        ["c1", "9"],
    )
    assert read("kill", "c1", "-a") == (
        {"all": False, "regex": False, "help": False},
        ["c1", "-a"],
    )


def test_global_options_end_at_the_verb():
    options, rest = read_globals("--root=/r", "-debug", "--log", "/l", "delete", "--force", "c1")
    assert (options["root"], options["debug"], options["log"]) == ("/r", True, "/l")
    assert rest == ["delete", "--force", "c1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nope", "c1"), "flag provided but not defined: -nope"),
        (("-nope=3", "c1"), "flag provided but not defined: -nope"),
        (("---bundle", "c1"), "bad flag syntax: ---bundle"),
        (("--=x", "c1"), "bad flag syntax: --=x"),
        (("--bundle",), "flag needs an argument: --bundle"),
        (("-b",), "flag needs an argument: -b"),
        (
            ("--no-pivot=maybe",),
            'invalid boolean value "maybe" for -no-pivot: parse error',
        ),
        (("--no-pivot=",), 'invalid boolean value "" for -no-pivot: parse error'),
        (("--preserve-fds=x",), 'invalid value "x" for flag -preserve-fds: parse error'),
        (("--preserve-fds=",), 'invalid value "" for flag -preserve-fds: parse error'),
        (("--preserve-fds=-1",), 'invalid value "-1" for flag -preserve-fds: value out of range'),
        (("--pid-file", "a\0b"), "invalid value for flag -pid-file: it has a NUL character"),
    ],
)
def test_refused(words, message):
    with pytest.raises(UsageFailure) as caught:
        read("create", *words)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["c1", "A_b+c.d-e", "0", "x" * 255, "-x"])
def test_container_ids(text):
    cli.check_container_id(text)


@pytest.mark.parametrize(
    "text", [".", "..", ".cache", "a/b", "../x", "a b", "é", "a\n", "x" * 256, "a\0", "٣"]
)
def test_refused_container_ids(text):
    with pytest.raises(Failure) as caught:
        cli.check_container_id(text)
    assert str(caught.value) == f'invalid container ID format: "{text}"'


def test_an_empty_container_id():
    with pytest.raises(Failure, match="container id cannot be empty"):
        cli.check_container_id("")


def request(*words: str) -> cli.Request:
    """The Request of a command line, as `main` makes it."""
    globals_, (name, *rest) = read_globals(*words)
    options, args = read(name, *rest)
    return cli._request(name, globals_, options, args)


def test_the_request():
    made = request("--root=/r/./s", "--systemd-cgroup", "--rootless=1", "run", "-d", "--keep", "c1")
    assert (made.verb, made.id, made.root, made.root_given) == ("run", "c1", "/r/s", True)
    assert (made.cgroup_manager, made.rootless) == ("systemd", "true")
    assert made.options["detach"] is True
    assert made.options["keep"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--root=/", "list"), "Option --root argument should not be set to /"),
        (("--root=/a/..", "list"), "Option --root argument should not be set to /"),
        (("--cgroup-manager=x", "list"), "invalid cgroup-manager: x"),
        (("--rootless=x", "list"), 'invalid value "x" for flag -rootless: true, false or auto'),
    ],
)
def test_refused_global_values(words, message):
    with pytest.raises(UsageFailure) as caught:
        request(*words)
    assert str(caught.value) == message


def test_a_relative_root_is_of_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert request("--root", "a/../r", "list").root == f"{tmp_path}/r"


@pytest.mark.parametrize(
    ("euid", "user", "uid_map", "expected"),
    [
        (0, None, "0 0 4294967295", "/run/pyrunc"),
        (0, "root", "0 1000 1", "/run/pyrunc"),
        (0, "ann", "0 1000 1", "/run/user/7/pyrunc"),
        (0, None, "0 1000 1", "/run/user/7/pyrunc"),
        (1000, "ann", "0 0 4294967295", "/run/user/7/pyrunc"),
    ],
)
def test_the_default_root(tmp_path, monkeypatch, euid, user, uid_map, expected):
    map_file = tmp_path / "uid_map"
    map_file.write_text(uid_map)
    environment = {b"XDG_RUNTIME_DIR": b"/run/user/7"}
    if user is not None:
        environment[b"USER"] = user.encode()
    real_open = cli.posix.open

    def open_map(path, flags):
        assert path == "/proc/self/uid_map"
        return real_open(map_file, flags)

    monkeypatch.setattr(cli.posix, "geteuid", lambda: euid)
    monkeypatch.setattr(cli.posix, "environ", environment)
    monkeypatch.setattr(cli.posix, "open", open_map)
    assert cli.default_root() == expected


def test_the_default_root_without_a_runtime_directory(monkeypatch):
    monkeypatch.setattr(cli.posix, "geteuid", lambda: 1000)
    monkeypatch.setattr(cli.posix, "environ", {})
    assert cli.default_root() == "/run/pyrunc"


NAMES = sorted({name for _, _, name in EVERY_OPTION})
WORD = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["-", "--", "---", "", "=", "c1", *verbs.NAMES]),
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["-", "--"]),
            st.sampled_from(NAMES),
            st.sampled_from(["", "=", "=true", "=3", "=\0", "=\udc80"]),
        ),
    ),
)


@given(st.sampled_from([*verbs.NAMES, None]), st.lists(WORD, max_size=6))
def test_nothing_but_a_failure_comes_of_any_words(verb, words):
    outcome = attempt(lambda: read_globals(*words) if verb is None else read(verb, *words))
    if isinstance(outcome, Failure):
        assert str(outcome)
    else:
        options, args = outcome
        assert all(isinstance(arg, str) for arg in args)
        assert set(options) >= {"help"}


@given(WORD)
def test_an_id_that_is_let_through_is_a_name(word):
    if not isinstance(attempt(lambda: cli.check_container_id(word)), Failure):
        assert word
        assert "/" not in word
        assert not word.startswith(".")


def attempt(call):
    try:
        return call()
    except Failure as failure:
        return failure
