"""Decides what a list of numbers such as "0-3,7" says: processors and memory nodes.

It must not know which of them the machine has.
"""

from __future__ import annotations

# CPUs and nodes have numbers far below this in any kernel (NR_CPUS, MAX_NUMNODES).
LIMIT = 1 << 15


def parse(text: str) -> int:
    """Return a mask, bit N for the number N (cpuset(7), "List format").

    Spaces around an element and empty elements are let through, as in runc. Raises ValueError, with
    a reason to be shown, for what is no list, and for one without any number.
    """
    mask = 0
    for element in text.split(","):
        element = element.strip(" ")
        if not element:
            continue
        first, dash, last = element.partition("-")
        low = _number(first, element)
        high = _number(last, element) if dash else low
        if low > high:
            raise ValueError(f'range "{element}" ends before it begins')
        mask |= (2 << high) - (1 << low)
    if not mask:
        raise ValueError("names no number")
    return mask


def _number(text: str, element: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'"{element}" is neither a number nor a range')
    number = int(text) if len(text) < 10 else LIMIT
    if number >= LIMIT:
        raise ValueError(f'"{element}" is not below {LIMIT}')
    return number
