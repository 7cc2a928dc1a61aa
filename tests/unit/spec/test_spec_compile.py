"""The compiler of the hot check: its output is current, bare, and it refuses what it cannot say."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import judges
import pytest

from pyrunc.spec import check_generated, schema_generated


def compiler() -> ModuleType:
    path = judges.FIXTURES / "compile_check.py"
    spec = importlib.util.spec_from_file_location("compile_check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compile_check"] = module
    spec.loader.exec_module(module)
    return module


COMPILER = compiler()
SCHEMA = judges.FIXTURES / "schema"


def test_generated_modules_are_current(tmp_path: Path) -> None:
    assert COMPILER.main([str(SCHEMA), str(tmp_path)]) == 0
    for module in (check_generated, schema_generated):
        path = Path(str(module.__file__))
        assert (tmp_path / path.name).read_text() == path.read_text(), "run `make generated`"


def test_check_needs_builtins_only() -> None:
    tree = ast.parse(Path(str(check_generated.__file__)).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_schema_is_a_schema() -> None:
    for path in SCHEMA.glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(judges.load(path))
    jsonschema.Draft202012Validator.check_schema(schema_generated.DOCUMENT)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"ociVersion": {"type": "number"}}},
        {"type": "object", "properties": {"ociVersion": {"type": ["string", "null"]}}},
        {"type": "object", "properties": {"ociVersion": {"type": "string", "format": "uri"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^new$"}}},
        {"type": "object", "properties": {"a": {"type": "array", "minItems": 2}}},
        {"type": "object", "required": ["undescribed"]},
        {"type": "object", "patternProperties": {"": {"type": "string"}}},
        {"allOf": [{"type": "object"}]},
    ],
)
def test_unknown_schema_is_an_error_of_the_build(schema: Any) -> None:
    plain = {"type": "object"}
    document = {"$defs": {"config": schema, "process": plain, "resources": plain}}
    with pytest.raises(COMPILER.CompileError):
        COMPILER.Compiler(document).source()


def test_recursion_is_an_error_of_the_build() -> None:
    inner = {"type": "object", "properties": {"a": {"$ref": "#/$defs/config"}}}
    document = {"$defs": {"config": inner, "process": {"type": "object"}, "resources": inner}}
    with pytest.raises(COMPILER.CompileError, match="contains itself"):
        COMPILER.Compiler(document).source()
