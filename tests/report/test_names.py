"""Short names of points, the lines of a figure, and what a figure shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.report.curves import lower_hull
from rdp.report.names import curves, parse_name, shorten


def test_keys_that_are_the_same_at_every_point_of_a_family_are_left_out() -> None:
    points = ["webp:quality=5,method=4", "webp:quality=9,method=4", "avif:quality=5,speed=6", "avif:quality=5,speed=8"]
    names = shorten(points)
    assert [names[p] for p in points] == ["webp:quality=5", "webp:quality=9", "avif:speed=6", "avif:speed=8"]
    assert names.common == {"webp": "method=4", "avif": "quality=5"}


def test_a_lone_point_keeps_its_first_key() -> None:
    assert shorten(["webp:quality=5,method=4"])["webp:quality=5,method=4"] == "webp:quality=5"
    assert shorten(["png:level=9"])["png:level=9"] == "png"


def test_the_tool_and_the_weights_of_a_codec_stay_in_its_name() -> None:
    points = ["external:tool=bpg,qp=30", "external:tool=bpg,qp=35"]
    assert [shorten(points)[p] for p in points] == points


def test_a_quoted_value_with_a_comma_is_one_value() -> None:
    assert parse_name('external:tool="a,b",qp=3').keys == {"tool": '"a,b"', "qp": "3"}


@given(st.lists(st.text(alphabet='ab:=,|" 1-_', min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
def test_any_names_stay_distinct_and_each_lies_on_one_line(names: list[str]) -> None:
    short = shorten(names)
    assert len({short[name] for name in names}) == len(names)
    on_lines = [point for curve in curves(names) for point in curve.points]
    assert sorted(on_lines) == sorted(names)


def test_lines_run_along_the_quality_and_part_by_the_other_keys() -> None:
    points = [f"avif:quality={q},speed={s}" for q in (10, 9, 40) for s in (4, 6)]
    lines = curves(points)
    assert [line.label for line in lines] == ["avif (speed=4)", "avif (speed=6)"]
    assert lines[0].points == ("avif:quality=9,speed=4", "avif:quality=10,speed=4", "avif:quality=40,speed=4")


def test_a_users_own_names_are_lines_by_what_stands_before_the_number() -> None:
    lines = curves(["BPG 38", "BPG 9", "HIFIC-lo", "HIFIC-mi"])
    assert [(line.label, line.points, line.ordered) for line in lines] == [
        ("BPG", ("BPG 9", "BPG 38"), True),
        ("HIFIC", ("HIFIC-lo", "HIFIC-mi"), False),
    ]


@pytest.mark.parametrize("seed", range(30))
def test_no_mixture_of_points_lies_below_the_hull(seed: int) -> None:
    rng = np.random.default_rng(seed)
    xs, ys = rng.uniform(0.1, 1, 12), rng.uniform(1, 9, 12)
    hull = lower_hull(xs, ys)
    assert np.all(np.diff(xs[hull]) > 0)
    assert np.all(np.diff(ys[hull]) < 0)
    shares = rng.dirichlet(np.full(12, 0.3), size=200)
    mixed_x, mixed_y = shares @ xs, shares @ ys
    least = np.interp(mixed_x, xs[hull], ys[hull])
    assert np.all(mixed_y >= least - 1e-12)
