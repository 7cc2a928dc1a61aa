"""Network devices of the host that move into the container's network namespace."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import Make
from harness import kernel
from harness.container import Container
from harness.leaks import Watch

pytestmark = [
    pytest.mark.needs("program:ip"),
    pytest.mark.runc_fails("it knows netDevices from 1.4 on"),
]


def ip(*arguments: str, pid: int | None = None) -> Any:
    prefix = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []
    done = subprocess.run([*prefix, "ip", "-j", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "[]")


@pytest.fixture
def network(leaks: Watch) -> Iterator[None]:  # noqa: ARG001
    """A network namespace of the test's own, with two devices; the host's is never touched."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(kernel.CLONE_NEWNET)
    try:
        ip("link", "add", "dev0", "type", "veth", "peer", "name", "peer0")
        yield
    finally:
        kernel.setns(own, kernel.CLONE_NEWNET)
        os.close(own)


def with_devices(container: Make, **devices: Any) -> Container:
    c = container()
    c.bundle.namespace("network")
    c.bundle.linux["netDevices"] = devices
    return c


def link(name: str, pid: int | None = None) -> dict[str, Any]:
    return ip("link", "show", "dev", name, pid=pid)[0]  # type: ignore[no-any-return]


def names(pid: int | None = None) -> set[str]:
    return {entry["ifname"] for entry in ip("link", "show", pid=pid)}


def addresses(name: str, pid: int | None = None) -> set[str]:
    entries = ip("address", "show", "dev", name, pid=pid)[0]["addr_info"]
    return {f"{entry['local']}/{entry['prefixlen']}" for entry in entries}


@pytest.mark.usefixtures("network")
def test_device_moves_and_is_set_up(container: Make) -> None:
    mac = link("dev0")["address"]
    ip("link", "set", "dev0", "mtu", "1234")
    c = with_devices(container, dev0={}).running()
    moved = link("dev0", c.pid)
    assert moved["mtu"] == 1234
    assert moved["address"] == mac
    assert "UP" in moved["flags"]
    assert "dev0" not in names()
    assert "peer0" in names()


@pytest.mark.usefixtures("network")
def test_device_is_renamed(container: Make) -> None:
    c = with_devices(container, dev0={"name": "eth7"}, peer0={"name": "eth8"}).running()
    assert names(c.pid) == {"lo", "eth7", "eth8"}
    assert names() == {"lo"}


@pytest.mark.usefixtures("network")
def test_name_is_a_template(container: Make) -> None:
    c = with_devices(container, dev0={"name": "eth%d"}).running()
    assert names(c.pid) == {"lo", "eth0"}
    assert "UP" in link("eth0", c.pid)["flags"]


@pytest.mark.usefixtures("network")
def test_lasting_global_addresses_come_along(container: Make) -> None:
    for address in ("10.9.8.7/24", "10.9.8.8/32", "fd00::7/64"):
        ip("address", "add", address, "dev", "dev0")
    ip("address", "add", "10.9.8.9/24", "dev", "dev0", "valid_lft", "1000", "preferred_lft", "1000")
    ip("address", "add", "10.9.7.7/24", "scope", "link", "dev", "dev0")
    ip("link", "set", "dev0", "up")
    c = with_devices(container, dev0={"name": "eth0"}).running()
    found = addresses("eth0", c.pid)
    assert {"10.9.8.7/24", "10.9.8.8/32", "fd00::7/64"} <= found
    assert not {"10.9.8.9/24", "10.9.7.7/24"} & found


@pytest.mark.usefixtures("network")
def test_sysctl_of_a_moved_device(container: Make) -> None:
    c = with_devices(container, dev0={"name": "eth0.1"})
    c.bundle.linux["sysctl"] = {"net/ipv4/conf/eth0.1/rp_filter": "2"}
    assert c.shell("cat /proc/sys/net/ipv4/conf/eth0.1/rp_filter") == "2"


@pytest.mark.usefixtures("network")
def test_into_a_user_namespace(container: Make) -> None:
    c = with_devices(container, dev0={})
    c.bundle.namespace("user")
    for name in ("uidMappings", "gidMappings"):
        c.bundle.linux[name] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    assert names(c.running().pid) == {"lo", "dev0"}


@pytest.mark.usefixtures("network")
def test_into_a_joined_namespace(container: Make) -> None:
    first = container()
    first.bundle.namespace("network")
    first.running()
    c = with_devices(container, dev0={"name": "eth0"})
    c.bundle.namespace("network", f"/proc/{first.pid}/ns/net")
    c.running()
    assert names(first.pid) == {"lo", "eth0"}


@pytest.mark.usefixtures("network")
def test_hooks_see_the_moved_device(container: Make) -> None:
    c = with_devices(container, dev0={"name": "eth0"})
    command = "nsenter --net=/proc/${pid%%,*}/ns/net ip -j link > links"
    script = 'read state; pid=${state#*\\"pid\\":}; ' + command
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", script],
        "env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"],
    }
    c.bundle.config["hooks"] = {"createRuntime": [hook]}
    c.run().ok()
    links = json.loads((c.bundle.path / "links").read_text())
    assert {entry["ifname"] for entry in links} == {"lo", "eth0"}


@pytest.mark.usefixtures("network")
def test_device_that_is_not_there(container: Make) -> None:
    c = with_devices(container, nothere={})
    c.create().failed('/linux/netDevices/nothere "nothere"', "no such device")
    c.nothing_left()


@pytest.mark.usefixtures("network")
def test_name_that_is_taken(container: Make) -> None:
    c = with_devices(container, dev0={"name": "lo"})
    c.create().failed("/linux/netDevices/dev0", "file exists")
    c.nothing_left()


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("devices", "place"),
    [
        ({"dev0": {"name": "a/b"}}, "/linux/netDevices/dev0/name"),
        ({"dev0": {"name": "a" * 16}}, "/linux/netDevices/dev0/name"),
        ({"a:b": {}}, "/linux/netDevices/a:b"),
        ({"dev0": {"name": "x"}, "peer0": {"name": "x"}}, "/linux/netDevices/peer0/name"),
    ],
    ids=["slash", "long", "colon", "doubled"],
)
def test_refused_names(container: Make, devices: dict[str, Any], place: str) -> None:
    c = with_devices(container, **devices)
    c.create().failed(place)
    c.nothing_left()
    assert names() == {"lo", "dev0", "peer0"}


@pytest.mark.usefixtures("network")
def test_without_a_network_namespace(container: Make) -> None:
    c = with_devices(container, dev0={})
    c.bundle.without_namespace("network")
    c.create().failed(
        "/linux/netDevices", "unable to move network devices without a private NET namespace"
    )
    assert "dev0" in names()


@pytest.mark.usefixtures("network")
def test_the_runtimes_own_namespace_by_path(container: Make) -> None:
    """runc leaves devices alone there; so they keep their names."""
    c = with_devices(container, dev0={"name": "eth0"})
    c.bundle.namespace("network", "/proc/self/ns/net")
    c.create().ok()
    assert "dev0" in names()
