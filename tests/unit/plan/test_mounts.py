"""Single entries of mounts, and what they become on each layout of cgroups."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import host, minimal, options

from pyrunc.errors import SpecFailure
from pyrunc.plan.build import build
from pyrunc.plan.describe import describe
from pyrunc.plan.mounts import PROC_TARGETS, clean_path
from pyrunc.plan.ops import Op
from pyrunc.shim import constants as C


def entry(destination: str, fstype: str = "tmpfs", *given: str, source: str = "") -> dict[str, Any]:
    return {"destination": destination, "type": fstype, "source": source, "options": list(given)}


def plan(
    *mounts: dict[str, Any], layout: str = "v2", selinux: bool = False, **linux: Any
) -> tuple[Op, ...]:
    linux.setdefault("namespaces", [{"type": "mount"}, {"type": "pid"}])
    spec = minimal(mounts=list(mounts), linux=linux)
    return build(spec, options(spec), host(layout, selinux=selinux)).ops


def lines(*mounts: dict[str, Any], **given: Any) -> list[str]:
    return [describe(op) for op in plan(*mounts, **given) if op.origin.startswith("/mounts/")]


def refusal(*mounts: dict[str, Any], **given: Any) -> SpecFailure:
    with pytest.raises(SpecFailure) as caught:
        plan(*mounts, **given)
    return caught.value


def test_bind_takes_the_type_for_nothing() -> None:
    assert lines(entry("/a", "ext4", "bind", source="/s")) == ["bind /s at /a"]
    assert lines(entry("/a", "none", "rbind", "ro", source="/s")) == [
        "bind /s at /a (ro) [recursively]"
    ]
    assert lines(entry("/a", "bind", "ro", source="/s")) == ["bind /s at /a (ro)"]


def test_relative_source_is_in_the_bundle() -> None:
    assert lines(entry("/a", "", "bind", source="data/../d")) == ["bind /bundle/d at /a"]


def test_bind_has_no_use_for_parameters_of_a_file_system() -> None:
    made = lines(entry("/a", "", "bind", "mode=755,size=1", "nosuid", source="/s"))
    assert made == ["bind /s at /a (nosuid)"]


def test_bind_with_an_unknown_flag_is_refused() -> None:
    """It may be a misspelt one, without which the container could do more than it should."""
    failure = refusal(entry("/a", "bind", "bind", "size=1", "readonly", source="/s"))
    assert failure.pointer == "/mounts/0/options"
    wanted = "bind mounts cannot have any filesystem-specific options applied: readonly"
    assert wanted in str(failure)


@pytest.mark.parametrize("destination", ["/", "/.", "/..", "//"])
def test_mount_over_the_root_is_refused(destination: str) -> None:
    assert 'mountpoint "/" is on the top of rootfs' in str(refusal(entry(destination)))


@pytest.mark.parametrize(
    "destination", ["/proc/self", "/proc/sys/kernel", "/proc/./sys", "/a/../proc/x"]
)
def test_mounts_inside_proc_are_refused(destination: str) -> None:
    failure = refusal(entry("/proc", "proc"), entry(destination, "bind", "bind", source="/s"))
    assert failure.pointer == "/mounts/1/destination"
    assert "cannot be mounted because it is inside /proc" in str(failure)


@pytest.mark.parametrize("destination", sorted(PROC_TARGETS))
def test_files_of_lxcfs_may_be_inside_proc(destination: str) -> None:
    made = lines(entry(destination, "bind", "bind", source="/s"))
    assert made == [f"bind /s at {destination} [inside proc]"]


def test_proc_itself() -> None:
    assert lines(entry("/proc", "proc")) == ["mount proc at /proc [no symlinks]"]
    assert lines(entry("/proc", "bind", "rbind", source="/proc")) == [
        "bind /proc at /proc [recursively,from a proc]".replace(",", ", ")
    ]
    assert "not of type proc" in str(refusal(entry("/proc", "tmpfs")))


def test_read_only_tmpfs_is_filled_first() -> None:
    assert lines(
        entry("/a", "tmpfs", "ro", "nosuid", "mode=700"), entry("/a/b", "tmpfs", "mode=1777")
    ) == [
        "mount tmpfs at /a (nosuid,mode=700)",
        "mount tmpfs at /a/b (mode=1777)",
        "set mount attributes of /a (ro)",
    ]


def test_read_only_superblock_only_of_ordinary_file_systems() -> None:
    assert lines(entry("/a", "ext4", "ro", source="/dev/sda")) == [
        "mount ext4 from /dev/sda at /a (ro,sb:ro)"
    ]
    assert lines(entry("/sys", "sysfs", "ro", source="sysfs")) == [
        "mount sysfs at /sys (ro) [no symlinks]"
    ]


def test_tmpfs_takes_the_mode_of_the_directory_unless_it_has_one() -> None:
    assert lines(entry("/a", "tmpfs", "tmpcopyup")) == [
        "mount tmpfs at /a [copying up, keeping the mode]"
    ]
    assert lines(entry("/a", "tmpfs", "mode=700")) == ["mount tmpfs at /a (mode=700)"]


def test_mount_label_is_for_file_systems_that_have_one_and_hosts_with_selinux() -> None:
    mounts = (
        entry("/a", "tmpfs", "mode=1"),
        entry("/sys", "sysfs"),
        entry("/b", "", "bind", source="/s"),
    )
    labelled = lines(*mounts, selinux=True, mountLabel="u:r:t:s0:c1,c2")
    assert labelled == [
        'mount tmpfs at /a (mode=1,context="u:r:t:s0:c1,c2")',
        "mount sysfs at /sys [no symlinks]",
        "bind /s at /b",
    ]
    assert lines(*mounts, selinux=False, mountLabel="u:r:t:s0")[0] == "mount tmpfs at /a (mode=1)"


def test_sysfs_may_be_bound_in_a_user_namespace() -> None:
    spec = minimal(mounts=[entry("/sys", "sysfs", source="sysfs")])
    made = build(spec, options(spec), host(in_user_namespace=True)).ops
    assert "mount sysfs from /sys at /sys [or else bind, read-only then, no symlinks]" in map(
        describe, made
    )


def test_remount_changes_attributes() -> None:
    assert lines(entry("/a", "", "remount", "ro", "exec")) == [
        "set mount attributes of /a (ro,clear:noexec)"
    ]


def test_propagation_follows_its_mount() -> None:
    assert lines(entry("/a", "", "rbind", "rprivate", "unbindable", source="/s")) == [
        "bind /s at /a [recursively]",
        "make /a private recursively",
        "make /a unbindable",
    ]


CGROUP = entry("/sys/fs/cgroup", "cgroup", "ro", "nosuid", source="cgroup")
OWN = [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}]


def test_cgroup_on_v2() -> None:
    """A mount in the host's cgroup namespace would take the options of the hierarchy away."""
    assert lines(CGROUP) == ["bind /sys/fs/cgroup at /sys/fs/cgroup (ro,nosuid) [recursively]"]


