"""Containers of an ordinary user: the whole life, with and without subordinate ids and cgroups."""

from __future__ import annotations

import itertools
import json
import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import kernel, lanes, rootless
from harness.bundle import Bundle
from harness.lanes import Lane
from harness.leaks import Watch
from harness.rootless import User, UserContainer
from harness.runtime import Runtime

pytestmark = [
    pytest.mark.needs("userns", "program:useradd", "program:newuidmap"),
    pytest.mark.needs("runtime:pyrunc"),
]
MakeUser = Callable[..., UserContainer]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def user(private_mounts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:  # noqa: ARG001
    made = rootless.add_user(tmp_path_factory.mktemp("etc"))
    yield made
    rootless.remove_user()


@pytest.fixture
def make(
    user: User,
    leaks: Watch,  # noqa: ARG001
    runtime: Runtime,
    lane: Lane,
    private_mounts: Path,
    tmp_path: Path,
) -> Iterator[MakeUser]:
    """Makes containers of the user; those that a test leaves are removed."""
    made: list[UserContainer] = []
    home = tmp_path / "run"
    home.mkdir()
    os.chown(home, user.uid, user.gid)

    def build(*args: str, by: User = user, **process: Any) -> UserContainer:
        container_id = f"{lanes.TOKEN}-u{next(_numbers)}"
        path = tmp_path / f"bundle-{container_id}"
        bundle = Bundle(path, private_mounts, list(args) or ["/bin/true"], "/none")
        bundle.process.update(process)
        state = home / "pyrunc"
        made.append(
            UserContainer(runtime, state, container_id, bundle, lane, tmp_path / "calls", by)
        )
        return made[-1]

    yield build
    for one in reversed(made):
        one.clean_up()


@pytest.fixture(params=["subordinate", "single"])
def container(make: MakeUser, request: pytest.FixtureRequest) -> MakeUser:
    """With subordinate ids, and with the user's own alone."""

    def build(*args: str, **options: Any) -> UserContainer:
        made = make(*args, **options)
        return made if request.param == "subordinate" else made.single()

    return build


def test_run(container: MakeUser) -> None:
    c = container()
    facts = c.facts()
    assert facts["uid"] == [0, 0, 0]
    assert facts["pid"] == 1


def test_exit_status(container: MakeUser) -> None:
    c = container("/bin/sh", "-c", "exit 42")
    assert c.run().status == 42
    c.nothing_left()


def test_life(container: MakeUser, user: User) -> None:
    c = container().created()
    assert c.status == "created"
    assert Path(f"/proc/{c.pid}/status").read_text().split("Uid:\t")[1].split()[0] == str(user.uid)
    assert stat.S_IMODE(c.root.stat().st_mode) == 0o1700
    c.start().ok()
    c.wait_for_output("ready\n")
    assert c.status == "running"
    listed = c.call("list", "-q").ok()
    assert listed.out == c.id + "\n"
    assert c.state()["pid"] == c.pid
    c.kill("KILL").ok()
    assert c.wait() == 137
    assert c.status == "stopped"
    c.delete().ok()
    c.nothing_left()


def test_delete_by_force(container: MakeUser) -> None:
    c = container().running()
    c.delete(force=True).ok()
    assert c.wait() == 137
    c.nothing_left()


def test_what_spec_writes(make: MakeUser, user: User) -> None:
    """`spec --rootless`, then run: nothing of the config is the harness's but the command."""
    c = make()
    c.call("spec", "--rootless", "--bundle", str(c.bundle.path)).ok()
    c.bundle.config = json.loads((c.bundle.path / "config.json").read_text())
    c.bundle.process["terminal"] = False
    assert c.bundle.linux["uidMappings"] == [{"containerID": 0, "hostID": user.uid, "size": 1}]
    assert c.shell("id -u; hostname; ls /sys | head -1") == "0\npyrunc\nblock"


def test_groups_are_left_alone_where_they_cannot_be_set(make: MakeUser) -> None:
    c = make().single()
    assert c.shell("cat /proc/self/setgroups") == "deny"


def test_subordinate_users(make: MakeUser) -> None:
    c = make()
    c.bundle.process["user"] = {"uid": 5, "gid": 6}
    c.bundle.writable()
    assert c.shell("touch /tmp/x; id -u; id -g; cat /proc/self/setgroups") == "5\n6\nallow"
    assert (c.bundle.rootfs / "tmp/x").stat().st_uid == rootless.SUBORDINATE + 4


def test_additional_groups(make: MakeUser) -> None:
    c = make("/bin/true")
    c.bundle.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [5]}
    c.create().failed(
        "/process/user/additionalGids", "cannot set any additional groups in a rootless container"
    )
    c.nothing_left()


