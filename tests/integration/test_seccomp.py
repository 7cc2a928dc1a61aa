"""Seccomp: filters that are really felt."""

from __future__ import annotations

import errno
import platform
from typing import Any

import pytest

from harness.container import Container, error_number
from harness.signatures import Make

X86_64 = platform.machine() == "x86_64"
GETCPU, UNAME, MKDIR, GETPPID, KEYCTL = (
    (309, 63, 83, 110, 250) if X86_64 else (168, 160, 34, 173, 219)
)
LAST = 462


def rule(*names: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def filtered(container: Make, *rules: dict[str, Any], **more: Any) -> Container:
    c = container()
    c.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}
    return c


@pytest.mark.parametrize("privileges", [True, False])
def test_mode(container: Make, privileges: bool) -> None:
    c = filtered(container, rule("getcpu"))
    c.bundle.process["noNewPrivileges"] = privileges
    assert c.facts().status["Seccomp"] == "2"


def test_no_filter(container: Make) -> None:
    assert container().facts().status["Seccomp"] == "0"


def test_errno(container: Make) -> None:
    assert (
        error_number(filtered(container, rule("getppid")).probe("syscall", str(GETPPID)))
        == errno.EPERM
    )


def test_errno_of_the_config(container: Make) -> None:
    c = filtered(container, rule("getppid", errnoRet=errno.ENOTUNIQ))
    assert error_number(c.probe("syscall", str(GETPPID))) == errno.ENOTUNIQ


def test_other_calls_work(container: Make) -> None:
    assert error_number(filtered(container, rule("getcpu")).probe("syscall", str(GETPPID))) == 0


def test_kill(container: Make) -> None:
    c = filtered(container, rule("getppid", action="SCMP_ACT_KILL_PROCESS"))
    c.bundle.process["args"] = ["/bin/probe", "syscall", str(GETPPID)]
    assert c.run().status == 128 + 31


@pytest.mark.runc_fails("1.1.5 verifies the working directory with getcwd below the filter")
def test_getcwd_is_not_init_s_need(container: Make) -> None:
    """Without noNewPrivileges the filter is there before the last of init's own calls."""
    c = filtered(container, rule("getcwd", action="SCMP_ACT_KILL_PROCESS"))
    c.bundle.process["noNewPrivileges"] = False
    assert error_number(c.probe("syscall", str(GETPPID))) == 0
    c.running()
    assert error_number(c.exec("/bin/probe", "syscall", str(GETPPID)).ok().out) == 0


def test_unknown_calls_are_ignored(container: Make) -> None:
    c = filtered(container, rule("no_such_call_ever", "getppid"))
    assert error_number(c.probe("syscall", str(GETPPID))) == errno.EPERM


def test_condition_on_an_argument(container: Make) -> None:
    """kill(2) of the process's own group only."""
    kill = 62 if X86_64 else 129
    c = filtered(
        container, rule("kill", args=[{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}], errnoRet=95)
    )
    assert error_number(c.probe("syscall", str(kill))) == 95
    other = filtered(
        container, rule("kill", args=[{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}], errnoRet=95)
    )
    assert error_number(other.probe("syscall", str(kill))) == 0


def test_conditions_on_the_same_argument_are_alternatives(container: Make) -> None:
    conditions = [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"} for value in (0, 9)]
    kill = 62 if X86_64 else 129
    c = filtered(container, rule("kill", args=conditions, errnoRet=95))
    assert error_number(c.probe("syscall", str(kill))) == 95


def test_masked_condition(container: Make) -> None:
    kill = 62 if X86_64 else 129
    condition = {"index": 1, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    c = filtered(container, rule("kill", args=[condition], errnoRet=95))
    assert error_number(c.probe("syscall", str(kill))) == 95


def allow_list(container: Make) -> Container:
    """A profile that knows the calls up to about Linux 5.4 and denies all else, as engines write them."""
    names = [
        "access arch_prctl brk close execve exit exit_group fcntl fstat getcwd getegid geteuid getgid getpid "
        "getppid getuid ioctl lseek mmap mprotect munmap newfstatat open openat pread64 prlimit64 read readlink "
        "readlinkat rt_sigaction rt_sigprocmask rt_sigreturn set_tid_address set_robust_list stat write writev "
        "umask uname wait4 clone fork vfork kill futex getrandom statfs fstatfs getresuid getresgid getgroups "
        "getsid getpgrp capget capset prctl setuid setgid setgroups chdir fchdir dup dup2 dup3 pipe pipe2 poll "
        "ppoll select close_range faccessat faccessat2 getdents64 sched_getaffinity tgkill gettid madvise rseq"
    ][0].split()
    c = container()
    c.bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] if X86_64 else ["SCMP_ARCH_AARCH64"],
        "syscalls": [rule(*names, action="SCMP_ACT_ALLOW")],
    }
    return c


