"""Decides how a running container is saved: what CRIU is told, and what is left of the container.

It must not restore.
"""

from __future__ import annotations

import posix

from pyrunc import container, state
from pyrunc.checkpoint import criu, descriptors, images, messages, mounts, options
from pyrunc.errors import Failure, HostFailure, StateFailure
from pyrunc.spec import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request
    from pyrunc.spec.types import Spec
    from pyrunc.state import Record, StateDirectory

LOG = "dump.log"


def checkpoint(request: Request) -> None:
    """Save a container; unless it shall run on, it is removed then as by delete."""
    flags = request.options
    asked = _from_flags(flags)
    options.refuse_unprivileged()
    directory, record = container.load_locked(request.root, request.id)
    try:
        now = container.status(directory, record)
        if now not in ("running", "paused"):
            raise StateFailure(f"Container cannot be checkpointed in {now} state")
        criu.find()
        _save(flags, asked, directory, record)
        if not (flags["leave_running"] or flags["pre_dump"]):
            container.destroy(directory, record)
    finally:
        directory.unlock()


def _from_flags(flags: dict[str, Any]) -> dict[str, Any]:
    values = options.from_flags(flags)
    values["leave_running"] = flags["leave_running"]
    if flags["pre_dump"]:
        values["track_mem"] = True
    parent = flags["parent_path"]
    if parent.startswith("/"):
        raise Failure("--parent-path must be relative to the image path")
    if parent:
        values["parent_img"] = parent
        values["track_mem"] = True
    if flags["page_server"]:
        values["ps"] = options.page_server(flags["page_server"])
    if flags["status_fd"]:
        values["status_fd"] = _status_fd(flags["status_fd"])
    return values


def _save(
    flags: dict[str, Any], asked: dict[str, Any], directory: StateDirectory, record: Record
) -> None:
    path = directory.file(state.CONFIG)
    spec, _warnings = load.accept(load.parse(load.read(path, path), path))
    places = images.Directories(flags, make=True)
    try:
        links = descriptors.of_container(record)
        if flags["parent_path"]:
            images.check_parent(places.images, flags["parent_path"])
        values = {**options.fixed(places, LOG, spec), **asked, **_of_container(spec, record)}
        values["external"] += descriptors.external(links)
        if not flags["pre_dump"]:
            # Before CRIU is done with the container, since that may be its end.
            descriptors.write(places.images, links)
        _dump(messages.PRE_DUMP if flags["pre_dump"] else messages.DUMP, values, places.log(LOG))
    finally:
        places.close()


def _of_container(spec: Spec, record: Record) -> dict[str, Any]:
    pid = record["init_process_pid"]
    values = {"pid": pid, "external": mounts.to_dump(spec, pid) + _namespaces(spec)}
    paths = record["cgroup_paths"]
    # Beside v1 the unified hierarchy freezes only what is in it alone.
    freezer = paths.get("freezer") or (paths.get("") if list(paths) == [""] else None)
    if freezer:
        values["freeze_cgroup"] = freezer
    return values


def _status_fd(text: str) -> int:
    try:
        number = int(text)
        posix.fstat(number)
    except ValueError:
        raise Failure(f"invalid value for --status-fd: {text}") from None
    except OSError as error:
        raise HostFailure(error.errno or 0, f"--status-fd {text}") from error
    return number


def _namespaces(spec: Spec) -> list[str]:
    found = []
    for kind, path in options.named_namespaces(spec):
        if kind in options.EXTERNAL:
            name, key = options.EXTERNAL[kind]
            try:
                found.append(f"{name}[{posix.stat(path).st_ino}]:{key}")
            except OSError as error:
                raise HostFailure(error.errno or 0, f'look at namespace "{path}"') from error
    return found


def _dump(kind: int, values: dict[str, Any], log_path: str) -> None:
    program = criu.Criu(stdio=False)
    try:
        answer = program.ask(kind, values, lambda _script, _pid, _fd: None)
    finally:
        program.close()
    if not answer.get("success"):
        raise criu.failure("dump the container", answer, log_path)
