"""Read JSON through the shim.

It must not know what the document means.
"""

from __future__ import annotations

import marshal

from _pyrunc_shim import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_LIMIT = 16 << 20


class JsonError(ValueError):
    """A document that is not the JSON we accept.

    `line` and `column` count from 1 (column in characters), `position` is in bytes from 0.
    """

    def __init__(self, problem: str, line: int, column: int, position: int) -> None:
        super().__init__(f"line {line} column {column}: {problem}")
        self.problem = problem
        self.line = line
        self.column = column
        self.position = position


def json_loads(data: bytes, limit: int = DEFAULT_LIMIT) -> Any:
    """Return the objects that a JSON text (RFC 8259) means.

    Stricter than the json module: UTF-8 only, no duplicate keys, no NaN, no NUL character, at most
    100 levels, at most `limit` bytes, integers of at most 64 bits. A lone surrogate is refused
    unless it stands for a byte (PEP 383), as jsontext.dumps writes it.
    Raises JsonError with the place of the problem.
    """
    if len(data) > limit:
        raise JsonError(f"document larger than {limit} bytes", 1, 1, 0)
    result = ffi.new("struct shim_json *")
    status = lib.shim_json_load(ffi.from_buffer(data), len(data), result)
    if status == 0:
        try:
            return marshal.loads(ffi.buffer(result.data, result.size))
        finally:
            lib.shim_json_free(result)
    if result.error == ffi.NULL:
        raise MemoryError
    problem = ffi.string(result.error).decode()
    raise JsonError(problem, result.line, result.column, result.position)