def test_ids_of_others(make: MakeUser) -> None:
    c = make("/bin/true")
    c.bundle.linux["uidMappings"][1]["hostID"] = 900000
    c.create().failed("/linux/uidMappings", "newuidmap", "/etc/subuid")
    c.nothing_left()


def test_mapper_is_missing(make: MakeUser, tmp_path: Path) -> None:
    c = make("/bin/true")
    for path in ("/usr/bin/newuidmap", "/usr/bin/newgidmap"):
        kernel.mount(str(_empty(tmp_path)), path, flags=kernel.MS_BIND)
    try:
        c.create().failed("/linux/gidMappings", "newgidmap is missing", "uidmap")
    finally:
        for path in ("/usr/bin/newuidmap", "/usr/bin/newgidmap"):
            kernel.unmount(path)
    c.nothing_left()


def _empty(directory: Path) -> Path:
    path = directory / "no-program"
    path.write_text("")
    path.chmod(0o644)
    return path


def test_user_namespaces_are_forbidden(make: MakeUser) -> None:
    """In a user namespace the limit is its root's to set."""
    c = make("/bin/true").single()
    c.give()
    c.bundle.linux["uidMappings"][0]["hostID"] = c.bundle.linux["gidMappings"][0]["hostID"] = 0
    c.bundle.write()
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    command = [c.runtime.path, "run", "--bundle", str(c.bundle.path), c.id]
    result = in_user_namespace(c, "sh", "-c", script, "sh", *command)
    assert result.returncode == 1
    assert "/linux/namespaces: clone init: " in result.stderr
    assert "user.max_user_namespaces" in result.stderr
    c.nothing_left()


