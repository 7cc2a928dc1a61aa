"""Decides how a config is put before the three judges: the hot check, our schema, the official one.

It must not judge by itself, and it must not copy the official schema: that is read where it lies.
"""

from __future__ import annotations

import copy
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

from pyrunc.spec import check_generated, defaults, explain
from pyrunc.spec.schema_generated import DOCUMENT

REPOSITORY = Path(__file__).resolve().parents[3]
FIXTURES = REPOSITORY / "spec-fixtures"
OFFICIAL = Path(os.environ.get("PYRUNC_OFFICIAL_SCHEMA") or REPOSITORY.parent / "shared/oci-spec")


class Refusal(NamedTuple):
    pointer: str
    value: Any


# Where ours and the official schema differ on purpose. What the official one refuses and we take:
LENIENT = (
    (
        r"/(linux/devices/\d+/fileMode|freebsd/devices/\d+/mode)",
        lambda value: type(value) is int and 0o777 < value <= 0xFFFF,
        "engines copy st_mode; udev sets the sticky bit on static nodes; runc masks what it gets",
    ),
    (
        r"/linux/rootfsPropagation",
        lambda value: value in ("rprivate", "rshared", "rslave", "runbindable"),
        "containerd and CRI-O write rslave and rshared; runc and crun take all four",
    ),
)
# What the official one takes and we refuse:
STRICT = (
    (
        r"/(annotations|linux/sysctl|linux/resources/unified)/\n*",
        lambda value: type(value) is not str,
        "its pattern for the names of a string map leaves out names without a visible character",
    ),
    (
        r"/vm/hwConfig/iomems/[1-9]\d*(/.*)?",
        lambda _value: True,
        "it says `items: [...]`, which describes the first element only",
    ),
    (
        r"/(process/rlimits/\d+/type|process/execCPUAffinity/(initial|final)"
        r"|linux/devices/\d+/type|linux/intelRdt/memBwSchema"
        r"|linux/resources/hugepageLimits/\d+/pageSize)",
        lambda value: isinstance(value, str) and value.endswith("\n"),
        "`$` of a Python pattern matches before a final newline, that of ECMA 262 does not",
    ),
    (
        r"/(process/user/(uid|gid|additionalGids/\d+)|linux/devices/\d+/(uid|gid))",
        lambda value: value == 0xFFFFFFFF,
        "(uid_t) -1 is no id: system calls take it for the one that is there, which is root's",
    ),
)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """What a schema of our document says, references followed."""
    while "$ref" in schema:
        node: Any = DOCUMENT
        for token in schema["$ref"].removeprefix("#/").split("/"):
            node = node[token]
        schema = node
    return schema


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def hot(config: Any, check: Any = check_generated.check) -> tuple[str, str] | None:
    """The verdict of the hot check, which must neither change what it is given nor mind nulls."""
    before = copy.deepcopy(config)
    verdict = check(config)
    assert config == before
    stripped = without_nulls(config)
    assert check(stripped) == verdict
    return verdict


# Making one costs more than most configs.
_validator = cache(explain.validator)


def ours(config: Any, definition: str = "config") -> list[Refusal]:
    """The problems that jsonschema finds with our schema."""
    return _refusals(_validator(definition), without_nulls(config))


class Official:
    """The official schema: one of its documents over the files of its directory."""

    def __init__(self, document: str) -> None:
        store = {}
        for path in OFFICIAL.glob("*.json"):
            # Upstream forgets the slash of one reference, which no resolver can follow.
            text = path.read_text(encoding="utf-8").replace('"#definitions/', '"#/definitions/')
            store[f"file:///{path.name}"] = json.loads(text)
        self.store = store
        self.schema = store[f"file:///{document}"]
        resolver = jsonschema.RefResolver(f"file:///{document}", self.schema, store=store)
        self.validator = jsonschema.Draft4Validator(self.schema, resolver=resolver)

    def follow(self, document: str) -> Any:
        """A function that resolves references from `document`: (schema, the function for there)."""

        def resolve(schema: dict[str, Any]) -> Any:
            if "$ref" not in schema:
                return schema, resolve
            name, _, fragment = schema["$ref"].partition("#")
            node = self.store[f"file:///{name or document}"]
            for token in fragment.strip("/").split("/"):
                node = node[token]
            return self.follow(name or document)(node)

        return resolve

    def judge(self, config: Any) -> list[Refusal]:
        return _refusals(self.validator, without_nulls(config))


def without_nulls(config: Any) -> Any:
    stripped = copy.deepcopy(config)
    defaults.strip_nulls(stripped)
    return stripped


def disagreements(mine: list[Refusal], theirs: list[Refusal]) -> list[Refusal]:
    """What one side refuses and the other takes, without what the tables of differences explain."""
    if bool(mine) == bool(theirs):
        return []
    return _unjustified(mine, STRICT) + _unjustified(theirs, LENIENT)


def _unjustified(refusals: list[Refusal], table: Any) -> list[Refusal]:
    return [
        refusal
        for refusal in refusals
        if not any(
            re.fullmatch(place, refusal.pointer) and applies(refusal.value)
            for place, applies, _reason in table
        )
    ]


def _refusals(validator: Any, config: Any) -> list[Refusal]:
    found = []
    for error in validator.iter_errors(config):
        pointer = "".join(
            "/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path
        )
        if error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            found += [Refusal(f"{pointer}/{name}", None) for name in missing]
        else:
            found.append(Refusal(pointer, error.instance))
    return found
