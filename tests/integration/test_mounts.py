"""Mounts: file systems, binds, their options, propagation, and what is made for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import kernel
from harness.bundle import mount
from harness.signatures import Make


def volume(path: Path, content: str = "host\n") -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    return path


def test_default_mounts(container: Make) -> None:
    table = container().facts().mounts()
    for destination, kind, options in (
        ("/proc", "proc", set()),
        ("/dev", "tmpfs", {"nosuid"}),
        ("/dev/pts", "devpts", {"nosuid", "noexec"}),
        ("/dev/shm", "tmpfs", {"nosuid", "noexec", "nodev"}),
        ("/dev/mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
        ("/sys", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
    ):
        assert table[destination]["type"] == kind
        assert options <= table[destination]["options"], destination
    assert "mode=755" in table["/dev"]["super"]
    assert "size=65536k" in table["/dev"]["super"]
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= table["/dev/pts"]["super"]


def test_nothing_of_the_host_is_mounted(container: Make) -> None:
    c = container()
    facts = c.facts()
    table = facts.mounts()
    assert table["/"]["root"].endswith("/rootfs")
    assert not [path for path in table if path.startswith(("/tmp/", "/work", "/old"))]


def test_the_order_is_that_of_the_list(container: Make) -> None:
    c = container("/bin/ls", "/mnt/inner")
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs"))
    c.bundle.mounts.append(mount("/tmp/inner", "tmpfs", "tmpfs", "size=64k"))
    table = c.facts().mounts()
    assert "size=64k" in table["/tmp/inner"]["super"]


def test_later_mount_hides_the_earlier(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "size=64k"))
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "size=128k"))
    assert "size=128k" in c.facts().mounts()["/tmp"]["super"]


@pytest.mark.parametrize(
    "option", ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"]
)
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_option(container: Make, tmp_path: Path, kind: str, option: str) -> None:
    c = container()
    if kind == "bind":
        c.bundle.mounts.append(
            mount("/tmp", "bind", str(volume(tmp_path / "volume")), "bind", option)
        )
    else:
        c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", option))
    assert option in c.facts().mounts()["/tmp"]["options"]


def test_options_do_their_work(container: Make, tmp_path: Path) -> None:
    c = container()
    host = volume(tmp_path / "volume")
    (host / "script").write_text("#!/bin/sh\necho ran\n")
    (host / "script").chmod(0o755)
    os.mknod(host / "null", 0o20666, os.makedev(1, 3))
    (host / "null").chmod(0o666)
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "rbind", "ro", "nodev", "noexec"))
    assert c.shell("echo x >/tmp/new || echo ro; /tmp/script || echo noexec; cat /tmp/null || echo nodev").split() == [
        "ro", "noexec", "nodev",
    ]  # fmt: skip


def test_last_of_contrary_options_wins(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(
        mount("/tmp", "tmpfs", "tmpfs", "ro", "rw", "nodev", "dev", "exec", "noexec")
    )
    options = c.facts().mounts()["/tmp"]["options"]
    assert {"rw", "noexec"} <= options
    assert not {"ro", "nodev"} & options


def test_options_of_the_file_system(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "size=100k", "mode=700", "nr_inodes=50"))
    assert {"size=100k", "mode=700", "nr_inodes=50"} <= c.facts().mounts()["/tmp"]["super"]


def test_mode_of_a_tmpfs_is_that_of_its_directory(container: Make) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs"))
    assert c.shell("stat -c %a /tmp") == "1777"


def test_unknown_option(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "sideways"))
    c.create().failed("/tmp")
    c.nothing_left()


def test_unknown_file_system(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/tmp", "nosuchfs", "x"))
    c.create().failed("/tmp")
    c.nothing_left()


def test_bind_directory(container: Make, tmp_path: Path) -> None:
    c = container()
    host = volume(tmp_path / "volume")
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind"))
    assert c.shell("cat /tmp/file; echo inside >/tmp/new") == "host"
    assert (host / "new").read_text() == "inside\n"


def test_bind_without_a_type(container: Make, tmp_path: Path) -> None:
    c = container()
    entry = mount("/tmp", "", str(volume(tmp_path / "volume")), "rbind")
    del entry["type"]
    c.bundle.mounts.append(entry)
    assert c.shell("cat /tmp/file") == "host"


def test_bind_file_makes_its_target(container: Make, tmp_path: Path) -> None:
    c = container()
    c.bundle.mounts.append(
        mount("/etc/made/by/runtime", "bind", str(volume(tmp_path / "v") / "file"), "bind", "ro")
    )
    assert c.shell("cat /etc/made/by/runtime; (echo x >/etc/made/by/runtime) 2>/dev/null || echo ro").split() == [
        "host", "ro",
    ]  # fmt: skip
    made = c.bundle.rootfs / "etc/made/by/runtime"
    assert made.is_file()
    assert made.stat().st_size == 0
    assert made.parent.stat().st_mode & 0o777 == 0o755


def test_bind_directory_makes_its_target(container: Make, tmp_path: Path) -> None:
    c = container()
    c.bundle.mounts.append(mount("/srv/made", "bind", str(volume(tmp_path / "v")), "bind"))
    assert c.shell("cat /srv/made/file") == "host"
    assert (c.bundle.rootfs / "srv/made").is_dir()


def test_bind_socket_and_device(container: Make, tmp_path: Path) -> None:
    import socket

    c = container()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    c.bundle.mounts.append(mount("/tmp/socket", "bind", str(tmp_path / "socket"), "bind"))
    c.bundle.mounts.append(mount("/dev/extra", "bind", "/dev/zero", "bind"))
    assert c.shell("stat -c %F /tmp/socket; stat -c %t:%T /dev/extra").splitlines() == [
        "socket",
        "1:5",
    ]
    listener.close()


def test_relative_source_is_of_the_bundle(container: Make) -> None:
    c = container()
    volume(c.bundle.path / "data")
    c.bundle.mounts.append(mount("/tmp", "bind", "data", "bind"))
    assert c.shell("cat /tmp/file") == "host"


def test_source_that_is_not_there(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/tmp", "bind", "/no/such/source", "bind"))
    c.create().failed("/no/such/source")
    c.nothing_left()


def test_destination_that_is_relative(container: Make) -> None:
    """Deprecated by the specification, and read as from the root."""
    c = container()
    c.bundle.mounts.append(mount("tmp", "tmpfs", "tmpfs", "size=64k"))
    assert "size=64k" in c.facts().mounts()["/tmp"]["super"]


def test_bind_of_a_symlink_binds_its_target(container: Make, tmp_path: Path) -> None:
    c = container()
    host = volume(tmp_path / "volume")
    (tmp_path / "link").symlink_to(host)
    c.bundle.mounts.append(mount("/tmp", "bind", str(tmp_path / "link"), "bind"))
    assert c.shell("cat /tmp/file") == "host"


@pytest.mark.parametrize(("option", "seen"), [("bind", "outer"), ("rbind", "inner")])
def test_recursive_bind(container: Make, tmp_path: Path, option: str, seen: str) -> None:
    c = container()
    host = volume(tmp_path / "volume", "outer\n")
    (host / "sub").mkdir()
    (host / "sub/file").write_text("outer\n")
    inner = volume(tmp_path / "inner", "inner\n")
    kernel.mount(str(inner), str(host / "sub"), flags=kernel.MS_BIND)
    try:
        c.bundle.mounts.append(mount("/tmp", "bind", str(host), option))
        assert c.shell("cat /tmp/sub/file") == seen
    finally:
        kernel.unmount(str(host / "sub"))


@pytest.mark.parametrize(("option", "inner_ro"), [("ro", False), ("rro", True)])
@pytest.mark.needs("kernel:5.12")
def test_recursive_read_only(container: Make, tmp_path: Path, option: str, inner_ro: bool) -> None:
    c = container()
    host = volume(tmp_path / "volume")
    (host / "sub").mkdir()
    kernel.mount("tmpfs", str(host / "sub"), "tmpfs")
    try:
        c.bundle.mounts.append(mount("/tmp", "bind", str(host), "rbind", option))
        table = c.facts().mounts()
    finally:
        kernel.unmount(str(host / "sub"))
    assert "ro" in table["/tmp"]["options"]
    assert ("ro" in table["/tmp/sub"]["options"]) is inner_ro


def test_read_only_bind_leaves_the_source_alone(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true")
    host = volume(tmp_path / "volume")
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind", "ro"))
    c.run().ok()
    (host / "still").write_text("writable")


def test_flags_of_the_source_are_kept(container: Make, tmp_path: Path) -> None:
    c = container()
    host = tmp_path / "volume"
    host.mkdir()
    kernel.mount("tmpfs", str(host), "tmpfs")
    kernel.mount(
        "none", str(host), flags=32 | kernel.MS_BIND | 2 | 4
    )  # MS_REMOUNT, MS_NOSUID, MS_NODEV
    try:
        c.bundle.mounts.append(mount("/tmp", "bind", str(host), "bind"))
        assert {"nosuid", "nodev"} <= c.facts().mounts()["/tmp"]["options"]
    finally:
        kernel.unmount(str(host))


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ],
)
def test_propagation(container: Make, tmp_path: Path, option: str, field: str) -> None:
    c = container()
    c.bundle.mounts.append(mount("/tmp", "bind", str(volume(tmp_path / "volume")), "rbind", option))
    fields = c.facts().mounts()["/tmp"]["propagation"]
    assert [entry for entry in fields if entry.startswith(field)] if field else fields == []


@pytest.mark.parametrize("option", ["slave", "rslave"])
def test_slave_sees_mounts_of_the_host(container: Make, tmp_path: Path, option: str) -> None:
    c = container(
        "/bin/sh", "-c", "echo up; until [ -e /tmp/sub/marker ]; do sleep 0.01; done; echo seen"
    )
    host = volume(tmp_path / "volume")
    (host / "sub").mkdir()
    kernel.mount(str(host), str(host), flags=kernel.MS_BIND)
    kernel.mount("none", str(host), flags=kernel.MS_SHARED)
    c.bundle.linux["rootfsPropagation"] = "rslave"
    c.bundle.mounts.append(mount("/tmp", "bind", str(host), "rbind", option))
    try:
        c.create().ok()
        c.start().ok()
        c.wait_for_output("up")
        kernel.mount("tmpfs", str(host / "sub"), "tmpfs")
        (host / "sub/marker").touch()
        c.wait_for_output("seen")
        assert c.wait() == 0
    finally:
        c.delete(force=True)
        kernel.unmount(str(host / "sub"), kernel.MNT_DETACH)
        kernel.unmount(str(host), kernel.MNT_DETACH)


def test_private_container_does_not_show_its_mounts(container: Make) -> None:
    """Even where the bundle is on a shared mount nothing comes out."""
    c = container()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs"))
    path = str(c.bundle.path)
    kernel.mount(path, path, flags=kernel.MS_BIND)
    kernel.mount("none", path, flags=kernel.MS_SHARED)
    before = kernel.mountinfo()
    try:
        c.created()
        assert kernel.mountinfo() == before
        c.delete(force=True).ok()
        assert kernel.mountinfo() == before
    finally:
        kernel.unmount(path, kernel.MNT_DETACH)


def test_tmpcopyup(container: Make) -> None:
    c = container()
    (c.bundle.rootfs / "srv").mkdir()
    (c.bundle.rootfs / "srv/kept").write_text("kept\n")
    c.bundle.mounts.append(mount("/srv", "tmpfs", "tmpfs", "tmpcopyup"))
    assert c.shell("cat /srv/kept; echo x >/srv/new; cat /srv/new").split() == ["kept", "x"]
    assert not (c.bundle.rootfs / "srv/new").exists()


def test_read_only_tmpfs_on_dev(container: Make) -> None:
    """Devices are made before the mount becomes read-only."""
    c = container()
    entry = next(one for one in c.bundle.mounts if one["destination"] == "/dev")
    entry["options"].append("ro")
    table = c.shell(
        "cat /proc/self/mountinfo; stat -c %t:%T /dev/null; touch /dev/x 2>/dev/null || echo ro"
    ).splitlines()
    assert table[-2:] == ["1:3", "ro"]


def test_source_inside_of_the_container(container: Make) -> None:
    """A later bind may have its source below an earlier mount (seen through the bundle's rootfs)."""
    c = container()
    (c.bundle.rootfs / "srv").mkdir()
    c.bundle.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "size=64k"))
    c.bundle.mounts.append(mount("/srv", "bind", str(c.bundle.rootfs / "tmp"), "bind"))
    assert "size=64k" in c.facts().mounts()["/srv"]["super"]


