"""Mounts that come into a running container, and go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.container import Container
from harness.signatures import Make


@pytest.fixture
def running(container: Make) -> Container:
    c = container()
    c.bundle.config["root"]["readonly"] = False
    return c.running()


def mounted(c: Container) -> dict[str, list[str]]:
    """Options of each mount that init sees, by its place."""
    lines = Path(f"/proc/{c.pid}/mountinfo").read_text().splitlines()
    return {line.split()[4]: line.split()[5].split(",") for line in lines}


def test_bind_by_options(running: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    options = ("--source", str(tmp_path), "--destination", "/added/here", "--options", "ro,nosuid")
    running.call("mounts", "add", *options, running.id).ok()
    assert {"ro", "nosuid"} <= set(mounted(running)["/added/here"])
    assert Path(f"/proc/{running.pid}/root/added/here/file").read_text() == "from the host"
    running.call("mounts", "remove", "--destination", "/added/here", running.id).ok()
    assert "/added/here" not in mounted(running)


def test_array_in_a_file(running: Container, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    mounts: list[dict[str, Any]] = [
        {
            "destination": "/scratch",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["size=64k", "nodev"],
        },
        {
            "destination": "/scratch/one",
            "type": "bind",
            "source": str(tmp_path / "one"),
            "options": ["bind"],
        },
    ]
    file = tmp_path / "mounts.json"
    file.write_text(json.dumps(mounts))
    running.call("mounts", "add", running.id, str(file)).ok()
    assert "nodev" in mounted(running)["/scratch"]
    assert Path(f"/proc/{running.pid}/root/scratch/one").read_text() == "1"
    running.call("mounts", "remove", running.id, "-", stdin=file.read_bytes()).ok()
    assert not [place for place in mounted(running) if place.startswith("/scratch")]


def test_relative_source_is_the_bundle_s(running: Container) -> None:
    (running.bundle.path / "data").mkdir()
    running.call("mounts", "add", "--source", "data", "--destination", "/data", running.id).ok()
    assert "/data" in mounted(running)


def test_container_with_a_user_namespace(container: Make, tmp_path: Path) -> None:
    c = container()
    c.bundle.config["root"]["readonly"] = False
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    c.bundle.linux["namespaces"].append({"type": "user"})
    c.bundle.linux.update({"uidMappings": ids, "gidMappings": ids})
    c.running()
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("x")
    c.call("mounts", "add", "--source", str(tmp_path), "--destination", "/tmp/new", c.id).ok()
    assert Path(f"/proc/{c.pid}/root/tmp/new/file").read_text() == "x"
    c.call("mounts", "remove", "--destination", "/tmp/new", c.id).ok()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("add", "--source", "/does/not/exist", "--destination", "/x"), "/does/not/exist"),
        (("add", "--source", "/tmp", "--destination", "/proc/sys"), "inside /proc"),
        (
            ("add", "--source", "/tmp", "--destination", "/x", "--options", "readonly"),
            "filesystem-specific",
        ),
        (("add", "--type", "nosuchfs", "--source", "a", "--destination", "/x"), "nosuchfs"),
        (("remove", "--destination", "/tmp"), "/tmp"),
        (("remove", "--destination", "/not/there"), "/not/there"),
        (("add",), "a file, or --destination, is needed"),
        (("move", "--destination", "/x"), 'not "move"'),
    ],
)
def test_wrong_request(running: Container, words: tuple[str, ...], text: str) -> None:
    before = mounted(running)
    assert text in running.call("mounts", *words, running.id).failed().err
    assert mounted(running) == before


def test_wrong_document(running: Container) -> None:
    document = json.dumps([{"destination": 5}]).encode()
    running.call("mounts", "add", running.id, "-", stdin=document).failed("/mounts/0/destination")


def test_stopped_container(running: Container) -> None:
    running.kill("KILL").ok()
    running.wait()
    running.call("mounts", "remove", "--destination", "/x", running.id).failed(
        "container not running"
    )
