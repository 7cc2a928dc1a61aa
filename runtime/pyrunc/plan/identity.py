"""Decides who the container's process is: ids, capabilities, limits, labels, environment.

It must not look up names: users are numbers in a spec, and HOME is looked up by init.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.plan import ops
from pyrunc.shim.constants import (
    CAPABILITIES,
    CLONE_NEWUSER,
    ENVIRONMENT_HOME,
    ENVIRONMENT_LISTEN_PID,
    IDS_KEEP_CAPS,
    IDS_SET_GROUPS,
    IDS_TOLERATE_DENIED_GROUPS,
    LABEL_APPARMOR,
    LABEL_SELINUX,
    RLIMITS,
    TOLERATE_EPERM,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions, ExecOptions

    Options = CreateOptions | ExecOptions

    Warnings = list[tuple[str, str]]

# The umask where config.json has none, as in runc and crun.
UMASK = 0o022
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def rlimits(spec: Mapping[str, Any], namespaces: Namespaces) -> list[Op]:
    """Init sets its limits; in a user namespace that is new it may not raise a hard one."""
    made = []
    for number, limit in enumerate(spec["process"]["rlimits"]):
        origin = f"/process/rlimits/{number}"
        resource = RLIMITS.get(limit["type"])
        if resource is None:
            raise SpecFailure(f"{origin}/type", f"wrong rlimit value: {limit['type']}")
        if namespaces.new & CLONE_NEWUSER:
            made.append(ops.raise_init_rlimit(origin, resource, limit["hard"]))
        made.append(ops.set_rlimit(origin, resource, limit["soft"], limit["hard"]))
    return made


def oom_score(spec: Mapping[str, Any], options: Options, namespaces: Namespaces) -> list[Op]:
    """Nothing where config.json has none: the specification then forbids to change it."""
    value = spec["process"].get("oomScoreAdj")
    if value is None:
        return []
    origin = "/process/oomScoreAdj"
    # Without privileges it can be raised, not lowered (proc(5)).
    flags = TOLERATE_EPERM if options.rootless else 0
    make = ops.set_oom_score_adj
    if namespaces.has(CLONE_NEWUSER):
        make = ops.set_init_oom_score_adj
    return [make(origin, value, flags)]


def own_oom_score(spec: Mapping[str, Any], options: Options) -> list[Op]:
    """The same by the process itself, while it has its rights."""
    value = spec["process"].get("oomScoreAdj")
    if value is None:
        return []
    flags = TOLERATE_EPERM if options.rootless else 0
    return [ops.set_oom_score_adj("/process/oomScoreAdj", value, flags)]


def keyring(spec: Mapping[str, Any], options: Options) -> list[Op]:
    """A session keyring of its own: without one the keys of the caller's session are in reach."""
    if options.no_new_keyring:
        return []
    return [ops.session_keyring("", f"_ses.{options.id}", spec["process"].get("selinuxLabel"))]


def labels(spec: Mapping[str, Any], host: Host) -> list[Op]:
    """What the security modules shall call the process after execve."""
    process, made = spec["process"], []
    profile, label = process.get("apparmorProfile"), process.get("selinuxLabel")
    if profile:
        origin = "/process/apparmorProfile"
        if not host.apparmor:
            raise SpecFailure(origin, "apparmor: config provided but apparmor not supported")
        made.append(ops.set_label(origin, profile, LABEL_APPARMOR))
    if label:
        origin = "/process/selinuxLabel"
        if not host.selinux:
            raise SpecFailure(
                origin,
                "selinux label is specified in config, but selinux is disabled or not supported",
            )
        made.append(ops.set_label(origin, label, LABEL_SELINUX))
    return made


