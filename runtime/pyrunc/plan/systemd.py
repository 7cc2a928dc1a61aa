"""Decides which unit of systemd a container is, where its cgroups are, and how it comes into them.

It must not speak to systemd: what the manager is comes in, and operations for it come out. A unit is
made around init when that has been cloned, since systemd takes processes into a scope and no others
(systemd.scope(5)); the kernel's files hold the exact limits afterwards, as with the cgroupfs driver.
"""

from __future__ import annotations

from pyrunc import annotated
from pyrunc.errors import SpecFailure
from pyrunc.plan import cgroups, ops, systemd_properties
from pyrunc.plan.records import Placement
from pyrunc.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.cgroup.layout import CgroupLayout
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions, ServiceManager

PATH = "/linux/cgroupsPath"
SLICE, SCOPE = ".slice", ".scope"
# What is made of a container without cgroupsPath, as with runc.
DEFAULT_PREFIX = "runc"
# systemd.unit(5): characters and length of a unit's name.
_PUNCTUATION = {ord(character): "0" for character in ":-_.\\@"}
_NAME_LIMIT = 255


@record
class Unit:
    """`name` ends in .scope, or .slice; `slice` is the slice above it, `path` is below the manager's
    own cgroup: "/system.slice/runc-web.scope"."""

    name: str
    slice: str
    path: str

    def is_slice(self) -> bool:
        return self.name.endswith(SLICE)


def unit(spec: Mapping[str, Any], container_id: str, manager: str) -> Unit:
    """Return the unit that linux.cgroupsPath, slice:prefix:name, stands for.

    `manager` is "system" or "user". SpecFailure for what is no such path, or gives no unit's name.
    """
    given: str = (spec.get("linux") or {}).get("cgroupsPath") or ""
    parts = given.split(":") if given else ["", DEFAULT_PREFIX, container_id]
    if len(parts) != 3:
        text = 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups'
        raise SpecFailure(PATH, f'{text}, got "{given}" instead')
    parent, prefix, name = parts
    parent = parent or ("user.slice" if manager == "user" else "system.slice")
    above = _expand(parent)
    if name.endswith(SLICE):
        if not name.isascii() or not _is_name(name):
            raise SpecFailure(PATH, f'invalid unit name "{name}"')
        # The name of a slice says where it is (systemd.slice(5)).
        return Unit(name, parent, _expand(name))
    full = (f"{prefix}-" if prefix else "") + name + SCOPE
    if not name or not _is_name(full):
        raise SpecFailure(PATH if given else "", f'invalid unit name "{full}"')
    return Unit(full, parent, f"{above}/{full}")


def _is_name(text: str) -> bool:
    fits = text.isascii() and len(text) <= _NAME_LIMIT
    return fits and text.translate(_PUNCTUATION).isalnum()


def _expand(name: str) -> str:
    """Return the directory of a slice: "/a.slice/a-b.slice" of "a-b.slice", "" of "-.slice"."""
    stem = name.removesuffix(SLICE)
    if stem == "-" and name != stem:
        return ""
    parts = stem.split("-")
    if name == stem or "" in parts or not _is_name(name):
        raise SpecFailure(PATH, f'invalid slice name: "{name}"')
    names = ["-".join(parts[: count + 1]) + SLICE for count in range(len(parts))]
    return "".join([f"/{one}" for one in names])


def subgroup(spec: Mapping[str, Any]) -> str:
    """Return the cgroup below the unit's that the container is in, "" for the unit's own."""
    name: str = (spec.get("annotations") or {}).get(annotated.SYSTEMD_SUBGROUP, "")
    if name and ("/" in name or name in (".", "..") or "\n" in name):
        raise SpecFailure(
            f"/annotations/{annotated.SYSTEMD_SUBGROUP}", f'invalid name of a cgroup: "{name}"'
        )
    return name