def test_allow_list(container: Make) -> None:
    assert error_number(allow_list(container).probe("syscall", str(GETPPID))) == 0
    assert error_number(allow_list(container).probe("syscall", str(MKDIR))) == errno.EPERM


def test_calls_newer_than_the_profile_do_not_exist(container: Make) -> None:
    """A libc then falls back to the older call; with EPERM it would give up."""
    assert error_number(allow_list(container).probe("syscall", str(LAST))) == errno.ENOSYS


def test_default_errno_of_the_config(container: Make) -> None:
    c = allow_list(container)
    c.bundle.linux["seccomp"]["defaultErrnoRet"] = errno.ENOTUNIQ
    assert error_number(c.probe("syscall", str(MKDIR))) == errno.ENOTUNIQ


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("defaultAction", "SCMP_ACT_PERHAPS"),
        ("architectures", ["SCMP_ARCH_ABACUS"]),
        ("flags", ["SECCOMP_FILTER_FLAG_NO_SUCH"]),
        ("syscalls", [{"names": ["getcpu"], "action": "SCMP_ACT_PERHAPS"}]),
        ("syscalls", [rule("getcpu", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_ALMOST"}])]),
        ("syscalls", [rule("getcpu", args=[{"index": 7, "value": 0, "op": "SCMP_CMP_EQ"}])]),
    ],
    ids=["action", "architecture", "flag", "rule action", "operator", "index"],
)
def test_unknown_value(container: Make, part: str, value: Any) -> None:
    c = filtered(container)
    c.bundle.linux["seccomp"][part] = value
    c.create().failed("seccomp" if c.runtime.kind == "pyrunc" else "")
    c.nothing_left()


@pytest.mark.runc_fails("1.1 knows no flags")
@pytest.mark.parametrize(
    "flags", [[], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]], ids=str
)
def test_flags(container: Make, flags: list[str]) -> None:
    c = filtered(container, rule("getppid"), flags=flags)
    assert error_number(c.probe("syscall", str(GETPPID))) == errno.EPERM


@pytest.mark.needs("runtime:pyrunc")
@pytest.mark.parametrize(
    ("names", "number"),
    [(None, 4), ([], 0), (["LOG"], 2), (["TSYNC"], 0), (["LOG", "SPEC_ALLOW"], 6)],
    ids=["default", "none", "log", "tsync", "two"],
)
def test_debug_log_has_the_flags(container: Make, names: list[str] | None, number: int) -> None:
    more = {} if names is None else {"flags": [f"SECCOMP_FILTER_FLAG_{name}" for name in names]}
    c = filtered(container, rule("getppid"), **more)
    c.bundle.write()
    result = c.call("--debug", "run", "-b", str(c.bundle.path), c.id).ok()
    assert f'msg="seccomp filter flags: {number}"' in result.err


def test_the_same_profile_again(container: Make) -> None:
    """From a cache, if there is one, comes the same filter; another profile gets another filter."""
    for number in (95, 95, 76):
        c = filtered(container, rule("getppid", errnoRet=number))
        assert error_number(c.probe("syscall", str(GETPPID))) == number


def test_filter_does_not_stop_the_runtime(container: Make) -> None:
    """With no new privileges the filter is loaded as late as possible."""
    c = filtered(
        container,
        rule("setuid", "setgid", "setgroups", "capset", "chdir", "mount", "prctl", "close_range"),
    )
    c.bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert c.facts()["uid"] == [1000, 1000, 1000]


@pytest.mark.parametrize("late", [True, False])
def test_filter_that_refuses_everything(container: Make, late: bool) -> None:
    """Not even exit_group(2) works under it, so a process that only tried that would never end."""
    c = container()
    c.bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO"}
    c.bundle.process["noNewPrivileges"] = late
    assert c.run().status not in (0, None)
    c.nothing_left()