def environment(spec: Mapping[str, Any], host: Host, more: tuple[str, ...] = ()) -> list[Op]:
    """Of entries of one name the last holds; descriptors of socket activation are announced."""
    entries = [*spec["process"]["env"], *more]
    if host.listen_fds:
        entries.append(f"LISTEN_FDS={host.listen_fds}")
    last: dict[str, str] = {}
    for entry in entries:
        name = entry.partition("=")[0]
        last.pop(name, None)
        last[name] = entry
    uid = spec["process"]["user"]["uid"]
    # An empty HOME counts as none, as in runc and crun.
    flags = 0 if last.get("HOME", "HOME=") != "HOME=" else ENVIRONMENT_HOME
    if host.listen_fds:
        # sd_listen_fds(3): the process's own id, which only init knows.
        last.pop("LISTEN_PID", None)
        flags |= ENVIRONMENT_LISTEN_PID
    return [ops.set_environment("/process/env", tuple(last.values()), uid, flags)]


def ids(spec: Mapping[str, Any], options: Options, namespaces: Namespaces, host: Host) -> Op:
    """User, groups and umask, keeping the permitted capabilities for `set_caps`."""
    user = spec["process"]["user"]
    linux = spec["linux"]
    if namespaces.new & CLONE_NEWUSER:
        for name, key in (("uid", "uidMappings"), ("gid", "gidMappings")):
            if not _is_mapped(user[name], linux[key]):
                raise SpecFailure(
                    f"/process/user/{name}",
                    f"cannot set{name} to unmapped {name} {user[name]} in user namespace",
                )
    flags = IDS_KEEP_CAPS
    annotations = spec.get("annotations")
    if not (annotations and _keeps_groups(annotations)):
        flags |= IDS_SET_GROUPS
    if options.rootless:
        if user["additionalGids"] and host.euid != 0:
            raise SpecFailure(
                "/process/user/additionalGids",
                "cannot set any additional groups in a rootless container",
            )
        flags |= IDS_TOLERATE_DENIED_GROUPS
    return ops.set_ids(
        "/process/user",
        user["uid"],
        user["gid"],
        user["additionalGids"],
        user.get("umask", UMASK),
        flags,
    )


def _keeps_groups(annotations: Mapping[str, str]) -> bool:
    from pyrunc import annotated

    return annotated.is_set(annotations, annotated.KEEP_ORIGINAL_GROUPS)


def _is_mapped(number: int, mappings: Iterable[dict[str, int]]) -> bool:
    return any(
        entry["containerID"] <= number < entry["containerID"] + entry["size"] for entry in mappings
    )


class Capabilities:
    """The five sets as bit masks, of what the kernel has and the runtime may give."""

    __slots__ = (*SETS, "warnings")

    bounding: int
    effective: int
    permitted: int
    inheritable: int
    ambient: int
    warnings: Warnings

    def __init__(self, spec: Mapping[str, Any], host: Host, namespaces: Namespaces) -> None:
        # Without the property nothing is kept, as in runc.
        wanted = spec["process"].get("capabilities") or {}
        # Root of a user namespace has all capabilities over it, whatever the runtime itself has.
        own = namespaces.has(CLONE_NEWUSER)
        available = (1 << (host.last_capability + 1)) - 1
        if not own:
            available &= host.capabilities
        self.warnings = []
        for kind in SETS:
            setattr(self, kind, self._mask(kind, wanted.get(kind) or (), available))
        # capset(2) and prctl(2) refuse these; the specification asks for a warning, not a failure.
        self.effective &= self.permitted
        self.ambient &= self.permitted & self.inheritable

    def _mask(self, kind: str, names: Iterable[str], available: int) -> int:
        mask = 0
        for number, name in enumerate(names):
            bit = CAPABILITIES.get(name)
            # `pyrunc.spec.rules` warns of a name that nobody knows.
            if bit is None:
                continue
            if available >> bit & 1:
                mask |= 1 << bit
            else:
                self.warnings.append(
                    (
                        f"/process/capabilities/{kind}/{number}",
                        f"ignoring unknown or unavailable capabilities: [{name}]",
                    )
                )
        return mask

    def drop_bounding(self) -> Op:
        """To be done while the process has CAP_SETPCAP."""
        return ops.drop_bounding("/process/capabilities/bounding", self.bounding)

    def set_caps(self) -> Op:
        """To be done once the ids are the container's."""
        return ops.set_caps(
            "/process/capabilities", self.effective, self.permitted, self.inheritable, self.ambient
        )
