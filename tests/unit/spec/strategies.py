"""Decides how random configs are drawn: from the classes of the model, property by property.

Must not judge them: `specs` gives configs that mostly make sense, `wrecked` such with some damage.
"""

from __future__ import annotations

import copy
import types
import typing
from functools import cache
from typing import Any

import attrs
import judges
from hypothesis import strategies as st

from pyrunc.plan import mount_options
from pyrunc.spec import model, rules
from pyrunc.spec.linux_rules import IPC_SYSCTLS
from pyrunc.spec.model.section import json_name
from pyrunc.spec.model.values import Range
from pyrunc.spec.schema_generated import DOCUMENT

# Small enough to be judged twice by jsonschema in a few milliseconds.
BASES = [
    judges.load(path)
    for path in sorted((judges.FIXTURES / "valid").glob("*.json"))
    if path.stat().st_size < 4000
]
EDGES = [
    *(-1, 0, 1, 6, 512, 2**16, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1),
    *(True, False, None, 0.5, 1.0, "", "\n", "/", "a", "0-3", "64KB", "MB:0=1", "RLIMIT_CPU"),
    *([], {}, [[]], [{}], [""], [0], [None], {"": 0}, {"a": "b"}, {"a": {}}, "rslave", "\u00e9"),
]


def _collect(node: Any, names: set[str], words: set[str]) -> None:
    if isinstance(node, dict):
        properties = node.get("properties")
        names.update(properties if isinstance(properties, dict) else ())
        listed = node.get("enum")
        words.update(listed if isinstance(listed, list) else ())
        for member in node.values():
            _collect(member, names, words)


NAMES: set[str] = set()
WORDS: set[str] = set()
_collect(DOCUMENT, NAMES, WORDS)

keys = st.one_of(st.sampled_from(sorted(NAMES)), st.text(max_size=3))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
values = st.one_of(st.sampled_from(EDGES), st.sampled_from(sorted(WORDS)), anything)


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every member of a document as (container, key)."""
    found: list[tuple[Any, Any]] = []
    members = node.items() if isinstance(node, dict) else enumerate(node)
    for key, member in members:
        found.append((node, key))
        if isinstance(member, dict | list):
            found += _places(member)
    return found


def _damage(draw: st.DrawFn, config: Any) -> Any:
    """A config with up to three places replaced, removed or added at random."""
    for _ in range(draw(st.integers(min_value=1, max_value=3))):
        places = _places(config)
        if not places:
            break
        container, key = places[draw(st.integers(min_value=0, max_value=len(places) - 1))]
        action = draw(st.sampled_from(("replace", "delete", "insert")))
        if action == "delete":
            del container[key]
        elif action == "replace":
            container[key] = copy.deepcopy(draw(values))
        elif isinstance(container, dict):
            container[draw(keys)] = copy.deepcopy(draw(values))
        else:
            container.insert(key, copy.deepcopy(draw(values)))
    return config


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Fixtures with some damage."""
    return _damage(draw, copy.deepcopy(draw(st.sampled_from(BASES))))


