"""Decides how operations of `pyrunc.plan.scheduling` are told; `pyrunc.plan.describe` asks.

It must not tell more than the operation holds.
"""

from __future__ import annotations

from pyrunc.shim import constants as C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _with_flags(value: int, table: dict[str, int]) -> str:
    names = [name for name, flag in table.items() if flag and value & flag == flag]
    return f" ({','.join(names)})" if names else ""


def _name(value: int, table: dict[str, int]) -> str:
    return next((name for name, number in table.items() if number == value), str(value))


def _scheduler(
    policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> str:
    text = f"schedule by {_name(policy, C.SCHEDULER_POLICIES)}"
    numbers = {"nice": nice, "priority": priority}
    numbers |= {"runtime": runtime, "deadline": deadline, "period": period}
    text += "".join([f", {name} {number}" for name, number in numbers.items() if number])
    return text + _with_flags(flags, C.SCHEDULER_FLAGS)


def _io_priority(value: int) -> str:
    name = _name(value >> C.IOPRIO_CLASS_SHIFT, C.IO_PRIORITY_CLASSES)
    return f"set I/O priority {name} {value & ((1 << C.IOPRIO_CLASS_SHIFT) - 1)}"


def _numbers(words: Sequence[int]) -> str:
    return ",".join(
        [
            str(64 * index + bit)
            for index, word in enumerate(words)
            for bit in range(64)
            if word >> bit & 1
        ]
    )


def _memory_policy(mode: int, nodes: Sequence[int]) -> str:
    flags = 0
    for flag in C.MEMORY_POLICY_FLAGS.values():
        flags |= mode & flag
    numbers = _numbers(nodes)
    where = f" of nodes {numbers}" if numbers else ""
    name = _name(mode & ~flags, C.MEMORY_POLICIES)
    return f"set memory policy {name}{where}{_with_flags(flags, C.MEMORY_POLICY_FLAGS)}"


def _personality(value: int) -> str:
    name = _name(value & 0xFF, C.PERSONALITIES)
    return f"set personality {name}{_with_flags(value & ~0xFF, C.PERSONALITY_FLAGS)}"


TELLERS: dict[str, Callable[..., str]] = {
    "set_scheduler": _scheduler,
    "set_io_priority": _io_priority,
    "set_init_scheduler": lambda *args: f"for init: {_scheduler(*args)}",
    "set_init_io_priority": lambda value: f"for init: {_io_priority(value)}",
    "set_memory_policy": _memory_policy,
    "set_affinity": lambda words: f"stay on processors {_numbers(words)}",
    "set_personality": _personality,
}
