"""User namespaces: mappings, joined ones with and without mappings, and who owns what beside them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel
from harness.container import Container
from harness.mappings import BASE, TYPES, joining, mapped, mapping, open_up
from harness.signatures import Make

pytestmark = pytest.mark.needs("userns")


def namespace_of(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{TYPES[kind]}")


@pytest.fixture
def host_network(leaks: object) -> Iterator[str]:  # noqa: ARG001
    """A network and an IPC namespace that belong to the host's user namespace, by a pid."""
    process = subprocess.Popen(
        ["unshare", "-n", "-i", "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stdin
    process.stdout.readline()
    yield str(process.pid)
    process.stdin.close()
    process.stdout.close()
    process.wait()


def id_map(container: Container, which: str) -> list[list[int]]:
    lines = container.shell(f"cat /proc/self/{which}").splitlines()
    return [[int(word) for word in line.split()] for line in lines]


def test_new(container: Make) -> None:
    c = mapped(container())
    facts = c.facts()
    assert facts["uid"] == [0, 0, 0]
    assert facts["namespaces"]["user"] != namespace_of("self", "user")


def test_mappings_as_given(container: Make) -> None:
    c = mapped(container())
    c.bundle.linux["uidMappings"] = [
        *mapping(size=10),
        {"containerID": 70, "hostID": 200000, "size": 3},
    ]
    assert id_map(c, "uid_map") == [[0, BASE, 10], [70, 200000, 3]]


def test_groups_can_be_set(container: Make) -> None:
    c = mapped(container())
    c.bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7, 8]}
    assert c.shell("cat /proc/self/setgroups; id -u; id -G") == "allow\n5\n6 7 8"


def test_files_belong_to_the_mapped_root(container: Make) -> None:
    c = mapped(container())
    c.bundle.writable()
    c.shell("touch /tmp/made")
    assert (c.bundle.rootfs / "tmp/made").stat().st_uid == BASE


def test_as_many_mappings_as_the_kernel_takes(container: Make) -> None:
    c = mapped(container())
    many = [{"containerID": number, "hostID": 2 * number + 1, "size": 1} for number in range(340)]
    c.bundle.linux.update(uidMappings=many, gidMappings=many)
    open_up(c, 1)
    assert len(id_map(c, "uid_map")) == 340


def test_more_mappings_than_the_kernel_takes(container: Make) -> None:
    c = mapped(container("/bin/true"))
    many = [{"containerID": number, "hostID": 2 * number + 1, "size": 1} for number in range(341)]
    c.bundle.linux.update(uidMappings=many)
    c.create().failed("/linux/uidMappings", "at most 340 mappings, got 341")
    c.nothing_left()


def test_mappings_larger_than_a_page(container: Make) -> None:
    c = mapped(container("/bin/true"))
    many = [
        {"containerID": number, "hostID": 3000000000 + 2 * number, "size": 1}
        for number in range(340)
    ]
    c.bundle.linux.update(uidMappings=many)
    c.create().failed("/linux/uidMappings", "bytes")
    c.nothing_left()


def test_thousands_of_mappings(container: Make) -> None:
    """CVE-2021-43784: the length of a message about mappings overflowed in runc."""
    c = mapped(container("/bin/true"))
    many = [{"containerID": number, "hostID": 2 * number + 1, "size": 1} for number in range(5000)]
    c.bundle.linux.update(uidMappings=many, gidMappings=many)
    c.create().failed("/linux/", "Mappings", "at most 340")
    c.nothing_left()


def test_overlapping_mappings(container: Make) -> None:
    c = mapped(container("/bin/true"))
    c.bundle.linux["uidMappings"] = [*mapping(), {"containerID": 5, "hostID": 300000, "size": 1}]
    c.create().failed("/linux/uidMappings", "overlap")
    c.nothing_left()


def test_user_that_is_not_mapped(container: Make) -> None:
    c = mapped(container("/bin/true"))
    c.bundle.process["user"] = {"uid": 70000, "gid": 0}
    c.create().failed("/process/user/uid", "unmapped uid 70000")
    c.nothing_left()


def one_id(c: Container, number: int = 1000) -> Container:
    """A container whose user namespace has this id and no other."""
    mapped(c)
    some = [{"containerID": number, "hostID": BASE, "size": 1}]
    c.bundle.linux.update(uidMappings=some, gidMappings=some)
    return as_that_id(c, number)


def as_that_id(c: Container, number: int = 1000) -> Container:
    c.bundle.process["user"] = {"uid": number, "gid": number}
    c.bundle.config["mounts"] = [
        entry for entry in c.bundle.mounts if entry["destination"] in ("/proc",)
    ]
    c.bundle.linux["maskedPaths"] = c.bundle.linux["readonlyPaths"] = []
    return c


