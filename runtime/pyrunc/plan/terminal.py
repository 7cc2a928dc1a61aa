"""Decides which pty the container gets, and where its other end goes.

It must not choose between console socket and relay: the options say which there is.
"""

from __future__ import annotations

from pyrunc.plan import ops
from pyrunc.shim.constants import PTY_BIND_CONSOLE, PTY_HAS_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.plan.ops import Op
    from pyrunc.plan.records import CreateOptions, ExecOptions


def operations(
    spec: Mapping[str, Any], options: CreateOptions | ExecOptions, flags: int = PTY_BIND_CONSOLE
) -> list[Op]:
    """One pty, or nothing without a terminal; /dev/console is that of the container's init."""
    if not options.terminal:
        return []
    process = spec["process"]
    size = process.get("consoleSize") or {}
    rows, columns = size.get("height", 0), size.get("width", 0)
    if rows or columns:
        flags |= PTY_HAS_SIZE
    return [
        ops.open_pty(
            "/process/terminal",
            options.has_console_socket,
            flags,
            process["user"]["uid"],
            # struct winsize has 16 bits for each.
            min(rows, 0xFFFF),
            min(columns, 0xFFFF),
        )
    ]
