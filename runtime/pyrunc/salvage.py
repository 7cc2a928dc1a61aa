"""Decides what of a container whose record is lost can still be found and ended.

It must not touch a cgroup but the one that the copy of the container's config names.
"""

from __future__ import annotations

from pyrunc import cgroup, log
from pyrunc.cgroup import layout
from pyrunc.errors import Failure
from pyrunc.plan import cgroups
from pyrunc.spec import load
from pyrunc.state import CONFIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.spec.types import Spec
    from pyrunc.state import StateDirectory


def end(directory: StateDirectory) -> None:
    """End the processes of a container by its cgroups, and remove those.

    The cgroups are the container's alone, since `create` refuses any that hold processes. A config
    that is lost as well is no error: the state directory has to be removable in any case.
    """
    try:
        spec = load.load_copy(directory.file(CONFIG))
        if (spec["linux"].get("cgroupsPath") or "").count(":") == 2:
            _end_unit(spec, directory.container_id)
        paths = cgroups.locate(spec, directory.container_id, layout.read())
    except Failure as failure:
        log.warning(f"what ran in the container cannot be found: {failure}")
        return
    cgroup.kill_and_remove(paths)


def _end_unit(spec: Spec, container_id: str) -> None:
    """The path is one of systemd's: the container is a unit of the manager that there is for us."""
    from pyrunc import host
    from pyrunc.cgroup import systemd
    from pyrunc.plan import systemd as plan

    facts = host.read()
    kind = "user" if facts.euid != 0 or facts.in_user_namespace else "system"
    place = plan.unit(spec, container_id, kind)
    manager = systemd.manager(kind)
    paths = plan.locate(spec, place, facts.cgroup, manager.facts())
    cgroup.kill_and_remove(paths, {"systemd_unit": place.name, "systemd_manager": kind})
