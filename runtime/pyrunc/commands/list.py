"""list: print the containers of a root directory, as a table or as JSON."""

from __future__ import annotations

import posix

from pyrunc import output
from pyrunc.errors import Failure, HostFailure
from pyrunc.log import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request

_COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
# What runc gives to Go's text/tabwriter.
_LEAST_WIDTH = 12
_PADDING = 3


def run(request: Request) -> int:
    from pyrunc.jsontext import dumps

    style = request.options["format"]
    if style not in ("table", "json"):
        raise Failure("invalid format option")
    documents = _documents(request)
    names = _user_names() if documents else {}
    for document in documents:
        document["owner"] = _owner(document["owner"], names)
    if request.options["quiet"]:
        output.write("".join([document["id"] + "\n" for document in documents]))
    elif style == "json":
        # runc's list is a Go slice, which is null when nothing was appended to it.
        output.write(dumps(documents or None) + "\n")
    else:
        output.write(table([_row(document) for document in documents]))
    return 0


def _documents(request: Request) -> list[dict[str, Any]]:
    """Return the states; a container that cannot be read is told on standard error and left out."""
    from pyrunc import container

    try:
        documents, failures = container.list_documents(request.root)
    except FileNotFoundError as error:
        # The default root is made by the first create; one that was named must be there.
        if not request.root_given:
            return []
        raise HostFailure(error.errno or 0, f'open root directory "{request.root}"') from error
    for failure in failures:
        output.write_stderr(f"{one_line(str(failure))}\n")
    return documents


def _row(document: dict[str, Any]) -> tuple[str, ...]:
    keys = ("id", "pid", "status", "bundle", "created", "owner")
    return tuple([str(document[key]) for key in keys])


def table(rows: list[tuple[str, ...]]) -> str:
    """Return the rows under runc's header, in columns."""
    lines = [_COLUMNS, *rows]
    widths = [
        max(_LEAST_WIDTH, _PADDING + max(len(line[column]) for line in lines))
        for column in range(len(_COLUMNS) - 1)
    ]
    text = ""
    for line in lines:
        cells = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)]
        text += "".join(cells) + line[-1] + "\n"
    return text


def _owner(owner: Any, names: dict[int, str]) -> str:
    """Return the name of a uid, or what stands for one without a name."""
    if not isinstance(owner, int):
        return str(owner)
    return names.get(owner, f"#{owner}")


def _user_names() -> dict[int, str]:
    """Return the names by uid from /etc/passwd: a static executable has no name service."""
    names: dict[int, str] = {}
    try:
        fd = posix.open("/etc/passwd", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return names
    data = b""
    try:
        while chunk := posix.read(fd, 65536):
            data += chunk
    finally:
        posix.close(fd)
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit():
            names.setdefault(int(fields[2]), fields[0])
    return names
