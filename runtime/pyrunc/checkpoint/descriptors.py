"""Decides what becomes of the standard streams of a container, which are the caller's.

It must not read or write them. descriptors.json in the image directory, a list of three texts, is
runc's too: what descriptor 0, 1 and 2 of init led to.
"""

from __future__ import annotations

import posix

from pyrunc import jsontext, output, state
from pyrunc.cgroup.files import read_file
from pyrunc.errors import Failure, HostFailure
from pyrunc.shim import JsonError, json_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "descriptors.json"
_TYPE, _REGULAR = 0o170000, 0o100000


def read(pid: int) -> list[str]:
    """Return what 0, 1 and 2 of the process lead to: "pipe:[INODE]", a path, or the name that CRIU
    knows a file by that is none of the container's ("file[MOUNT:INODE]", hexadecimal).
    """
    try:
        inside = {line.split(" ", 1)[0] for line in _lines(f"/proc/{pid}/mountinfo")}
        return [_read_one(pid, number, inside) for number in (0, 1, 2)]
    except OSError as error:
        raise HostFailure(error.errno or 0, "read the descriptors of init") from error


def _read_one(pid: int, number: int, inside: set[str]) -> str:
    path = f"/proc/{pid}/fd/{number}"
    try:
        link = posix.readlink(path)
    except FileNotFoundError:
        return ""
    found = posix.stat(path)
    if not link.startswith("/") or found.st_mode & _TYPE != _REGULAR:
        return link
    for line in _lines(f"/proc/{pid}/fdinfo/{number}"):
        name, _colon, value = line.partition(":")
        if name == "mnt_id" and value.strip() not in inside:
            return f"file[{int(value):x}:{found.st_ino:x}]"
    return link


def _lines(path: str) -> list[str]:
    return read_file(path).split("\n")


def external(links: list[str]) -> list[str]:
    """Return CRIU's `external` entries: the files that it need not look for in the container."""
    return list(dict.fromkeys(link for link in links if link.startswith("file[")))


def write(images: str, links: list[str]) -> None:
    state.write_file(f"{images}/{NAME}", output.encode(jsontext.dumps(links)))


def inherited(images: str) -> list[dict[str, Any]]:
    """Return CRIU's `inherit_fd` entries that put our standard streams in the place of those that
    the container had.
    """
    path = f"{images}/{NAME}"
    try:
        links = json_loads(read_file(path).encode())
    except OSError as error:
        raise HostFailure(error.errno or 0, f'read "{path}": is this a checkpoint?') from error
    except JsonError as error:
        raise Failure(f'"{path}" is damaged: {error}') from error
    if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
        raise Failure(f'"{path}" is damaged: it is no list of texts')
    entries: dict[str, dict[str, Any]] = {}
    for number, link in enumerate(links[:3]):
        if "pipe:" in link or link.startswith("file["):
            entries.setdefault(link, {"key": link, "fd": number})
    return list(entries.values())
