"""Decides which ids an id-mapped mount shows for those that its files have.

It must not make a mapping: the runtime does, when init comes to the mount. Imported only when a
mount asks for it.
"""

from __future__ import annotations

from pyrunc.errors import SpecFailure
from pyrunc.shim.constants import CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrunc.host import Host
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.plan.ops import IdMap, Mappings

_KINDS = (("uidMappings", "uids"), ("gidMappings", "gids"))
# Linux; a namespace takes no more (user_namespaces(7)).
_EXTENTS_MAX = 340
_ID_LIMIT = 1 << 32


def read(
    origin: str,
    entry: Mapping[str, Any],
    option: str,
    linux: Mapping[str, Any],
    host: Host,
    namespaces: Namespaces,
) -> IdMap:
    """What the mount at `origin` asks for by its mappings or by `option` ("idmap", "ridmap=..."; or "").

    Mappings without an option are taken as with "idmap", as in runc. Raises SpecFailure.
    """
    name, _, text = option.partition("=")
    uids, gids = (_triples(entry.get(key) or ()) for key, _ in _KINDS)
    for (key, _), triples in zip(_KINDS, (uids, gids), strict=True):
        _check(f"{origin}/{key}", triples)
    if bool(uids) != bool(gids):
        missing = _KINDS[1][0] if uids else _KINDS[0][0]
        raise SpecFailure(f"{origin}/{missing}", "uidMappings and gidMappings go together")
    if text:
        place = f"{origin}/options"
        if uids:
            raise SpecFailure(place, f'"{option}" goes with no uidMappings and gidMappings')
        uids, gids = _parse(place, text, linux)
        _check(place, uids)
        _check(place, gids)
    if host.euid != 0:
        raise SpecFailure(origin, "an id-mapped mount takes root")
    own = tuple(_triples(linux[key]) for key, _ in _KINDS)
    if not uids:
        if not namespaces.has(CLONE_NEWUSER):
            message = "an id-mapped mount without mappings takes a user namespace of the container"
            raise SpecFailure(origin, message)
    elif namespaces.new & CLONE_NEWUSER and own == (uids, gids):
        uids, gids = (), ()
    return name == "ridmap", uids, gids


def _triples(entries: Any) -> Mappings:
    return tuple((entry["containerID"], entry["hostID"], entry["size"]) for entry in entries)


def _check(place: str, triples: Mappings) -> None:
    if len(triples) > _EXTENTS_MAX:
        raise SpecFailure(place, f"at most {_EXTENTS_MAX} mappings, got {len(triples)}")
    for inside, outside, size in triples:
        if size == 0:
            raise SpecFailure(place, "a mapping has at least one id, got 0")
        if max(inside, outside) + size > _ID_LIMIT - 1:
            raise SpecFailure(place, f"maps ids beyond {_ID_LIMIT - 2}: {inside}-{outside}-{size}")


def _parse(place: str, text: str, linux: Mapping[str, Any]) -> tuple[Mappings, Mappings]:
    """crun's syntax: uids=INSIDE-OUTSIDE-SIZE#...;gids=..., with "@" relative to the container."""
    found: dict[str, Mappings] = {}
    for part in text.split(";"):
        kind, _, triples = part.partition("=")
        key = next((key for key, name in _KINDS if name == kind), None)
        if key is None or kind in found:
            raise SpecFailure(place, f'expected uids=...;gids=..., got "{text}"')
        found[kind] = tuple(
            [_parse_triple(place, triple, _triples(linux[key])) for triple in triples.split("#")]
        )
    if len(found) != len(_KINDS):
        raise SpecFailure(place, f'expected uids=...;gids=..., got "{text}"')
    return found["uids"], found["gids"]


def _parse_triple(place: str, text: str, own: Mappings) -> tuple[int, int, int]:
    numbers = text.removeprefix("@").split("-")
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() and len(n) < 11 for n in numbers):
        raise SpecFailure(place, f'expected INSIDE-OUTSIDE-SIZE, got "{text}"')
    inside, outside, size = (int(number) for number in numbers)
    if text[0] != "@":
        return inside, outside, size
    for first, host, count in own:
        if first <= outside < first + count:
            return inside, outside + host - first, size
    raise SpecFailure(place, f'"{text}" is relative to ids that the container has not')
