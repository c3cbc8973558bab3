"""From a table and words to a problem: what is used, what is left out with a count, and every refusal."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from rdp.errors import SpecError, TableError
from rdp.selection import Problem, build_problem
from rdp.tables import CellTable
from rdp.tables.table import natural_key

Make = Callable[..., CellTable]
IMAGES = ["a.png", "b.png"]
POINTS = ["webp:quality=5", "webp:quality=10"]
FULL = [[1.0, 2.0], [3.0, 4.0]]


def allowed_points(problem: Problem, image: str) -> list[str]:
    row = problem.allowed[problem.labels.index(image)]
    return [point for point, ok in zip(problem.points, row, strict=True) if ok]


def test_points_come_in_natural_order_and_images_by_name(table: CellTable) -> None:
    problem = build_problem(table, minimize="mse")
    assert problem.points == ("avif:quality=50", "webp:quality=5", "webp:quality=10")
    assert problem.images == ("a.png", "b.png", "c.png")
    assert problem.objective.values.tolist()[0] == [10.0, 90.0, 40.0]


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["q=10", "q=9", "q=0.5", "q=0.25", "p=100", "q"]
    assert sorted(names, key=natural_key) == ["p=100", "q", "q=0.25", "q=0.5", "q=9", "q=10"]


def test_the_order_of_rows_changes_nothing(table: CellTable, rng: np.random.Generator) -> None:
    shuffled = CellTable(table.data.take(pa.array(rng.permutation(len(table)))), table.source)
    first, second = (build_problem(t, minimize="mse", at_most={"bpp": 0.3}) for t in (table, shuffled))
    assert first.points == second.points
    assert (first.objective.values == second.objective.values).all()


def test_weights_by_pixels_come_from_width_and_height(table: CellTable) -> None:
    problem = build_problem(table, minimize="mse", at_most={"bpp": 0.3}, weights={"bpp": "pixels"})
    assert problem.constraints[0].term.weights.tolist() == [768 * 512, 512 * 768, 10000]
    assert problem.objective.weights.tolist() == [1, 1, 1]
    choice = np.array([0, 0, 0])
    term = problem.constraints[0].term
    assert term.average(choice) == pytest.approx((0.4 * 393216 + 0.8 * 393216 + 0.6 * 10000) / 796432, rel=1e-15)


def test_a_column_may_be_bounded_on_both_sides(table: CellTable) -> None:
    problem = build_problem(table, minimize="mse", at_most={"bpp": 0.5}, at_least={"bpp": 0.3})
    assert [(c.term.column, c.sense, c.budget) for c in problem.constraints] == [
        ("bpp", "at_least", 0.3),
        ("bpp", "at_most", 0.5),
    ]


def test_columns_without_a_direction_are_not_averaged(table: CellTable) -> None:
    problem = build_problem(table, minimize="mse", at_most={"bpp": 0.5})
    assert set(problem.columns) == {"psnr", "nbytes"}


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["webp:*"], ["webp:quality=5", "webp:quality=10"]),
        (["webp"], ["webp:quality=5", "webp:quality=10"]),
        (["!avif"], ["webp:quality=5", "webp:quality=10"]),
        (["webp:*", "!*quality=5"], ["webp:quality=10"]),
        (["!webp:*", "webp:quality=5"], ["avif:quality=50", "webp:quality=5"]),
        (["webp:quality=10", "avif:*"], ["avif:quality=50", "webp:quality=10"]),
    ],
)
def test_patterns_apply_in_order(table: CellTable, patterns: list[str], left: list[str]) -> None:
    assert list(build_problem(table, minimize="mse", points=patterns).points) == left


def test_a_pattern_without_a_point_is_refused_with_a_suggestion(table: CellTable) -> None:
    with pytest.raises(SpecError, match=r"'wepb:\*' means no point.*Did you mean 'webp'"):
        build_problem(table, minimize="mse", points=["wepb:*"])


def test_patterns_that_leave_nothing_are_refused(table: CellTable) -> None:
    with pytest.raises(SpecError, match="leave no point"):
        build_problem(table, minimize="mse", points=["webp", "!*"])


def test_fixed_and_forbidden_choices(table: CellTable) -> None:
    problem = build_problem(
        table, minimize="mse", fix={"a.png": "avif:quality=50"}, forbid=[("b*", "avif"), ("c.png", "webp:quality=5")]
    )
    assert allowed_points(problem, "a.png") == ["avif:quality=50"]
    assert allowed_points(problem, "b.png") == ["webp:quality=5", "webp:quality=10"]
    assert allowed_points(problem, "c.png") == ["avif:quality=50", "webp:quality=10"]


def test_image_equals_point_is_parted_where_the_table_knows_both_halves(table_of: Make) -> None:
    table = table_of({"mse": FULL}, ["x=1.png", "x"], ["png", "1.png=webp:quality=5"])
    problem = build_problem(table, minimize="mse", fix=["x=1.png=png"])
    assert problem.statement.fix == {"x=1.png": "png"}
    with pytest.raises(SpecError, match="can be parted in 2 ways"):
        build_problem(table_of({"mse": FULL}, ["x", "x=y"], ["y=png", "png"]), minimize="mse", fix=["x=y=png"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"fix": {"d.png": "png"}}, "fix: 'd.png' means no image"),
        ({"fix": {"*.png": "avif:quality=50"}}, r"'\*.png' is a pattern; name one image"),
        ({"fix": {"a.png": "avif:quality=51"}}, "'avif:quality=51' means no point.*Did you mean 'avif:quality=50'"),
        ({"fix": {"a.png": "webp:*"}}, "name one point for 'a.png'"),
        ({"fix": ["a.png"]}, "is not IMAGE=POINT"),
        ({"fix": ["a.png=avif:quality=51"]}, "'avif:quality=51' means no point"),
        ({"forbid": [("e.png", "webp")]}, "forbid: 'e.png' means no image"),
        ({"forbid": [("a.png", "bpg")]}, "forbid: 'bpg' means no point"),
        ({"forbid": "a.png=webp"}, "forbid must be a list"),
        ({"forbid": [("a.png",)]}, "is not an .image pattern, point pattern. pair"),
        ({"points": "webp:*"}, "points must be a list of texts"),
        ({"at_most": {"bpp": math.nan}}, "at_most bpp: nan is not a finite number"),
        ({"at_most": {"bpp": math.inf}}, "at_most bpp: inf is not a finite number"),
        ({"at_least": {"bpp": "0.25"}}, "at_least bpp: '0.25' is not a finite number"),
        ({"at_least": {"bpp": True}}, "at_least bpp: True is not a finite number"),
        ({"each_at_most": {"bpp": None}}, "each_at_most bpp: None is not"),
        ({"at_most": [("bpp", 0.25)]}, "at_most must map columns to numbers"),
        ({"weights": {"bpp": "pixel"}}, "weights bpp: 'pixel'.*Did you mean 'pixels'"),
        ({"maximize": "psnr"}, "either minimize or maximize"),
    ],
)
def test_words_that_make_no_sense_are_refused(table: CellTable, words: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_problem(table, minimize="mse", **words)


def test_something_must_be_optimised(table: CellTable) -> None:
    with pytest.raises(SpecError, match="say what to optimise"):
        build_problem(table)


@pytest.mark.parametrize("words", [{"minimize": "msee"}, {"minimize": "mse", "at_most": {"msee": 3}}])
def test_an_unknown_column_is_refused_with_a_suggestion(table: CellTable, words: dict) -> None:
    with pytest.raises(TableError, match="no column 'msee'. Did you mean 'mse'"):
        build_problem(table, **words)


@pytest.mark.parametrize(
    "words", [{"weights": {"bppp": "pixels"}}, {"cap": {"bppp": 1.0}}, {"each_at_most": {"bppp": 1}}]
)
def test_every_mention_of_a_column_is_checked(table: CellTable, words: dict) -> None:
    with pytest.raises(TableError, match="no column 'bppp'. Did you mean 'bpp'"):
        build_problem(table, minimize="mse", **words)


def test_a_text_column_is_refused(table: CellTable) -> None:
    with pytest.raises(TableError, match="'message' of study.csv holds text"):
        build_problem(table, minimize="message")


def test_cells_that_are_missing_are_left_out_and_counted(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, None], [3.0, 4.0]], "bpp": [[1.0, 2.0], [3.0, None]]}, IMAGES, POINTS)
    problem = build_problem(table, minimize="mse", at_most={"bpp": 9})
    assert allowed_points(problem, "a.png") == ["webp:quality=5"]
    assert allowed_points(problem, "b.png") == ["webp:quality=5"]
    assert len(problem.warnings) == 1
    assert "2 of 4 cells, in 2 of 2 images, are left out (1 without mse, 1 without bpp)" in problem.warnings[0]


def test_a_missing_value_of_a_column_that_is_not_used_does_not_matter(table_of: Make) -> None:
    table = table_of({"mse": FULL, "bpp": [[1.0, None], [None, None]]}, IMAGES, POINTS)
    problem = build_problem(table, minimize="mse")
    assert problem.allowed.all()
    assert problem.warnings == ()


def test_failed_cells_and_missing_rows_are_left_out_and_counted(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, None], [3.0, 4.0]]}, IMAGES, POINTS, status=["ok", "failed", "ok", "ok"])
    table = CellTable(table.data.slice(0, 3), table.source)
    problem = build_problem(table, minimize="mse")
    assert problem.allowed.tolist() == [[True, False], [True, False]]
    assert "2 of 4 cells, in 2 of 2 images, are left out (1 failed, 1 without a row)" in problem.warnings[0]


def test_an_image_without_a_usable_point_is_refused_by_name(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, 2.0], [None, 4.0]]}, IMAGES, POINTS, status=["ok", "ok", "ok", "failed"])
    with pytest.raises(TableError, match=r"image 'b.png' of study.csv has no usable point.*1 failed, 1 have no mse"):
        build_problem(table, minimize="mse")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_image_point_and_column(table_of: Make, value: float) -> None:
    table = table_of({"mse": [[1.0, 2.0], [3.0, value]]}, IMAGES, POINTS)
    with pytest.raises(TableError, match=f"mse of image 'b.png' at 'webp:quality=10' in study.csv is {value}"):
        build_problem(table, minimize="mse")


def test_a_value_that_is_not_finite_in_a_cell_that_is_not_used_does_not_matter(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, 2.0], [3.0, math.nan]]}, IMAGES, POINTS)
    problem = build_problem(table, minimize="mse", forbid=[("b.png", "*quality=10")])
    assert problem.allowed.tolist() == [[True, True], [True, False]]


def test_an_infinite_psnr_is_refused_with_the_two_ways_out(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, 0.0]], "psnr": [[48.1, math.inf]]}, ["a.png"], ["webp:quality=5", "png:level=6"])
    with pytest.raises(TableError, match=r"psnr of image 'a.png'.*--cap psnr=60.*--points '!png'"):
        build_problem(table, maximize="psnr")
    assert build_problem(table, maximize="psnr", points=["!png"]).points == ("webp:quality=5",)
    capped = build_problem(table, maximize="psnr", cap={"psnr": 60})
    assert capped.objective.values.tolist() == [[60.0, 48.1]]


def test_a_cap_also_holds_for_finite_values_that_pass_it(table_of: Make) -> None:
    table = table_of({"psnr": [[48.1, 71.0]]}, ["a.png"], POINTS)
    assert build_problem(table, maximize="psnr", cap={"psnr": 60}).objective.values.tolist() == [[48.1, 60.0]]


def test_a_bound_on_each_image_can_be_held_against_infinity(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, 0.0]], "psnr": [[48.1, math.inf]]}, ["a.png"], POINTS)
    problem = build_problem(table, minimize="mse", each_at_least={"psnr": 50})
    assert problem.allowed.tolist() == [[False, True]]


def test_times_measured_beside_other_workers_are_refused(table_of: Make) -> None:
    table = table_of({"mse": FULL, "decode_s": FULL}, IMAGES, POINTS, contended=[False, True, True, False])
    with pytest.raises(TableError, match="decode_s cannot be optimised or bounded: 2 cells of study.csv were timed"):
        build_problem(table, minimize="mse", at_most={"decode_s": 1.0})
    assert build_problem(table, minimize="mse").columns["decode_s"].values.tolist() == FULL


def test_pixel_weights_need_sizes(table_of: Make) -> None:
    with pytest.raises(SpecError, match="study.csv has no width and no height"):
        build_problem(table_of({"mse": FULL}, IMAGES, POINTS), minimize="mse", weights={"mse": "pixels"})
    sizes = {"width": [[4, 4], [None, None]], "height": [[4, 4], [4, 4]]}
    with pytest.raises(TableError, match=r"image 'b.png' of study.csv has no usable width"):
        build_problem(table_of({"mse": FULL, **sizes}, IMAGES, POINTS), minimize="mse", weights={"mse": "pixels"})
    sizes = {"width": [[4, 4], [4, 5]], "height": [[4, 4], [4, 4]]}
    with pytest.raises(TableError, match=r"image 'b.png' of study.csv has different sizes"):
        build_problem(table_of({"mse": FULL, **sizes}, IMAGES, POINTS), minimize="mse", weights={"mse": "pixels"})


def test_images_of_several_datasets_carry_their_dataset(table_of: Make) -> None:
    table = table_of({"mse": FULL}, IMAGES, POINTS)
    other = table.data.set_column(0, "dataset", pa.array(["kodak"] * 4))
    both = CellTable(pa.concat_tables([table.data, other]), "both.csv")
    problem = build_problem(both, minimize="mse", fix={"kodak/a.png": POINTS[1]})
    assert problem.labels == ("kodak/a.png", "kodak/b.png", "photos/a.png", "photos/b.png")
    assert allowed_points(problem, "kodak/a.png") == [POINTS[1]]
    assert len(allowed_points(problem, "photos/a.png")) == 2
    with pytest.raises(SpecError, match="'a.png' is in several datasets: 'kodak/a.png', 'photos/a.png'"):
        build_problem(both, minimize="mse", fix={"a.png": POINTS[1]})


def test_duplicate_keys_and_empty_tables_are_refused(table: CellTable) -> None:
    twice = CellTable(pa.concat_tables([table.data, table.data.slice(0, 1)]), "twice.csv")
    with pytest.raises(TableError, match="twice.csv has 1 key with more than one row, such as image 'a.png'"):
        build_problem(twice, minimize="mse")
    with pytest.raises(TableError, match="no rows"):
        build_problem(CellTable(table.data.slice(0, 0), "empty.csv"), minimize="mse")


def test_dictionary_encoded_keys_are_the_same_as_plain_ones(table: CellTable) -> None:
    column = table.data.column("point").dictionary_encode()
    encoded = CellTable(table.data.set_column(table.data.column_names.index("point"), "point", column), "t")
    assert (
        build_problem(encoded, minimize="mse").objective.values == build_problem(table, minimize="mse").objective.values
    ).all()


def test_problems_from_arrays_are_checked() -> None:
    good = np.ones((2, 3))
    with pytest.raises(TableError, match="there is no array 'msee'"):
        Problem.from_arrays({"mse": good}, minimize="msee")
    with pytest.raises(TableError, match=r"same shape.*bpp \(3, 2\)"):
        Problem.from_arrays({"mse": good, "bpp": good.T}, minimize="mse")
    with pytest.raises(TableError, match="'image 1' at 'point 2' is nan"):
        Problem.from_arrays({"mse": [[1, 1, 1], [1, 1, math.nan]]}, minimize="mse")
    with pytest.raises(TableError, match="no point is allowed for 'image 1'"):
        Problem.from_arrays({"mse": good}, minimize="mse", allowed=[[True] * 3, [False] * 3])
    with pytest.raises(TableError, match="booleans of shape"):
        Problem.from_arrays({"mse": good}, minimize="mse", allowed=good)
    with pytest.raises(SpecError, match="need the argument pixels"):
        Problem.from_arrays({"mse": good}, minimize="mse", weights={"mse": "pixels"})
    with pytest.raises(TableError, match="2 positive finite numbers"):
        Problem.from_arrays({"mse": good}, minimize="mse", weights={"mse": "pixels"}, pixels=[1, 0])
    with pytest.raises(TableError, match="2 different image names"):
        Problem.from_arrays({"mse": good}, minimize="mse", images=["a", "a"])


def test_a_limit_on_the_points_reaches_the_problem(table: CellTable) -> None:
    problem = build_problem(table, minimize="mse", max_points=2)
    assert problem.max_points == 2
    assert problem.statement.to_dict() == {"minimize": "mse", "max_points": 2}
    assert build_problem(table, minimize="mse").max_points is None
