"""The hot check, jsonschema with our schema and jsonschema with the official one never disagree.

The differences that are meant stand, with their reasons, in judges.LENIENT and judges.STRICT.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judges
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import mutated

from pyrunc import features
from pyrunc.spec import check_generated, explain
from pyrunc.spec.schema_generated import DOCUMENT


def agree(config: Any, official: judges.Official) -> None:
    refusals = judges.ours(config)
    verdict = judges.hot(config)
    if verdict is None:
        assert refusals == []
    else:
        assert verdict[0] in [refusal.pointer for refusal in refusals]
    assert judges.disagreements(refusals, official.judge(config)) == []


@settings(
    max_examples=500,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(config=mutated())
def test_mutations(config: Any, official: judges.Official) -> None:
    agree(config, official)


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(config=mutated())
def test_processes_and_resources(config: Any) -> None:
    linux = config.get("linux")
    resources = linux.get("resources") if isinstance(linux, dict) else linux
    for definition, value, check in (
        ("process", config.get("process"), check_generated.check_process),
        ("resources", resources, check_generated.check_resources),
    ):
        assert (judges.hot(value, check) is None) == (judges.ours(value, definition) == [])


def least(schema: dict[str, Any]) -> Any:
    """The smallest value that a schema takes."""
    schema = judges.resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: least(schema["properties"][name]) for name in schema.get("required", ())}
    if schema["type"] == "array":
        return [least(schema["items"])] if "minItems" in schema else []
    words = {"^RLIMIT_[A-Z]+$": "RLIMIT_A", "^[1-9][0-9]*[KMG]B$": "1KB", "^MB:[^\\n]*$": "MB:"}
    if schema["type"] == "string":
        return words.get(schema.get("pattern", ""), "")
    return {"integer": max(0, schema.get("minimum", 0)), "boolean": False}[schema["type"]]


def probes(schema: dict[str, Any]) -> Iterator[Any]:
    """Values on both sides of every border that a schema draws, one border each."""
    schema = judges.resolved(schema)
    yield from {"integer": (1.5, "1"), "string": (1, ["a"])}.get(schema["type"], (0, "true"))
    yield from ({"object": [], "array": {}, "integer": True}.get(schema["type"], []), least(schema))
    for name in ("minimum", "maximum"):
        if name in schema:
            yield from (schema[name] - 1, schema[name], schema[name] + 1)
    yield from schema.get("enum", ())
    if "enum" in schema:
        yield schema["enum"][0].lower() + "_"
    if "pattern" in schema:
        yield from ("", "0-3,7", "RLIMIT_", "RLIMIT_NOFILE", "RLIMIT_a", "xRLIMIT_A", "2MB", "0MB")
        yield from ("2M", "MB:0=1", "LB:0=1", "MB:\n", "a-b", "12KBx", "1\u0661KB")
    for name in schema.get("required", ()):
        yield {key: value for key, value in least(schema).items() if key != name}
    for name, member in schema.get("properties", {}).items():
        yield from ({**least(schema), name: value} for value in probes(member))
    if "additionalProperties" in schema:
        yield from ({"a/b~c": value} for value in probes(schema["additionalProperties"]))
    if "items" in schema:
        yield from ([*least(schema), value] for value in probes(schema["items"]))


def test_every_border(official: judges.Official) -> None:
    number = 0
    for number, config in enumerate(probes(DOCUMENT), 1):  # noqa: B007
        agree(config, official)
    assert number > 2000


def members(schema: dict[str, Any], resolve: Any, place: str = "") -> Iterator[str]:
    """The place of every property that a schema describes."""
    schema, resolve = resolve(schema)
    for part in schema.get("allOf", []) + schema.get("anyOf", []):
        yield from members(part, resolve, place)
    for name, member in schema.get("properties", {}).items():
        yield f"{place}/{name}"
        yield from members(member, resolve, f"{place}/{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            inner = schema[name][0] if isinstance(schema[name], list) else schema[name]
            yield from members(inner, resolve, f"{place}/*")


@pytest.mark.parametrize(("name", "least"), [("config", 250), ("state", 6), ("features", 30)])
def test_every_property(name: str, least: int, official: judges.Official) -> None:  # noqa: ARG001
    def resolve_ours(schema: dict[str, Any]) -> Any:
        return judges.resolved(schema), resolve_ours

    upstream = judges.Official(f"{name}-schema.json")
    theirs = set(members(upstream.schema, upstream.follow(f"{name}-schema.json")))
    mine = set(members(DOCUMENT["$defs"][name], resolve_ours))
    assert mine == theirs
    assert len(mine) >= least


def samples(kind: str, section: str = "") -> list[Any]:
    """The samples of a document, or the good ones that have a section for one platform."""
    paths = sorted(judges.OFFICIAL.glob(f"test/{kind}/{'good' if section else '*'}/*.json"))
    if section:
        paths = [path for path in paths if section in judges.load(path)]
    named = [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in paths]
    return named or [pytest.param(Path(), id="absent")]


def parsed(path: Path) -> Any:
    """A sample, or an object that every schema refuses where the sample is no JSON at all."""
    try:
        return judges.load(path)
    except json.JSONDecodeError:
        return "not JSON"


@pytest.mark.parametrize("path", samples("config"))
def test_config_samples(path: Path, official: judges.Official) -> None:
    config = parsed(path)
    agree(config, official)
    verdict = judges.hot(config)
    if path.parent.name == "good":
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict[0] in [refusal.pointer for refusal in official.judge(config)]


@pytest.mark.parametrize("path", samples("features"))
def test_features_samples(path: Path, official_features: judges.Official) -> None:
    document = parsed(path)
    good = path.parent.name == "good"
    assert (official_features.judge(document) == []) == good
    assert (judges.ours(document, "features") == []) == good


def test_features_say_everything() -> None:
    """The document satisfies our schema, and no property of it is left out."""

    def resolve(schema: dict[str, Any]) -> Any:
        return judges.resolved(schema), resolve

    document = features.build()
    assert judges.ours(document, "features") == []
    for place in members(DOCUMENT["$defs"]["features"], resolve):
        value: Any = document
        for name in place.split("/")[1:]:
            assert name in value, place
            value = value[name]


def test_features_of_this_version(official_features: judges.Official) -> None:
    assert official_features.judge(features.build()) == []


@pytest.mark.parametrize("path", samples("state"))
def test_state_samples(path: Path, official_state: judges.Official) -> None:
    document = parsed(path)
    good = path.parent.name == "good"
    assert (official_state.judge(document) == []) == good
    assert (judges.ours(document, "state") == []) == good


@pytest.mark.parametrize("path", samples("config", "linux"))
def test_good_samples_for_linux(path: Path, official: judges.Official) -> None:  # noqa: ARG001
    """Whole: not by the schema alone, once they have what a container needs to be created."""
    config = judges.load(path)
    config["ociVersion"] = "1.3.0"
    config.setdefault("root", {"path": "rootfs"})
    config.setdefault("process", {"args": ["sh"], "cwd": "/"})
    config["linux"].setdefault("namespaces", [{"type": "network"}])
    assert [problem for problem in explain.explain(config) if problem.level == "error"] == []
