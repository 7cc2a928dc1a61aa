"""Decides what becomes of the standard streams of a container, which are the caller's.

It must not read or write them. descriptors.json in the image directory, a list of three texts, is
runc's too: what descriptor 0, 1 and 2 of init led to.
"""

from __future__ import annotations

from pyrunc import jsontext, output, state
from pyrunc.cgroup.files import read_file
from pyrunc.errors import Failure, HostFailure
from pyrunc.shim import JsonError, json_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.state import Record

NAME = "descriptors.json"
_EXTERNAL = ("file[", "tty[")


def of_container(record: Record) -> list[str]:
    """Return what 0, 1 and 2 of the container led to when it was made: "pipe:[INODE]", a path, or the
    name that CRIU has for a file or a terminal that is none of the container's.

    They are not read from the process: an instant's redirection would be taken for them.
    """
    links: list[str] = record.get("external_descriptors") or ["", "", ""]
    return links


def kept(links: list[str], own: list[str]) -> list[str]:
    """Return what the streams of a restored container lead to: `own` of ours took the place of some
    that `links` tells of.
    """
    places = {entry["key"]: entry["fd"] for entry in inherited(links)}
    return [own[places[link]] if link in places else link for link in links]


def external(links: list[str]) -> list[str]:
    """Return CRIU's `external` entries: what it need not look for in the container."""
    return list(dict.fromkeys(link for link in links if link.startswith(_EXTERNAL)))


def write(images: str, links: list[str]) -> None:
    state.write_file(f"{images}/{NAME}", output.encode(jsontext.dumps(links)))


def saved(images: str) -> list[str]:
    """Return what `write` has left in the image directory."""
    path = f"{images}/{NAME}"
    try:
        links = json_loads(read_file(path).encode())
    except OSError as error:
        raise HostFailure(error.errno or 0, f'read "{path}": is this a checkpoint?') from error
    except JsonError as error:
        raise Failure(f'"{path}" is damaged: {error}') from error
    if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
        raise Failure(f'"{path}" is damaged: it is no list of texts')
    return links


def inherited(links: list[str]) -> list[dict[str, Any]]:
    """Return CRIU's `inherit_fd` entries that put our standard streams in the place of those that
    the container had.
    """
    entries: dict[str, dict[str, Any]] = {}
    for number, link in enumerate(links[:3]):
        if "pipe:" in link or link.startswith(_EXTERNAL):
            entries.setdefault(link, {"key": link, "fd": number})
    return list(entries.values())
