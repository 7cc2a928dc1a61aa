"""Namespaces: new, joined by path, refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import kernel
from harness.signatures import Make

TYPES = {
    "pid": "pid", "ipc": "ipc", "uts": "uts", "mount": "mnt", "network": "net", "cgroup": "cgroup",
}  # fmt: skip
JOINABLE = [kind for kind in TYPES if kind != "mount"]
FLAGS = {"pid": "-fp", "ipc": "-i", "uts": "-u", "mount": "-m", "network": "-n", "cgroup": "-C"}


def own(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{TYPES[kind]}")


@pytest.fixture
def holder(leaks: object) -> Iterator[dict[str, str]]:  # noqa: ARG001
    """A process in new namespaces of all types but user: type to path of its namespace."""
    process = subprocess.Popen(
        ["unshare", *FLAGS.values(), "sh", "-c", "echo $$; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"1\n"
    pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    yield {kind: f"/proc/{pid}/ns/{name}" for kind, name in TYPES.items()}
    process.stdin.close()
    process.stdout.close()
    process.wait()


@pytest.mark.parametrize("kind", list(TYPES))
def test_new(container: Make, kind: str) -> None:
    c = container()
    c.bundle.namespace(kind)
    facts = c.facts()
    assert facts["namespaces"][TYPES[kind]] != own(kind)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in ("mount",)])
def test_of_the_host_when_not_asked_for(container: Make, kind: str) -> None:
    c = container()
    c.bundle.without_namespace(kind)
    if kind == "uts":
        del c.bundle.config["hostname"]
    if kind == "ipc":
        c.bundle.without_mount("/dev/mqueue")
    assert c.facts()["namespaces"][TYPES[kind]] == own(kind)


@pytest.mark.parametrize("kind", JOINABLE)
def test_joined(container: Make, holder: dict[str, str], kind: str) -> None:
    c = container()
    c.bundle.namespace(kind, holder[kind])
    if kind == "uts":
        del c.bundle.config["hostname"]
    facts = c.facts()
    assert facts["namespaces"][TYPES[kind]] == os.readlink(holder[kind])


def test_joined_pid_namespace_shows_its_processes(container: Make, holder: dict[str, str]) -> None:
    c = container()
    c.bundle.namespace("pid", holder["pid"])
    facts = c.facts()
    assert facts["pid"] > 1
    assert facts["ppid"] == 0


def test_all_joined_at_once(container: Make, holder: dict[str, str]) -> None:
    c = container()
    del c.bundle.config["hostname"]
    for kind in JOINABLE:
        c.bundle.namespace(kind, holder[kind])
    got = c.facts()["namespaces"]
    assert {kind: got[TYPES[kind]] for kind in JOINABLE} == {
        kind: os.readlink(holder[kind]) for kind in JOINABLE
    }


def test_joined_beside_a_new_user_namespace(container: Make, holder: dict[str, str]) -> None:
    """Init has no rights over them any more once it is in the new user namespace."""
    c = container()
    rootfs = c.bundle.path / "rootfs"
    for path in (rootfs, *rootfs.iterdir()):
        os.chown(path, 100000, 100000, follow_symlinks=False)
    # pytest keeps its directories to itself.
    for path in (c.bundle.path, *list(c.bundle.path.parents)[:3]):
        path.chmod(0o711)
    del c.bundle.config["hostname"]
    c.bundle.namespace("user")
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    c.bundle.linux.update(uidMappings=mapping, gidMappings=mapping)
    for kind in ("network", "ipc", "uts"):
        c.bundle.namespace(kind, holder[kind])
    # An mqueue file system belongs to the IPC namespace, in which this container has no rights.
    c.bundle.without_mount("/dev/mqueue")
    got = c.facts()["namespaces"]
    for kind in ("network", "ipc", "uts"):
        assert got[TYPES[kind]] == os.readlink(holder[kind])
    assert got["user"] != os.readlink("/proc/self/ns/user")


def test_hooks_stay_out_of_a_joined_pid_namespace(
    container: Make, holder: dict[str, str], tmp_path: Path
) -> None:
    c = container("/bin/true")
    c.bundle.namespace("pid", holder["pid"])
    script = f"readlink /proc/self/ns/pid >{tmp_path}/pid"
    c.bundle.config["hooks"] = {
        "createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
        ]
    }
    c.run().ok()
    assert (tmp_path / "pid").read_text().strip() == own("pid")


def test_namespaces_of_another_container(container: Make) -> None:
    first, second = container().running(), container()
    for kind in ("pid", "ipc", "uts"):
        second.bundle.namespace(kind, f"/proc/{first.pid}/ns/{kind}")
    del second.bundle.config["hostname"]
    facts = second.facts()
    assert facts["hostname"] == "container"
    assert facts["namespaces"]["pid"] == os.readlink(f"/proc/{first.pid}/ns/pid")
    assert facts["pid"] > 1


@pytest.mark.runc_fails("it tells one failure in three lines")
@pytest.mark.parametrize("kind", JOINABLE)
def test_path_of_another_type(container: Make, kind: str) -> None:
    wrong = "uts" if kind != "uts" else "ipc"
    c = container("/bin/true")
    c.bundle.namespace(kind, f"/proc/self/ns/{wrong}")
    c.create().failed()
    c.nothing_left()


def test_path_that_is_not_there(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.namespace("network", "/no/such/namespace")
    c.create().failed("/no/such/namespace")
    c.nothing_left()


@pytest.mark.runc_fails("it tells one failure in three lines")
def test_path_that_is_no_namespace(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.namespace("network", "/etc/passwd")
    c.create().failed()
    c.nothing_left()


def test_duplicate(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.linux["namespaces"].append({"type": "pid"})
    c.create().failed("dup")
    c.nothing_left()


def test_unknown_type(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.linux["namespaces"].append({"type": "astral"})
    c.create().failed("astral")
    c.nothing_left()


@pytest.mark.runc_fails("domainname came with runc 1.2")
def test_host_and_domain_name(container: Make) -> None:
    c = container()
    c.bundle.config.update(hostname="box", domainname="example.org")
    facts = c.facts()
    assert facts["hostname"] == "box"
    assert facts["domainname"] == "example.org"


def test_host_name_needs_a_namespace(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.without_namespace("uts")
    c.create().failed("hostname")
    c.nothing_left()


def test_loopback_is_up_in_a_new_network(container: Make) -> None:
    c = container()
    c.bundle.namespace("network")
    assert c.shell("cat /sys/class/net/lo/flags") == "0x9"


def test_loopback_of_a_joined_network_is_untouched(container: Make, holder: dict[str, str]) -> None:
    c = container()
    c.bundle.namespace("network", holder["network"])
    assert c.shell("cat /sys/class/net/lo/flags") == "0x8"


def test_cgroup_namespace_is_rooted_at_the_container(container: Make) -> None:
    c = container()
    c.bundle.namespace("cgroup")
    lines = c.facts()["cgroup"].splitlines()
    controllers = [line for line in lines if c.lane.tops() and not line.startswith("0::")]
    for line in controllers:
        assert line.endswith(":/"), line


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("kernel.msgmax", "65535", "ipc"), ("net.ipv4.ip_forward", "1", "network")],
)
def test_sysctl(container: Make, key: str, value: str, kind: str) -> None:
    c = container()
    c.bundle.namespace(kind)
    c.bundle.linux["sysctl"] = {key: value}
    host = Path("/proc/sys", *key.split(".")).read_text()
    assert c.shell(f"cat /proc/sys/{key.replace('.', '/')}") == value
    assert Path("/proc/sys", *key.split(".")).read_text() == host


@pytest.mark.parametrize(
    ("key", "lost"),
    [
        ("kernel.msgmax", "ipc"),
        ("net.ipv4.ip_forward", "network"),
        ("vm.swappiness", ""),
        ("kernel.core_pattern", ""),
    ],
)
def test_sysctl_of_the_host(container: Make, key: str, lost: str) -> None:
    c = container("/bin/true")
    host = Path("/proc/sys", *key.split(".")).read_text()
    if lost:
        c.bundle.without_namespace(lost)
        c.bundle.without_mount("/dev/mqueue")
    c.bundle.linux["sysctl"] = {key: "1"}
    c.create().failed(key)
    c.nothing_left()
    assert Path("/proc/sys", *key.split(".")).read_text() == host


@pytest.mark.parametrize("path", ["/proc/self/ns/net", "/proc/thread-self/ns/net", "bound"])
def test_sysctl_of_a_network_that_is_the_host_s(container: Make, tmp_path: Path, path: str) -> None:
    """A path does not make the network namespace another one than the runtime's."""
    key = "net.ipv4.ip_forward"
    host = Path("/proc/sys", *key.split(".")).read_text()
    c = container("/bin/true")
    if path == "bound":
        (tmp_path / "net").write_text("")
        kernel.mount("/proc/self/ns/net", str(tmp_path / "net"), flags=kernel.MS_BIND)
        path = str(tmp_path / "net")
    c.bundle.namespace("network", path)
    c.bundle.linux["sysctl"] = {key: "1"}
    try:
        c.create().failed(f"/linux/sysctl/{key}", "host network namespace")
    finally:
        if path.startswith("/tmp"):
            kernel.unmount(path)
    c.nothing_left()
    assert Path("/proc/sys", *key.split(".")).read_text() == host


@pytest.mark.needs("userns")
def test_user_namespace(container: Make) -> None:
    c = container()
    c.bundle.namespace("user")
    c.bundle.namespace("network")  # sysfs belongs to the user namespace of its network namespace
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    c.bundle.linux.update(uidMappings=mapping, gidMappings=mapping)
    for directory in [c.bundle.path, c.bundle.rootfs, *c.bundle.path.parents]:
        if str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    for directory, names, files in os.walk(c.bundle.rootfs):
        for name in names + files:
            os.chown(os.path.join(directory, name), 100000, 100000, follow_symlinks=False)
    os.chown(c.bundle.rootfs, 100000, 100000)
    for program in ("busybox", "probe"):
        os.chown(c.bundle.rootfs / "bin" / program, 0, 0)
    facts = c.facts()
    assert facts["uid"] == [0, 0, 0]
    assert facts["namespaces"]["user"] != os.readlink("/proc/self/ns/user")
