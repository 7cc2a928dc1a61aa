"""Our record decorator behaves as attrs.frozen does, on every class it is used for and more."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.record import record


def make(decorate, **defaults):
    body = {"__annotations__": {"a": "int", "b": "str", "c": "object"}, "__module__": __name__}
    body.update(defaults)
    return decorate(type("Sample", (), body))


CASES = [make(record, b="x", c=None), make(record)]
ORACLES = [make(attrs.frozen, b="x", c=None), make(attrs.frozen)]


def outcome(cls, args, kwargs):
    try:
        made = cls(*args, **kwargs)
    except TypeError:
        return "TypeError"
    return [getattr(made, name) for name in "abc"]


@given(
    st.lists(st.integers() | st.text(), max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(), max_size=4),
    st.integers(0, 1),
)
def test_construction_agrees(args, kwargs, which):
    assert outcome(CASES[which], args, kwargs) == outcome(ORACLES[which], args, kwargs)


@given(st.tuples(*[st.integers(0, 2)] * 3), st.tuples(*[st.integers(0, 2)] * 3))
def test_equality_and_hash_agree(first, second):
    for cls in (CASES[1], ORACLES[1]):
        one, other = cls(*first), cls(*second)
        assert (one == other) == (first == second)
        assert one != first
        if first == second:
            assert hash(one) == hash(other)


@pytest.mark.parametrize("cls", [CASES[1], ORACLES[1]], ids=["record", "attrs"])
def test_is_frozen_and_slotted(cls):
    made = cls(1, 2, 3)
    with pytest.raises(AttributeError):
        made.a = 5
    with pytest.raises(AttributeError):
        made.unknown = 5
    with pytest.raises(AttributeError):
        del made.a
    assert not hasattr(made, "__dict__")
    assert repr(made) == "Sample(a=1, b=2, c=3)"


@pytest.mark.parametrize("cls", [CASES[1], ORACLES[1]], ids=["record", "attrs"])
def test_matches_by_position(cls):
    match cls(1, 2, 3):
        case cls(x, y, z):
            assert (x, y, z) == (1, 2, 3)
