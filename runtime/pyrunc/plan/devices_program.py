"""Decides what the rules of linux.resources.devices are in the languages of the two cgroup
versions.

It must not read the system: both forms follow from the rules alone.

The rules start from "everything is denied", those of the config follow in their order, then the
runtime's own; of the rules that speak of an access to a device the last one decides. Without the
denial at the beginning, a config without rules would give a container on v1 what the cgroup above
it has, and on v2 all devices.
"""

from __future__ import annotations

import sys
from _struct import pack

from pyrunc.errors import SpecFailure
from pyrunc.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_POINTER = "/linux/resources/devices"

# linux/bpf.h: BPF_DEVCG_ACC_*, BPF_DEVCG_DEV_*.
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
_TYPES = {"b": 1, "c": 2}

_ANY = -1


@record
class Rule:
    """One rule: `kind` "a", "b" or "c"; `major`, `minor` or -1 for any; `access` bits of _ACCESS.

    `origin` is its JSON pointer, "" for the runtime's own.
    """

    allow: bool
    kind: str
    major: int
    minor: int
    access: int
    origin: str

    def is_all(self) -> bool:
        return self.kind == "a" and self.major == self.minor == _ANY and self.access == _ALL


# What every container may use, with the path of the device node if it has a fixed one:
# config-linux.md "Default Devices", and what runc adds: mknod of anything, pts, tun.
_DEFAULTS = (
    ("", "c", _ANY, _ANY, 1),
    ("", "b", _ANY, _ANY, 1),
    ("/dev/null", "c", 1, 3, _ALL),
    ("/dev/random", "c", 1, 8, _ALL),
    ("/dev/full", "c", 1, 7, _ALL),
    ("/dev/tty", "c", 5, 0, _ALL),
    ("/dev/zero", "c", 1, 5, _ALL),
    ("/dev/urandom", "c", 1, 9, _ALL),
    ("", "c", 136, _ANY, _ALL),
    ("", "c", 5, 2, _ALL),
    ("", "c", 10, 200, _ALL),
)

_DENY_ALL = Rule(False, "a", _ANY, _ANY, _ALL, "")


def read_rules(linux: dict[str, Any]) -> list[Rule]:
    """Return the whole list of rules of a config's `linux`: denial, config, defaults.

    A default device whose path the config uses for a node of its own gets no default rule, as in
    runc. SpecFailure at the rule's property that is wrong.
    """
    rules = [_DENY_ALL]
    for index, entry in enumerate((linux.get("resources") or {}).get("devices") or ()):
        rules.append(_rule(entry, f"{_POINTER}/{index}"))
    own = {device.get("path") for device in linux.get("devices") or ()}
    for path, kind, major, minor, access in _DEFAULTS:
        if not path or path not in own:
            rules.append(Rule(True, kind, major, minor, access, ""))
    return rules


def _rule(entry: Mapping[str, Any], origin: str) -> Rule:
    kind = entry.get("type") or "a"
    if kind not in ("a", "b", "c"):
        raise SpecFailure(f"{origin}/type", f'invalid cgroup device type "{kind}": not a, b or c')
    text = entry.get("access") or ""
    if not text:
        raise SpecFailure(f"{origin}/access", "device access field cannot be empty")
    access = 0
    for letter in text:
        if letter not in _ACCESS:
            raise SpecFailure(f"{origin}/access", f'invalid device access "{text}": not of r, w, m')
        access |= _ACCESS[letter]
    numbers = []
    for name in ("major", "minor"):
        value = entry.get(name)
        number = _ANY if value is None else value
        if not -1 <= number < 2**31:
            raise SpecFailure(f"{origin}/{name}", f"invalid device number {number}")
        numbers.append(number)
    return Rule(bool(entry.get("allow")), kind, numbers[0], numbers[1], access, origin)


def allows_all(rules: Sequence[Rule]) -> bool:
    """Tell whether nothing at all is denied in the end, so that no program is needed."""
    for rule in reversed(rules):
        if not rule.allow:
            return False
        if rule.is_all():
            return True
    return False


# Cgroup v1 ---------------------------------------------------------------------------------------


