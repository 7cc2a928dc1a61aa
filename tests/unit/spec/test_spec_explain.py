"""What a person is told: every problem, and the word that was probably meant."""

from __future__ import annotations

from typing import Any

from pyrunc.spec import explain

VALID: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["sh"]},
}


def told(config: Any) -> list[str]:
    return [f"{problem.level}: {problem}" for problem in explain.explain(config)]


def test_nothing() -> None:
    assert told(VALID) == []


def test_every_problem_at_once() -> None:
    config = {
        "proces": {},
        "process": {"user": {"uid": -1}, "args": "sh"},
        "root": {"path": "rootfs", "readonly": "yes"},
        "linux": {
            "namespaces": [{"type": "Network"}, {"type": "netw"}],
            "seccomp": {"defaultAction": "SCMP_ACT_ALOW"},
        },
    }
    assert sorted(told(config)) == [
        'error: /linux/namespaces/0/type: unknown value "Network" (did you mean "network"?)',
        'error: /linux/namespaces/1/type: unknown value "netw" (did you mean "network"?)',
        'error: /linux/seccomp/defaultAction: unknown value "SCMP_ACT_ALOW"'
        ' (did you mean "SCMP_ACT_ALLOW"?)',
        "error: /ociVersion: is required",
        'error: /process/args: must be an array, got "sh"',
        "error: /process/cwd: is required",
        "error: /process/user/uid: must be between 0 and 4294967294, got -1",
        'error: /root/readonly: must be true or false, got "yes"',
        'warning: /proces: unknown property is ignored (did you mean "process"?)',
    ]


def test_a_common_prefix_makes_no_likeness() -> None:
    (line,) = told({**VALID, "linux": {"seccomp": {"defaultAction": "SCMP_ACT_DENY"}}})
    assert "did you mean" not in line
    assert "allowed: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO" in line


def test_what_is_allowed() -> None:
    assert told({**VALID, "linux": {"personality": {"domain": "BSD"}}}) == [
        'error: /linux/personality/domain: unknown value "BSD" (allowed: LINUX, LINUX32)'
    ]


def test_names_of_users_are_not_unknown() -> None:
    linux = {
        "namespaces": [{"type": "network"}],
        "sysctl": {"net.core.somaxconn": "1"},
        "resources": {"unified": {"memory.max": "1"}},
    }
    config = {**VALID, "annotations": {"whatever": "x"}, "linux": linux}
    assert told(config) == []
    assert told({**config, "linux": {**linux, "sysctls": {}}}) == [
        'warning: /linux/sysctls: unknown property is ignored (did you mean "sysctl"?)'
    ]


def test_one_line_each() -> None:
    config = {**VALID, "annotations": {"a\nb": 1, "c": "x"}, "hostname": ["\n"]}
    for line in told(config):
        assert line.isprintable()
    assert len(told(config)) == 2


def test_deep_and_long_values_are_cut() -> None:
    (line,) = told({**VALID, "linux": {"rootfsPropagation": "x" * 10_000}})
    assert len(line) < 300
