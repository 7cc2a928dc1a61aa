"""Decides what a record of the hot path is: frozen, slotted, compared by value.

It must not grow options: what needs more than this belongs to attrs, on the cold path.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_options):
        """Nothing at run time: PEP 681 speaks to type checkers."""
        return lambda function: function


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make `cls`, whose body only annotates (and may default) its fields, a frozen slotted class.

    The syntax and the behaviour are those of attrs.frozen without options: positional and keyword
    arguments in the order of the annotations, TypeError for a missing, double or unknown one,
    AttributeError on assignment, equality and hash by value among records of the same class.
    """
    body = dict(cls.__dict__)
    names = tuple(body.get("__annotations__", ()))
    defaults = {name: body.pop(name) for name in names if name in body}
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    body.update(
        __slots__=names,
        __match_args__=names,
        _defaults=defaults,
        __init__=_initialise,
        __setattr__=_refuse_set,
        __delattr__=_refuse_delete,
        __eq__=_equal,
        __hash__=_hash,
        __repr__=_repr,
    )
    made: type[T] = type(cls.__name__, cls.__bases__, body)
    return made


_set = object.__setattr__


def _initialise(self: Any, *values: Any, **named: Any) -> None:
    names = self.__slots__
    if len(values) > len(names):
        raise TypeError(f"{type(self).__name__} takes {len(names)} fields, got {len(values)}")
    for name, value in zip(names, values, strict=False):
        if name in named:
            raise TypeError(f"{type(self).__name__} got {name} twice")
        _set(self, name, value)
    defaults = self._defaults
    for name in names[len(values) :]:
        if name in named:
            _set(self, name, named.pop(name))
        elif name in defaults:
            _set(self, name, defaults[name])
        else:
            raise TypeError(f"{type(self).__name__} lacks {name}")
    if named:
        raise TypeError(f"{type(self).__name__} has no field {sorted(named)[0]}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in self.__slots__)


def _refuse_set(self: Any, name: str, _value: object) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: {name}")


def _refuse_delete(self: Any, name: str) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: {name}")


def _equal(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({fields})"
