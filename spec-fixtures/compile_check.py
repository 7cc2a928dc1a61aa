"""Decides how our JSON Schema becomes straight-line Python, at build time.

It must not be imported at run time: what it writes is all that the hot path needs.

Usage: compile_check.py SCHEMA_DIRECTORY OUTPUT_DIRECTORY

Writes two modules that git ignores: `check_generated.py` (the hot check, no imports, fit for an
interpreter that has only builtins) and `schema_generated.py` (the schema as one document, for
jsonschema). A keyword or a pattern that this compiler does not know is an error of the build.
"""

from __future__ import annotations

import json
import pprint
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

# Entry points of the hot check: function name, file of the schema.
ENTRIES = (
    ("check", "config"),
    ("check_process", "process"),
    ("check_resources", "resources"),
)
_ANNOTATIONS = {"$comment", "$defs", "$id", "$schema", "description", "title"}
_TYPES = {
    "array": ("list", "an array"),
    "boolean": ("bool", "true or false"),
    "integer": ("int", "an integer"),
    "object": ("dict", "an object"),
    "string": ("str", "a string"),
}
_KEYWORDS = {
    "array": {"items", "minItems"},
    "boolean": set(),
    "integer": {"minimum", "maximum"},
    "object": {"required", "properties", "additionalProperties"},
    "string": {"enum", "pattern"},
}
# Patterns as tests on a string: the condition under which the value `{v}` is refused. Importing
# re costs more than the whole check, so the few patterns of the schema are translated by hand.
_PATTERNS = {
    "^RLIMIT_[A-Z]+$": ('{v}[:7] != "RLIMIT_" or {v}[7:] == "" or {v}[7:].strip(_UPPER) != ""'),
    "^[0-9, -]*$": '{v}.strip("0123456789, -") != ""',
    "^[1-9][0-9]*[KMG]B$": (
        '{v}[-2:] not in ("KB", "MB", "GB") or {v}[:-2].strip(_DIGITS) != ""'
        ' or {v}[:1] not in "123456789"'
    ),
    "^MB:[^\\n]*$": '{v}[:3] != "MB:" or "\\n" in {v}',
}
# strip() tests that a string consists of allowed characters only if none of the others can hide
# between them; it removes from both ends until a foreign character stops it, so it is exact.

_PRELUDE = '''\
"""Generated from spec-fixtures/schema by compile_check.py: change the schema, not this file.

Each function takes a parsed JSON document and returns None, or the first problem as
(JSON pointer, message). A null member of an object counts as absent.
"""

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"


def _got(value):
    kind = type(value)
    if kind is str:
        return f'"{value[:60]}..."' if len(value) > 64 else f'"{value}"'
    if kind is dict:
        return "an object"
    if kind is list:
        return "an array"
    if kind is bool:
        return "true" if value else "false"
    return "null" if value is None else repr(value)


def _token(name):
    return name.replace("~", "~0").replace("/", "~1")


def _not_a_string(values):
    for number, value in enumerate(values):
        if type(value) is not str:
            return f"/{number}", f"must be a string, got {_got(value)}"
'''


class CompileError(Exception):
    """The schema uses something that the hot check cannot express."""


def bundle(directory: Path) -> Schema:
    """The schema files of `directory` as one document: file F is #/$defs/F, each $ref is local."""
    files = {}
    for path in sorted(directory.glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        files[path.stem] = _localise(schema, path.stem)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/config",
        "$defs": files,
    }


