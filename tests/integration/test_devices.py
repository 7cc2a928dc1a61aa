"""Device nodes: the default ones, those of the config, and the links."""

from __future__ import annotations

import os
from typing import Any

import pytest

from harness.signatures import Make

DEFAULT = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}


def node(
    path: str, kind: str = "c", major: int = 10, minor: int = 229, **more: Any
) -> dict[str, Any]:
    return {"path": path, "type": kind, "major": major, "minor": minor, **more}


def test_default_devices(container: Make) -> None:
    c = container()
    names = " ".join(f"/dev/{name}" for name in DEFAULT)
    lines = c.shell(f"stat -c '%n %F %t:%T %a %u:%g' {names}").splitlines()
    assert lines == [
        f"/dev/{name} character special file {major:x}:{minor:x} 666 0:0"
        for name, (major, minor) in DEFAULT.items()
    ]


def test_default_devices_work(container: Make) -> None:
    c = container()
    script = (
        "echo x >/dev/null && head -c 4 /dev/zero | wc -c; "
        "head -c 4 /dev/urandom | wc -c; echo x >/dev/full || echo full"
    )
    assert c.shell(script).split() == ["4", "4", "full"]


def test_links(container: Make) -> None:
    c = container()
    names = ("fd", "stdin", "stdout", "stderr", "ptmx")
    text = c.shell("for i in " + " ".join(names) + "; do readlink /dev/$i; done")
    assert text.split() == [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
        "pts/ptmx",
    ]


def test_umask_of_the_caller_does_not_matter(container: Make) -> None:
    c = container("/bin/stat", "-c", "%a", "/dev/null", "/dev/extra")
    c.bundle.linux["devices"] = [node("/dev/extra", fileMode=0o666)]
    assert c.run(umask=0o077).ok().out.split() == ["666", "666"]


def test_devices_of_the_config(container: Make) -> None:
    c = container()
    c.bundle.linux["devices"] = [
        node("/dev/char", fileMode=0o640, uid=7, gid=8),
        node("/dev/deep/er/block", "b", 7, 200, fileMode=0o600),
        node("/dev/unbuffered", "u", 1, 3, fileMode=0o600),
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
    ]
    lines = c.shell(
        "stat -c '%F %t:%T %a %u:%g' /dev/char /dev/deep/er/block /dev/unbuffered /dev/pipe"
    ).splitlines()
    assert lines == [
        "character special file a:e5 640 7:8",
        "block special file 7:c8 600 0:0",
        "character special file 1:3 600 0:0",
        "fifo 0:0 622 0:0",
    ]


def test_device_of_the_config_replaces_the_default(container: Make) -> None:
    c = container()
    c.bundle.linux["devices"] = [node("/dev/full", "c", 1, 7, fileMode=0o600, uid=3)]
    assert c.shell("stat -c '%t:%T %a %u' /dev/full") == "1:7 600 3"


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(node("/dev/x", "z"), id="type"),
        pytest.param(
            {"path": "/dev/x", "type": "c"},
            id="numbers",
            marks=pytest.mark.runc_fails(
                "it makes 0:0 of missing numbers, which the specification requires"
            ),
        ),
        pytest.param(
            node("relative"),
            id="path",
            marks=pytest.mark.runc_fails(
                "it takes a relative path, where the specification wants a full one"
            ),
        ),
    ],
)
def test_device_that_is_wrong(container: Make, entry: dict[str, Any]) -> None:
    c = container("/bin/true")
    c.bundle.linux["devices"] = [entry]
    c.create().failed("device")
    c.nothing_left()


def test_bind_mounted_dev_is_left_alone(container: Make, tmp_path: os.PathLike[str]) -> None:
    """Where /dev is bound from the host, nothing is made in it."""
    c = container()
    host = os.path.join(tmp_path, "dev")
    os.mkdir(host)
    os.mknod(os.path.join(host, "null"), 0o20666, os.makedev(1, 3))
    for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.bundle.without_mount(destination)
    c.bundle.mounts.append(
        {"destination": "/dev", "type": "bind", "source": host, "options": ["bind"]}
    )
    c.shell("true")
    assert os.listdir(host) == ["null"]


def test_without_dev_mount_nodes_go_to_the_rootfs(container: Make) -> None:
    c = container()
    for destination in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.bundle.without_mount(destination)
    assert c.shell("stat -c %t:%T /dev/null") == "1:3"
