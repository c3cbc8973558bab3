"""Side information as a part of the rate: how many bits, added to which cells, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rdp.errors import SpecError, TableError
from rdp.selection import Problem, build_problem
from rdp.selection.index_cost import index_cost
from rdp.tables import CellTable

Make = Callable[..., CellTable]
IMAGES = ["a.png", "b.png"]
POINTS = ["webp:quality=5", "webp:quality=10"]
FULL = [[1.0, 2.0], [3.0, 4.0]]


def test_side_information_is_added_to_the_rate_of_every_cell(table: CellTable) -> None:
    """Three points: 2 bits an image; images of 768 x 512, 512 x 768 and 100 x 100 pixels."""
    plain = build_problem(table, minimize="nbytes", at_most={"bpp": 0.5}, each_at_most={"bpp": 0.8001})
    charged = build_problem(
        table, minimize="nbytes", at_most={"bpp": 0.5}, each_at_most={"bpp": 0.8001}, side_info=True
    )
    pixels = np.array([768 * 512, 512 * 768, 100 * 100])
    assert (charged.objective.values == plain.objective.values + 0.25).all()
    assert (charged.terms["bpp"].values == plain.terms["bpp"].values + (2 / pixels)[:, None]).all()
    assert (charged.image_bounds[0].values == charged.terms["bpp"].values).all()
    assert (charged.terms["psnr"].values == plain.terms["psnr"].values).all()
    assert charged.warnings == ("bpp and nbytes include side information: 2 bits an image (one of 3 points)",)
    assert plain.index_cost is None
    assert charged.index_cost is not None
    assert charged.index_cost.total_bits == 6


def test_side_information_counts_the_points_that_the_patterns_leave(table: CellTable) -> None:
    problem = build_problem(table, minimize="mse", points=["webp:*"], side_info=True)
    assert problem.index_cost is not None
    assert problem.index_cost.per_image == 1
    single = build_problem(table, minimize="mse", points=["avif:*"], side_info=True)
    assert single.index_cost is not None
    assert single.index_cost.total_bits == 0


@pytest.mark.parametrize(
    ("points", "limit", "per_image", "shared"),
    [
        (10, None, 4, 0),
        (16, None, 4, 0),
        (17, None, 5, 0),
        (10, 1, 0, 4),
        (10, 3, 2, 7),
        (10, 10, 4, 0),
        (10, 99, 4, 0),
    ],
)
def test_bits_of_the_index_are_those_of_a_fixed_length(
    points: int, limit: int | None, per_image: int, shared: int
) -> None:
    """C(10, 1) = 10 sets take 4 bits, C(10, 3) = 120 take 7."""
    cost = index_cost(points, 5, limit, np.full(5, 100.0))
    assert (cost.per_image, cost.shared) == (per_image, shared)
    # By pixels the average is the total of bits over the total of pixels.
    assert cost.added["bpp"].sum() * 100 == pytest.approx(cost.total_bits)


def test_side_information_agrees_with_that_of_a_delivery() -> None:
    from rdp.report.side_information import fixed_length

    for points in range(1, 70):
        assert index_cost(points, 1, None, None).per_image == fixed_length(points)


def test_sizes_for_side_information_come_from_bytes_and_rate_where_there_is_no_width(table_of: Make) -> None:
    columns = {"mse": FULL, "bpp": [[0.8, 1.6], [0.08, 0.801]], "nbytes": [[10, 20], [10, 100]]}
    problem = build_problem(table_of(columns, IMAGES, POINTS), minimize="mse", side_info=True)
    assert problem.index_cost is not None
    assert problem.index_cost.added["bpp"] == pytest.approx([1 / 100, 1 / 1000], rel=0.002)
    columns["bpp"] = [[0.8, 1.0], [0.08, 0.8]]
    with pytest.raises(
        TableError, match="image 'a.png' of study.csv: 8 . nbytes / bpp is not the same number of pixels"
    ):
        build_problem(table_of(columns, IMAGES, POINTS), minimize="mse", side_info=True)


def test_side_information_needs_a_rate_and_sizes(table_of: Make) -> None:
    with pytest.raises(SpecError, match="side_info adds bits to bpp and nbytes, and study.csv has neither"):
        build_problem(table_of({"mse": FULL}, IMAGES, POINTS), minimize="mse", side_info=True)
    with pytest.raises(
        SpecError, match=r"how many pixels the images have is not known from study.csv: the columns width and height"
    ):
        build_problem(table_of({"mse": FULL, "bpp": FULL}, IMAGES, POINTS), minimize="mse", side_info=True)
    bytes_alone = build_problem(table_of({"mse": FULL, "nbytes": FULL}, IMAGES, POINTS), minimize="mse", side_info=True)
    assert bytes_alone.terms["nbytes"].values.tolist() == [[1.125, 2.125], [3.125, 4.125]]


def test_arrays_are_charged_with_side_information_too() -> None:
    columns = {"mse": FULL, "bpp": FULL}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 3}, pixels=[10, 20], side_info=True)
    assert problem.constraints[0].term.values.tolist() == [[1.1, 2.1], [3.05, 4.05]]
    with pytest.raises(SpecError, match="how many pixels"):
        Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 3}, side_info=True)