def test_dangling_symlink_in_the_destination_stays_inside(container: Make, tmp_path: Path) -> None:
    c = container()
    (c.bundle.rootfs / "srv").symlink_to("/made/up")
    c.bundle.mounts.append(mount("/srv/deep", "bind", str(volume(tmp_path / "v")), "bind"))
    assert c.shell("cat /made/up/deep/file") == "host"
    assert not Path("/made").exists()


def test_hundred_mounts(container: Make, tmp_path: Path) -> None:
    c = container(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}])
    host = volume(tmp_path / "volume")
    for number in range(100):
        c.bundle.mounts.append(mount(f"/tmp/{number}", "bind", str(host), "bind", "ro"))
    assert len([path for path in c.facts().mounts() if path.startswith("/tmp/")]) == 100


@pytest.mark.runc_fails(
    "the tmpfs over the v1 hierarchies stays writable although the mount says ro"
)
def test_cgroup_mount(container: Make) -> None:
    c = container()
    c.bundle.namespace("cgroup")
    table = c.facts().mounts()
    kinds = {entry["type"] for path, entry in table.items() if path.startswith("/sys/fs/cgroup")}
    if c.lane.mode == "v2":
        assert kinds == {"cgroup2"}
    else:
        assert "cgroup" in kinds
        assert table["/sys/fs/cgroup/memory"]["root"] == "/"
    for path, entry in table.items():
        if path.startswith("/sys/fs/cgroup"):
            assert "ro" in entry["options"], path
            # In a cgroup namespace the place in the host's hierarchy stays unknown.
            assert entry["source"] in ("tmpfs", "cgroup", "cgroup2"), path


