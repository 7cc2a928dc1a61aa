"""Decides how a seccomp profile is handed to libseccomp.

It must not decide what the profile says: names and values pass as they are.
"""

from __future__ import annotations

from _pyrunc_shim import ffi, lib

from pyrunc.errors import HostFailure, SpecFailure
from pyrunc.shim.constants import ERRNOS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # (index, value, value two, operator)
    Condition = tuple[int, int, int, str]


class Compiler:
    """One profile on its way to a filter. Pointers say where a failure comes from."""

    def __init__(self, action: str, errno: int, pointer: str) -> None:
        result = ffi.new("struct shim_seccomp **")
        error = lib.shim_seccomp_new(action.encode(), errno, result)
        _raise(error, "begin a seccomp filter", pointer)
        self.profile = ffi.gc(result[0], lib.shim_seccomp_free)

    def add_arch(self, name: str, pointer: str) -> None:
        """Let calls of one more architecture be filtered, before any rule is added."""
        error = lib.shim_seccomp_add_arch(self.profile, name.encode())
        if error == -ERRNOS["ENOENT"]:
            raise SpecFailure(pointer, f'architecture "{name}" is unknown to libseccomp')
        _raise(error, f"add architecture {name}", pointer)

    def add_rule(
        self, action: str, errno: int, name: str, conditions: Sequence[Condition], pointer: str
    ) -> bool:
        """Add a rule that holds when all conditions do; False if nobody knows the system call."""
        tests = ffi.new("struct shim_seccomp_condition[]", len(conditions) or 1)
        names = []
        for test, (index, value, value_two, operator) in zip(tests, conditions, strict=False):
            names.append(ffi.new("char[]", operator.encode()))
            test.operator_name = names[-1]
            test.index = index
            test.value = value
            test.value_two = value_two
        error = lib.shim_seccomp_add_rule(
            self.profile, action.encode(), errno, _bytes(name), tests, len(conditions)
        )
        if error == -ERRNOS["ENOENT"]:
            return False
        _raise(error, f"add a rule for {name}", pointer)
        return True

    def use_tree(self) -> None:
        _raise(lib.shim_seccomp_use_tree(self.profile), "optimise the seccomp filter", "")

    def compile(self, answer_enosys: bool) -> bytes:
        """The filter as struct sock_filter[]; see `shim_seccomp_compile` for `answer_enosys`."""
        data = ffi.new("uint8_t **")
        size = ffi.new("size_t *")
        error = lib.shim_seccomp_compile(self.profile, answer_enosys, data, size)
        _raise(error, "compile the seccomp filter", "/linux/seccomp")
        return bytes(ffi.buffer(data[0], size[0]))


def version() -> int:
    """Of libseccomp: major << 16 | minor << 8 | micro."""
    number: int = lib.shim_seccomp_version()
    return number


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _raise(error: int, message: str, pointer: str) -> None:
    if error < 0:
        raise HostFailure(-error, message, pointer=pointer)
