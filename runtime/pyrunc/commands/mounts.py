"""mounts: add mounts to a running container, or remove them."""

from __future__ import annotations

from pyrunc.errors import Failure, SpecFailure, UsageFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cli import Request


def run(request: Request) -> int:
    from pyrunc import mounting
    from pyrunc.cli import check_container_id

    action, container_id = request.args[:2]
    if action not in ("add", "remove"):
        raise UsageFailure(f'mounts can be added and removed, not "{action}"')
    check_container_id(container_id)
    entries = _entries(request, action == "add")
    mounting.change(request.root, container_id, action == "add", entries)
    return 0


def _entries(request: Request, add: bool) -> list[dict[str, Any]]:
    options = request.options
    if len(request.args) == 3:
        if options["destination"]:
            raise UsageFailure("either a file or --destination")
        return _read(request.args[2])
    if not options["destination"]:
        raise UsageFailure("a file, or --destination, is needed")
    entry: dict[str, Any] = {"destination": options["destination"]}
    if not add:
        return [entry]
    entry["source"] = options["source"]
    entry["type"] = options["type"] or "bind"
    entry["options"] = [word for word in options["options"].split(",") if word]
    if entry["type"] == "bind" and not {"bind", "rbind"} & set(entry["options"]):
        entry["options"].insert(0, "rbind")
    return [entry]


def _read(path: str) -> list[dict[str, Any]]:
    from pyrunc.commands import given
    from pyrunc.spec import load

    text = given.read(path, "standard input" if path == "-" else f'"{path}"')
    entries = load.parse(text, path)
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        raise SpecFailure("", f"{path}: must be an array of mounts")
    if not all(isinstance(entry, dict) for entry in entries):
        raise Failure(f"{path}: must be an array of mounts")
    return entries