def test_cgroup_on_v2_in_a_cgroup_namespace() -> None:
    assert lines(CGROUP, namespaces=OWN)[-1] == (
        "mount cgroup2 from /sys/fs/cgroup/user.slice/c1 at /sys/fs/cgroup (ro,nosuid) [or else bind]"
    )


def test_cgroup_on_v1_binds_the_containers_cgroups() -> None:
    made = lines(CGROUP, layout="v1")
    assert made[0] == "mount tmpfs at /sys/fs/cgroup (nosuid,nodev,noexec,mode=755)"
    assert (
        "bind /sys/fs/cgroup/memory/own/c1 at /sys/fs/cgroup/memory (ro,nosuid,nodev,noexec)"
        " [recursively, no symlinks]" in made
    )
    assert made[3:5] == [
        "make symbolic link /sys/fs/cgroup/cpu to cpu,cpuacct (keep what is there)",
        "make symbolic link /sys/fs/cgroup/cpuacct to cpu,cpuacct (keep what is there)",
    ]
    assert made[-1] == "set mount attributes of /sys/fs/cgroup (ro)"
    assert not any("unified" in line for line in made)


def test_cgroup_on_hybrid_shows_the_v2_hierarchy_too() -> None:
    made = lines(CGROUP, layout="hybrid")
    assert [line for line in made if "unified" in line] == [
        "bind /sys/fs/cgroup/unified/own/c1 at /sys/fs/cgroup/unified (ro,nosuid,nodev,noexec)"
        " [recursively, no symlinks]"
    ]