def test_cgroup_mount_without_cgroup_namespace_shows_the_container_alone(container: Make) -> None:
    c = container()
    if c.lane.mode == "v2":
        pytest.skip(
            "without a cgroup namespace the unified hierarchy is shown whole (--cgroupns=host)"
        )
    pids = c.shell("cat /sys/fs/cgroup/devices/cgroup.procs").split()
    assert "1" in pids
    assert "0" not in pids, "processes outside of the container are listed"


def test_bind_over_proc_is_refused(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/proc", "bind", str(volume(tmp_path / "v")), "bind"))
    c.create().failed("proc")
    c.nothing_left()


def test_bind_into_proc_is_refused(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/proc/self/attr", "bind", str(volume(tmp_path / "v")), "bind"))
    c.create().failed("inside /proc")
    c.nothing_left()


@pytest.mark.parametrize("name", ["meminfo", "cpuinfo", "stat", "uptime"])
def test_bind_of_lxcfs_files_is_allowed(container: Make, tmp_path: Path, name: str) -> None:
    c = container()
    c.bundle.mounts.append(
        mount(f"/proc/{name}", "bind", str(volume(tmp_path / "v") / "file"), "bind")
    )
    assert c.shell(f"cat /proc/{name}") == "host"


def test_parameters_of_a_file_system_do_nothing_to_a_bind(container: Make, tmp_path: Path) -> None:
    c = container("/bin/busybox", "stat", "-c", "%a", "/tmp")
    source = volume(tmp_path / "v")
    source.chmod(0o711)
    c.bundle.mounts.append(mount("/tmp", "bind", str(source), "bind", "mode=755,size=1k"))
    assert c.run().ok().out == "711\n"


@pytest.mark.runc_fails("1.1 ignores unknown options of binds in silence")
def test_bind_with_an_unknown_flag_is_refused(container: Make, tmp_path: Path) -> None:
    c = container("/bin/true")
    c.bundle.mounts.append(mount("/tmp", "bind", str(volume(tmp_path / "v")), "bind", "readonly"))
    c.create().failed("/mounts/7" if c.runtime.kind == "pyrunc" else "bind")
    c.nothing_left()