def test_root_need_not_be_mapped(container: Make) -> None:
    assert one_id(container()).facts()["uid"] == [1000, 1000, 1000]


def test_files_belong_to_the_id_that_is_mapped(container: Make) -> None:
    """Whoever has no id in a user namespace makes no file there (EOVERFLOW)."""
    c = one_id(container())
    c.bundle.mounts.append({"destination": "/t", "type": "tmpfs", "source": "t"})
    c.bundle.mounts.append({"destination": "/t/made", "type": "tmpfs", "source": "t"})
    (c.bundle.rootfs / "t").mkdir()
    assert c.shell("stat -c %u:%g /t /t/made; id -u") == "1000:1000\n1000:1000\n1000"


@pytest.mark.parametrize("kinds", [(), ("pid",)], ids=["own pid namespace", "joined one"])
def test_root_need_not_be_mapped_in_a_joined_one(container: Make, kinds: tuple[str, ...]) -> None:
    first = one_id(container(), 100).running()
    c = as_that_id(joining(container(), first, *kinds), 100)
    facts = c.facts()
    assert facts["uid"] == facts["gid"] == [100, 100, 100]
    assert facts["namespaces"]["user"] == namespace_of(first.pid, "user")


def test_exec_where_root_is_not_mapped(container: Make) -> None:
    c = one_id(container()).running()
    assert c.exec("/bin/sh", "-c", "id -u; id -g").ok().out == "1000\n1000\n"


def test_unmapped_user_of_a_joined_one(container: Make) -> None:
    first = one_id(container(), 100).running()
    c = as_that_id(joining(container("/bin/true"), first), 101)
    c.create().failed("/process/user", "EINVAL")
    c.nothing_left()


def test_limits_and_score_are_set_from_outside(container: Make) -> None:
    c = mapped(container())
    c.bundle.process["oomScoreAdj"] = 321
    c.bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    assert c.shell("cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn") == "321\n77\n99"


# Together with namespaces of another owner ---------------------------------------------------------------


def test_network_of_the_host_is_joined_as_docker_does(container: Make, host_network: str) -> None:
    """docker with userns-remap joins a network namespace of the host's user namespace."""
    c = mapped(container())
    c.bundle.namespace("network", f"/proc/{host_network}/ns/net")
    c.bundle.namespace("ipc", f"/proc/{host_network}/ns/ipc")
    c.bundle.without_mount("/dev/mqueue")
    facts = c.facts()
    assert facts["uid"] == [0, 0, 0]
    assert facts["namespaces"]["net"] == namespace_of(host_network, "network")
    assert facts["namespaces"]["ipc"] == namespace_of(host_network, "ipc")
    assert facts["namespaces"]["user"] != namespace_of("self", "user")


def test_pod_member(container: Make) -> None:
    """A member of a podman pod: user, network, ipc and uts of the infra container, the rest its own."""
    infra = mapped(container())
    infra.bundle.namespace("network")
    infra.running()
    member = joining(container(), infra, "network", "ipc", "uts")
    member.bundle.namespace("cgroup")
    facts = member.facts()
    assert facts["uid"] == [0, 0, 0]
    assert facts["pid"] == 1
    for kind in ("user", "network", "ipc", "uts"):
        assert facts["namespaces"][TYPES[kind]] == namespace_of(infra.pid, kind), kind
    for kind in ("pid", "mount"):
        assert facts["namespaces"][TYPES[kind]] not in (
            namespace_of(infra.pid, kind), namespace_of("self", kind),
        )  # fmt: skip


def test_life_of_a_pod_member(container: Make) -> None:
    infra = mapped(container()).running()
    member = joining(container(), infra, "ipc").created()
    assert member.status == "created"
    assert member.state()["pid"] == member.pid
    assert namespace_of(member.pid, "user") == namespace_of(infra.pid, "user")
    if member.lane.tops():
        assert member.pid in member.lane.members()
    member.start().ok()
    member.wait_for_output("ready\n")
    member.kill("KILL").ok()
    assert member.wait() == 137
    member.delete().ok()
    member.nothing_left()


def test_joined_pid_and_user_namespace(container: Make) -> None:
    infra = mapped(container()).running()
    member = joining(container(), infra, "pid", "ipc")
    facts = member.facts()
    assert facts["pid"] > 1
    assert facts["namespaces"]["pid"] == namespace_of(infra.pid, "pid")


def test_joined_user_namespace_and_network_of_the_host(container: Make, host_network: str) -> None:
    infra = mapped(container()).running()
    member = joining(container(), infra)
    member.bundle.namespace("network", f"/proc/{host_network}/ns/net")
    facts = member.facts()
    assert facts["namespaces"]["net"] == namespace_of(host_network, "network")
    assert facts["namespaces"]["user"] == namespace_of(infra.pid, "user")


