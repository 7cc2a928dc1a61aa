"""The hot check, jsonschema with our schema and jsonschema with the official one never disagree.

The differences that are meant stand, with their reasons, in judges.LENIENT and judges.STRICT.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judges
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrunc import features
from pyrunc.spec import check_generated, explain, supported
from pyrunc.spec.schema_generated import DOCUMENT

# Small enough to be judged twice by jsonschema in a few milliseconds.
BASES = [
    judges.load(path)
    for kind in ("valid", "unsupported")
    for path in sorted((judges.FIXTURES / kind).glob("*.json"))
    if path.stat().st_size < 4000
]
EDGES = [
    *(-1, 0, 1, 6, 512, 2**16, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1),
    *(True, False, None, 0.5, 1.0, "", "\n", "/", "a", "0-3", "64KB", "MB:0=1", "RLIMIT_CPU"),
    *([], {}, [[]], [{}], [""], [0], [None], {"": 0}, {"a": "b"}, {"a": {}}, "rslave", "\u00e9"),
]


def _collect(node: Any, names: set[str], words: set[str]) -> None:
    if isinstance(node, dict):
        properties = node.get("properties")
        names.update(properties if isinstance(properties, dict) else ())
        listed = node.get("enum")
        words.update(listed if isinstance(listed, list) else ())
        for member in node.values():
            _collect(member, names, words)


NAMES: set[str] = set()
WORDS: set[str] = set()
_collect(DOCUMENT, NAMES, WORDS)

keys = st.one_of(st.sampled_from(sorted(NAMES)), st.text(max_size=3))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
values = st.one_of(st.sampled_from(EDGES), st.sampled_from(sorted(WORDS)), anything)


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every member of a document as (container, key)."""
    found: list[tuple[Any, Any]] = []
    members = node.items() if isinstance(node, dict) else enumerate(node)
    for key, member in members:
        found.append((node, key))
        if isinstance(member, dict | list):
            found += _places(member)
    return found


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    config = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(min_value=1, max_value=3))):
        places = _places(config)
        if not places:
            break
        container, key = places[draw(st.integers(min_value=0, max_value=len(places) - 1))]
        action = draw(st.sampled_from(("replace", "delete", "insert")))
        if action == "delete":
            del container[key]
        elif action == "replace":
            container[key] = copy.deepcopy(draw(values))
        elif isinstance(container, dict):
            container[draw(keys)] = copy.deepcopy(draw(values))
        else:
            container.insert(key, copy.deepcopy(draw(values)))
    return config


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


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        node: Any = DOCUMENT
        for token in schema["$ref"].removeprefix("#/").split("/"):
            node = node[token]
        schema = node
    return schema


def least(schema: dict[str, Any]) -> Any:
    """The smallest value that a schema takes."""
    schema = resolved(schema)
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
    schema = resolved(schema)
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


def test_every_property(official: judges.Official) -> None:
    def resolve_ours(schema: dict[str, Any]) -> Any:
        return resolved(schema), resolve_ours

    theirs = set(members(official.schema, official.follow("config-schema.json")))
    mine = set(members(DOCUMENT, resolve_ours))
    assert mine == theirs
    assert len(mine) > 250


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
    errors = [problem for problem in explain.explain(config) if problem.level == "error"]
    assert [problem for problem in errors if supported.MESSAGE not in problem.message] == []
