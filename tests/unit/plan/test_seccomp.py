"""Profiles in normal form, filters at work in the kernel, and what the cache trusts."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from pyrunc import seccomp
from pyrunc.errors import SpecFailure
from pyrunc.plan.seccomp import Profile, Rule, normalise
from pyrunc.shim import constants as C

needs_x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="system calls are made by their numbers on x86_64"
)
# The numbers are those of arch/x86/entry/syscalls/syscall_64.tbl.
GETPPID, PERSONALITY, UNKNOWN = 110, 135, 100000


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def test_normal_form() -> None:
    tests = [
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_NE"},
    ]
    profile = normalise(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86"],
            "flags": [],
            "syscalls": [
                rule("read", "write", args=tests),
                rule("x", action="SCMP_ACT_ERRNO", errnoRet=38),
            ],
        }
    )
    place = "/linux/seccomp/syscalls/"
    assert profile == Profile(
        "SCMP_ACT_ERRNO",
        errno.EPERM,
        ("SCMP_ARCH_X86",),
        (
            Rule(
                place + "0",
                ("read", "write"),
                "SCMP_ACT_ALLOW",
                0,
                ((0, 1, 0, "SCMP_CMP_EQ"), (1, 2, 3, "SCMP_CMP_NE")),
            ),
            Rule(place + "1", ("x",), "SCMP_ACT_ERRNO", 38, ()),
        ),
        0,
    )


def test_flags() -> None:
    assert normalise({"defaultAction": "SCMP_ACT_ALLOW"}).flags == C.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    names = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]
    flags = normalise({"defaultAction": "SCMP_ACT_ALLOW", "flags": names}).flags
    assert flags == C.SECCOMP_FILTER_FLAG_LOG, "init has no other threads"
    with pytest.raises(SpecFailure) as caught:
        normalise({"defaultAction": "SCMP_ACT_ALLOW", "flags": [*names, "X"]})
    assert caught.value.pointer == "/linux/seccomp/flags/2"


def test_a_listener_and_its_flags() -> None:
    killable, listener = (
        C.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        C.SECCOMP_FILTER_FLAG_NEW_LISTENER,
    )
    names = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "flags": names}
    # seccomp(2) refuses the first without a listener.
    assert normalise(profile).flags == 0
    profile["syscalls"] = [rule("mkdir", action="SCMP_ACT_NOTIFY")]
    assert normalise(profile).flags == killable | listener


def test_conditions_on_one_argument_are_alternatives() -> None:
    tests = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)]
    rules = normalise(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("x", args=tests)]}
    ).rules
    assert [made.conditions for made in rules] == [
        ((0, 1, 0, "SCMP_CMP_EQ"),),
        ((0, 2, 0, "SCMP_CMP_EQ"),),
    ]


@pytest.mark.parametrize(
    ("profile", "pointer"),
    [
        ({"defaultAction": "SCMP_ACT_SLEEP"}, "/defaultAction"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("x", action="SCMP_ACT_SLEEP")]},
            "/syscalls/0/action",
        ),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]},
            "/architectures/0",
        ),
    ],
)
def test_refusals(profile: dict[str, Any], pointer: str, tmp_path: Path) -> None:
    with pytest.raises(SpecFailure) as caught:
        seccomp.compile(profile, str(tmp_path))
    assert caught.value.pointer == "/linux/seccomp" + pointer


class FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def outcome(program: bytes, number: int, *arguments: int) -> int:
    """The errno of a system call under the filter (0: success), or minus the signal that it ends with."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    loaded = FilterProgram(len(program) // 8, program)
    pid = os.fork()
    if pid == 0:
        mode_filter = 2  # SECCOMP_MODE_FILTER of linux/seccomp.h
        ok = libc.prctl(C.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        ok = ok and libc.prctl(22, mode_filter, ctypes.byref(loaded)) == 0  # PR_SET_SECCOMP
        result = (
            libc.syscall(*(ctypes.c_long(value) for value in (number, *arguments))) if ok else 0
        )
        os._exit(99 if not ok else ctypes.get_errno() if result == -1 else 0)
    _pid, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def compiled(**profile: Any) -> bytes:
    return seccomp.compile_profile(normalise(profile))


@needs_x86_64
def test_filter_at_work() -> None:
    program = compiled(
        defaultAction="SCMP_ACT_ALLOW",
        syscalls=[
            rule("getppid", action="SCMP_ACT_ERRNO", errnoRet=errno.ENOTTY),
            rule("no_such_system_call", action="SCMP_ACT_KILL"),
            rule(
                "personality",
                action="SCMP_ACT_ERRNO",
                args=[
                    {"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (8, 0xFFFFFFFF)
                ],
            ),
        ],
    )
    assert outcome(program, GETPPID) == errno.ENOTTY
    assert outcome(program, PERSONALITY, 8) == errno.EPERM
    assert outcome(program, PERSONALITY, 0xFFFFFFFF) == errno.EPERM
    assert outcome(program, PERSONALITY, 0) == 0
    assert outcome(program, UNKNOWN) == errno.ENOSYS


@needs_x86_64
@pytest.mark.parametrize(
    ("operator", "value", "two", "argument", "holds"),
    [
        ("SCMP_CMP_NE", 1, 0, 2, True),
        ("SCMP_CMP_LT", 5, 0, 5, False),
        ("SCMP_CMP_LE", 5, 0, 5, True),
        ("SCMP_CMP_EQ", 5, 0, 5, True),
        ("SCMP_CMP_GE", 5, 0, 4, False),
        ("SCMP_CMP_GT", 5, 0, 6, True),
        ("SCMP_CMP_MASKED_EQ", 0xF0, 0x10, 0x1F, True),
        ("SCMP_CMP_MASKED_EQ", 0xF0, 0x10, 0x2F, False),
    ],
)
def test_operators(operator: str, value: int, two: int, argument: int, holds: bool) -> None:
    test = {"index": 1, "value": value, "valueTwo": two, "op": operator}
    program = compiled(
        defaultAction="SCMP_ACT_ALLOW",
        syscalls=[rule("getppid", action="SCMP_ACT_ERRNO", args=[test])],
    )
    assert (outcome(program, GETPPID, 0, argument) == errno.EPERM) is holds


# What the test's child itself needs to end, beside what it tests.
NEEDED = ("exit_group", "rt_sigaction", "rt_sigprocmask", "munmap", "futex", "brk", "mmap", "write")


@needs_x86_64
@pytest.mark.parametrize(
    "architectures", [[], ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]]
)
def test_newer_system_calls_get_enosys(architectures: list[str]) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures,
        "syscalls": [rule(*NEEDED, "statx")],
    }
    program = compiled(**profile)
    assert outcome(program, UNKNOWN) == errno.ENOSYS
    # Older than statx (332) and not in the profile: the default.
    assert outcome(program, GETPPID) == errno.EPERM
    # A profile that says ENOSYS itself, or kills, is taken by its word.
    assert len(compiled(**profile, defaultErrnoRet=errno.ENOSYS)) < len(program)
    killing = compiled(**{**profile, "defaultAction": "SCMP_ACT_KILL_PROCESS"})
    assert outcome(killing, UNKNOWN) == -C.SIGSYS