def lines(rules: Sequence[Rule]) -> list[tuple[str, str, str]]:
    """Return (origin, "devices.allow" or "devices.deny", line) in the order of writing.

    A v1 cgroup knows one behaviour and a set of exceptions from it, and takes back an exception
    only by its exact numbers (security/device_cgroup.c), so a rule that goes against earlier
    exceptions becomes one line for each of them. SpecFailure for a rule of the config that would
    have to cut a piece out of an exception: v1 cannot say that.
    """
    result: list[tuple[str, str, str]] = []
    allow_all = False
    exceptions: dict[tuple[str, int, int], int] = {}
    # Whatever stood before the last rule about everything is without effect.
    start = max(index for index, rule in enumerate(rules) if rule.is_all())
    for rule in rules[start:]:
        file = "devices.allow" if rule.allow else "devices.deny"
        if rule.is_all():
            allow_all = rule.allow
            result.append((rule.origin, file, "a"))
            continue
        for kind in ("b", "c") if rule.kind == "a" else (rule.kind,):
            place = (kind, rule.major, rule.minor)
            if rule.allow != allow_all:
                exceptions[place] = exceptions.get(place, 0) | rule.access
                result.append((rule.origin, file, _line(place, rule.access)))
                continue
            for other, taken in _against(rule, place, exceptions).items():
                exceptions[other] &= ~taken
                result.append((rule.origin, file, _line(other, taken)))
    return result


def _against(
    rule: Rule, place: tuple[str, int, int], exceptions: dict[tuple[str, int, int], int]
) -> dict[tuple[str, int, int], int]:
    """Return the exceptions that `rule` takes back at `place`, with the accesses taken back."""
    result = {}
    for other, access in exceptions.items():
        taken = access & rule.access
        pairs = [(a, b) for a, b in zip(place, other, strict=True) if a != b]
        if not taken or any(_ANY not in pair for pair in pairs):
            continue
        if any(a != _ANY for a, _ in pairs):
            if rule.origin:
                taken_line, whole = _line(place, taken), _line(other, access)
                raise SpecFailure(
                    rule.origin, f'cgroup v1 cannot take "{taken_line}" out of the rule "{whole}"'
                )
            continue
        result[other] = taken
    return result


def _line(place: tuple[str, int, int], access: int) -> str:
    kind, major, minor = (str(part) if part != _ANY else "*" for part in place)
    return f"{kind} {major}:{minor} {''.join(c for c in 'rwm' if _ACCESS[c] & access)}"


# Cgroup v2 ---------------------------------------------------------------------------------------

# Opcodes of the BPF instruction set (RFC 9669), the same on every architecture.
_LOAD_WORD = 0x61  # dst = *(u32 *)(src + offset)
_AND = 0x57  # dst &= immediate, sign-extended
_SHIFT_RIGHT = 0x77
_SET = 0xB7  # dst = immediate
_JUMP = 0x05
_JUMP_NOT_EQUAL = 0x55
_JUMP_ANY_BIT = 0x45
_EXIT = 0x95

_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)


def program(rules: Sequence[Rule]) -> bytes:
    """Return the BPF_PROG_TYPE_CGROUP_DEVICE program (struct bpf_insn[]) that decides by `rules`.

    It goes through the rules from the last to the first. An allowing rule takes its accesses off
    those asked for, and nothing left means yes; a denying one that names any of those left means
    no. So each access is decided by the last rule about it, without the limits of v1.
    """
    # struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor.
    code = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0, 0),
        _instruction(_LOAD_WORD, _WANTED, _CONTEXT, 0, 0),
        _instruction(_AND, _TYPE, 0, 0, 0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, 0, 0, 16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4, 0),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8, 0),
    ]
    for rule in reversed(rules):
        if rule.is_all():
            # The verifier refuses code that cannot be reached: nothing follows.
            return b"".join(code + _answer(rule.allow))
        code += _test(rule)
    return b"".join(code + _answer(False))


def _test(rule: Rule) -> list[bytes]:
    if rule.allow:
        body = [
            _instruction(_AND, _WANTED, 0, 0, ~rule.access),
            _instruction(_JUMP_NOT_EQUAL, _WANTED, 0, 2, 0),
            *_answer(True),
        ]
    else:
        body = [
            _instruction(_JUMP_ANY_BIT, _WANTED, 0, 1, rule.access),
            _instruction(_JUMP, 0, 0, 2, 0),
            *_answer(False),
        ]
    for register, value in (
        (_MINOR, rule.minor),
        (_MAJOR, rule.major),
        (_TYPE, _TYPES.get(rule.kind, _ANY)),
    ):
        if value != _ANY:
            body.insert(0, _instruction(_JUMP_NOT_EQUAL, register, 0, len(body), value))
    return body


def _answer(allow: bool) -> list[bytes]:
    return [
        _instruction(_SET, _RESULT, 0, 0, int(allow)),
        _instruction(_EXIT, 0, 0, 0, 0),
    ]


def _instruction(code: int, target: int, source: int, offset: int, immediate: int) -> bytes:
    # The register numbers are bit fields of one byte, whose order is the machine's.
    registers = target | source << 4 if sys.byteorder == "little" else target << 4 | source
    return pack("=BBhi", code, registers, offset, immediate)
