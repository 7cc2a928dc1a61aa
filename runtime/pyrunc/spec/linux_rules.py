"""Decides the rules for the linux section: namespaces, mappings, devices, sysctls, seccomp.

It must not read the system; `pyrunc.spec.rules` is the only caller but for `judge_resources`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.spec.types import Finding

    Namespaces = dict[str, str]

# ipc_namespaces(7): what of /proc/sys belongs to an IPC namespace, besides fs/mqueue.
IPC_SYSCTLS = frozenset(
    "kernel." + name
    for name in (
        *("msgmax", "msgmnb", "msgmni", "sem"),
        *("shmall", "shmmax", "shmmni", "shm_rmid_forced"),
    )
)
# Bits of a dev_t that mknod(2) takes: 12 of the major number, 20 of the minor.
MAJOR_LIMIT = 1 << 12
MINOR_LIMIT = 1 << 20
# __NEW_UTS_LEN of <linux/utsname.h>.
UTS_NAME_LIMIT = 64
ID_LIMIT = 1 << 32
# NSEC_PER_SEC of timens_offsets, time_namespaces(7).
NANOSECONDS = 10**9
_SWAP_SEPARATORS = {ord("."): "/", ord("/"): "."}


def judge(config: dict[str, Any], problems: list[Finding], warnings: list[Finding]) -> None:
    """Judge the linux section and what depends on namespaces elsewhere."""
    linux = config.get("linux") or {}
    namespaces = _namespaces(linux.get("namespaces") or (), problems)
    _names(config, namespaces, problems)
    _mappings(linux, namespaces, problems, warnings)
    _time_offsets(linux, namespaces, problems)
    for name, place in (("maskedPaths", "masked"), ("readonlyPaths", "read-only")):
        paths = linux.get(name) or ()
        if paths and "mount" not in namespaces:
            message = "unable to restrict sys entries without a private MNT namespace"
            problems.append((f"/linux/{name}", message))
        for number, path in enumerate(paths):
            if path[:1] != "/":
                message = f'{place} path must be absolute, got "{path}"'
                problems.append((f"/linux/{name}/{number}", message))
    for number, device in enumerate(linux.get("devices") or ()):
        _device(device, f"/linux/devices/{number}", problems)
    for key in linux.get("sysctl") or ():
        reason = refused_sysctl(key, namespaces)
        if reason:
            problems.append((f"/linux/sysctl/{_token(key)}", reason))
    _net_devices(linux, namespaces, problems)
    # "/" is the root group; else it is the name of a directory.
    clos_id = (linux.get("intelRdt") or {}).get("closID") or "/"
    if clos_id in (".", "..") or ("/" in clos_id and clos_id != "/"):
        problems.append(("/linux/intelRdt/closID", f'invalid closID "{clos_id}"'))
    if linux.get("memoryPolicy") or linux.get("personality"):
        from pyrunc.spec import scheduling_rules

        scheduling_rules.judge_linux(linux, problems)
    seccomp = linux.get("seccomp")
    if seccomp:
        _seccomp(seccomp, problems)
    resources = linux.get("resources")
    if resources:
        judge_resources(resources, "/linux/resources", problems)


def judge_resources(resources: dict[str, Any], place: str, problems: list[Finding]) -> None:
    """Judge a resources object, of config.json or of its own file, that is found at `place`."""
    for number, rule in enumerate(resources.get("devices") or ()):
        here = f"{place}/devices/{number}"
        kind, access = rule.get("type") or "a", rule.get("access")
        if kind not in ("a", "b", "c"):
            problems.append((f"{here}/type", f'must be a, b or c, got "{kind}"'))
        if not access:
            message = f"device access at {number} field cannot be empty"
            problems.append((f"{here}/access", message))
        elif access.strip("rwm"):
            problems.append((f"{here}/access", f'must consist of r, w and m, got "{access}"'))
        for name, limit in (("major", MAJOR_LIMIT), ("minor", MINOR_LIMIT)):
            value = rule.get(name)
            if value is not None and not -1 <= value < limit:
                message = f"must be between -1 (any) and {limit - 1}, got {value}"
                problems.append((f"{here}/{name}", message))
    for name in resources.get("unified") or ():
        if "/" in name or name in ("", ".", ".."):
            message = f'unified resource "{name}" must be a file name (no slashes)'
            problems.append((f"{place}/unified/{_token(name)}", message))


def refused_sysctl(key: str, namespaces: Namespaces) -> str | None:
    """Why a sysctl may not be set in a container with these namespaces, or None.

    Both spellings are known, as sysctl.d(5) has them: the first of `.` and `/` separates.
    """
    dot, slash = key.find("."), key.find("/")
    dotted = dot >= 0 and (slash < 0 or dot < slash)
    path = key.translate(_SWAP_SEPARATORS) if dotted else key
    name = key if dotted else key.translate(_SWAP_SEPARATORS)
    parts = path.split("/")
    # net/../kernel/core_pattern would pass for a sysctl of the network namespace.
    if len(parts) < 2 or "" in parts or "." in parts or ".." in parts:
        return f'"{key}" is not the name of a sysctl'
    if name in IPC_SYSCTLS or name.startswith("fs.mqueue."):
        if "ipc" in namespaces:
            return None
        return f'sysctl "{key}" is not allowed in the hosts ipc namespace'
    if name.startswith("net."):
        if "network" in namespaces:
            return None
        return f'sysctl "{key}" not allowed in host network namespace'
    if name == "kernel.hostname":
        return f'sysctl "{key}" is not allowed as it conflicts with the OCI "hostname" field'
    if name == "kernel.domainname" and "uts" in namespaces:
        return None
    if name.startswith("user.") and "user" in namespaces:
        return None
    return f'sysctl "{key}" is not in a separate kernel namespace'


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _namespaces(entries: Any, problems: list[Finding]) -> Namespaces:
    """The namespaces that the container does not share with the runtime: type to path or ""."""
    found: Namespaces = {}
    for number, entry in enumerate(entries):
        kind, path = entry["type"], entry.get("path") or ""
        if kind in found:
            message = f'malformed spec file: duplicated ns "{kind}"'
            problems.append((f"/linux/namespaces/{number}/type", message))
        if path and path[0] != "/":
            message = f'namespace path must be absolute, got "{path}"'
            problems.append((f"/linux/namespaces/{number}/path", message))
        found[kind] = path
    return found


def _names(config: dict[str, Any], namespaces: Namespaces, problems: list[Finding]) -> None:
    for key in ("hostname", "domainname"):
        name = config.get(key)
        if not name:
            continue
        if "uts" not in namespaces:
            message = f"unable to set {key} without a private UTS namespace"
            problems.append((f"/{key}", message))
        elif (size := len(name.encode("utf-8", "surrogateescape"))) > UTS_NAME_LIMIT:
            message = f"must not be longer than {UTS_NAME_LIMIT} bytes, got {size}"
            problems.append((f"/{key}", message))


def _mappings(
    linux: dict[str, Any],
    namespaces: Namespaces,
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    for key, noun in (("uidMappings", "uid"), ("gidMappings", "gid")):
        mappings = linux.get(key) or ()
        if not mappings:
            if namespaces.get("user") == "":
                message = f"user namespaces enabled, but no {noun} mappings found"
                problems.append((f"/linux/{key}", message))
            continue
        if "user" not in namespaces:
            message = (
                "user namespace mappings specified, but user namespace isn't enabled in the config"
            )
            problems.append((f"/linux/{key}", message))
        elif namespaces["user"]:
            # containerd and CRI-O name the mappings of a namespace that they have made.
            warnings.append(
                (
                    f"/linux/{key}",
                    "a joined user namespace has its own mappings, which must be these",
                )
            )
        for number, entry in enumerate(mappings):
            place, size = f"/linux/{key}/{number}", entry["size"]
            if size == 0:
                problems.append((f"{place}/size", "must be at least 1, got 0"))
            for side in ("containerID", "hostID"):
                if entry[side] + size > ID_LIMIT:
                    message = f"maps ids beyond {ID_LIMIT - 1}: {entry[side]} plus {size}"
                    problems.append((f"{place}/{side}", message))


def _time_offsets(linux: dict[str, Any], namespaces: Namespaces, problems: list[Finding]) -> None:
    offsets = linux.get("timeOffsets")
    if not offsets:
        return
    if "time" not in namespaces:
        message = "time namespace offsets specified, but time namespace isn't enabled in the config"
        problems.append(("/linux/timeOffsets", message))
    elif namespaces["time"]:
        message = "time namespace offsets cannot be set in a joined time namespace"
        problems.append(("/linux/timeOffsets", message))
    # Others are unknown properties, to be ignored whatever they hold.
    for clock in ("monotonic", "boottime"):
        nanoseconds = (offsets.get(clock) or {}).get("nanosecs") or 0
        if nanoseconds >= NANOSECONDS:
            place = f"/linux/timeOffsets/{clock}/nanosecs"
            message = f"must be between 0 and {NANOSECONDS - 1}, got {nanoseconds}"
            problems.append((place, message))


def _device(device: dict[str, Any], place: str, problems: list[Finding]) -> None:
    path = device["path"]
    if path[:1] != "/":
        problems.append((f"{place}/path", f'device path must be absolute, got "{path}"'))
    if device["type"] == "p":
        return
    for name, limit in (("major", MAJOR_LIMIT), ("minor", MINOR_LIMIT)):
        value = device.get(name)
        if value is None:
            problems.append((f"{place}/{name}", f"is required for type {device['type']}"))
        elif not 0 <= value < limit:
            message = f"must be between 0 and {limit - 1}, got {value}"
            problems.append((f"{place}/{name}", message))


def _is_interface(name: str) -> bool:
    """dev_valid_name() of net/core/dev.c: IFNAMSIZ counts the final NUL."""
    if not name or len(name.encode("utf-8", "surrogateescape")) > 15 or name in (".", ".."):
        return False
    return not ("/" in name or ":" in name or name.split() != [name])


def _net_devices(linux: dict[str, Any], namespaces: Namespaces, problems: list[Finding]) -> None:
    devices = linux.get("netDevices") or {}
    seen = set()
    if devices and "network" not in namespaces:
        message = "unable to move network devices without a private NET namespace"
        problems.append(("/linux/netDevices", message))
    for name, device in devices.items():
        place, new = f"/linux/netDevices/{_token(name)}", (device or {}).get("name") or name
        if not _is_interface(name):
            problems.append((place, f'invalid network device name "{name}"'))
        elif not _is_interface(new):
            problems.append((f"{place}/name", f'invalid network device name "{new}"'))
        elif new in seen:
            problems.append((f"{place}/name", f'duplicated network device name "{new}"'))
        seen.add(new)


def _seccomp(seccomp: dict[str, Any], problems: list[Finding]) -> None:
    place = "/linux/seccomp"
    action = seccomp["defaultAction"]
    if seccomp.get("defaultErrnoRet") is not None and not _has_errno(action):
        message = f"errno value specified for action {action}"
        problems.append((f"{place}/defaultErrnoRet", message))
    if action == "SCMP_ACT_NOTIFY":
        message = "SCMP_ACT_NOTIFY cannot be used as default action"
        problems.append((f"{place}/defaultAction", message))
    for number, rule in enumerate(seccomp.get("syscalls") or ()):
        if rule["action"] == "SCMP_ACT_NOTIFY":
            _notify(seccomp, rule, f"{place}/syscalls/{number}", problems)
        if "" in rule["names"]:
            index = rule["names"].index("")
            message = "empty string in syscall names"
            problems.append((f"{place}/syscalls/{number}/names/{index}", message))
        if rule.get("errnoRet") is not None and not _has_errno(rule["action"]):
            message = f"errno value specified for action {rule['action']}"
            problems.append((f"{place}/syscalls/{number}/errnoRet", message))
        for argument, test in enumerate(rule.get("args") or ()):
            if test["index"] > 5:
                message = f"must be between 0 and 5, got {test['index']}"
                here = f"{place}/syscalls/{number}/args/{argument}/index"
                problems.append((here, message))


def _notify(
    seccomp: dict[str, Any], rule: dict[str, Any], place: str, problems: list[Finding]
) -> None:
    if not seccomp.get("listenerPath"):
        message = "seccomp listenerPath is not set, as SCMP_ACT_NOTIFY demands"
        problems.append((f"{place}/action", message))
    # With it the process that has the filter says that it has: nobody could answer yet.
    if "write" in rule["names"]:
        message = "SCMP_ACT_NOTIFY cannot be used for the write syscall"
        problems.append((f"{place}/names/{rule['names'].index('write')}", message))


def _has_errno(action: str) -> bool:
    return action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
