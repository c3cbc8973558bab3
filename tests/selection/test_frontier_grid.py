"""The budgets of a sweep as they are written, and the order in which a grid of them is walked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.errors import SpecError
from rdp.selection.frontiers.grid import read_sweeps, snake


def test_a_range_is_decimal_and_includes_its_end() -> None:
    (sweep,) = read_sweeps({"bpp": "0.1..0.6..0.01"}, None, auto=False)
    assert sweep.values == tuple(float(f"0.{k}") if k > 9 else float(f"0.0{k}") for k in range(10, 61))
    assert (sweep.sense, sweep.loosest) == ("at_most", 0.6)


def test_lists_and_numbers_rise_and_stand_once() -> None:
    for given_ in ("0.3|0.1|0.30|0.1..0.2..0.1", [0.3, 0.1, 0.3, 0.2], np.array([0.2, 0.1, 0.3])):
        assert read_sweeps({"bpp": given_}, None, auto=False)[0].values == (0.1, 0.2, 0.3)  # type: ignore[dict-item]
    assert read_sweeps({"bpp": 0.25}, None, auto=False)[0].values == (0.25,)
    assert read_sweeps({"bpp": "5..7"}, None, auto=False)[0].values == (5.0, 6.0, 7.0)


def test_the_sense_comes_from_the_column_unless_it_is_given() -> None:
    lower, higher = read_sweeps({"bpp": "1|2", "psnr": "30|31"}, None, auto=False)
    assert (lower.sense, higher.sense, higher.loosest) == ("at_most", "at_least", 30.0)
    assert read_sweeps({"bpp": "1|2"}, {"bpp": "at_least"}, auto=False)[0].sense == "at_least"
    with pytest.raises(SpecError, match="whether 'score' is better low or high is not known"):
        read_sweeps({"score": "1|2"}, None, auto=False)
    assert read_sweeps({"score": "1|2"}, {"score": "at_least"}, auto=False)[0].symbol == ">="


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (None, "say what to sweep"),
        ({}, "say what to sweep"),
        ("bpp", "say which budgets of 'bpp'"),
        ({"bpp": None}, "say which budgets of 'bpp'"),
        ({"bpp": ""}, "say which budgets of 'bpp'"),
        ({"bpp": []}, "has no values"),
        ({"bpp": "0.1..0.6"}, "does not reach its end in steps of 1"),
        ({"bpp": "0.1..0.6..0.2"}, "end it at 0.5 or 0.7"),
        ({"bpp": "0.6..0.1..0.1"}, "runs backwards; write 0.1..0.6"),
        ({"bpp": "0.1..0.6..0"}, "a step is above 0"),
        ({"bpp": "0.1..0.6..-0.1"}, "a step is above 0"),
        ({"bpp": "0..1..0.00001"}, "over 10000 values"),
        ({"bpp": "0.1||0.2"}, "no budget and no range"),
        ({"bpp": "a..b"}, "no budget and no range"),
        ({"bpp": "1..2..3..4"}, "no budget and no range"),
        ({"bpp": "nan"}, "no budget and no range"),
        ({"bpp": [0.1, float("inf")]}, "not a finite number"),
        ({"bpp": [True]}, "not a finite number"),
        ({"bpp": {"a": 1}}, "no range .* and no list"),
        ({"bpp": "0..1..0.001", "lpips_alex": "0..1..0.01"}, "1001 x 101 points are more than 10000"),
        ({"bpp": "1", "lpips_alex": "1", "psnr": "1"}, "at most 2 columns"),
    ],
)
def test_what_is_no_sweep_is_refused(sweep: object, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_sweeps(sweep, None, auto=False)  # type: ignore[arg-type]


def test_a_sense_of_what_is_not_swept_or_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="the sense of 'psnr' is given, and it is not swept"):
        read_sweeps({"bpp": "1|2"}, {"psnr": "at_least"}, auto=False)
    with pytest.raises(SpecError, match="'at_most' or 'at_least', not 'below'"):
        read_sweeps({"bpp": "1|2"}, {"bpp": "below"}, auto=False)  # type: ignore[dict-item]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_the_snake_visits_every_place_once_in_single_steps(counts: list[int]) -> None:
    walk = snake(counts)
    assert sorted(walk) == sorted(itertools.product(*map(range, counts)))
    for a, b in itertools.pairwise(walk):
        assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) == 1
