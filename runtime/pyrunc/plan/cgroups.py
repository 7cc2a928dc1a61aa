"""Decides where the cgroups of a container are, and which operations make and limit them.

It must not read the system: what the machine has comes in with the CgroupLayout.
"""

from __future__ import annotations

import errno

from pyrunc.cgroup.layout import CgroupLayout
from pyrunc.errors import HostFailure, SpecFailure
from pyrunc.plan import devices_program, ops, resources_v1, resources_v2
from pyrunc.plan.records import Placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions

    Rules = Callable[[dict[str, Any], str], list[Op]]

_RESOURCES = "/linux/resources"
_PATH = "/linux/cgroupsPath"

# What a write asks for when it asks for no limit: nothing is lost without the controller.
_UNLIMITED = ("-1", "max")

NO_PERMISSION = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"


def placement(spec: Mapping[str, Any], options: CreateOptions, host: Host) -> Placement:
    """Return where the container is put and how, by whoever manages cgroups."""
    if options.cgroup_manager == "systemd":
        from pyrunc.plan import systemd

        return systemd.placement(spec, options, host.cgroup, host.euid)
    if options.cgroup_manager == "disabled":
        _refuse_limits(spec)
        return Placement({}, (), (), None)
    layout = permitted(spec, host.cgroup, options.denied_cgroups)
    paths = locate(spec, options.id, layout)
    # Limits are in force before the first process of the container is.
    before = operations(spec, paths, layout, options.rootless)
    before += ownership(spec, paths, layout, host.euid)
    born_in = paths.get("") if layout.mode == "v2" else None
    return Placement(paths, tuple(before), tuple(joins(paths, layout)), born_in)


def _refuse_limits(spec: Mapping[str, Any]) -> None:
    """Device rules apart, which need a cgroup as well, but which every engine writes."""
    linux = spec.get("linux") or {}
    for name, value in (linux.get("resources") or {}).items():
        if name != "devices" and value:
            raise SpecFailure(f"{_RESOURCES}/{name}", "no limits without a cgroup manager")


def locate(spec: Mapping[str, Any], container_id: str, layout: CgroupLayout) -> dict[str, str]:
    """Return the container's cgroup directories: {controller, or "" for v2: absolute path}.

    An absolute linux.cgroupsPath is below the mount point of each hierarchy. A relative one, or the
    id where none is given, is on v1 below the runtime's own cgroup, as runc has it; on v2 it is
    below the parent of it, because a cgroup with processes cannot give controllers to its children
    (cgroups(7), "no internal processes" rule). SpecFailure where it names a root cgroup.
    """
    given: str = (spec.get("linux") or {}).get("cgroupsPath") or ""
    name = _clean(given or container_id)
    if not name:
        raise SpecFailure(_PATH, "is a root cgroup, which cannot be a container's", subject=given)
    absolute = given.startswith("/")
    paths: dict[str, str] = {}
    for hierarchy in layout.v1:
        own = "" if absolute else hierarchy.own
        for controller in hierarchy.controllers:
            paths[controller] = _join(hierarchy.mount, own, name)
    if layout.unified is not None:
        own = "" if absolute else layout.unified_own
        if layout.mode == "v2":
            own = own.rstrip("/").rpartition("/")[0]
        paths[""] = _join(layout.unified, own, name)
    return paths


def permitted(
    spec: Mapping[str, Any], layout: CgroupLayout, denied: tuple[str, ...]
) -> CgroupLayout:
    """Return the layout without the hierarchies that refuse the runtime a cgroup (`permission`).

    SpecFailure where a cgroup was asked for by its path, or none at all is left and limits are
    asked for. The words are runc's, which its callers look for.
    """
    if not denied:
        return layout
    linux = spec.get("linux") or {}
    left = tuple(hierarchy for hierarchy in layout.v1 if hierarchy.name not in denied)
    unified = None if "" in denied else layout.unified
    for name, value in (linux.get("resources") or {}).items():
        # Devices are out of reach anyway: mknod(2) is not for user namespaces.
        if name != "devices" and value and not left and unified is None:
            raise SpecFailure(f"{_RESOURCES}/{name}", NO_PERMISSION)
    if linux.get("cgroupsPath"):
        raise SpecFailure(_PATH, NO_PERMISSION, subject=linux["cgroupsPath"])
    controllers = layout.unified_controllers if unified else ()
    return CgroupLayout(layout.mode, unified, layout.unified_own, controllers, left)


def operations(
    spec: Mapping[str, Any], paths: dict[str, str], layout: CgroupLayout, rootless: bool = False
) -> list[Op]:
    """Return what makes the cgroups `paths` (of `locate`) and sets every limit of linux.resources.

    SpecFailure at the property that the machine's cgroups cannot fulfil, HostFailure where no
    cgroup file system is mounted at all. A rootless container can do without.
    """
    if not paths and rootless:
        return []
    if not paths:
        raise HostFailure(
            errno.ENODEV, "make the container's cgroup: no cgroup file system is mounted"
        )
    linux = spec.get("linux") or {}
    resources = linux.get("resources") or {}
    origin = _PATH if linux.get("cgroupsPath") else ""
    limits = _limits(resources, paths, layout)
    if not rootless or "devices" in paths or "" in paths:
        limits += _devices(linux, paths)
    created = [
        ops.create_cgroup(origin, hierarchy.name, paths[hierarchy.name], hierarchy.controllers)
        for hierarchy in layout.v1
    ]
    if "" in paths:
        # A v2 host accounts with all controllers, as engines expect of `events`; beside v1 only
        # what a limit needs is enabled, because that changes cgroups above which others use.
        wanted = layout.unified_controllers
        if layout.mode == "hybrid":
            used = {
                op.args[0].rpartition("/")[2].partition(".")[0]
                for op in limits
                if op.kind == "write_cgroup" and op.args[0].startswith(paths[""] + "/")
            }
            wanted = tuple(name for name in wanted if name in used)
        created.append(ops.create_cgroup(origin, "", paths[""], wanted))
    return created + limits


