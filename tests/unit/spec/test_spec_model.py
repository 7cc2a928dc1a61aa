"""The model has every property of the schema, with its range, and loses nothing of any config."""

from __future__ import annotations

import copy
import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import judges
import pytest

from pyrunc.errors import SpecFailure
from pyrunc.spec import load, model, template
from pyrunc.spec.model.section import json_name
from pyrunc.spec.model.values import Range
from pyrunc.spec.schema_generated import DOCUMENT

FIXTURES = [
    pytest.param(path, id=f"{path.parent.name}-{path.stem}")
    for kind in ("valid", "invalid")
    for path in sorted((judges.FIXTURES / kind).glob("*.json"))
]
SCALARS = {str: "string", bool: "boolean", int: "integer"}


def described(hint: Any) -> dict[str, Any]:
    """What an annotation of the model says, in the words of the schema; sections are left open."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = [argument for argument in arguments if argument is not type(None)]
        return described(hint)
    if origin is typing.Annotated:
        limits = {"minimum": arguments[1].low, "maximum": arguments[1].high}
        assert isinstance(arguments[1], Range)
        return {
            "type": "integer",
            **{name: limit for name, limit in limits.items() if limit is not None},
        }
    if origin is typing.Literal:
        return {"type": "string", "enum": sorted(arguments)}
    if origin is list:
        return {"type": "array", "items": described(arguments[0])}
    if origin is dict:
        assert arguments[0] is str
        return {"type": "object", "additionalProperties": described(arguments[1])}
    if hint in SCALARS:
        return {"type": SCALARS[hint]}
    if hint is Any:
        return {}
    assert issubclass(hint, model.Section)
    return {"type": "object", "section": hint}


def disagreements(schema: dict[str, Any], said: dict[str, Any], place: str) -> Iterator[str]:
    schema = judges.resolved(schema)
    if not said:
        return
    if "section" in said:
        yield from class_disagreements(schema, said["section"], place)
        return
    for name in ("items", "additionalProperties"):
        if said.get(name) and name in schema:
            yield from disagreements(schema[name], said[name], f"{place}/*")
    for name in ("type", "minimum", "maximum"):
        if schema.get(name) != said.get(name):
            yield f"{place}: {name} {schema.get(name)} is {said.get(name)} in the model"
    if sorted(schema.get("enum", ())) != said.get("enum", []):
        yield f"{place}: not the words of the schema"


def class_disagreements(schema: dict[str, Any], kind: type, place: str) -> Iterator[str]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {json_name(one): one for one in attrs.fields(kind) if one.name != "extra"}
    for name in fields.keys() ^ schema["properties"].keys():
        yield f"{place}/{name}: is not on both sides"
    for name in fields.keys() & schema["properties"].keys():
        said = described(hints[fields[name].name])
        # What the converter makes is what the annotation promises.
        inner = said.get("items") or said.get("additionalProperties") or said
        assert inner.get("section") is fields[name].metadata.get("kind"), f"{place}/{name}"
        yield from disagreements(schema["properties"][name], said, f"{place}/{name}")


def test_every_property_of_the_schema() -> None:
    assert list(class_disagreements(judges.resolved(DOCUMENT), model.Spec, "")) == []


def test_everything_is_exported() -> None:
    def sections(kind: type) -> Iterator[type]:
        yield kind
        for one in attrs.fields(kind):
            if "kind" in one.metadata:
                yield from sections(one.metadata["kind"])

    assert {kind.__name__ for kind in sections(model.Spec)} | {"Bundle", "Section"} == set(
        model.__all__
    )
    assert all(getattr(model, name) for name in model.__all__)


@pytest.mark.parametrize("path", FIXTURES)
def test_fixture_keeps_everything(path: Path) -> None:
    config = judges.load(path)
    if not isinstance(config, dict):
        with pytest.raises(SpecFailure, match="must be an object"):
            model.Spec.load(path)
        return
    before = copy.deepcopy(config)
    again = model.Spec.from_dict(config).to_dict()
    assert judges.without_nulls(again) == judges.without_nulls(config)
    assert config == before


@pytest.mark.parametrize("path", FIXTURES)
def test_file_is_read_and_written(path: Path, tmp_path: Path) -> None:
    config = judges.load(path)
    if isinstance(config, dict):
        model.Spec.load(path).save(tmp_path / "config.json")
        written = json.loads((tmp_path / "config.json").read_text())
        assert judges.without_nulls(written) == judges.without_nulls(config)


@pytest.mark.parametrize("cgroup2", [False, True])
@pytest.mark.parametrize("ids", [None, (1000, 1001)])
def test_template_is_that_of_the_command(cgroup2: bool, ids: tuple[int, int] | None) -> None:
    spec = model.Spec.template(cgroup2=cgroup2, rootless_ids=ids)
    assert spec.to_dict() == template.build(cgroup2=cgroup2, rootless_ids=ids)
    assert spec.problems() == []


def test_template_is_written_as_the_command_does() -> None:
    """The order of the model is that in which runc writes, so a diff of two configs is short."""

    def names(value: Any) -> Any:
        if isinstance(value, dict):
            return [(key, names(member)) for key, member in value.items()]
        return [names(item) for item in value] if isinstance(value, list) else value

    assert names(model.Spec.template().to_dict()) == names(template.build(cgroup2=False))


def test_null_is_absent_and_the_unknown_is_kept() -> None:
    config = {
        "ociVersion": "1.3.0",
        "root": None,
        "later": {"a": [None]},
        "process": {"cwd": "/", "x": 1},
    }
    spec = model.Spec.from_dict(config)
    assert spec.root is None
    assert spec.extra == {"later": {"a": [None]}}
    assert spec.process.extra == {"x": 1}
    del config["root"]
    assert spec.to_dict() == config


def test_nothing_is_shared_with_the_document() -> None:
    config = {
        "annotations": {"a": "b"},
        "linux": {"maskedPaths": ["/a"], "resources": {"rdma": {"x": {}}}},
    }
    spec = model.Spec.from_dict(config)
    spec.annotations["c"] = "d"
    spec.linux.masked_paths.append("/b")
    spec.linux.resources.rdma["y"] = model.Rdma()
    made = spec.to_dict()
    made["linux"]["maskedPaths"].clear()
    assert spec.linux.masked_paths == ["/a", "/b"]
    assert config["annotations"] == {"a": "b"}
    assert config["linux"] == {"maskedPaths": ["/a"], "resources": {"rdma": {"x": {}}}}


def test_dict_is_taken_for_a_section() -> None:
    spec = model.Spec(root={"path": "rootfs"})
    spec.mounts = [{"destination": "/a"}, model.Mount("/b")]
    assert spec.root == model.Root("rootfs")
    assert [mount.destination for mount in spec.mounts] == ["/a", "/b"]


def test_misspelt_attribute_is_refused() -> None:
    with pytest.raises(TypeError):
        model.Spec(hostnam="x")
    with pytest.raises(AttributeError):
        model.Spec().hostnam = "x"


def test_problems_are_those_of_validate() -> None:
    spec = model.Spec.template()
    spec.linux.resources.memory = model.Memory(limit="1G")
    spec.process.cwd = None
    assert [problem.pointer for problem in spec.problems()] == [
        "/process/cwd",
        "/linux/resources/memory/limit",
    ]


def test_process_and_resources_are_documents_too(tmp_path: Path) -> None:
    model.Process(cwd="/", args=["true"]).save(tmp_path / "process.json")
    assert model.Process.load(tmp_path / "process.json").args == ["true"]


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"hostname": "a\xff"}')
    spec = model.Spec.load(path)
    assert spec.hostname == "a\udcff"
    spec.save(path)
    assert model.Spec.load(path) == spec
    assert load.parse(path.read_bytes(), "config.json") == spec.to_dict()


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"a": 1} x', b""])
def test_file_that_is_no_object(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(SpecFailure, match=str(tmp_path)):
        model.Spec.load(tmp_path / "config.json")


def test_bundle(tmp_path: Path) -> None:
    bundle = model.Bundle.create(tmp_path / "b")
    assert bundle.rootfs == tmp_path / "b/rootfs"
    assert bundle.rootfs.is_dir()
    bundle.spec.hostname = "changed"
    bundle.save()
    assert model.Bundle.open(tmp_path / "b") == bundle
    with pytest.raises(FileExistsError):
        model.Bundle.create(tmp_path / "b")
    assert model.Bundle.open(tmp_path / "b").spec.hostname == "changed"
    elsewhere = model.Spec(root=model.Root("/somewhere"))
    assert model.Bundle.create(tmp_path / "c", elsewhere).rootfs == Path("/somewhere")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["config.json"]
