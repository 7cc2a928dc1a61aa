"""Decides what a cgroup's files say about its use, in the form of `events`.

It must not fail over a file that is not there: controllers and kernels differ. The document is the
one that runc prints (types/events), with zero for what nobody counted; figures of v2 come in the
units of v1: nanoseconds and bytes.
"""

from __future__ import annotations

from pyrunc.cgroup.files import read_or_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Paths = dict[str, str]
    Stats = dict[str, Any]

UNLIMITED = 2**64 - 1
# USER_HZ of every Linux architecture but alpha: the unit of cpuacct.stat is 10 ms.
_TICK = 10_000_000
_FLAGS = (
    ("cpu_exclusive", "cpuset.cpu_exclusive"),
    ("mem_hardwall", "cpuset.mem_hardwall"),
    ("mem_exclusive", "cpuset.mem_exclusive"),
    ("memory_migrate", "cpuset.memory_migrate"),
    ("memory_spread_page", "cpuset.memory_spread_page"),
    ("memory_spread_slab", "cpuset.memory_spread_slab"),
    ("memory_pressure", "cpuset.memory_pressure"),
    ("sched_load_balance", "cpuset.sched_load_balance"),
    ("sched_relax_domain_level", "cpuset.sched_relax_domain_level"),
)
_BLKIO_V1 = (
    ("ioServiceBytesRecursive", "blkio.throttle.io_service_bytes_recursive"),
    ("ioServicedRecursive", "blkio.throttle.io_serviced_recursive"),
    ("ioQueueRecursive", "blkio.bfq.io_queued_recursive"),
    ("ioServiceTimeRecursive", "blkio.bfq.io_service_time_recursive"),
    ("ioWaitTimeRecursive", "blkio.bfq.io_wait_time_recursive"),
    ("ioMergedRecursive", "blkio.bfq.io_merged_recursive"),
    ("ioTimeRecursive", "blkio.bfq.time_recursive"),
    ("sectorsRecursive", "blkio.bfq.sectors_recursive"),
)


def read(paths: Paths) -> Stats:
    """Return the figures of the cgroups `paths` ({controller, or "" for v2: directory})."""
    unified = paths.get("", "")
    found: Stats = {
        "cpu": _cpu_v1(paths) if "cpuacct" in paths else _cpu_v2(unified),
        "cpuset": _cpuset(paths.get("cpuset", unified)),
        "memory": _memory_v1(paths["memory"]) if "memory" in paths else _memory_v2(unified),
        "pids": _pids(paths.get("pids", unified)),
        "blkio": _blkio_v1(paths["blkio"]) if "blkio" in paths else _io_v2(unified),
        "hugetlb": _hugetlb(paths),
        "intel_rdt": {},
        "network_interfaces": None,
    }
    rdma = _devices(read_or_empty(paths.get("rdma", unified) + "/rdma.current"))
    if rdma:
        found["rdma"] = rdma
    return found


def oom_kills(paths: Paths) -> int:
    """Return how many processes the kernel killed in the cgroup for want of memory."""
    file = paths["memory"] + "/memory.oom_control" if "memory" in paths else ""
    if not file:
        file = paths.get("", "") + "/memory.events"
    return _keyed(read_or_empty(file)).get("oom_kill", 0)


def _number(text: str) -> int:
    text = text.strip()
    if text == "max":
        return UNLIMITED
    return int(text) if text.lstrip("-").isdigit() else 0


def _value(path: str, name: str) -> int:
    return _number(read_or_empty(f"{path}/{name}"))


def _keyed(text: str) -> dict[str, int]:
    """Return a file of lines `key number`."""
    found = {}
    for line in text.splitlines():
        key, _space, value = line.partition(" ")
        found[key] = _number(value)
    return found


def _pressure(path: str, name: str) -> Stats | None:
    """Return a PSI file: {some: {avg10, avg60, avg300 in percent, total in us}, full: ...}."""
    found: Stats = {}
    for line in read_or_empty(f"{path}/{name}.pressure").splitlines():
        kind, *pairs = line.split()
        entry: Stats = {}
        for pair in pairs:
            key, _equals, value = pair.partition("=")
            entry[key] = int(value) if key == "total" else float(value)
        found[kind] = entry
    return found or None


def _with_pressure(found: Stats, path: str, name: str) -> Stats:
    pressure = _pressure(path, name)
    if pressure is not None:
        found["psi"] = pressure
    return found


def _cpu_v1(paths: Paths) -> Stats:
    path = paths["cpuacct"]
    halves = _keyed(read_or_empty(path + "/cpuacct.stat"))
    usage: Stats = {
        "total": _value(path, "cpuacct.usage"),
        "percpu": [int(n) for n in read_or_empty(path + "/cpuacct.usage_percpu").split()],
    }
    rows = [line.split() for line in read_or_empty(path + "/cpuacct.usage_all").splitlines()[1:]]
    if rows:
        usage["percpu_kernel"] = [int(row[2]) for row in rows]
        usage["percpu_user"] = [int(row[1]) for row in rows]
    usage["kernel"] = halves.get("system", 0) * _TICK
    usage["user"] = halves.get("user", 0) * _TICK
    throttling = _keyed(read_or_empty(paths.get("cpu", path) + "/cpu.stat"))
    return {
        "usage": usage,
        "throttling": {
            "periods": throttling.get("nr_periods", 0),
            "throttledPeriods": throttling.get("nr_throttled", 0),
            "throttledTime": throttling.get("throttled_time", 0),
        },
    }