def test_cgroup_namespace_on_v1_begins_before_the_first_cgroup_mount() -> None:
    ops = plan(entry("/dev", "tmpfs"), CGROUP, layout="v1", namespaces=OWN)
    made = [describe(op) for op in ops]
    own = made.index("unshare cgroup namespace")
    assert made[own - 1] == "stage cgroup"
    assert made.index("mount tmpfs at /dev [keeping the mode]") < own
    first = next(
        index for index, op in enumerate(ops) if op.kind == "mount" and op.args[0] == "cgroup"
    )
    assert own == first - 1
    assert (
        "mount cgroup at /sys/fs/cgroup/cpu,cpuacct (ro,nosuid,nodev,noexec,cpu,cpuacct) [no symlinks]"
        in made
    )
    assert (
        "mount cgroup at /sys/fs/cgroup/systemd (ro,nosuid,nodev,noexec,name=systemd) [no symlinks]"
        in made
    )


def test_cgroup_namespace_on_v2_needs_no_waiting() -> None:
    made = [describe(op) for op in plan(CGROUP, namespaces=OWN)]
    assert "unshare cgroup namespace" in made
    assert "stage cgroup" not in made


@pytest.mark.parametrize(
    ("name", "host_flags", "root_flags"),
    [
        (None, C.MS_SLAVE | C.MS_REC, None),
        ("private", C.MS_PRIVATE | C.MS_REC, None),
        ("rprivate", C.MS_PRIVATE | C.MS_REC, None),
        ("slave", C.MS_SLAVE | C.MS_REC, None),
        ("rslave", C.MS_SLAVE | C.MS_REC, None),
        ("shared", C.MS_SHARED, C.MS_SHARED),
        ("rshared", C.MS_SHARED | C.MS_REC, C.MS_SHARED | C.MS_REC),
        ("unbindable", C.MS_SLAVE | C.MS_REC, C.MS_UNBINDABLE),
        ("runbindable", C.MS_SLAVE | C.MS_REC, C.MS_UNBINDABLE | C.MS_REC),
    ],
)
def test_root_propagation(name: str | None, host_flags: int, root_flags: int | None) -> None:
    ops = plan(**({"rootfsPropagation": name} if name else {}))
    kinds = [op.kind for op in ops]
    assert ops[kinds.index("host_propagation")].args == (host_flags,)
    after = [op.args for op in ops[kinds.index("pivot_root") :] if op.kind == "propagation"]
    assert after == ([("/", root_flags)] if root_flags else [])


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("/a//b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("/../a", "/a"), ("a", "/a")],
)
def test_clean_path(path: str, clean: str) -> None:
    assert clean_path(path) == clean


def test_id_mapped_mount_takes_root() -> None:
    ids = [{"containerID": 0, "hostID": 1000, "size": 1}]
    mapped = {**entry("/a", "", "bind", source="/s"), "uidMappings": ids, "gidMappings": ids}
    assert lines(mapped) == ["bind /s at /a (ids mapped 0:1000:1/0:1000:1) [by the runtime]"]
    own = [{"containerID": 0, "hostID": 1000, "size": 1}]
    spaces = [{"type": "mount"}, {"type": "pid"}, {"type": "user"}]
    linux = {"namespaces": spaces, "uidMappings": own, "gidMappings": own}
    spec = minimal(mounts=[mapped], linux=linux)
    with pytest.raises(SpecFailure, match="takes root") as caught:
        build(spec, options(spec), host(euid=1000))
    assert caught.value.pointer == "/mounts/0"
