"""The problem of some images: cells, weights, names and fixed points follow."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.errors import SpecError
from rdp.selection import Problem, build_problem, solve_problem
from rdp.selection.sampling.subset import fixed_images, kept_constraints, take
from rdp.tables import CellTable


def draw(seed: Any, images: int) -> dict[str, np.ndarray]:
    """Images from a distribution that is known: four points, of rising rate and falling error."""
    rng = np.random.default_rng(seed)
    hard = np.exp(rng.normal(0, 0.5, (images, 1)))
    level = np.array([[0.1, 0.25, 0.5, 1.0]])
    bpp = level * hard**0.8 * np.exp(rng.normal(0, 0.05, (images, 4)))
    mse = 40 * hard * level ** -rng.uniform(0.6, 1.2, (images, 1)) * np.exp(rng.normal(0, 0.05, (images, 4)))
    return {"bpp": bpp, "mse": mse, "psnr": 10 * np.log10(255**2 / mse)}


def stated(arrays: dict[str, np.ndarray], **words: Any) -> Problem:
    given = {"minimize": "mse", "at_most": {"bpp": 0.4}} | words
    return Problem.from_arrays(arrays, **given)


def test_every_field_of_a_problem_is_known_to_be_of_images_or_not() -> None:
    """A new field must be looked at: `take` cuts what has one entry an image."""
    of_images = {"datasets", "images", "present", "allowed", "objective", "constraints", "image_bounds", "columns"}
    of_images |= {"statement", "choosable", "naming"}
    of_all = {"points", "goal", "source", "warnings", "max_points", "described"}
    assert {one.name for one in fields(Problem)} == of_images | of_all


def test_a_part_has_the_cells_weights_and_bounds_of_its_images(table: CellTable) -> None:
    whole = build_problem(
        table,
        minimize="mse",
        at_most={"bpp": 0.4},
        weights={"bpp": "pixels"},
        each_at_most={"mse": 100},
        fix={"a.png": "webp:quality=5"},
        forbid=[("c.png", "avif:quality=50")],
        group_at_most={"bpp": 0.9},
    )
    part = take(whole, np.array([2, 0, 2, 0, 2]))
    assert part.images == ("c.png", "a.png", "c.png (2)", "a.png (2)", "c.png (3)")
    assert part.datasets == ("photos",) * 5
    rows = [2, 0, 2, 0, 2]
    for name, term in whole.terms.items():
        assert np.array_equal(part.terms[name].values, term.values[rows], equal_nan=True)
        assert np.array_equal(part.terms[name].weights, term.weights[rows])
    assert np.array_equal(part.allowed, whole.allowed[rows])
    assert whole.choosable is not None and part.choosable is not None
    assert np.array_equal(part.choosable, whole.choosable[rows])
    assert np.array_equal(part.image_bounds[0].values, whole.image_bounds[0].values[rows])
    assert part.statement.fix == {"a.png": "webp:quality=5", "a.png (2)": "webp:quality=5"}
    assert fixed_images(part).tolist() == [False, True, False, True, False]
    assert solve_problem(part).chosen["a.png (2)"] == "webp:quality=5"


def test_the_problem_of_all_images_is_the_problem(table: CellTable) -> None:
    whole = build_problem(table, minimize="mse", at_most={"bpp": 0.3})
    part = take(whole, np.arange(3))
    assert part.images == whole.images
    assert (
        solve_problem(part).to_dict()["problem"]["fingerprint"]
        == solve_problem(whole).to_dict()["problem"]["fingerprint"]
    )


def test_a_copy_takes_a_name_that_no_image_has() -> None:
    arrays = {"mse": np.ones((3, 2))}
    whole = Problem.from_arrays(arrays, minimize="mse", images=["a", "a (2)", "b"])
    assert take(whole, np.array([0, 0, 1, 1, 0])).images == ("a", "a (3)", "a (2)", "a (2) (2)", "a (4)")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_names_of_a_part_are_different(rows: list[int]) -> None:
    whole = Problem.from_arrays({"mse": np.ones((5, 2))}, minimize="mse", images=["a", "a (2)", "a (3)", "b", "b (2)"])
    names = take(whole, np.array(rows)).images
    assert len(set(names)) == len(rows)
    assert all(name.startswith(whole.images[k]) for name, k in zip(names, rows, strict=True))


def test_labels_of_fixed_images_follow_when_a_part_has_one_dataset() -> None:
    whole = replace(
        Problem.from_arrays({"mse": np.array([[1.0, 2.0]] * 3)}, minimize="mse", images=["x", "y", "z"]),
        datasets=("d", "d", "e"),
    )
    whole = replace(whole, statement=replace(whole.statement, fix={"d/y": "point 1"}))
    assert take(whole, np.array([0, 1, 1])).statement.fix == {"y": "point 1", "y (2)": "point 1"}
    assert take(whole, np.array([0, 2])).statement.fix == {}


def test_a_group_without_images_bounds_nothing() -> None:
    whole = stated(draw(0, 4), group_at_most={"bpp": 0.5}, groups=["p", "p", "q", "q"])
    part = take(whole, np.array([0, 1, 1]))
    assert [constraint.name for constraint in part.constraints] == ["bpp <= 0.4", "bpp <= 0.5 in 'p'"]
    assert kept_constraints(whole, np.array([0, 1, 1])) == [0, 1]


@pytest.mark.parametrize("rows", [[], [3], [-1], [[0]], [0.5]])
def test_numbers_that_are_no_images_are_refused(rows: list[Any]) -> None:
    with pytest.raises(SpecError, match="images must be"):
        take(stated(draw(0, 3)), np.array(rows))
