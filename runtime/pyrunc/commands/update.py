"""update: change the resources of a living container."""

from __future__ import annotations

from pyrunc.errors import Failure, SpecFailure
from pyrunc.sizes import parse_bytes, parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request

# Option: where its value goes, and what it is.
_PLACES = {
    "blkio_weight": ("blockIO", "weight", "number"),
    "cpu_period": ("cpu", "period", "number"),
    "cpu_quota": ("cpu", "quota", "number"),
    "cpu_burst": ("cpu", "burst", "number"),
    "cpu_share": ("cpu", "shares", "number"),
    "cpu_rt_period": ("cpu", "realtimePeriod", "number"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime", "number"),
    "cpu_idle": ("cpu", "idle", "number"),
    "cpuset_cpus": ("cpu", "cpus", "text"),
    "cpuset_mems": ("cpu", "mems", "text"),
    "memory": ("memory", "limit", "bytes"),
    "memory_reservation": ("memory", "reservation", "bytes"),
    "memory_swap": ("memory", "swap", "bytes"),
    "pids_limit": ("pids", "limit", "number"),
}
# These are no resources: the groups of resctrl are beside cgroups.
_SCHEMATA = {"l3_cache_schema": "l3CacheSchema", "mem_bw_schema": "memBwSchema"}


def run(request: Request) -> int:
    from pyrunc import log, updating

    for name in ("kernel_memory", "kernel_memory_tcp"):
        if request.options[name]:
            log.warning("Kernel memory settings are ignored and will be removed")
    source = request.options["resources"]
    if source:
        from pyrunc.commands import given
        from pyrunc.spec import load

        text = given.read(source, f'resources "{source}"')
        change: dict[str, Any] = dict(load.accept_resources(text, source))
    else:
        change = from_options(request.options)
    try:
        updating.apply(request.root, request.id, change, schemata(request.options))
    except SpecFailure as failure:
        # The document at hand is the resources object, not a config.
        failure.pointer = failure.pointer.removeprefix("/linux/resources")
        raise
    return 0


def schemata(options: dict[str, Any]) -> dict[str, str]:
    """Return the properties of linux.intelRdt that the flags speak of, and their values."""
    given = {name: options[option] for option, name in _SCHEMATA.items()}
    return {name: text for name, text in given.items() if text}


def from_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the resources that the flags speak of."""
    change: dict[str, Any] = {}
    for option, (group, name, kind) in _PLACES.items():
        text = options[option]
        if text == "":
            continue
        flag = "--" + option.replace("_", "-")
        value: object = text
        if kind != "text":
            try:
                value = parse_bytes(text) if kind == "bytes" else parse_number(text)
            except (ValueError, Failure):
                raise Failure(f"invalid value for {flag}: {text}") from None
        change.setdefault(group, {})[name] = value
    return change
