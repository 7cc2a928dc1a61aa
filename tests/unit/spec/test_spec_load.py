"""From a file to a spec in normal form, and every way in which that fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import judges
import pytest

from pyrunc.errors import HostFailure, SpecFailure
from pyrunc.spec import load

MINIMAL = {"ociVersion": "1.3.0", "root": {"path": "r"}, "process": {"cwd": "/", "args": ["sh"]}}


def bundle(path: Path, config: Any) -> str:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    (path / "config.json").write_bytes(text)
    return str(path)


def test_normal_form(tmp_path: Path) -> None:
    spec = load.load(bundle(tmp_path, MINIMAL))
    assert spec == {
        "ociVersion": "1.3.0",
        "root": {"path": "r", "readonly": False},
        "process": {
            "cwd": "/",
            "args": ["sh"],
            "env": [],
            "rlimits": [],
            "terminal": False,
            "noNewPrivileges": False,
            "user": {"uid": 0, "gid": 0, "additionalGids": [], "umask": 0o022},
        },
        "mounts": [],
        "hooks": {},
        "annotations": {},
        "linux": {
            "namespaces": [],
            "uidMappings": [],
            "gidMappings": [],
            "devices": [],
            "maskedPaths": [],
            "readonlyPaths": [],
            "resources": {},
            "sysctl": {},
        },
    }


def test_normal_form_of_what_is_given(tmp_path: Path) -> None:
    config = {
        **MINIMAL,
        "hostname": "",
        "mounts": [{"destination": "a/b", "type": "tmpfs", "options": None}],
        "linux": {"namespaces": [{"type": "pid", "path": ""}], "seccomp": None, "mountLabel": ""},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 7, "umask": 0}, "selinuxLabel": ""},
    }
    spec = load.load(bundle(tmp_path, config))
    assert "hostname" not in spec
    assert spec["mounts"] == [{"destination": "/a/b", "type": "tmpfs", "source": "", "options": []}]
    assert spec["linux"]["namespaces"] == [{"type": "pid"}]
    assert not {"seccomp", "mountLabel"} & set(spec["linux"])
    assert spec["process"]["user"] == {"uid": 7, "gid": 0, "additionalGids": [], "umask": 0}
    assert "selinuxLabel" not in spec["process"]


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in judges.FIXTURES.glob("valid/*.json")]
)
def test_normal_form_is_stable(path: Path) -> None:
    """A spec in normal form is accepted and changes no more: exec reads it from the copy."""
    spec, _ = load.accept(load.parse(path.read_bytes(), "x"))
    text = json.dumps(spec)
    assert load.accept(json.loads(text)) == (spec, load.accept(json.loads(text))[1])
    assert judges.hot(spec) is None


def test_copy_tells_whether_a_umask_was_given(tmp_path: Path) -> None:
    bundle(tmp_path, MINIMAL)
    assert "umask" not in load.load_copy(f"{tmp_path}/config.json")["process"]["user"]


def test_another_name(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({**MINIMAL, "hostname": None}))
    assert load.load(str(tmp_path), "other.json")["ociVersion"] == "1.3.0"
    assert load.load("/nonexistent", f"{tmp_path}/other.json")["ociVersion"] == "1.3.0"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SpecFailure) as caught:
        load.load(str(tmp_path))
    assert str(caught.value) == "JSON specification file config.json not found"


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(HostFailure, match=r"read config\.json: is a directory") as caught:
        load.load(str(tmp_path))
    assert caught.value.errno == 21


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "config.json: line 1 column 1: empty document"),
        (b"{]", "config.json: line 1 column 2: expected a key in double quotes"),
        (b'{"a": 1,\n "a": 2}', "config.json: line 2 column 2: duplicate key"),
        (b'{"a": "\\u0000"}', "config.json: line 1 column 8: NUL character in a string"),
        (b"[" * 200, "config.json: line 1 column 101: nested too deeply"),
        (b"null", "must be an object, got null"),
    ],
)
def test_no_json(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(SpecFailure) as caught:
        load.load(bundle(tmp_path, text))
    assert str(caught.value) == message


def test_too_large(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(load.SIZE_LIMIT + 1)
    with pytest.raises(SpecFailure, match="larger than 16777216 bytes"):
        load.load(str(tmp_path))


def test_descriptors_are_closed(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    test_normal_form(tmp_path)
    test_too_large(tmp_path)
    assert os.listdir("/proc/self/fd") == before


def process_file(path: Path, process: Any) -> str:
    path = path / "process.json"
    path.write_text(json.dumps(process))
    return str(path)


def test_process(tmp_path: Path) -> None:
    given = {"args": ["id"], "cwd": "/", "user": {"uid": 1, "additionalGids": None}, "env": None}
    process = load.load_process(process_file(tmp_path, given))
    assert process["user"] == {"uid": 1, "gid": 0, "additionalGids": []}
    assert process["env"] == []


@pytest.mark.parametrize(
    ("process", "pointer"),
    [
        ([], ""),
        ({"args": ["id"]}, "/cwd"),
        ({"args": [], "cwd": "/"}, "/args"),
        ({"args": ["id"], "cwd": "/", "user": {"uid": "0"}}, "/user/uid"),
        (
            {"args": ["id"], "cwd": "/", "scheduler": {"policy": "SCHED_OTHER", "nice": 20}},
            "/scheduler/nice",
        ),
    ],
)
def test_refused_process(tmp_path: Path, process: Any, pointer: str) -> None:
    with pytest.raises(SpecFailure) as caught:
        load.load_process(process_file(tmp_path, process))
    assert caught.value.pointer == pointer


def test_resources() -> None:
    text = b'{"memory": {"limit": 1, "swap": null}, "cpu": null}'
    assert load.accept_resources(text, "resources") == {"memory": {"limit": 1}}


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (b"[]", ""),
        (b'{"memory": {"limit": "1"}}', "/memory/limit"),
        (b'{"unified": {"a/b": "1"}}', "/unified/a~1b"),
    ],
)
def test_refused_resources(text: bytes, pointer: str) -> None:
    with pytest.raises(SpecFailure) as caught:
        load.accept_resources(text, "resources")
    assert caught.value.pointer == pointer
