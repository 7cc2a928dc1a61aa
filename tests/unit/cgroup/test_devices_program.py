"""Device rules: what v1 lines and the v2 program let through."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from pyrunc.errors import SpecFailure
from pyrunc.plan import devices_program
from pyrunc.plan.devices_program import Rule

DEFAULT_LINES = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:8 rwm",
    "c 1:7 rwm",
    "c 5:0 rwm",
    "c 1:5 rwm",
    "c 1:9 rwm",
    "c 136:* rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
]
DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_ALL = {"allow": True, "access": "rwm"}
BITS = {"m": 1, "r": 2, "w": 4}


def rules(*entries: dict[str, Any]) -> list[Rule]:
    return devices_program.read_rules({"resources": {"devices": list(entries)}})


def lines(*entries: dict[str, Any]) -> list[tuple[str, str]]:
    return [(file, line) for _, file, line in devices_program.lines(rules(*entries))]


def allow(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


def deny(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    return {**allow(kind, major, minor, access), "allow": False}


def means(all_rules: list[Rule], kind: str, major: int, minor: int, access: str) -> bool:
    """Decide by the definition: for each access the last rule about it counts."""
    for letter in access:
        verdict = False
        for rule in all_rules:
            if (
                rule.kind in ("a", kind)
                and rule.major in (-1, major)
                and rule.minor in (-1, minor)
                and rule.access & BITS[letter]
            ):
                verdict = rule.allow
        if not verdict:
            return False
    return True


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Execute the program as RFC 9669 defines its instructions."""
    wanted = sum(BITS[letter] for letter in access)
    context = struct.pack("=III", wanted << 16 | {"b": 1, "c": 2}[kind], major, minor)
    code = list(struct.iter_unpack("=BBhi", program))
    registers = [0] * 11
    at = 0
    while True:
        opcode, both, offset, value = code[at]
        target, source = both & 15, both >> 4
        at += 1
        if opcode == 0x61:
            assert source == 1
            registers[target] = struct.unpack_from("=I", context, offset)[0]
        elif opcode == 0x57:
            registers[target] &= value & (2**64 - 1)
        elif opcode == 0x77:
            registers[target] >>= value
        elif opcode == 0xB7:
            registers[target] = value
        elif opcode == 0x05:
            at += offset
        elif opcode == 0x55:
            at += offset if registers[target] != value else 0
        elif opcode == 0x45:
            at += offset if registers[target] & value else 0
        else:
            assert opcode == 0x95, hex(opcode)
            return bool(registers[0])


def test_without_rules_everything_but_the_defaults_is_denied() -> None:
    expected = [("devices.deny", "a")] + [("devices.allow", line) for line in DEFAULT_LINES]
    assert lines() == expected
    assert lines(DENY_ALL) == expected


def test_rules_of_the_config_come_first_and_in_order() -> None:
    written = lines(allow("c", 10, 229, "rwm"), allow("b", 8, 20, "rw"), allow("b", 10, 200, "r"))
    assert written[:4] == [
        ("devices.deny", "a"),
        ("devices.allow", "c 10:229 rwm"),
        ("devices.allow", "b 8:20 rw"),
        ("devices.allow", "b 10:200 r"),
    ]
    assert [line for _, line in written[4:]] == DEFAULT_LINES


def test_only_rules_after_the_last_about_everything_are_written() -> None:
    written = lines(allow("c", 10, 229, "rwm"), DENY_ALL, allow("c", 1, 11, "r"))
    assert written[:2] == [("devices.deny", "a"), ("devices.allow", "c 1:11 r")]


def test_allow_all_needs_no_more() -> None:
    assert lines(ALLOW_ALL) == [("devices.allow", "a")]
    assert devices_program.allows_all(rules(ALLOW_ALL))
    assert not devices_program.allows_all(rules(DENY_ALL))
    assert not devices_program.allows_all(rules(ALLOW_ALL, deny("b", None, None, "w")))


def test_type_a_with_numbers_does_not_mean_everything() -> None:
    written = lines(allow("a", 1, 11, "r"))
    assert written[:3] == [
        ("devices.deny", "a"),
        ("devices.allow", "b 1:11 r"),
        ("devices.allow", "c 1:11 r"),
    ]


def test_wide_denial_takes_back_each_narrow_rule_on_v1() -> None:
    written = lines(allow("c", 240, 1, "rw"), allow("c", 240, 2, "r"), deny("c", 240, None, "rw"))
    assert written[3:5] == [("devices.deny", "c 240:1 rw"), ("devices.deny", "c 240:2 r")]


def test_narrow_denial_of_a_wide_rule_cannot_be_said_to_v1() -> None:
    with pytest.raises(SpecFailure) as caught:
        lines(allow("c", 240, None, "rw"), deny("c", 240, 1, "w"))
    assert caught.value.pointer == "/linux/resources/devices/1"
    assert 'cannot take "c 240:1 w" out of the rule "c 240:* rw"' in str(caught.value)


