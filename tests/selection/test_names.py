"""Names that are made on demand are the tuple of them in every respect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.selection.names import Numbered

lengths = st.integers(0, 12)
places = st.none() | st.integers(-15, 15)


def as_tuple(length: int) -> tuple[str, ...]:
    return tuple(f"image {number}" for number in range(length))


@given(lengths, places, places, st.none() | st.integers(-4, 4).filter(bool))
def test_slices_are_those_of_the_tuple(length: int, start: int | None, stop: int | None, step: int | None) -> None:
    assert Numbered("image", length)[start:stop:step] == as_tuple(length)[start:stop:step]


@given(lengths, st.integers(-15, 15))
def test_one_name_is_that_of_the_tuple_or_out_of_range(length: int, place: int) -> None:
    names, expected = Numbered("image", length), as_tuple(length)
    if -length <= place < length:
        assert names[place] == expected[place]
        assert names[np.int64(place)] == expected[place]
    else:
        with pytest.raises(IndexError):
            names[place]


@given(lengths)
def test_everything_that_a_tuple_does_is_the_same(length: int) -> None:
    names, expected = Numbered("image", length), as_tuple(length)
    assert len(names) == length
    assert tuple(names) == expected
    assert list(reversed(names)) == list(reversed(expected))
    assert names == expected
    assert expected == names
    assert names == list(expected)
    assert hash(names) == hash(expected)
    assert {names: 1}[expected] == 1
    assert ("image 3" in names) == (length > 3)
    assert "point 0" not in names
    assert [names.index(name) for name in expected] == list(range(length))


def test_other_names_are_not_equal() -> None:
    names = Numbered("image", 3)
    assert names == Numbered("image", 3)
    assert names != Numbered("image", 2)
    assert names != Numbered("point", 3)
    assert names != as_tuple(2)
    assert names != ("image 0", "image 1", "image 3")
    assert names != "abc"
    assert names != 3
    assert Numbered("a", 0) == ()
    assert repr(names) == "Numbered('image', 3)"


def test_names_without_number_are_equal_whatever_their_kind_as_empty_tuples_are() -> None:
    assert hash(Numbered("a", 0)) == hash(())
    assert Numbered("a", 0) == Numbered("b", 0)