FEW = 3
# Words are drawn ten times faster than letters.
text = st.one_of(
    st.sampled_from(
        ["", "a", "é", "\n", "A=B", "a b", "0", "x" * 300, "\u2028", "\t", "%s", "=", "'\""]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)
names = st.one_of(
    st.sampled_from(["web", "a-b_c", "..a", "é", "x" * 15, "eth0", "0", "a.slice", "rootfs"]),
    st.text("abz09-_.é", min_size=1, max_size=12),
)
paths = st.one_of(
    st.sampled_from(["/", "/dev", "/dev/null", "/dev/shm", "/proc", "/proc/sys", "/sys", "/tmp"]),
    st.lists(names, min_size=1, max_size=FEW).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(["/a/../b", "//a", "/a/", "/sys/fs/cgroup", "/dev/pts", "/proc/self/ns/net"]),
)
capabilities = st.lists(st.sampled_from([*sorted(rules.CAPABILITIES), "CAP_X"]), max_size=FEW)
options = st.one_of(
    st.sampled_from(sorted({*mount_options.TABLE, *mount_options.RECURSIVE_TABLE})),
    st.sampled_from(["size=64k", "mode=755", "gid=5", "idmap", "ridmap", "x=y", ""]),
)
mount_types = ["bind", "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "ext4"]
sysctls = st.one_of(
    st.sampled_from(sorted(IPC_SYSCTLS)),
    st.sampled_from(["net.core.somaxconn", "net/ipv4/ip_forward", "kernel.domainname"]),
    st.sampled_from(["kernel.hostname", "kernel.core_pattern", "a", "net.../x", "fs.mqueue.x"]),
)
cpu_lists = st.sampled_from(["0", "0-3,7", "1,3", "", "0-1"])
majors = st.integers(0, 300)
scheduling = st.one_of(
    st.builds(model.Scheduler, policy=st.just("SCHED_BATCH"), nice=st.integers(-20, 19)),
    st.builds(model.Scheduler, policy=st.just("SCHED_FIFO"), priority=st.integers(1, 99)),
    st.builds(model.Scheduler, policy=st.sampled_from(["SCHED_OTHER", "SCHED_ISO"])),
)
# What a property takes is wider than what makes sense; (class, attribute) to what does.
SENSIBLE: dict[tuple[type, str], st.SearchStrategy[Any]] = {
    (model.Spec, "oci_version"): st.sampled_from(["1.0.0", "1.3.0", "1.2.1-rc.1", "1.0.2-dev"]),
    (model.Spec, "hostname"): names,
    (model.Spec, "domainname"): names,
    (model.Root, "path"): st.one_of(names, paths),
    (model.Process, "cwd"): paths,
    (model.Process, "args"): st.lists(text, min_size=1, max_size=FEW),
    (model.Process, "env"): st.lists(st.builds("{}={}".format, names, text), max_size=FEW),
    (model.Process, "oom_score_adj"): st.integers(-1000, 1000),
    (model.Process, "scheduler"): scheduling,
    (model.ExecCpuAffinity, "initial"): cpu_lists,
    (model.ExecCpuAffinity, "final"): cpu_lists,
    (model.Rlimit, "type"): st.sampled_from(sorted(rules.RLIMITS)),
    (model.IoPriority, "priority"): st.integers(0, 7),
    (model.Windows, "layer_folders"): st.just(["C:"]),
    (model.Mount, "destination"): paths,
    (model.Mount, "type"): st.sampled_from(mount_types),
    (model.Mount, "source"): st.one_of(paths, names),
    (model.Mount, "options"): st.lists(options, max_size=FEW),
    (model.Hook, "path"): paths,
    (model.Namespace, "path"): st.one_of(st.just(""), paths),
    (model.IdMapping, "container_id"): st.sampled_from([0, 0, 0, 1, 1000]),
    (model.IdMapping, "host_id"): st.integers(0, 200000),
    (model.IdMapping, "size"): st.integers(1, 65536),
    (model.Device, "path"): paths,
    (model.Device, "major"): majors,
    (model.Device, "minor"): majors,
    (model.Device, "file_mode"): st.integers(0, 0o777),
    (model.DeviceRule, "type"): st.sampled_from("abc"),
    (model.DeviceRule, "major"): st.integers(-1, 300),
    (model.DeviceRule, "minor"): st.integers(-1, 300),
    (model.DeviceRule, "access"): st.sampled_from(["r", "w", "m", "rw", "rwm"]),
    (model.HugepageLimit, "page_size"): st.sampled_from(["64KB", "2MB", "1GB"]),
    (model.Cpu, "cpus"): cpu_lists,
    (model.Cpu, "mems"): cpu_lists,
    (model.Resources, "unified"): st.dictionaries(
        st.sampled_from(["memory.high", "io.max", "cgroup.procs", "x", "a/b"]), text, max_size=FEW
    ),
    (model.Linux, "sysctl"): st.dictionaries(sysctls, text, max_size=FEW),
    (model.Linux, "masked_paths"): st.lists(paths, max_size=FEW),
    (model.Linux, "readonly_paths"): st.lists(paths, max_size=FEW),
    (model.Linux, "cgroups_path"): st.one_of(paths, names, st.just("a.slice:b:c")),
    (model.IntelRdt, "mem_bw_schema"): st.sampled_from(["MB:0=20;1=70", "MB:", "MB:x"]),
    (model.IntelRdt, "l3_cache_schema"): st.sampled_from(["L3:0=ff", "", "L3:0=1\nL3:1=2"]),
    (model.IntelRdt, "clos_id"): st.sampled_from(["/", "guaranteed", "..", "a/b"]),
    (model.Personality, "flags"): st.lists(
        st.sampled_from(["ADDR_NO_RANDOMIZE", "READ_IMPLIES_EXEC"]), max_size=2
    ),
    (model.Personality, "domain"): st.sampled_from(["LINUX", "LINUX32"]),
    (model.MemoryPolicy, "nodes"): cpu_lists,
    (model.NetDevice, "name"): st.sampled_from(["eth0", "lan%d", "a/b"]),
    (model.Seccomp, "listener_path"): paths,
    (model.Syscall, "names"): st.lists(
        st.sampled_from(["read", "clone3", "openat2", "no_such_call"]), min_size=1, max_size=FEW
    ),
    (model.SyscallArgument, "index"): st.integers(0, 5),
    (model.TimeOffset, "nanosecs"): st.integers(0, 999_999_999),
    **{(model.Capabilities, kind): capabilities for kind in rules.CAPABILITY_SETS},
}

# What nearly every config has, and what there is most to say about.
USUAL = {
    model.Spec: ("root", "process", "mounts", "linux"),
    model.Process: ("args", "cwd", "user"),
    model.Linux: ("namespaces", "resources"),
    model.Mount: ("type", "source"),
    model.MemoryPolicy: ("mode", "nodes"),
    model.Personality: ("domain",),
}


@cache
def required() -> dict[type, frozenset[str]]:
    """The attributes that the schema requires of each class."""
    found: dict[type, frozenset[str]] = {}

    def walk(kind: type, schema: dict[str, Any]) -> None:
        schema = judges.resolved(schema)
        wanted = schema.get("required", ())
        fields = [one for one in attrs.fields(kind) if one.name != "extra"]
        found[kind] = frozenset(one.name for one in fields if json_name(one) in wanted)
        for one in fields:
            if "kind" in one.metadata:
                inner = judges.resolved(schema["properties"][json_name(one)])
                walk(
                    one.metadata["kind"],
                    inner.get("items") or inner.get("additionalProperties") or inner,
                )

    walk(model.Spec, DOCUMENT)
    return found


def numbers(limits: Range) -> st.SearchStrategy[int]:
    """Integers of a range, its ends and small ones most of all."""
    low, high = limits
    ends = [number for number in (low, high, -1, 0, 1, 2, 1 << 20) if number is not None]
    inside = [n for n in ends if (low is None or n >= low) and (high is None or n <= high)]
    return st.one_of(st.sampled_from(inside), st.integers(low, high))


def drawn(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation of the model."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return drawn(next(argument for argument in arguments if argument is not type(None)))
    if origin is typing.Annotated:
        return numbers(arguments[1])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(drawn(arguments[0]), max_size=FEW)
    if origin is dict:
        return st.dictionaries(names, drawn(arguments[1]), max_size=FEW)
    simple = {str: text, bool: st.booleans(), int: numbers(Range()), Any: anything}
    return simple[hint] if hint in simple else sections(hint)


@cache
def sections(kind: type) -> st.SearchStrategy[Any]:
    """Objects of a class: what is required, and a few of the other properties."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = [one.name for one in attrs.fields(kind) if one.name != "extra"]

    @cache
    def part(name: str) -> st.SearchStrategy[Any]:
        sensible = SENSIBLE.get((kind, name))
        return drawn(hints[name]) if sensible is None else sensible

    always = required()[kind] | set(USUAL.get(kind, ()))
    others = [name for name in fields if name not in always]
    # Each of the others once in four times: two random bits, both set.
    bits = st.integers(0, (1 << len(others)) - 1)

    @st.composite
    def make(draw: st.DrawFn) -> Any:
        mask = draw(bits) & draw(bits)
        if kind is model.Spec:
            # Most of it is for other platforms: large, and ignored.
            mask &= draw(bits)
        chosen = sorted(always) + [name for bit, name in enumerate(others) if mask >> bit & 1]
        return kind(**{name: draw(part(name)) for name in chosen})

    return make()


def _with_namespace(linux: Any, kind: str, *, new: bool = False) -> None:
    for entry in linux.namespaces:
        if entry.type == kind:
            entry.path = None if new else entry.path
            return
    linux.namespaces.append(model.Namespace(kind))


def make_sense(spec: Any) -> None:
    """Mend what no part of a config can see by itself: what the namespaces must be, above all."""
    spec.root = spec.root or model.Root("rootfs")
    spec.process = spec.process or model.Process(cwd="/")
    spec.process.args = spec.process.args or ["sh"]
    limits = {limit.type: limit for limit in spec.process.rlimits or ()}
    for limit in limits.values():
        limit.hard, limit.soft = max(limit.hard, limit.soft), min(limit.hard, limit.soft)
    spec.process.rlimits = list(limits.values()) or None
    linux = spec.linux = spec.linux or model.Linux()
    linux.namespaces = list({entry.type: entry for entry in linux.namespaces or ()}.values())
    _with_namespace(linux, "mount")
    needs = {
        "uts": spec.hostname or spec.domainname or linux.sysctl,
        "user": linux.uid_mappings or linux.gid_mappings,
        "network": linux.net_devices or linux.sysctl,
        "ipc": linux.sysctl,
    }
    for kind, needed in needs.items():
        if needed:
            _with_namespace(linux, kind)
    if linux.time_offsets:
        _with_namespace(linux, "time", new=True)
    if any(entry.type == "user" for entry in linux.namespaces):
        whole = model.IdMapping(0, 100000, 65536)
        linux.uid_mappings = linux.uid_mappings or [whole]
        linux.gid_mappings = linux.gid_mappings or [whole]
    for device in linux.devices or ():
        if device.type != "p":
            device.major, device.minor = device.major or 1, device.minor or 3
    for mount in spec.mounts or ():
        if mount.destination == "/proc":
            mount.type = "proc"
        if mount.uid_mappings or mount.gid_mappings:
            mount.options = [*(mount.options or ()), "bind"]
            mount.uid_mappings = mount.uid_mappings or mount.gid_mappings
            mount.gid_mappings = mount.gid_mappings or mount.uid_mappings
    seccomp = linux.seccomp
    if seccomp:
        errno = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
        if seccomp.default_action not in errno:
            seccomp.default_errno_ret = None
        for rule in seccomp.syscalls or ():
            rule.errno_ret = rule.errno_ret if rule.action in errno else None
    for rule in (linux.resources.devices if linux.resources else None) or ():
        rule.access = rule.access or "rwm"


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Configs that satisfy the schema and, mostly, the rules, as `to_dict` gives them."""
    spec = draw(sections(model.Spec))
    # Not 0, which is drawn more often than the others.
    if draw(st.integers(0, 9)) != 7:
        make_sense(spec)
    if draw(st.integers(0, 9)) == 7:
        spec.extra["unknown"] = draw(anything)
    config: dict[str, Any] = spec.to_dict()
    return config


@st.composite
def wrecked(draw: st.DrawFn) -> Any:
    """Configs of `specs` with some damage."""
    return _damage(draw, draw(specs()))
