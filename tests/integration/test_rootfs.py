"""The root filesystem: read-only, pivot_root, propagation, masked and read-only paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.signatures import Make


def test_read_only(container: Make) -> None:
    c = container()
    assert "ro" in c.facts().mounts()["/"]["options"]
    assert c.shell("touch /new 2>/dev/null || echo refused") == "refused"


def test_writable(container: Make) -> None:
    c = container()
    c.bundle.writable()
    assert c.shell("echo x >/new; cat /new") == "x"
    assert (c.bundle.rootfs / "new").read_text() == "x\n"


def test_read_only_leaves_the_host_writable(container: Make) -> None:
    c = container("/bin/true")
    c.run().ok()
    (c.bundle.rootfs / "still").write_text("writable")


def test_rootfs_that_is_a_mount(container: Make) -> None:
    c = container()
    path = str(c.bundle.rootfs)
    kernel.mount(path, path, flags=kernel.MS_BIND)
    try:
        assert c.shell("cat /etc/group | head -n 1") == "root:x:0:"
    finally:
        kernel.unmount(path)


def test_absolute_path(container: Make) -> None:
    c = container("/bin/echo", "fine")
    c.bundle.config["root"]["path"] = str(c.bundle.rootfs)
    assert c.run().ok().out == "fine\n"


def test_rootfs_at_the_top_of_the_bundle(container: Make, tmp_path: Path) -> None:
    c = container("/bin/echo", "fine")
    elsewhere = tmp_path / "else where ü"
    c.bundle.rootfs.rename(elsewhere)
    c.bundle.config["root"]["path"] = str(elsewhere)
    assert c.run().ok().out == "fine\n"


def test_no_pivot(container: Make) -> None:
    c = container("/bin/sh", "-c", "ls /; cat /proc/self/mountinfo")
    out = c.run("--no-pivot").ok().out
    assert "probe" not in out.splitlines()
    assert "bin" in out.splitlines()
    assert not [line for line in out.splitlines() if " /proc " in line and "proc proc" not in line]


def test_pivot_leaves_no_old_root(container: Make) -> None:
    table = container().facts()["mountinfo"].splitlines()
    roots = [line for line in table if line.split()[4] == "/"]
    assert len(roots) == 1


@pytest.mark.parametrize(
    ("value", "field"),
    [("private", ""), ("rprivate", ""), ("slave", "master:"), ("rslave", "master:")]
    + [
        pytest.param(
            value,
            field,
            marks=pytest.mark.runc_fails("it sets these before pivot_root, which undoes them"),
        )
        for value, field in (
            ("shared", "shared:"),
            ("rshared", "shared:"),
            ("unbindable",) * 2,
            ("runbindable", "unbindable"),
        )
    ],
)
def test_propagation(container: Make, value: str, field: str) -> None:
    c = container()
    path = str(c.bundle.rootfs)
    kernel.mount(path, path, flags=kernel.MS_BIND)
    kernel.mount("none", path, flags=kernel.MS_SHARED)
    c.bundle.linux["rootfsPropagation"] = value
    try:
        fields = c.facts().mounts()["/"]["propagation"]
    finally:
        kernel.unmount(path)
    if field == "master:":
        assert [
            entry for entry in fields if entry.startswith(("master:", "shared:"))
        ] or fields == []
        assert not [entry for entry in fields if entry.startswith("shared:")]
    elif field:
        assert [entry for entry in fields if entry.startswith(field)], fields
    else:
        assert fields == []


def test_unknown_propagation(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.linux["rootfsPropagation"] = "sideways"
    c.create().failed("rootfsPropagation")
    c.nothing_left()


def test_masked_file_and_directory(container: Make) -> None:
    c = container()
    (c.bundle.rootfs / "secret").write_text("secret\n")
    (c.bundle.rootfs / "secrets").mkdir()
    (c.bundle.rootfs / "secrets/one").write_text("secret\n")
    c.bundle.linux["maskedPaths"] = ["/secret", "/secrets", "/not/there", "/secret"]
    text = c.shell(
        "cat /secret; stat -c %t:%T /secret; ls /secrets; "
        "touch /secrets/new 2>/dev/null || echo refused; echo x >/secret"
    )
    assert text.split() == ["1:3", "refused"]
    assert (c.bundle.rootfs / "secret").read_text() == "secret\n"


def test_masked_paths_of_the_default(container: Make) -> None:
    c = container()
    assert c.shell(
        "head -c 1 /proc/kcore | wc -c; ls /sys/firmware | wc -l; cat /proc/keys | wc -c"
    ).split() == ["0", "0", "0"]


def test_read_only_paths(container: Make) -> None:
    c = container()
    c.bundle.writable()
    for name in ("kept", "kept/sub"):
        (c.bundle.rootfs / name).mkdir()
    (c.bundle.rootfs / "file").write_text("x")
    c.bundle.linux["readonlyPaths"] = ["/kept", "/file", "/proc/sys", "/not/there"]
    script = (
        "for i in /kept/new /kept/sub/new /file /proc/sys/kernel/domainname; do "
        "(echo 1 >$i) 2>/dev/null || echo ro; done; echo 1 >/free && cat /free"
    )
    assert c.shell(script).split() == ["ro", "ro", "ro", "ro", "1"]


def test_read_only_paths_keep_the_flags_of_their_mount(container: Make) -> None:
    c = container()
    c.bundle.linux["readonlyPaths"] = ["/dev/shm"]
    options = c.facts().mounts()["/dev/shm"]["options"]
    assert {"ro", "nosuid", "noexec", "nodev"} <= options


def test_paths_that_are_links_do_not_lead_outside(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true")
    outside = tmp_path / "outside"
    outside.mkdir()
    (c.bundle.rootfs / "link").symlink_to(outside)
    c.bundle.linux["maskedPaths"] = ["/link"]
    c.bundle.linux["readonlyPaths"] = ["/link"]
    c.run()
    assert os.listdir(outside) == []


def test_relative_masked_path(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.linux["maskedPaths"] = ["proc/kcore"]
    result = c.create()
    if c.runtime.kind == "pyrunc":
        result.failed("maskedPaths")
