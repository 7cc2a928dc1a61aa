"""Decides what CRIU is told for the flags, the annotations and the namespaces of a container.

It must not read the state of processes.
"""

from __future__ import annotations

import posix

from pyrunc import annotated
from pyrunc.checkpoint import messages
from pyrunc.checkpoint.criu import LOG_LEVEL
from pyrunc.errors import Failure, SpecFailure
from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.checkpoint.images import Directories
    from pyrunc.spec.types import Spec

# Flags whose name in criu_opts is the same.
_SAME = (
    "tcp_established",
    "tcp_skip_in_flight",
    "tcp_close",
    "ext_unix_sk",
    "shell_job",
    "file_locks",
    "link_remap",
    "auto_dedup",
    "lazy_pages",
)
# Those whose value is one of a few words.
_WORDS = {
    "manage_cgroups_mode": messages.CGROUP_MODES,
    "network_lock": messages.NETWORK_LOCKS,
}
CONFIG_FILES = ("/etc/criu/pyrunc.conf", "/etc/criu/runc.conf")
# Those that CRIU can leave out of an image and find again, and how it then calls them: runc's names.
EXTERNAL = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
# Those that it saves with the container, and enters the named one instead when it restores.
JOINED = {"ipc": "ipc", "uts": "uts"}


def from_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Return what the flags of either command ask for; Failure for one with a wrong value."""
    values: dict[str, Any] = {name: True for name in _SAME if flags.get(name)}
    for name, known in _WORDS.items():
        word = flags[name]
        if word and word not in known:
            flag = "--" + name.replace("_", "-")
            raise Failure(f"invalid value for {flag}: {word}, not one of {', '.join(known)}")
        if word:
            values[name] = known[word]
    profile = flags.get("lsm_profile", "")
    if profile:
        module, _colon, name = profile.partition(":")
        if module not in ("apparmor", "selinux") or not name:
            raise Failure(
                f"invalid value for --lsm-profile: {profile}, not apparmor:NAME or selinux:LABEL"
            )
    for kind in flags["empty_ns"]:
        if kind != "network":
            raise Failure(f'namespace "{kind}" is not supported by --empty-ns, only network is')
        values["empty_ns"] = C.CLONE_NEWNET
    return values


def fixed(directories: Directories, log_name: str, spec: Spec) -> dict[str, Any]:
    """Return what dump and restore have in common whatever the flags."""
    values: dict[str, Any] = {
        "images_dir_fd": directories.images_fd,
        "work_dir_fd": directories.work_fd,
        "log_level": LOG_LEVEL,
        "log_file": log_name,
        "notify_scripts": True,
        "orphan_pts_master": True,
        "manage_cgroups": True,
        "evasive_devices": True,
    }
    config = _config_file(spec)
    if config:
        values["config_file"] = config
    return values


def _config_file(spec: Spec) -> str:
    annotations = spec["annotations"]
    if annotated.CRIU_CONFIG in annotations:
        return annotations[annotated.CRIU_CONFIG]
    for path in CONFIG_FILES:
        if posix.access(path, posix.F_OK):
            return path
    return ""


def page_server(text: str) -> dict[str, Any]:
    """Return the page server of ADDR:PORT; an IPv6 address stands in brackets."""
    address, colon, port = text.rpartition(":")
    if not colon or not address or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise Failure("Use --page-server ADDRESS:PORT to specify page server")
    return {"address": address.strip("[]"), "port": int(port)}


def named_namespaces(spec: Spec) -> list[tuple[str, str]]:
    """Return type and path of the namespaces that the container shares with others.

    SpecFailure for one that CRIU knows no way to leave alone.
    """
    found: list[tuple[str, str]] = []
    for number, namespace in enumerate(spec["linux"]["namespaces"]):
        kind, path = namespace["type"], namespace.get("path")
        if not path:
            continue
        if kind not in EXTERNAL and kind not in JOINED:
            raise SpecFailure(
                f"/linux/namespaces/{number}/path",
                f"CRIU cannot save a container in the {kind} namespace of another",
            )
        found.append((kind, path))
    return found


def refuse_unprivileged() -> None:
    """Raise Failure where CRIU could not work anyhow."""
    from pyrunc.cgroup.apply import in_user_namespace

    if posix.geteuid() != 0 or in_user_namespace():
        raise Failure("CRIU saves and restores containers for root of the host only")