def in_user_namespace(container: UserContainer, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the user as root of a user namespace with the user's own ids alone."""
    return subprocess.run(
        ["unshare", "-Ur", "--propagation", "private", *command],
        preexec_fn=container.user.become(), env={**container.variables, "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_root_of_a_user_namespace(make: MakeUser) -> None:
    """euid 0, but no privileges over the host: cgroups and devices are refused as to an ordinary user."""
    c = make("/bin/sh", "-c", "id -u; cat /proc/self/uid_map").single()
    c.bundle.linux["uidMappings"][0]["hostID"] = c.bundle.linux["gidMappings"][0]["hostID"] = 0
    c.bundle.process["oomScoreAdj"] = -100
    c.give()
    c.bundle.write()
    result = in_user_namespace(c, c.runtime.path, "run", "--bundle", str(c.bundle.path), c.id)
    assert (result.stdout.split(), result.stderr) == (["0", "0", "0", "1"], "")


def test_root_of_a_user_namespace_needs_none_of_its_own(make: MakeUser) -> None:
    """podman runs its runtime so: it has the user namespace already."""
    c = make("/bin/sh", "-c", "id -u; touch /tmp/x; echo done").single()
    c.bundle.without_namespace("user")
    c.bundle.writable()
    for key in ("uidMappings", "gidMappings"):
        del c.bundle.linux[key]
    c.give()
    c.bundle.write()
    result = in_user_namespace(c, "-n", c.runtime.path, "run", "--bundle", str(c.bundle.path), c.id)
    assert (result.stdout.split(), result.stderr) == (["0", "done"], "")


def test_user_namespace_is_needed(make: MakeUser) -> None:
    c = make("/bin/true")
    c.bundle.without_namespace("user")
    for key in ("uidMappings", "gidMappings"):
        del c.bundle.linux[key]
    c.create().failed("/linux/namespaces", "rootless container requires user namespaces")
    c.nothing_left()


def test_devices_are_those_of_the_host(container: MakeUser) -> None:
    c = container()
    text = c.shell(
        "echo x > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %F /dev/null /dev/full /dev/tty"
    )
    assert text.split("\n") == ["3", *["character special file"] * 3]
    assert (
        c.facts().mounts()["/dev/null"]["type"] == "devtmpfs" or "/dev/null" in c.facts().mounts()
    )


@pytest.mark.parametrize(("value", "seen"), [(500, "500"), (-1000, None)])
def test_oom_score(container: MakeUser, value: int, seen: str | None) -> None:
    """It can be raised; lowering it is for root, and no failure."""
    c = container(oomScoreAdj=value)
    assert c.shell("cat /proc/self/oom_score_adj") == (
        seen or Path("/proc/self/oom_score_adj").read_text().strip()
    )


def test_limits(container: MakeUser) -> None:
    c = container()
    c.bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    assert c.shell("ulimit -n; ulimit -Hn") == "77\n99"


def test_own_network(make: MakeUser) -> None:
    c = make()
    c.bundle.namespace("network")
    c.bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert c.shell("cat /sys/class/net/lo/flags /proc/sys/net/ipv4/ip_forward") == "0x9\n1"


@pytest.mark.needs("kernel:6.2")
def test_own_time(container: MakeUser) -> None:
    c = container()
    c.bundle.namespace("time")
    c.bundle.linux["timeOffsets"] = {"boottime": {"secs": 86400}}
    assert "boottime 86400 0" in " ".join(c.shell("cat /proc/self/timens_offsets").split())


def test_terminal_in_the_foreground(make: MakeUser) -> None:
    c = make()
    c.bundle.process["terminal"] = True
    assert "is here" in c.shell("test -t 1 && echo is here")


def test_nothing_of_the_host_s_is_mounted_by_a_joined_namespace(make: MakeUser) -> None:
    c = make("/bin/true")
    c.bundle.namespace("network", "/proc/self/ns/net")
    c.create().failed("/linux/namespaces", "needs privileges")
    c.nothing_left()


def test_pod_of_a_user(make: MakeUser) -> None:
    infra = make()
    infra.bundle.namespace("network")
    infra.running()
    member = make()
    for kind, name in (
        ("user", "user"),
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
    ):
        member.bundle.namespace(kind, f"/proc/{infra.pid}/ns/{name}")
    del member.bundle.config["hostname"]
    facts = member.facts()
    for name in ("user", "net", "ipc", "uts", "pid"):
        assert facts["namespaces"][name] == os.readlink(f"/proc/{infra.pid}/ns/{name}"), name


def test_new_pid_namespace_in_the_user_namespace_of_a_pod(make: MakeUser) -> None:
    infra = make().running()
    member = make()
    member.bundle.namespace("user", f"/proc/{infra.pid}/ns/user")
    facts = member.facts()
    assert facts["pid"] == 1
    assert facts["namespaces"]["user"] == os.readlink(f"/proc/{infra.pid}/ns/user")


# Cgroups -------------------------------------------------------------------------------------------------


def test_no_cgroup_without_permission(container: MakeUser) -> None:
    c = container().created()
    assert not c.all_cgroups()
    c.delete(force=True).ok()


def test_limits_without_permission(make: MakeUser) -> None:
    c = make("/bin/true")
    c.bundle.resources["memory"] = {"limit": 1 << 25}
    c.create().failed(
        "/linux/resources/memory",
        "rootless needs no limits + no cgrouppath when no permission is granted for cgroups",
    )
    c.nothing_left()


def test_path_without_permission(make: MakeUser) -> None:
    c = make("/bin/true")
    c.bundle.linux["cgroupsPath"] = f"/{lanes.TOKEN}-denied/x"
    c.create().failed(
        "/linux/cgroupsPath",
        "rootless needs no limits + no cgrouppath when no permission is granted for cgroups",
    )
    c.nothing_left()


def test_rootless_is_denied(make: MakeUser) -> None:
    """--rootless=false: what needs privileges fails."""
    c = make("/bin/true")
    c.globals = ("--rootless=false",)
    c.create().failed("cgroup")
    c.nothing_left()


@pytest.fixture
def delegated(leaks: Watch, lane: Lane, user: User) -> Iterator[User]:  # noqa: ARG001
    """The user in a v2 cgroup below one that was delegated to it."""
    assert lane.unified
    top = lane.unified / lanes.TOKEN / "delegated"
    leaf = top / "session"
    leaf.mkdir(parents=True)
    for directory in (top, leaf):
        os.chown(directory, user.uid, user.gid)
        for name in Path("/sys/kernel/cgroup/delegate").read_text().split():
            if (directory / name).exists():
                os.chown(directory / name, user.uid, user.gid)
    yield User(user.uid, user.gid, leaf)
    lanes.remove([path for path in lane.ours() if str(top) in path])


@pytest.mark.needs("cgroup2")
def test_delegated_cgroup(delegated: User, make: MakeUser) -> None:
    c = make(by=delegated).created()
    assert [path.parent.name for path in c.all_cgroups()] == ["delegated"]
    assert (
        Path(f"/proc/{c.pid}/cgroup")
        .read_text()
        .strip()
        .endswith(f"/{lanes.TOKEN}/delegated/{c.id}")
    )
    c.start().ok()
    c.kill("KILL").ok()
    assert c.wait() == 137
    c.delete().ok()
    c.nothing_left()
    assert not c.all_cgroups()


@pytest.mark.needs("cgroup2")
def test_limits_in_a_delegated_cgroup(delegated: User, make: MakeUser) -> None:
    c = make(by=delegated)
    c.bundle.resources["unified"] = {"cgroup.max.depth": "7"}
    c.created()
    (directory,) = c.all_cgroups()
    assert (directory / "cgroup.max.depth").read_text() == "7\n"


@pytest.fixture
def delegated_controllers(delegated: User, lane: Lane) -> User:
    """The same with the controllers that a user may be given, as systemd's Delegate= does it."""
    assert lane.unified
    wanted = "+cpu +memory +pids"
    for directory in (lane.unified, lane.unified / lanes.TOKEN):
        (directory / "cgroup.subtree_control").write_text(wanted)
    top = lane.unified / lanes.TOKEN / "delegated"
    for entry in top.iterdir():
        if entry.name.startswith("memory.oom"):
            os.chown(entry, delegated.uid, delegated.gid)
    return delegated


@pytest.mark.needs("cgroup2:memory", "cgroup2:pids", "cgroup2:cpu")
def test_controllers_of_a_delegated_cgroup(delegated_controllers: User, make: MakeUser) -> None:
    c = make(by=delegated_controllers)
    limits = {"memory": {"limit": 1 << 26}, "pids": {"limit": 20}, "cpu": {"quota": 50000}}
    c.bundle.resources.update(limits)
    c.running()
    (directory,) = c.all_cgroups()
    files = ("memory.max", "pids.max", "cpu.max")
    assert [(directory / name).read_text().strip() for name in files] == [
        "67108864",
        "20",
        "50000 100000",
    ]
    c.call("update", "--memory", "32m", "--pids-limit", "10", c.id).ok()
    assert [(directory / name).read_text().strip() for name in files[:2]] == ["33554432", "10"]
    c.call("pause", c.id).ok()
    assert "frozen 1" in (directory / "cgroup.events").read_text()
    assert c.exec("/bin/true").status == 255
    c.call("resume", c.id).ok()
    c.exec("/bin/true").ok()
    assert c.call("events", "--stats", c.id).ok().json()["data"]["pids"]["limit"] == 10
    c.kill("KILL").ok()
    assert c.wait() == 137
    c.delete().ok()
    c.nothing_left()


@pytest.mark.needs("cgroup2")
@pytest.mark.parametrize("private", [False, True], ids=["host cgroup namespace", "own"])
@pytest.mark.parametrize("permitted", [True, False])
def test_cgroups_of_others_cannot_be_written_to(
    delegated: User, make: MakeUser, private: bool, permitted: bool
) -> None:
    """CVE-2023-25809: of all that the user owns only the container's own cgroup may be seen writable."""
    assert delegated.cgroup
    if not permitted:
        os.chown(delegated.cgroup.parent / "cgroup.procs", 0, 0)
    c = make(by=delegated)
    if private:
        c.bundle.namespace("cgroup")
    for entry in c.bundle.mounts:
        if entry["destination"] == "/sys/fs/cgroup":
            entry["options"].remove("ro")
    find = "find /sys/fs/cgroup -type d | while read d; do mkdir $d/made 2>/dev/null && echo $d && rmdir $d/made; done"
    assert c.shell(f"{find}; true") == ("/sys/fs/cgroup" if permitted else "")


@pytest.mark.needs("cgroup2")
@pytest.mark.parametrize("way", ["mounted", "bound"])
def test_cgroups_below_sysfs_cannot_be_written_to(
    delegated: User, make: MakeUser, way: str
) -> None:
    """The same where the host's /sys takes the place of a sysfs that may not be mounted."""
    c = make(by=delegated)
    c.bundle.without_mount("/sys/fs/cgroup")
    for entry in c.bundle.mounts:
        if entry["destination"] == "/sys" and way == "mounted":
            entry["options"].remove("ro")
        elif entry["destination"] == "/sys":
            entry.update(type="none", source="/sys", options=["rbind", "ro"])
    find = "find /sys/fs/cgroup -type d -name delegated | while read d; do mkdir $d/made && echo $d; done"
    assert c.shell(f"{find} 2>/dev/null; ls /sys/fs/cgroup | grep -c pyrunc-test") != "0"
    assert not (delegated.cgroup.parent / "made").exists()  # type: ignore[union-attr]


def test_service_manager_hears_of_readiness(make: MakeUser, tmp_path: Path) -> None:
    c = make("/bin/probe", "notify", "READY=1")
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(kernel.PATIENCE)
        manager.bind(str(tmp_path / "manager"))
        (tmp_path / "manager").chmod(0o777)
        # Without room for control data the barrier's descriptor is dropped, which answers it.
        reader = threading.Thread(target=lambda: heard.extend(manager.recv(99) for _ in range(3)))
        reader.start()
        result = c.run(env={**c.variables, "NOTIFY_SOCKET": str(tmp_path / "manager")})
        reader.join()
    assert result.ok().out == "ok\n"
    assert heard[0] == b"READY=1"
    assert heard[1].startswith(b"MAINPID=")
    assert heard[2] == b"BARRIER=1"