def ownership(
    spec: Mapping[str, Any], paths: dict[str, str], layout: CgroupLayout, euid: int
) -> list[Op]:
    """Return what gives the cgroup to the container's user (config-linux.md, "Cgroup ownership").

    On v2 alone, where the container has a new cgroup namespace and sees its cgroup read-write.
    """
    linux, user = spec["linux"], spec["process"]["user"]["uid"]
    kinds = {entry["type"]: entry.get("path") for entry in linux["namespaces"]}
    is_writable = any(
        entry["type"] == "cgroup"
        and entry["destination"].rstrip("/") == "/sys/fs/cgroup"
        and "ro" not in entry["options"]
        for entry in spec["mounts"]
    )
    if layout.mode != "v2" or "" not in paths or kinds.get("cgroup", "/") or not is_writable:
        return []
    uid = _host_uid(user, linux["uidMappings"]) if "user" in kinds else user
    # Nobody but root can give away what is theirs; what is made is its maker's anyway.
    if uid is None or uid == euid or euid != 0:
        return []
    return [ops.own_cgroup("/process/user/uid", paths[""], uid)]


def _host_uid(uid: int, mappings: list[dict[str, int]]) -> int | None:
    for entry in mappings:
        if entry["containerID"] <= uid < entry["containerID"] + entry["size"]:
            return uid - entry["containerID"] + entry["hostID"]
    return None


def joins(paths: dict[str, str], layout: CgroupLayout) -> list[Op]:
    """Return the operations that put init into its cgroups: none on v2, where clone does it."""
    if layout.mode == "v2":
        return []
    return [ops.join_cgroup("", path) for path in dict.fromkeys(paths.values())]


def warnings(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (pointer, text) for each limit that is ignored, since no kernel has it any more."""
    memory = ((spec.get("linux") or {}).get("resources") or {}).get("memory") or {}
    return [
        (f"{_RESOURCES}/memory/{name}", "ignored: Linux has no kernel memory limits since 5.16")
        for name in ("kernel", "kernelTCP")
        if memory.get(name)
    ]


def _limits(resources: dict[str, Any], paths: dict[str, str], layout: CgroupLayout) -> list[Op]:
    result: list[Op] = []
    for v1_name, v2_name, v1_rules, v2_rules in _CONTROLLERS:
        if v1_name in paths:
            result += v1_rules(resources, paths[v1_name])
        elif v2_name in layout.unified_controllers:
            result += v2_rules(resources, paths[""])
        else:
            rules = v2_rules if layout.mode == "v2" else v1_rules
            name = v2_name if layout.mode == "v2" else v1_name
            for op in rules(resources, ""):
                if op.args[1] not in _UNLIMITED and not op.args[1].startswith("max "):
                    raise SpecFailure(op.origin, f"controller {name} is not available")
    unified = resources.get("unified") or {}
    if unified and layout.mode != "v2":
        raise SpecFailure(f"{_RESOURCES}/unified", "cannot use unified on cgroup v1")
    return result + resources_v2.unified(unified, paths.get("", ""), layout.unified_controllers)


def _devices(linux: dict[str, Any], paths: dict[str, str]) -> list[Op]:
    rules = devices_program.read_rules(linux)
    if "devices" in paths:
        path = paths["devices"]
        return [
            # An engine in a container may lack rights that a default rule would give.
            ops.write_cgroup(origin, f"{path}/{file}", line, () if origin else (errno.EPERM,))
            for origin, file, line in devices_program.lines(rules)
        ]
    if "" not in paths:
        raise SpecFailure(f"{_RESOURCES}/devices", "controller devices is not available")
    if devices_program.allows_all(rules):
        return []
    origin = f"{_RESOURCES}/devices" if (linux.get("resources") or {}).get("devices") else ""
    return [ops.attach_device_program(origin, paths[""], devices_program.program(rules))]


def _clean(path: str) -> str:
    """Return `path` without leading slash, empty names, "." and "..", which stops at the root."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if names:
                names.pop()
        elif name not in ("", "."):
            names.append(name)
    return "/".join(names)


def _join(mount: str, own: str, name: str) -> str:
    own = own.strip("/")
    mount = mount.rstrip("/")
    return f"{mount}/{own}/{name}" if own else f"{mount}/{name}"


# Controller of v1, controller of v2, and who words its limits there, in the order of writing.
_CONTROLLERS: tuple[tuple[str, str, Rules, Rules], ...] = (
    ("memory", "memory", resources_v1.memory, resources_v2.memory),
    ("cpu", "cpu", resources_v1.cpu, resources_v2.cpu),
    ("cpuset", "cpuset", resources_v1.cpuset, resources_v2.cpuset),
    ("pids", "pids", resources_v1.pids, resources_v2.pids),
    ("blkio", "io", resources_v1.blkio, resources_v2.io),
    ("hugetlb", "hugetlb", resources_v1.hugetlb, resources_v2.hugetlb),
    ("rdma", "rdma", resources_v1.rdma, resources_v2.rdma),
    ("net_cls", "net_cls", resources_v1.net_cls, resources_v2.network),
    ("net_prio", "net_prio", resources_v1.net_prio, resources_v2.network),
)
