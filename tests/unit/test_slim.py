"""What the frozen code leaves out, and that it does the same."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "csrc/build"))
import pytest

from slim import Slimmer, read_constants

CONSTANTS = {"MS_BIND": 4096, "MS_REC": 16384}


def slimmed(source: str) -> str:
    tree = ast.parse(textwrap.dedent(source))
    return ast.unparse(Slimmer(CONSTANTS).slim(tree))


def executed(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "slimmed"}
    exec(compile(source, "<slimmed>", "exec", dont_inherit=True), namespace)
    return namespace


def test_constants_of_an_alias_become_values_and_the_import_goes() -> None:
    source = """
    from pyrunc.shim import constants as C, other
    def f():
        return C.MS_BIND | C.MS_REC, other
    """
    text = slimmed(source)
    assert "4096 | 16384" in text
    assert "constants" not in text
    assert "import other" in text


def test_a_dictionary_keeps_the_import() -> None:
    text = slimmed("from pyrunc.shim import constants\nx = constants.SIGNALS, constants.MS_BIND\n")
    assert text == "from pyrunc.shim import constants\nx = (constants.SIGNALS, 4096)"


def test_an_alias_that_is_assigned_to_is_left_alone() -> None:
    text = slimmed("from pyrunc.shim import constants as C\nC = 1\nx = C.MS_BIND\n")
    assert "C.MS_BIND" in text


def test_imported_constants_become_assignments() -> None:
    text = slimmed("from pyrunc.shim.constants import MS_BIND as BIND, SIGNALS, MS_REC\n")
    assert text == "BIND = 4096\nMS_REC = 16384\nfrom pyrunc.shim.constants import SIGNALS"


def test_annotations_go_except_in_classes() -> None:
    source = """
    TYPE_CHECKING = False
    if TYPE_CHECKING:
        from typing import Missing
    limit: int = 3
    class Point:
        x: int
        y: int = 2
        def moved(self, by: Missing, *more: Missing, key: Missing = 1, **rest: Missing) -> Missing:
            total: Missing = by + key
            later: Missing
            later = total
            return later
    """
    namespace = executed(slimmed(source))
    assert namespace["limit"] == 3
    assert namespace["Point"].__annotations__ == {"x": int, "y": int}
    assert namespace["Point"].moved.__annotations__ == {}
    assert namespace["Point"]().moved(4) == 5
    assert "Missing" not in namespace


def test_else_of_type_checking_stays() -> None:
    assert executed(slimmed("if TYPE_CHECKING:\n    x = 1\nelse:\n    x = 2\n"))["x"] == 2


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2: a lone surrogate"):
        slimmed("x = 'é'\ny = '\\ud800'\n")


def test_constants_are_read_without_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "constants.py"
    path.write_text('"""Doc."""\n\nA = 1\nB = -2\n\nTABLE = {\n    "A": 1,\n}\n')
    assert read_constants(path) == {"A": 1, "B": -2}
