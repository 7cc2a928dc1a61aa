"""Decides how an operation's arguments become those of its C function.

It must not know what an operation means, nor leave one out.
"""

from __future__ import annotations

from _pyrunc_shim import ffi, lib

from pyrunc.errors import HostFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pyrunc.plan.ops import Op

    Descriptors = dict[str, int]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(text: str | None) -> Any:
    return ffi.NULL if text is None else _bytes(text)


def _list(texts: Sequence[str]) -> tuple[bytes, int, int]:
    """Strings one after another, each with its NUL: the bytes, their number, the count."""
    packed = b"".join([_bytes(text) + b"\0" for text in texts])
    return packed, len(packed), len(texts)


class PlanBuffer:
    """A plan on its way to init.

    `descriptors` names the open files that operations refer to: a namespace file by its path,
    "console_socket", "exec_fifo", "hooks_stdout", "hooks_stderr", "container_init" (a pidfd) (-1 or
    absent: none).
    """

    def __init__(self, descriptors: Descriptors) -> None:
        self.descriptors = descriptors
        self.plan = ffi.gc(lib.shim_plan_new(), lib.shim_plan_free)
        if self.plan == ffi.NULL:
            raise HostFailure(12, "make room for the plan")
        self.operations: list[Op] = []

    def trace(self) -> None:
        """Let init tell when each operation begins (REPORT_TRACE)."""
        lib.shim_plan_trace(self.plan)

    def append(self, op: Op) -> None:
        """Add an init operation; its index is its place in `operations`."""
        index = ENCODERS[op.kind](self, *op.args)
        if index < 0:
            raise HostFailure(-index, "encode " + op.kind)
        self.operations.append(op)

    def extend(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self.append(op)


def _setns(buffer: PlanBuffer, nstype: int, path: str) -> int:
    return lib.shim_op_setns(buffer.plan, buffer.descriptors[path], nstype)


def _join_process(buffer: PlanBuffer, flags: int, pid: int) -> int:
    pid_fd = buffer.descriptors["container_init"]
    return lib.shim_op_join_process(buffer.plan, pid_fd, pid, flags)


def _session_keyring(buffer: PlanBuffer, name: str, label: str | None) -> int:
    return lib.shim_op_session_keyring(buffer.plan, _text(name), _text(label))


def _open_rootfs(buffer: PlanBuffer, path: str, flags: int) -> int:
    return lib.shim_op_open_rootfs(buffer.plan, _bytes(path), flags)


def _mount(
    buffer: PlanBuffer,
    fstype: str,
    source: str | None,
    target: str,
    target_flags: int,
    attr_set: int,
    sb_flags: int,
    data: Sequence[str],
    flags: int,
) -> int:
    return lib.shim_op_mount(
        buffer.plan,
        _bytes(fstype),
        _text(source),
        _bytes(target),
        target_flags,
        attr_set,
        sb_flags,
        *_list(data),
        flags,
    )


def _bind(buffer: PlanBuffer, source: str, target: str, *rest: Any) -> int:
    # Mappings are the runtime's affair.
    return lib.shim_op_bind(buffer.plan, _bytes(source), _bytes(target), *rest[:-1])


def _make_node(buffer: PlanBuffer, path: str, *rest: Any) -> int:
    return lib.shim_op_make_node(buffer.plan, _bytes(path), *rest[:-1], _text(rest[-1]))


def _symlink(buffer: PlanBuffer, text: str, path: str, target_flags: int) -> int:
    return lib.shim_op_symlink(buffer.plan, _bytes(text), _bytes(path), target_flags)


def _mask(buffer: PlanBuffer, path: str, label: str | None) -> int:
    return lib.shim_op_mask(buffer.plan, _bytes(path), _text(label))


def _open_pty(buffer: PlanBuffer, socket: bool, *rest: int) -> int:
    socket_fd = buffer.descriptors["console_socket"] if socket else -1
    return lib.shim_op_open_pty(buffer.plan, socket_fd, *rest)


def _hook(
    buffer: PlanBuffer,
    which: int,
    index: int,
    path: str,
    timeout: int,
    args: Sequence[str],
    env: Sequence[str],
    stdout: str,
    stderr: str,
) -> int:
    out_fd = buffer.descriptors["hooks_stdout"] if stdout else -1
    err_fd = buffer.descriptors["hooks_stderr"] if stderr else -1
    return lib.shim_op_hook(
        buffer.plan, which, index, _bytes(path), timeout, *_list(args), *_list(env), out_fd, err_fd
    )


def _write_sysctl(buffer: PlanBuffer, path: str, value: str) -> int:
    return lib.shim_op_write_sysctl(buffer.plan, _bytes(path), _bytes(value))


def _load_seccomp(buffer: PlanBuffer, program: bytes, flags: int) -> int:
    return lib.shim_op_load_seccomp(buffer.plan, program, len(program), flags)


def _set_memory_policy(buffer: PlanBuffer, mode: int, nodes: Sequence[int]) -> int:
    return lib.shim_op_set_memory_policy(buffer.plan, mode, list(nodes), len(nodes))


def _set_ids(
    buffer: PlanBuffer, uid: int, gid: int, groups: Sequence[int], umask: int, flags: int
) -> int:
    return lib.shim_op_set_ids(buffer.plan, uid, gid, list(groups), len(groups), umask, flags)


def _set_environment(buffer: PlanBuffer, env: Sequence[str], uid: int, flags: int) -> int:
    return lib.shim_op_set_environment(buffer.plan, *_list(env), uid, flags)


def _execute(buffer: PlanBuffer, args: Sequence[str]) -> int:
    return lib.shim_op_execute(buffer.plan, *_list(args))


def _await_start(buffer: PlanBuffer) -> int:
    return lib.shim_op_await_start(buffer.plan, buffer.descriptors["exec_fifo"])


def _numbers(name: str) -> Callable[..., int]:
    """Operations that take numbers alone."""

    def encode(buffer: PlanBuffer, *numbers: int) -> int:
        return getattr(lib, name)(buffer.plan, *numbers)  # type: ignore[no-any-return]

    return encode


def _leading_text(name: str) -> Callable[..., int]:
    """Operations that take one string, then numbers."""

    def encode(buffer: PlanBuffer, text: str, *numbers: int) -> int:
        return getattr(lib, name)(buffer.plan, _bytes(text), *numbers)  # type: ignore[no-any-return]

    return encode


ENCODERS: dict[str, Callable[..., int]] = {
    "stage": _numbers("shim_op_stage"),
    "setns": _setns,
    "join_process": _join_process,
    "unmount": _leading_text("shim_op_unmount"),
    "outlive": _numbers("shim_op_outlive"),
    "unshare": _numbers("shim_op_unshare"),
    "respawn": _numbers("shim_op_respawn"),
    "set_rlimit": _numbers("shim_op_set_rlimit"),
    "set_oom_score_adj": _numbers("shim_op_set_oom_score_adj"),
    "set_scheduler": _numbers("shim_op_set_scheduler"),
    "set_io_priority": _numbers("shim_op_set_io_priority"),
    "set_affinity": lambda buffer, words: lib.shim_op_set_affinity(
        buffer.plan, list(words), len(words)
    ),
    "set_memory_policy": _set_memory_policy,
    "set_personality": _numbers("shim_op_set_personality"),
    "session_keyring": _session_keyring,
    "host_propagation": _numbers("shim_op_host_propagation"),
    "open_rootfs": _open_rootfs,
    "mount": _mount,
    "bind": _bind,
    "propagation": _leading_text("shim_op_propagation"),
    "set_mount_attr": _leading_text("shim_op_set_mount_attr"),
    "make_dir": _leading_text("shim_op_make_dir"),
    "make_node": _make_node,
    "symlink": _symlink,
    "mask": _mask,
    "readonly": _leading_text("shim_op_readonly"),
    "open_pty": _open_pty,
    "hook": _hook,
    "pivot_root": _numbers("shim_op_pivot_root"),
    "write_sysctl": _write_sysctl,
    "loopback_up": _numbers("shim_op_loopback_up"),
    "set_hostname": _leading_text("shim_op_set_hostname"),
    "set_domainname": _leading_text("shim_op_set_domainname"),
    "set_label": _leading_text("shim_op_set_label"),
    "own_stdio": _numbers("shim_op_own_stdio"),
    "no_new_privs": _numbers("shim_op_no_new_privs"),
    "load_seccomp": _load_seccomp,
    "drop_bounding": _numbers("shim_op_drop_bounding"),
    "set_ids": _set_ids,
    "set_caps": _numbers("shim_op_set_caps"),
    "change_dir": _leading_text("shim_op_change_dir"),
    "set_environment": _set_environment,
    "find_executable": _leading_text("shim_op_find_executable"),
    "close_fds": _numbers("shim_op_close_fds"),
    "await_start": _await_start,
    "execute": _execute,
}
