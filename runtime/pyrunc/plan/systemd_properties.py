"""Decides how limits and annotations of config.json are said to systemd, as properties of a unit.

It must not know the unit. What systemd has no property for is left out: the files of the cgroup have
it all (`cgroups.operations`). Properties are given so that systemd, which writes these files too
when it is told to reload, says the same (systemd.resource-control(5)).
"""

from __future__ import annotations

from pyrunc import numberlist
from pyrunc.annotated import SYSTEMD_PROPERTY
from pyrunc.errors import SpecFailure
from pyrunc.plan import devices_program, resources_v2
from pyrunc.plan.ops import unit_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyrunc.plan.devices_program import Rule
    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import ServiceManager

_RESOURCES = "/linux/resources"
INFINITY = 2**64 - 1
# kernel/sched/fair.c: default_cfs_period, in microseconds.
_DEFAULT_PERIOD = 100_000
# The versions that came with CPUQuotaPeriodUSec, AllowedCPUs and CPUWeight=idle.
_QUOTA_PERIOD, _CPUSET, _IDLE = 242, 244, 252

# What each is without a limit; a change that failed is undone by these.
UNLIMITED: dict[str, Any] = {
    "MemoryMax": INFINITY,
    "MemoryHigh": INFINITY,
    "MemorySwapMax": INFINITY,
    "MemoryLow": 0,
    "MemoryMin": 0,
    "MemoryLimit": INFINITY,
    "CPUWeight": INFINITY,
    "CPUShares": INFINITY,
    "CPUQuotaPerSecUSec": INFINITY,
    "CPUQuotaPeriodUSec": INFINITY,
    "IOWeight": INFINITY,
    "BlockIOWeight": INFINITY,
    "TasksMax": INFINITY,
    "AllowedCPUs": b"",
    "AllowedMemoryNodes": b"",
}


def of_resources(linux: Mapping[str, Any], manager: ServiceManager, is_v2: bool) -> list[Op]:
    """Return the unit_property operations of `linux` (its `resources`, and the rules of devices).

    SpecFailure at what cannot be understood.
    """
    resources = linux.get("resources") or {}
    made = _devices(linux, is_v2) if manager.kind == "system" else []
    made += _memory_v2(resources) if is_v2 else _memory_v1(resources)
    made += _cpu(resources, manager.version, is_v2)
    made += _block_io(resources, is_v2)
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        # Less than one is no number of tasks to systemd; the kernel's file says 0 where that is meant.
        made.append(_number(f"{_RESOURCES}/pids/limit", "TasksMax", max(limit, 1), limit < 0))
    if is_v2:
        made += _cpuset(resources, manager.version)
        made += _unified(resources.get("unified") or {}, manager.version)
    return made


def _number(origin: str, name: str, value: int, unlimited: bool = False) -> Op:
    return unit_property(origin, name, "t", INFINITY if unlimited else value)


def _memory_v1(resources: dict[str, Any]) -> list[Op]:
    limit = (resources.get("memory") or {}).get("limit") or 0
    if not limit:
        return []
    return [_number(f"{_RESOURCES}/memory/limit", "MemoryLimit", limit, limit < 0)]


def _memory_v2(resources: dict[str, Any]) -> list[Op]:
    """The values are those of the files: memory.swap.max is memory.swap without memory.limit."""
    names = {"max": "MemoryMax", "swap.max": "MemorySwapMax", "low": "MemoryLow"}
    made = []
    for op in resources_v2.memory(resources, ""):
        name = names[op.args[0].removeprefix("/memory.")]
        value = op.args[1]
        made.append(_number(op.origin, name, int(value.replace("max", "0")), value == "max"))
    return made


def _cpu(resources: dict[str, Any], version: int, is_v2: bool) -> list[Op]:
    block = resources.get("cpu") or {}
    made = []
    shares = block.get("shares") or 0
    if is_v2 and block.get("idle") == 1:
        if version >= _IDLE:
            made.append(_number(f"{_RESOURCES}/cpu/idle", "CPUWeight", 0))
    elif shares and is_v2:
        made.append(_number(f"{_RESOURCES}/cpu/shares", "CPUWeight", resources_v2.weight(shares)))
    elif shares:
        # The range that the kernel clips to (kernel/sched/sched.h), and systemd insists on.
        value = min(max(shares, 2), 262144)
        made.append(_number(f"{_RESOURCES}/cpu/shares", "CPUShares", value))
    quota, period = block.get("quota") or 0, block.get("period") or 0
    origin = f"{_RESOURCES}/cpu/quota" if quota else f"{_RESOURCES}/cpu/period"
    return made + _quota(origin, quota, period, version)