def test_joined_user_namespace_alone(container: Make) -> None:
    """Everything else is the host's but the mounts: one process, not born twice."""
    infra = mapped(container()).running()
    member = joining(container(), infra)
    for kind in ("pid", "ipc", "uts"):
        member.bundle.without_namespace(kind)
    del member.bundle.config["hostname"]
    member.bundle.config["mounts"] = []
    member.bundle.linux["maskedPaths"] = member.bundle.linux["readonlyPaths"] = []
    assert member.shell("id -u; cat /proc/self/uid_map 2>/dev/null || echo none") == "0\nnone"


@pytest.mark.parametrize("given", [mapping(), []])
def test_mappings_beside_a_path(container: Make, given: list[Any]) -> None:
    """containerd and CRI-O name the mappings that the namespace has."""
    infra = mapped(container()).running()
    member = joining(container(), infra)
    if given:
        member.bundle.linux.update(uidMappings=given, gidMappings=given)
    assert member.facts()["uid"] == [0, 0, 0]


@pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
def test_other_mappings_beside_a_path(container: Make, key: str) -> None:
    infra = mapped(container()).running()
    member = joining(container("/bin/true"), infra)
    member.bundle.linux.update(uidMappings=mapping(), gidMappings=mapping())
    member.bundle.linux[key] = mapping(BASE + 1)
    member.create().failed(f"/linux/{key}", "differs")
    member.nothing_left()


def test_path_of_another_type(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.namespace("user", "/proc/self/ns/uts")
    c.create().failed("/linux/namespaces", "user")
    c.nothing_left()


def test_failure_in_the_second_birth(container: Make) -> None:
    """What fails after init was born once more is told as ever, and leaves nothing."""
    infra = mapped(container()).running()
    member = joining(container("/bin/true"), infra)
    member.bundle.mounts.append({"destination": "/mnt", "type": "no-such-type", "source": "none"})
    member.create().failed("/mounts/7", "no-such-type")
    member.nothing_left()
    assert kernel.exists(infra.pid)


@pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
def test_mappings_are_needed(container: Make, key: str) -> None:
    c = mapped(container("/bin/true"))
    del c.bundle.linux[key]
    c.create().failed(f"/linux/{key}", "mappings found")
    c.nothing_left()


def test_mappings_without_a_namespace(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.linux["uidMappings"] = mapping()
    c.create().failed("/linux/uidMappings", "user namespace isn't enabled")
    c.nothing_left()


def test_programs_are_not_the_rootfs_owner_s(container: Make) -> None:
    """The harness's programs keep their owner, whom the namespace does not know."""
    c = mapped(container())
    assert Path(c.bundle.rootfs / "bin/busybox").stat().st_uid == 0
    assert c.shell("stat -c %u /bin/busybox") == "65534"


# Who owns the cgroup -------------------------------------------------------------------------------------


def writable_cgroup(container: Container) -> Container:
    container.bundle.namespace("cgroup")
    for entry in container.bundle.mounts:
        if entry["destination"] == "/sys/fs/cgroup":
            entry["options"].remove("ro")
    return container


@pytest.mark.needs("cgroup2")
def test_cgroup_belongs_to_the_user_of_the_process(container: Make) -> None:
    c = writable_cgroup(mapped(container()))
    c.bundle.process["user"] = {"uid": 7, "gid": 0}
    c.created()
    (directory,) = c.all_cgroups()
    given = Path("/sys/kernel/cgroup/delegate").read_text().split()
    owned = {
        path.name for path in [directory, *directory.iterdir()] if path.stat().st_uid == BASE + 7
    }
    assert owned == {directory.name, *(name for name in given if (directory / name).exists())}
    assert directory.parent.stat().st_uid == 0


@pytest.mark.needs("cgroup2")
def test_process_makes_cgroups_in_its_own(container: Make) -> None:
    c = writable_cgroup(mapped(container()))
    script = "cd /sys/fs/cgroup && mkdir sub && echo 0 >sub/cgroup.procs; grep ^0 /proc/self/cgroup"
    assert c.shell(script) == "0::/sub"


@pytest.mark.needs("cgroup2")
@pytest.mark.parametrize("why", ["read-only", "namespace of the host"])
def test_cgroup_stays_the_runtime_s(container: Make, why: str) -> None:
    c = mapped(container())
    if why == "namespace of the host":
        writable_cgroup(c).bundle.without_namespace("cgroup")
    else:
        c.bundle.namespace("cgroup")
    c.created()
    (directory,) = c.all_cgroups()
    assert {path.stat().st_uid for path in [directory, *directory.iterdir()]} == {0}