@needs_x86_64
def test_x32_calls_are_killed_unless_listed() -> None:
    x32 = 0x40000000
    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [rule(*NEEDED, "getppid")],
    }
    assert outcome(compiled(**profile), x32 + UNKNOWN) == -C.SIGSYS
    listed = compiled(**profile, architectures=["SCMP_ARCH_X32"])
    assert outcome(listed, x32 + UNKNOWN) == errno.ENOSYS


PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [rule("getppid", action="SCMP_ACT_ERRNO")],
}


def cached(root: Path) -> Path:
    (found,) = (root / ".cache" / "seccomp").iterdir()
    return found


def test_cache_is_used_and_private(tmp_path: Path) -> None:
    first = seccomp.compile(PROFILE, str(tmp_path))
    path = cached(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == path.parent.parent.stat().st_mode & 0o777 == 0o700
    before = path.stat().st_mtime_ns
    assert seccomp.compile(PROFILE, str(tmp_path)) == first
    assert path.stat().st_mtime_ns == before
    seccomp.compile({**PROFILE, "defaultAction": "SCMP_ACT_LOG"}, str(tmp_path))
    assert len(list(path.parent.iterdir())) == 2


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def open_to_others(path: Path) -> None:
    corrupt(path)
    path.chmod(0o620)


def make_symlink(path: Path) -> None:
    other = path.parent.parent / "other"
    path.rename(other)
    path.symlink_to(other)


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "harm", [corrupt, open_to_others, make_symlink, make_fifo, Path.write_text]
)
def test_cached_filter_that_cannot_be_trusted_is_compiled_anew(harm: Any, tmp_path: Path) -> None:
    first = seccomp.compile(PROFILE, str(tmp_path))
    if harm is Path.write_text:
        cached(tmp_path).write_text("")
    else:
        harm(cached(tmp_path))
    assert seccomp.compile(PROFILE, str(tmp_path)) == first
    # And replaced by a sound one.
    path = cached(tmp_path)
    assert path.is_file()
    assert not path.is_symlink()
    assert path.read_bytes()[32:] == first[0]


def test_filter_of_another_profile_is_not_taken(tmp_path: Path) -> None:
    lenient = {"defaultAction": "SCMP_ACT_ALLOW"}
    seccomp.compile(lenient, str(tmp_path))
    data = cached(tmp_path).read_bytes()
    strict = seccomp.compile(PROFILE, str(tmp_path / "elsewhere"))
    key = seccomp.cache_key(normalise(PROFILE), seccomp_version())
    forged = tmp_path / ".cache" / "seccomp" / key
    forged.write_bytes(data)
    forged.chmod(0o600)
    assert seccomp.compile(PROFILE, str(tmp_path)) == strict


def seccomp_version() -> int:
    from pyrunc.shim import seccomp as shim

    return shim.version()


def test_cache_directory_open_to_others_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir(mode=0o700)
    (tmp_path / ".cache" / "seccomp").mkdir()
    (tmp_path / ".cache" / "seccomp").chmod(0o777)
    seccomp.compile(PROFILE, str(tmp_path))
    assert list((tmp_path / ".cache" / "seccomp").iterdir()) == []


def test_no_cache_without_a_root_directory(tmp_path: Path) -> None:
    assert seccomp.compile(PROFILE, str(tmp_path / "none"))[0]
    assert not (tmp_path / "none").exists()