def locate(
    spec: Mapping[str, Any], place: Unit, layout: CgroupLayout, manager: ServiceManager
) -> dict[str, str]:
    """Return the container's cgroup directories, as `cgroups.locate` does."""
    below = manager.control_group.rstrip("/") + place.path
    if name := subgroup(spec):
        below += f"/{name}"
    paths = {}
    for hierarchy in layout.v1:
        for controller in hierarchy.controllers:
            paths[controller] = hierarchy.mount.rstrip("/") + below
    if layout.unified is not None:
        paths[""] = layout.unified.rstrip("/") + below
    return paths


def placement(
    spec: Mapping[str, Any], options: CreateOptions, layout: CgroupLayout, euid: int
) -> Placement:
    """Return where the container is put and how: nothing is done before init is there."""
    manager = options.service_manager
    if manager is None:
        raise AssertionError("who plans for systemd says what it is")
    if manager.kind == "user" and layout.mode != "v2":
        text = "cannot use rootless systemd cgroups manager on cgroup v1"
        raise SpecFailure(PATH if spec["linux"].get("cgroupsPath") else "", text)
    place = unit(spec, options.id, manager.kind)
    paths = locate(spec, place, layout, manager)
    is_v2 = layout.mode == "v2"
    made = _identity(spec, options.id, place, manager.version, is_v2)
    # In this order the later of two about one property wins: what config.json limits is last.
    made += systemd_properties.of_annotations(spec["annotations"])
    made += systemd_properties.of_resources(spec["linux"], manager, is_v2)
    # Where nobody writes init's pid to cgroup.procs, it is looked for there.
    unified = paths[""] if is_v2 and not (place.is_slice() or subgroup(spec)) else ""
    origin = PATH if spec["linux"].get("cgroupsPath") else ""
    made.append(ops.start_unit(origin, manager.kind, place.name, not place.is_slice(), unified))
    made += _entered(spec, paths, layout, place, options.rootless)
    made += cgroups.ownership(spec, paths, layout, euid)
    return Placement(paths, (), tuple(made), None, place.name, manager.kind)


def _identity(
    spec: Mapping[str, Any], container_id: str, place: Unit, version: int, is_v2: bool
) -> list[Op]:
    """What the unit is, whatever its limits are."""
    origin = PATH if spec["linux"].get("cgroupsPath") else ""
    description = f"pyrunc container {container_id}"
    made = [ops.unit_property("", "Description", "s", description)]
    if place.is_slice():
        made.append(ops.unit_property(origin, "Wants", "as", (place.slice,)))
    else:
        made.append(ops.unit_property(origin, "Slice", "s", place.slice))
        # Without it systemd would take cgroups and processes below for its own.
        made.append(ops.unit_property("", "Delegate", "b", True))
    for name in ("Memory", "CPU", "IO" if is_v2 else "BlockIO", "Tasks"):
        made.append(ops.unit_property("", f"{name}Accounting", "b", True))
    # Shutdown is the engine's business, which it orders by properties of its own.
    made.append(ops.unit_property("", "DefaultDependencies", "b", False))
    if version >= 236:
        # A unit that has failed, for want of memory for instance, is gone as well as others.
        made.append(ops.unit_property("", "CollectMode", "s", "inactive-or-failed"))
    return made


def _entered(
    spec: Mapping[str, Any],
    paths: dict[str, str],
    layout: CgroupLayout,
    place: Unit,
    rootless: bool,
) -> list[Op]:
    """What is done below systemd: cgroups that it has not made, and limits that it does not know."""
    made: list[Op] = []
    within = place.is_slice() or subgroup(spec) != ""
    if within and "" in paths:
        # A cgroup gives controllers to those below when no process is left in it.
        made.append(ops.adopt_cgroup("", "", paths[""], ()))
        made.append(ops.join_cgroup("", paths[""]))
    own = cgroups.operations(spec, paths, layout, rootless)
    for op in own:
        if op.kind == "create_cgroup":
            made.append(ops.adopt_cgroup(op.origin, *op.args))
            if op.args[0] not in ("", "name=systemd") or (within and op.args[0]):
                made.append(ops.join_cgroup("", op.args[1]))
    made += [op for op in own if op.kind != "create_cgroup"]
    return made
