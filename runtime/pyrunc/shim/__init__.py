"""The only package that sees cffi: what pyrunc asks of C.

It must not know what a container is.
"""

from __future__ import annotations

from pyrunc.shim.interpreter import initialize_main
from pyrunc.shim.jsonload import JsonError, json_loads

__all__ = ["JsonError", "initialize_main", "json_loads"]