def test_defaults_do_not_undo_a_denial_after_allow_all_on_v1() -> None:
    written = lines(ALLOW_ALL, deny("c", 1, None, "rw"))
    assert written == [("devices.allow", "a"), ("devices.deny", "c 1:* rw")]


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"allow": True, "type": "c"}, "/linux/resources/devices/0/access"),
        ({"allow": True, "access": ""}, "/linux/resources/devices/0/access"),
        ({"allow": True, "access": "rx"}, "/linux/resources/devices/0/access"),
        ({"allow": True, "type": "u", "access": "r"}, "/linux/resources/devices/0/type"),
        ({"allow": True, "major": -2, "access": "r"}, "/linux/resources/devices/0/major"),
        ({"allow": True, "minor": 2**31, "access": "r"}, "/linux/resources/devices/0/minor"),
    ],
)
def test_bad_rule_is_refused_where_it_is(entry: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SpecFailure) as caught:
        rules(entry)
    assert caught.value.pointer == pointer


def test_own_node_at_a_default_path_has_no_default_rule() -> None:
    found = devices_program.read_rules({"devices": [{"path": "/dev/null", "type": "c"}]})
    assert not any((rule.major, rule.minor) == (1, 3) for rule in found)


def test_console_of_the_host_is_not_among_the_defaults() -> None:
    program = devices_program.program(rules())
    assert not run(program, "c", 5, 1, "r")
    assert run(program, "c", 5, 1, "m")


def test_program_splits_an_access_over_rules() -> None:
    program = devices_program.program(rules(allow("c", 240, 1, "r"), allow("c", 240, None, "w")))
    assert run(program, "c", 240, 1, "rw")
    assert not run(program, "c", 240, 2, "rw")


def test_denial_of_one_access_stops_a_request_for_two() -> None:
    program = devices_program.program(rules(allow("c", 240, 1, "rw"), deny("c", 240, 1, "w")))
    assert not run(program, "c", 240, 1, "rw")
    assert run(program, "c", 240, 1, "r")


def test_program_agrees_with_the_meaning_of_random_rules() -> None:
    chance = random.Random(7)
    numbers = (None, 1, 3, 240)
    accesses = ("r", "w", "m", "rw", "rm", "wm", "rwm")
    verdicts = set()
    for _ in range(300):
        found = rules(
            *(
                {
                    "allow": chance.random() < 0.5,
                    "type": chance.choice("abc"),
                    "major": chance.choice(numbers),
                    "minor": chance.choice(numbers),
                    "access": chance.choice(accesses),
                }
                for _ in range(chance.randrange(6))
            )
        )
        program = devices_program.program(found)
        for _ in range(40):
            request = (
                chance.choice("bc"),
                chance.choice((1, 3, 240, 241)),
                chance.choice((1, 3, 240, 241)),
                chance.choice(accesses),
            )
            assert run(program, *request) == means(found, *request), (found, request)
            verdicts.add(means(found, *request))
    assert verdicts == {True, False}


def _v1_lets_through(
    written: list[tuple[str, str]], kind: str, major: int, minor: int, access: str
) -> bool:
    """Decide as security/device_cgroup.c does: by exact numbers, one exception for the whole."""
    behaviour, exceptions = True, {}
    for file, line in written:
        allowing = file == "devices.allow"
        if line == "a":
            behaviour, exceptions = allowing, {}
            continue
        place, letters = line.rsplit(" ", 1)
        before = exceptions.get(place, frozenset())
        exceptions[place] = (
            before | set(letters) if allowing != behaviour else before - set(letters)
        )
    matching = [
        letters
        for place, letters in exceptions.items()
        if place[0] == kind
        and place[2:].split(":")[0] in ("*", str(major))
        and place[2:].split(":")[1] in ("*", str(minor))
    ]
    if behaviour:
        return not any(letters & set(access) for letters in matching)
    return any(letters >= set(access) for letters in matching)


def test_v1_lines_never_let_through_what_the_rules_deny() -> None:
    chance = random.Random(11)
    said = 0
    for _ in range(600):
        entries = [
            {
                "allow": chance.random() < 0.5,
                "type": chance.choice("abc"),
                "major": chance.choice((None, 240, 241)),
                "minor": chance.choice((None, 1, 2)),
                "access": chance.choice(("r", "w", "rw", "rwm")),
            }
            for _ in range(chance.randrange(1, 5))
        ]
        try:
            written = lines(*entries)
        except SpecFailure:
            continue
        said += 1
        for kind in "bc":
            for major in (240, 241, 242):
                for minor in (1, 2, 3):
                    for access in ("r", "w", "m", "rw"):
                        request = (kind, major, minor, access)
                        if _v1_lets_through(written, *request):
                            assert means(rules(*entries), *request), (entries, request)
    assert said > 200
