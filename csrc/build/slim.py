"""Rewrite a module so that its frozen code loads faster and does the same.

It must not touch what a running program can see, except the annotations of functions.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE, MODULE = "pyrunc.shim", "constants"


def read_constants(path: Path) -> dict[str, int]:
    """Return the plain integers of the generated constants module (not its dictionaries)."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = ast.literal_eval(node.value)
            if isinstance(value, int):
                found[node.targets[0].id] = value
    return found


class Slimmer(ast.NodeTransformer):
    """Leaves out annotations (except those of classes, which records are made from) and what stands in
    `if TYPE_CHECKING:`, and puts the values of kernel constants where their names are, so that a verb
    that uses three of them does not load four hundred."""

    def __init__(self, constants: dict[str, int]) -> None:
        self.constants = constants
        self.aliases: set[str] = set()
        self.in_class = False

    def slim(self, tree: ast.Module) -> ast.Module:
        """Return the rewritten tree."""
        self.aliases = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module == PACKAGE
            for alias in node.names
            if alias.name == MODULE
        }
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        self.aliases -= {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        self.visit(tree)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for node in tree.body[:]:
            if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                node.names = [
                    alias
                    for alias in node.names
                    if (alias.asname or alias.name) not in self.aliases - used
                ]
                if not node.names:
                    tree.body.remove(node)
        return ast.fix_missing_locations(tree)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:  # noqa: N802
        """Refuse what is slow to load: marshal initialises the codec registry for a lone surrogate, which
        takes a tenth of what a verb takes."""
        if isinstance(node.value, str) and any("\ud800" <= c <= "\udfff" for c in node.value):
            raise ValueError(f"line {node.lineno}: a lone surrogate in a literal: compare ord()")
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:  # noqa: N802
        """Replace `constants.NAME` by its value."""
        self.generic_visit(node)
        if (
            isinstance(node.ctx, ast.Load)
            and isinstance(node.value, ast.Name)
            and node.value.id in self.aliases
            and node.attr in self.constants
        ):
            return ast.copy_location(ast.Constant(self.constants[node.attr]), node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:  # noqa: N802
        """Replace `from pyrunc.shim.constants import NAME` by `NAME = value`."""
        if node.module != f"{PACKAGE}.{MODULE}":
            return node
        assigned: list[ast.stmt] = [
            ast.Assign(
                [ast.Name(alias.asname or alias.name, ast.Store())],
                ast.Constant(self.constants[alias.name]),
            )
            for alias in node.names
            if alias.name in self.constants
        ]
        node.names = [alias for alias in node.names if alias.name not in self.constants]
        if node.names:
            assigned.append(node)
        return [ast.copy_location(statement, node) for statement in assigned]

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:  # noqa: N802
        """Leave out what only type checkers read."""
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802
        """Leave out the annotations of a function and of its variables."""
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for argument in (*named, arguments.vararg, arguments.kwarg):
            if argument is not None:
                argument.annotation = None
        node.returns = None
        before, self.in_class = self.in_class, False
        self.generic_visit(node)
        self.in_class = before
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:  # noqa: N802
        """Keep the annotations in the body of a class."""
        before, self.in_class = self.in_class, True
        self.generic_visit(node)
        self.in_class = before
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # noqa: N802
        """Leave out the annotation of a variable."""
        self.generic_visit(node)
        if self.in_class:
            return node
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)
