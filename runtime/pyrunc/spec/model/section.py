"""Decides how a class of the model stands for an object of config.json, in both directions.

It must not judge what it holds: the schema does (`Spec.problems`). It is for cold paths only, since
attrs alone costs more than the start of a container.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from attrs import Attribute, define, field, fields

from pyrunc.errors import SpecFailure
from pyrunc.jsontext import dumps


def member(name: str) -> Any:
    """A property whose name in JSON is not its attribute's in camel case."""
    return field(default=None, metadata={"name": name})


def one(kind: type[Section], name: str = "") -> Any:
    """A property that holds an object of `kind`."""
    return _nested(kind, "one", name, lambda value: _made(kind, value))


def many(kind: type[Section], name: str = "") -> Any:
    """A property that holds a list of objects of `kind`."""
    return _nested(
        kind,
        "many",
        name,
        lambda value: (
            [_made(kind, item) for item in value] if isinstance(value, (list, tuple)) else value
        ),
    )


def mapped(kind: type[Section], name: str = "") -> Any:
    """A property that holds objects of `kind` by a name that the config chooses."""
    return _nested(
        kind,
        "mapped",
        name,
        lambda value: (
            {key: _made(kind, item) for key, item in value.items()}
            if isinstance(value, Mapping)
            else value
        ),
    )


def _nested(kind: type[Section], shape: str, name: str, convert: Callable[[Any], Any]) -> Any:
    return field(
        default=None,
        converter=convert,
        metadata={"name": name, "kind": kind, "shape": shape},
    )


def _made(kind: type[Section], value: Any) -> Any:
    return kind.from_dict(value) if isinstance(value, Mapping) else value


def json_name(attribute: Attribute[Any]) -> str:
    """The name in JSON of a class's attribute."""
    given = attribute.metadata.get("name")
    if given:
        return str(given)
    first, *others = attribute.name.split("_")
    return first + "".join([word.capitalize() for word in others])


@define
class Section:
    """An object of config.json: an attribute for each property, None where it is absent.

    A dict is taken wherever a section is expected. What the specification does not know is in
    `extra`, by its name in JSON. Nothing is checked here but the names of attributes: a config that
    is wrong on purpose can be built too.
    """

    extra: dict[str, Any] = field(factory=dict, kw_only=True)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The section that a parsed JSON object describes, a copy; null means absent."""
        names = {json_name(one): one.name for one in fields(cls) if one.name != "extra"}
        given: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in document.items():
            if name not in names:
                extra[name] = copy.deepcopy(value)
            elif value is not None:
                # Sections copy what they hold when they are made.
                leaf = "kind" not in getattr(fields(cls), names[name]).metadata
                given[names[name]] = copy.deepcopy(value) if leaf else value
        return cls(**given, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """The object as JSON has it, a copy: known properties in their order, then the others."""
        made = {
            json_name(one): _plain(getattr(self, one.name))
            for one in fields(type(self))
            if one.name != "extra" and getattr(self, one.name) is not None
        }
        made.update(copy.deepcopy(self.extra))
        return made

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The section that a JSON file describes.

        Raises OSError, and SpecFailure where the file does not hold a JSON object.
        """
        try:
            # What is no UTF-8 stays what it is: a path on Linux is bytes.
            document = json.loads(Path(path).read_bytes().decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise SpecFailure("", f"{path}: {error}") from error
        if not isinstance(document, dict):
            raise SpecFailure("", f"{path}: must be an object")
        return cls.from_dict(document)

    def save(self, path: str | Path) -> None:
        """Write the section as `pyrunc spec` does (tabs, a final newline), over what is there."""
        Path(path).write_text(dumps(self.to_dict(), "\t", exact=True) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
