"""Decides how all problems of a config are told to a person: where, what, what is allowed instead.

It must not be imported on the hot path: jsonschema alone costs more than a whole container. It
reads nothing but the config it is given.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema

from pyrunc.log import one_line
from pyrunc.spec import defaults, rules
from pyrunc.spec.schema_generated import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    Schema = dict[str, Any]

_NAMES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "object": "an object",
    "string": "a string",
}


class Problem(NamedTuple):
    """One thing to tell about a config.

    `level` is "error" or "warning". `value` is the offending value where there is one, `allowed`
    what may stand in its place, `suggestion` the nearest allowed word; each may be None.
    """

    level: str
    pointer: str
    message: str
    value: object = None
    allowed: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        text = f"{self.pointer}: {self.message}" if self.pointer else self.message
        if self.suggestion is not None:
            text += f' (did you mean "{self.suggestion}"?)'
        elif self.allowed is not None:
            text += f" (allowed: {self.allowed})"
        return one_line(text)


def explain(config: Any) -> list[Problem]:
    """Every problem of a parsed config, errors before warnings, each in the order of the schema.

    The rules are looked at only where the schema is satisfied, since they rely on it. A null member
    of an object counts as absent and is removed from `config`.
    """
    defaults.strip_nulls(config)
    problems = list(_schema_problems(config))
    warnings = list(_unknown_members(config, _definition("config"), ""))
    if not problems:
        refused, cautions = rules.judge(config)
        problems += [Problem("error", *finding) for finding in refused]
        warnings = [Problem("warning", *finding) for finding in cautions] + warnings
    return problems + warnings


def validator(definition: str = "config") -> Any:
    """A jsonschema validator for one file of our schema, with JSON's integers and anchors.

    jsonschema takes 1.0 for an integer, Go's decoder (and so every other runtime) does not; and in
    Python `$` also matches before a final newline.
    """
    base = jsonschema.Draft202012Validator
    checker = base.TYPE_CHECKER.redefine("integer", lambda _checker, value: type(value) is int)
    made: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        base, {"pattern": _pattern}, type_checker=checker
    )
    return made({**DOCUMENT, "$ref": f"#/$defs/{definition}"})


def _pattern(
    _validator: Any, pattern: str, value: object, _schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    import re

    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _schema_problems(config: Any) -> Iterator[Problem]:
    for error in validator().iter_errors(config):
        if error.validator == "enum" and not isinstance(error.instance, str):
            continue  # told by its type already
        pointer = "".join(f"/{_token(str(part))}" for part in error.absolute_path)
        if error.validator == "required":
            for name in error.validator_value:
                if f"'{name}' is a required" in error.message:
                    yield Problem("error", f"{pointer}/{_token(name)}", "is required")
        else:
            yield _problem(error, pointer)


def _problem(error: Any, pointer: str) -> Problem:
    value, schema = error.instance, error.schema
    got = _shown(value)
    if error.validator == "enum":
        words = list(error.validator_value)
        return Problem(
            "error",
            pointer,
            f"unknown value {got}",
            value,
            ", ".join(words),
            _nearest(value, words),
        )
    if error.validator == "type":
        return Problem(
            "error", pointer, f"must be {_NAMES[error.validator_value]}, got {got}", value
        )
    if error.validator == "pattern":
        return Problem("error", pointer, f"must be {schema['description']}, got {got}", value)
    if error.validator in ("minimum", "maximum"):
        low, high = schema.get("minimum"), schema.get("maximum")
        span = f"at least {low}" if high is None else f"between {low} and {high}"
        return Problem("error", pointer, f"must be {span}, got {got}", value)
    if error.validator == "minItems":
        return Problem("error", pointer, "must not be empty", value)
    return Problem("error", pointer, error.message, value)


def _definition(reference: str) -> Schema:
    node: Any = DOCUMENT["$defs"]
    for token in reference.removeprefix("#/$defs/").split("/"):
        node = node[token]
    return _definition(node["$ref"]) if "$ref" in node else node


def _unknown_members(value: Any, schema: Schema, pointer: str) -> Iterator[Problem]:
    """Members that the specification does not define: it has them ignored, but most are typos."""
    if "$ref" in schema:
        schema = _definition(schema["$ref"])
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from _unknown_members(item, schema["items"], f"{pointer}/{number}")
    if not isinstance(value, dict):
        return
    known = schema.get("properties")
    for name, member in value.items():
        place = f"{pointer}/{_token(name)}"
        if known is None:
            other = schema.get("additionalProperties")
            if other is not None:
                yield from _unknown_members(member, other, place)
        elif name in known:
            yield from _unknown_members(member, known[name], place)
        else:
            nearest = _nearest(name, list(known))
            yield Problem("warning", place, "unknown property is ignored", None, None, nearest)


def _nearest(value: object, words: list[str]) -> str | None:
    if not isinstance(value, str):
        return None
    # What all words begin with (SCMP_ACT_) would make any two of them alike.
    start = len(os.path.commonprefix(words)) if len(words) > 1 else 0
    own = value[start:] if value.startswith(words[0][:start]) else value
    folded = {word[start:].casefold(): word for word in words}
    found = difflib.get_close_matches(own.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 64 else f'{text[:60]}..."'


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
