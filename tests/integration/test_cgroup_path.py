"""A container's cgroup belongs to it alone."""

from __future__ import annotations

from harness.signatures import Make


def test_cgroup_of_a_living_container_is_refused_and_left_alone(container: Make) -> None:
    first = container("/bin/probe", "wait").running()
    second = container("/bin/probe", "wait")
    second.bundle.linux["cgroupsPath"] = first.bundle.linux["cgroupsPath"]
    second.create().failed("container's cgroup is not empty: 1 process(es) found")
    second.delete(force=True).ok()
    assert first.status == "running"
    assert all(path.is_dir() for path in first.all_cgroups())


def test_refused_limit_leaves_nothing(container: Make) -> None:
    c = container("/bin/true")
    c.bundle.resources["hugepageLimits"] = [{"pageSize": "3MB", "limit": 0}]
    c.create().failed("/linux/resources/hugepageLimits/0")
    c.nothing_left()


def test_path_that_is_refused_leaves_nothing(container: Make) -> None:
    """The kernel takes no line end in the name of a cgroup; the directories above it could be made."""
    c = container("/bin/true")
    top = c.bundle.linux["cgroupsPath"]
    c.bundle.linux["cgroupsPath"] = top + "/b/line\nend"
    c.create().failed("make cgroup", "EINVAL")
    c.nothing_left()
    assert not [path for path in c.lane.tops() if (path / top.lstrip("/")).exists()]