def _quota(origin: str, quota: int, period: int, version: int) -> list[Op]:
    """A quota is microseconds of a second here, in hundredths of a CPU: rounded up, so that the exact
    one, in the kernel's file of a cgroup below, is not above it."""
    made = []
    if period and version >= _QUOTA_PERIOD:
        period_origin = origin.replace("/quota", "/period")
        made.append(_number(period_origin, "CPUQuotaPeriodUSec", period))
    if quota or period:
        per_second = -(-(quota * 1_000_000 // (period or _DEFAULT_PERIOD)) // 10_000) * 10_000
        made.append(_number(origin, "CPUQuotaPerSecUSec", max(per_second, 10_000), quota <= 0))
    return made


def _block_io(resources: dict[str, Any], is_v2: bool) -> list[Op]:
    value = (resources.get("blockIO") or {}).get("weight") or 0
    if not value:
        return []
    origin = f"{_RESOURCES}/blockIO/weight"
    if is_v2:
        return [_number(origin, "IOWeight", 1 + (value - 10) * 9999 // 990)]
    return [_number(origin, "BlockIOWeight", value)]


def _cpuset(resources: dict[str, Any], version: int) -> list[Op]:
    block = resources.get("cpu") or {}
    made = []
    for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if block.get(key) and version >= _CPUSET:
            made.append(_bits(f"{_RESOURCES}/cpu/{key}", name, block[key]))
    return made


def _bits(origin: str, name: str, text: str) -> Op:
    """A set of numbers is bytes, bit N % 8 of byte N // 8 for the number N."""
    try:
        mask = numberlist.parse(text)
    except ValueError as error:
        raise SpecFailure(origin, f'invalid list "{text}": {error}') from error
    return unit_property(origin, name, "ay", mask.to_bytes((mask.bit_length() + 7) // 8, "little"))


# Files of cgroup v2 with one number or "max".
_FILES = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}


def _unified(settings: dict[str, str], version: int) -> list[Op]:
    made = []
    for name, text in settings.items():
        origin = f"{_RESOURCES}/unified/{name.replace('~', '~0').replace('/', '~1')}"
        value = text.strip()
        if name in _FILES:
            made.append(_number(origin, _FILES[name], _parse(origin, value), value == "max"))
        elif name == "cpu.max":
            quota, _, period = value.partition(" ")
            given = -1 if quota == "max" else _parse(origin, quota)
            made += _quota(origin, given, _parse(origin, period or "0"), version)
        elif name == "cpu.idle" and value == "1" and version >= _IDLE:
            made.append(_number(origin, "CPUWeight", 0))
        elif name in ("cpuset.cpus", "cpuset.mems") and value and version >= _CPUSET:
            property_name = "AllowedCPUs" if name == "cpuset.cpus" else "AllowedMemoryNodes"
            made.append(_bits(origin, property_name, value))
    return made


def _parse(origin: str, text: str) -> int:
    if text == "max":
        return 0
    if not (text.isascii() and text.isdigit() and int(text) <= INFINITY):
        raise SpecFailure(origin, f'"{text}" is no number')
    return int(text)


# Devices -----------------------------------------------------------------------------------------


def _devices(linux: Mapping[str, Any], is_v2: bool) -> list[Op]:
    rules = devices_program.read_rules(dict(linux))
    given = (linux.get("resources") or {}).get("devices")
    origin = f"{_RESOURCES}/devices" if given else ""
    allowed = _allowed(rules)
    if devices_program.allows_all(rules) or (allowed is None and is_v2):
        # On v2 every program on a cgroup has to agree: systemd, which can only allow, says nothing.
        return [
            unit_property(origin, "DevicePolicy", "s", "auto"),
            unit_property(origin, "DeviceAllow", "a(ss)", ()),
        ]
    # On v1 systemd writes the files anew when it reloads: what it cannot say, it denies.
    return [
        unit_property(origin, "DevicePolicy", "s", "strict"),
        unit_property(origin, "DeviceAllow", "a(ss)", allowed or ()),
    ]


def _allowed(rules: Sequence[Rule]) -> tuple[tuple[str, str], ...] | None:
    """Return (device, access) of all that is allowed, None where systemd has no words for it."""
    start = max(index for index, rule in enumerate(rules) if rule.is_all())
    if rules[start].allow:
        return None
    found: dict[tuple[str, int, int], int] = {}
    for rule in rules[start + 1 :]:
        for kind in ("b", "c") if rule.kind == "a" else (rule.kind,):
            place = (kind, rule.major, rule.minor)
            if rule.allow:
                found[place] = found.get(place, 0) | rule.access
            elif any(
                _meet(place, other) and access & rule.access for other, access in found.items()
            ):
                if place not in found or any(_meet(place, one) for one in found if one != place):
                    return None
                found[place] &= ~rule.access
    listed = []
    for (kind, major, minor), access in found.items():
        if major < 0 <= minor:
            return None
        letters = "".join([c for c, bit in (("r", 2), ("w", 4), ("m", 1)) if access & bit])
        name = {"b": "block", "c": "char"}[kind]
        if minor >= 0:
            name = f"/dev/{name}/{major}:{minor}"
        else:
            name += f"-{major}" if major >= 0 else "-*"
        if letters:
            listed.append((name, letters))
    return tuple(listed)


def _meet(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(-1 in (a, b) or a == b for a, b in pairs)


# Annotations -------------------------------------------------------------------------------------


def of_annotations(annotations: Mapping[str, str]) -> list[Op]:
    """Return the properties that annotations org.systemd.property.NAME give, as GVariant texts.

    A NAME in ...Sec is, as in unit files, in seconds; on D-Bus there is ...USec. SpecFailure at the
    annotation that is not understood.
    """
    made = []
    for key, text in annotations.items():
        if key.startswith(SYSTEMD_PROPERTY):
            from pyrunc.plan import variant_text

            origin = f"/annotations/{key.replace('~', '~0').replace('/', '~1')}"
            name = key.removeprefix(SYSTEMD_PROPERTY)
            if len(name) < 3 or not (name.isascii() and name.isalpha()):
                raise SpecFailure(
                    origin, "invalid name of a property: letters only, at least three"
                )
            try:
                signature, value = variant_text.parse(text)
                if name.endswith("Sec") and "a" <= name[-4:-3] <= "z":
                    name = name.removesuffix("Sec") + "USec"
                    signature, value = "t", variant_text.microseconds(signature, value)
            except ValueError as error:
                raise SpecFailure(origin, f'invalid value "{text}": {error}') from error
            made.append(unit_property(origin, name, signature, value))
    return made