def _localise(node: Any, name: str) -> Any:
    if isinstance(node, list):
        return [_localise(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if key in ("$schema", "$id", "$comment") and isinstance(value, str):
            continue
        if key == "$ref" and isinstance(value, str):
            file, _, fragment = value.partition("#")
            result[key] = f"#/$defs/{file.removesuffix('.json') or name}{fragment}"
        else:
            result[key] = _localise(value, name)
    return result


def resolve(document: Schema, reference: str) -> Schema:
    """What a local $ref of the bundled document points at."""
    node: Any = document
    for token in reference.removeprefix("#/").split("/"):
        node = node[token]
    if not isinstance(node, dict):
        raise CompileError(f"{reference} is not a schema")
    return node


class Compiler:
    """Turns the bundled document into the source of the hot check."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self.lines: list[str] = []
        self.functions: dict[str, str] = {}
        self.pending: list[str] = []
        self.uses: dict[str, int] = {}
        self.counter = 0

    def source(self) -> str:
        """The text of check_generated.py."""
        for _, file in ENTRIES:
            self._count(f"#/$defs/{file}", set())
        body: list[str] = []
        for function, file in ENTRIES:
            reference = f"#/$defs/{file}"
            self.functions[reference] = function
            self.pending.append(reference)
        while self.pending:
            reference = self.pending.pop(0)
            self.lines = []
            self.counter = 0
            self._emit(1, f"def {self.functions[reference]}(value):", outdent=True)
            self._value(resolve(self.document, reference), "value", "", 1)
            body += ["", "", *self.lines]
        return _PRELUDE + "\n".join(body) + "\n"

    def _count(self, reference: str, path: set[str]) -> None:
        if reference in path:
            raise CompileError(f"{reference} contains itself")
        self.uses[reference] = self.uses.get(reference, 0) + 1
        if self.uses[reference] > 1:
            return
        for found in _references(resolve(self.document, reference)):
            self._count(found, path | {reference})

    def _emit(self, depth: int, text: str, *, outdent: bool = False) -> None:
        self.lines.append("    " * (depth - 1 if outdent else depth) + text)

    def _refuse(self, depth: int, condition: str, pointer: str, message: str) -> None:
        self._emit(depth, f"if {condition}:")
        self._emit(depth + 1, f"return {_quoted(pointer)}, {_quoted(message)}")

    def _fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}{self.counter}"

    def _value(self, schema: Schema, var: str, pointer: str, depth: int) -> None:
        if "$ref" in schema:
            self._reference(schema["$ref"], var, pointer, depth)
            return
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise CompileError(f"{pointer}: type {kind!r} is not supported")
        unknown = set(schema) - _ANNOTATIONS - _KEYWORDS[kind] - {"type"}
        if unknown:
            raise CompileError(f"{pointer}: keyword {min(unknown)} is not supported for {kind}")
        python, noun = _TYPES[kind]
        message = f"must be {noun}, got {{_got({var})}}"
        self._refuse(depth, f"type({var}) is not {python}", pointer, message)
        getattr(self, f"_{kind}")(schema, var, pointer, depth)

    def _reference(self, reference: str, var: str, pointer: str, depth: int) -> None:
        target = resolve(self.document, reference)
        compound = target.get("type") in ("object", "array") or "$ref" in target
        shared = self.uses.get(reference, 0) > 1 and compound and not _is_strings(target)
        if not shared and reference not in self.functions:
            self._value(target, var, pointer, depth)
            return
        if reference not in self.functions:
            name = "_" + "_".join(reference.removeprefix("#/").replace("$defs/", "").split("/"))
            self.functions[reference] = name
            self.pending.append(reference)
        self._emit(depth, f"problem = {self.functions[reference]}({var})")
        self._emit(depth, "if problem is not None:")
        self._emit(depth + 1, f"return {_quoted(pointer + '{problem[0]}')}, problem[1]")

    def _boolean(self, schema: Schema, var: str, pointer: str, depth: int) -> None:
        """Nothing beyond the type can be asked of a boolean."""

    def _integer(self, schema: Schema, var: str, pointer: str, depth: int) -> None:
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and high is not None:
            message = f"must be between {low} and {high}, got {{{var}}}"
            self._refuse(depth, f"not {low} <= {var} <= {high}", pointer, message)
        elif low is not None:
            self._refuse(depth, f"{var} < {low}", pointer, f"must be at least {low}, got {{{var}}}")
        elif high is not None:
            self._refuse(
                depth, f"{var} > {high}", pointer, f"must be at most {high}, got {{{var}}}"
            )

    def _string(self, schema: Schema, var: str, pointer: str, depth: int) -> None:
        if "enum" in schema:
            values = tuple(schema["enum"])
            listed = " or ".join((", ".join(values[:-1]), values[-1])) if values[1:] else values[0]
            message = f"must be {listed}, got {{_got({var})}}"
            if len(message) > 140:
                message = f"unknown value {{_got({var})}}"
            # A set of constants is folded to a frozenset by CPython: one hash look-up.
            members = ", ".join(repr(value) for value in values)
            self._refuse(depth, f"{var} not in {{{members}}}", pointer, message)
        if "pattern" in schema:
            test = _PATTERNS.get(schema["pattern"])
            if test is None:
                raise CompileError(f"{pointer}: no translation for pattern {schema['pattern']}")
            message = f"must be {schema['description']}, got {{_got({var})}}"
            self._refuse(depth, test.format(v=var), pointer, message)

    def _array(self, schema: Schema, var: str, pointer: str, depth: int) -> None:
        if "minItems" in schema:
            if schema["minItems"] != 1:
                raise CompileError(f"{pointer}: minItems other than 1 is not supported")
            self._refuse(depth, f"not {var}", pointer, "must not be empty")
        if "items" not in schema:
            return
        if schema["items"] == {"type": "string"}:
            # join() looks at every element in C: a seccomp profile has hundreds of names.
            self._emit(depth, "try:")
            self._emit(depth + 1, f'"".join({var})')
            self._emit(depth, "except TypeError:")
            self._emit(depth + 1, f"problem = _not_a_string({var})")
            self._emit(depth + 1, f"return {_quoted(pointer + '{problem[0]}')}, problem[1]")
            return
        index, item = self._fresh("i"), self._fresh("item")
        self._emit(depth, f"for {index}, {item} in enumerate({var}):")
        self._value(schema["items"], item, f"{pointer}/{{{index}}}", depth + 1)

    def _object(self, schema: Schema, var: str, pointer: str, depth: int) -> None:
        required = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        if required - set(properties):
            raise CompileError(f"{pointer}: {min(required - set(properties))} has no schema")
        for name, member in properties.items():
            inner = self._fresh("v")
            place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            self._emit(depth, f"{inner} = {var}.get({name!r})")
            if name in required:
                self._refuse(depth, f"{inner} is None", place, "is required")
                self._value(member, inner, place, depth)
            else:
                self._emit(depth, f"if {inner} is not None:")
                self._value(member, inner, place, depth + 1)
        if "additionalProperties" in schema:
            if properties:
                raise CompileError(f"{pointer}: properties beside additionalProperties")
            key, inner = self._fresh("k"), self._fresh("v")
            self._emit(depth, f"for {key}, {inner} in {var}.items():")
            self._emit(depth + 1, f"if {inner} is not None:")
            place = f"{pointer}/{{_token({key})}}"
            self._value(schema["additionalProperties"], inner, place, depth + 2)


def _is_strings(schema: Schema) -> bool:
    return schema.get("type") == "array" and schema.get("items") == {"type": "string"}


def _quoted(text: str) -> str:
    """`text`, in which {} marks expressions, as Python source: an f-string only where needed."""
    return ("f" if "{" in text else "") + repr(text)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            elif key != "$defs":
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def main(arguments: list[str]) -> int:
    """Compile the schema directory given first into the package directory given second."""
    if len(arguments) != 2:
        sys.stderr.write("usage: compile_check.py SCHEMA_DIRECTORY OUTPUT_DIRECTORY\n")
        return 2
    directory, output = Path(arguments[0]), Path(arguments[1])
    document = bundle(directory)
    text = pprint.pformat(document, indent=1, width=100, sort_dicts=False)
    schema = (
        '"""Generated by compile_check.py from spec-fixtures/schema: change that."""\n\n'
        f"DOCUMENT = {text}\n"
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "check_generated.py").write_text(Compiler(document).source(), encoding="utf-8")
    (output / "schema_generated.py").write_text(schema, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