def _cpu_v2(path: str) -> Stats:
    stat = _keyed(read_or_empty(path + "/cpu.stat"))
    found = {
        "usage": {
            "total": stat.get("usage_usec", 0) * 1000,
            "kernel": stat.get("system_usec", 0) * 1000,
            "user": stat.get("user_usec", 0) * 1000,
        },
        "throttling": {
            "periods": stat.get("nr_periods", 0),
            "throttledPeriods": stat.get("nr_throttled", 0),
            "throttledTime": stat.get("throttled_usec", 0) * 1000,
        },
    }
    return _with_pressure(found, path, "cpu")


def _cpuset(path: str) -> Stats:
    found: Stats = {
        "cpus": _list(read_or_empty(path + "/cpuset.cpus")),
        "mems": _list(read_or_empty(path + "/cpuset.mems")),
    }
    for name, file in _FLAGS:
        found[name] = _value(path, file)
    return found


def _list(text: str) -> list[int] | None:
    """Return the numbers of a list such as 0-2,7; None for an empty one, as Go writes it."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _dash, last = part.partition("-")
        if first.isdigit():
            found += range(int(first), int(last or first) + 1)
    return found or None


def _memory_v1(path: str) -> Stats:
    raw = _keyed(read_or_empty(path + "/memory.stat"))

    def use(infix: str) -> Stats:
        prefix = f"memory.{infix}"
        return {
            "limit": _value(path, prefix + "limit_in_bytes"),
            "usage": _value(path, prefix + "usage_in_bytes"),
            "max": _value(path, prefix + "max_usage_in_bytes"),
            "failcnt": _value(path, prefix + "failcnt"),
        }

    return {
        "cache": raw.get("cache", 0),
        "usage": use(""),
        "swap": use("memsw."),
        "kernel": use("kmem."),
        "kernelTCP": use("kmem.tcp."),
        "raw": raw,
    }


def _memory_v2(path: str) -> Stats:
    raw = _keyed(read_or_empty(path + "/memory.stat"))
    current, limit = _value(path, "memory.current"), _value(path, "memory.max")
    swap_current, swap_limit = _value(path, "memory.swap.current"), _value(path, "memory.swap.max")
    has_swap = read_or_empty(path + "/memory.swap.current") != ""
    both = min(limit + swap_limit, UNLIMITED) if UNLIMITED not in (limit, swap_limit) else UNLIMITED
    none = {"limit": 0, "usage": 0, "max": 0, "failcnt": 0}
    found: Stats = {
        "cache": raw.get("file", 0),
        "usage": {
            "limit": limit,
            "usage": current,
            "max": _value(path, "memory.peak"),
            "failcnt": _keyed(read_or_empty(path + "/memory.events")).get("max", 0),
        },
        # As on v1, where swap is counted together with memory.
        "swap": {"limit": both, "usage": current + swap_current, "max": 0, "failcnt": 0}
        if has_swap
        else none,
        "kernel": none,
        "kernelTCP": none,
        "raw": raw,
    }
    return _with_pressure(found, path, "memory")


def _pids(path: str) -> Stats:
    limit = _value(path, "pids.max")
    found = {"current": _value(path, "pids.current")}
    if limit != UNLIMITED:
        found["limit"] = limit
    return found


def _blkio_v1(path: str) -> Stats:
    found: Stats = {}
    for name, file in _BLKIO_V1:
        entries = []
        for line in read_or_empty(f"{path}/{file}").splitlines():
            words = line.split()
            if words and ":" in words[0]:
                major, _colon, minor = words[0].partition(":")
                operation = words[1] if len(words) > 2 else ""
                entries.append(_entry(major, minor, operation, words[-1]))
        if entries:
            found[name] = entries
    return found


def _io_v2(path: str) -> Stats:
    found: Stats = {}
    for line in read_or_empty(path + "/io.stat").splitlines():
        number, *pairs = line.split()
        major, _colon, minor = number.partition(":")
        for pair in pairs:
            key, _equals, value = pair.partition("=")
            if key in _IO_KEYS:
                name, operation = _IO_KEYS[key]
                found.setdefault(name, []).append(_entry(major, minor, operation, value))
    return _with_pressure(found, path, "io")


_IO_KEYS = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "dbytes": ("ioServiceBytesRecursive", "Discard"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
    "dios": ("ioServicedRecursive", "Discard"),
}


def _entry(major: str, minor: str, operation: str, value: str) -> Stats:
    return {"major": int(major), "minor": int(minor), "op": operation, "value": _number(value)}


def _hugetlb(paths: Paths) -> Stats:
    import posix

    v1 = "hugetlb" in paths
    path = paths.get("hugetlb", paths.get("", ""))
    found: Stats = {}
    try:
        names = posix.listdir(path)
    except OSError:
        return found
    suffix = ".limit_in_bytes" if v1 else ".max"
    for name in sorted(names):
        if not name.startswith("hugetlb.") or not name.endswith(suffix) or ".rsvd." in name:
            continue
        size = name[len("hugetlb.") : -len(suffix)]
        base = f"hugetlb.{size}.rsvd"
        current = "usage_in_bytes" if v1 else "current"
        if not read_or_empty(f"{path}/{base}.{current}"):
            base = f"hugetlb.{size}"
        if v1:
            most = _value(path, f"{base}.max_usage_in_bytes")
            failed = _value(path, f"{base}.failcnt")
        else:
            most = 0
            failed = _keyed(read_or_empty(f"{path}/hugetlb.{size}.events")).get("max", 0)
        usage = _value(path, f"{base}.{current}")
        found[size] = {"usage": usage, "max": most, "failcnt": failed}
    return found


def _devices(text: str) -> Stats:
    """Return lines `device key=number ...` as {device: {key: number}}."""
    found: Stats = {}
    for line in text.splitlines():
        device, *pairs = line.split()
        found[device] = {
            key: _number(value) for key, _equals, value in (pair.partition("=") for pair in pairs)
        }
    return found
