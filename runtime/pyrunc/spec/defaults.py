"""Decides the normal form of a spec: what is absent gets the value that the specification gives it.

It must not judge: `pyrunc.spec.check_generated` and the rules have accepted what comes in. All
functions change their argument in place, so that a spec is never copied.

The normal form, on which every later part relies:
- no member of an object is null;
- root.readonly, process.terminal and process.noNewPrivileges are there;
- process.user has uid, gid and additionalGids; process.args, env and rlimits are lists;
- each mount has type, source ("" where absent) and options; its destination begins with "/";
- mounts, hooks, annotations and linux are there; linux.namespaces, uidMappings, gidMappings,
  devices, maskedPaths and readonlyPaths are lists, resources and sysctl are objects;
- a namespace entry has a path only if it joins one;
- empty strings of hostname, domainname, apparmorProfile, selinuxLabel, mountLabel, cgroupsPath and
  rootfsPropagation are absent, since Go cannot tell the two apart.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The umask of a container whose config gives none, as in runc and crun.
UMASK = 0o022
_LINUX_LISTS = (
    "namespaces",
    "uidMappings",
    "gidMappings",
    "devices",
    "maskedPaths",
    "readonlyPaths",
)


def strip_nulls(value: Any) -> None:
    """Remove null members of objects at any depth; Go writes them for what is absent."""
    if type(value) is dict:
        for key in [key for key, member in value.items() if member is None]:
            del value[key]
        for member in value.values():
            strip_nulls(member)
    elif type(value) is list:
        for member in value:
            strip_nulls(member)


def fill(config: dict[str, Any]) -> None:
    """Bring an accepted config into normal form; process.user.umask stays as it was given."""
    config.setdefault("annotations", {})
    config.setdefault("hooks", {})
    _drop_empty(config, ("hostname", "domainname"))
    config["root"].setdefault("readonly", False)
    fill_process(config["process"])
    for mount in config.setdefault("mounts", []):
        mount.setdefault("type", "")
        mount.setdefault("source", "")
        mount.setdefault("options", [])
        if mount["destination"][0] != "/":
            mount["destination"] = "/" + mount["destination"]
    linux = config.setdefault("linux", {})
    for name in _LINUX_LISTS:
        linux.setdefault(name, [])
    linux.setdefault("resources", {})
    linux.setdefault("sysctl", {})
    _drop_empty(linux, ("cgroupsPath", "mountLabel", "rootfsPropagation"))
    for namespace in linux["namespaces"]:
        _drop_empty(namespace, ("path",))


def fill_process(process: dict[str, Any]) -> None:
    """Bring an accepted process object into normal form."""
    process.setdefault("terminal", False)
    process.setdefault("noNewPrivileges", False)
    process.setdefault("args", [])
    process.setdefault("env", [])
    process.setdefault("rlimits", [])
    user = process.setdefault("user", {})
    user.setdefault("uid", 0)
    user.setdefault("gid", 0)
    user.setdefault("additionalGids", [])
    _drop_empty(process, ("apparmorProfile", "selinuxLabel"))


def _drop_empty(value: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if value.get(name) == "":
            del value[name]
