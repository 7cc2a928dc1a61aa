"""Device nodes: the default ones, those of the config, and the links."""

from __future__ import annotations

import os
from typing import Any

import pytest

from harness.container import Container
from harness.mappings import mapped
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


def test_ptmx_of_the_config_stays_the_link(container: Make) -> None:
    """Engines that copy the host's /dev list the node, whose terminals would not be the container's."""
    c = container()
    c.bundle.linux["devices"] = [node("/dev//ptmx", "c", 5, 2), node("/dev/extra")]
    assert c.shell("readlink /dev/ptmx; stat -c %F /dev/extra").splitlines() == [
        "pts/ptmx",
        "character special file",
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


# Kinds, modes, places ---------------------------------------------------------------------------


def stat(c: Container, *paths: str) -> list[str]:
    c.bundle.writable()
    return c.shell("stat -c '%F|%t:%T|%a|%u:%g' " + " ".join(paths)).split("\n")


def entry_of(path: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"path": path, "type": kind, **rest}


def test_every_kind(container: Make) -> None:
    c = container()
    c.bundle.linux["devices"] = [
        entry_of("/dev/c", "c", major=1, minor=3),
        entry_of("/dev/u", "u", major=1, minor=5),
        entry_of("/dev/b", "b", major=7, minor=200),
        entry_of("/dev/p", "p"),
    ]
    assert stat(c, "/dev/c", "/dev/u", "/dev/b", "/dev/p") == [
        "character special file|1:3|666|0:0",
        "character special file|1:5|666|0:0",
        "block special file|7:c8|666|0:0",
        "fifo|0:0|666|0:0",
    ]


@pytest.mark.parametrize(
    ("mode", "shown"),
    [(0o600, "600"), (432, "660"), (0o4755, "4755"), (0o20640, "640"), (0o60604, "604"), (0, "0")],
)
def test_mode(container: Make, mode: int, shown: str) -> None:
    """Go writes the type of the file into the mode, too; only the permissions count."""
    c = container()
    c.bundle.linux["devices"] = [
        entry_of("/dev/x", "c", major=1, minor=3, fileMode=mode, uid=5, gid=6)
    ]
    assert stat(c, "/dev/x") == [f"character special file|1:3|{shown}|5:6"]


def test_directories_on_the_way_are_made(container: Make) -> None:
    c = container()
    c.bundle.linux["devices"] = [entry_of("/dev/some/where/x", "c", major=1, minor=3)]
    assert stat(c, "/dev/some/where/x", "/dev/some/where") == [
        "character special file|1:3|666|0:0",
        "directory|0:0|755|0:0",
    ]


def test_slashes_and_dots_in_the_path(container: Make) -> None:
    c = container()
    c.bundle.linux["devices"] = [
        entry_of("/dev/x/", "c", major=1, minor=3),
        entry_of("/dev//y/../z", "c", major=1, minor=5),
        entry_of("/dev/./null/", "c", major=1, minor=3, fileMode=0o600),
    ]
    assert stat(c, "/dev/x", "/dev/z", "/dev/null") == [
        "character special file|1:3|666|0:0",
        "character special file|1:5|666|0:0",
        "character special file|1:3|600|0:0",
    ]


def test_what_is_there_already_stays(container: Make) -> None:
    c = container()
    c.bundle.writable()
    c.bundle.without_mount("/dev")
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.bundle.without_mount(name)
    (c.bundle.rootfs / "dev/x").write_text("a file\n")
    c.bundle.linux["devices"] = [entry_of("/dev/x", "c", major=1, minor=3)]
    assert c.shell("cat /dev/x") == "a file"


@pytest.mark.needs("userns")
def test_devices_in_a_user_namespace_are_the_hosts(container: Make) -> None:
    """Bound from the host, whose owner and mode they keep, whatever the config asks for."""
    c = mapped(container())
    c.bundle.namespace("network")
    before = os.stat("/dev/zero")
    c.bundle.linux["devices"] = [
        entry_of("/dev/zero", "c", major=1, minor=5, fileMode=0o600, uid=7, gid=8),
        entry_of("/dev/p", "p", fileMode=0o640, uid=7, gid=8),
    ]
    assert c.shell("stat -c '%F|%t:%T|%u' /dev/zero /dev/null; stat -c '%F|%a|%u:%g' /dev/p").split(
        "\n"
    ) == [
        "character special file|1:5|65534",
        "character special file|1:3|65534",
        "fifo|640|7:8",
    ]
    after = os.stat("/dev/zero")
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid,
        before.st_gid,
        before.st_mode,
    )


@pytest.mark.needs("userns")
def test_device_that_the_host_has_not(container: Make) -> None:
    c = mapped(container("/bin/true"))
    c.bundle.namespace("network")
    c.bundle.linux["devices"] = [entry_of("/dev/not-on-the-host", "c", major=1, minor=3)]
    c.create().failed("/linux/devices/0")
    c.nothing_left()
