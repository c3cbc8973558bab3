"""What the containers of features and projections keep, and what they refuse by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rdp.analysis.sets.cells import FeatureCells, ProjectionCells, feature_cells, projection_cells
from rdp.analysis.sets.shares import checked_choice, checked_shares, shares_of
from rdp.errors import MetricError

Given = tuple[dict[str, Any], dict[tuple[str, str], Any]]


def given() -> Given:
    rng = np.random.default_rng(3)
    reference = {name: rng.normal(size=(count, 6)).astype(np.float32) for name, count in (("a", 2), ("b", 3))}
    cells = {(name, point): reference[name] + 1 for name in reference for point in ("lo", "hi")}
    return reference, cells


def test_features_are_kept_as_given_and_joined_in_the_order_of_images() -> None:
    reference, cells = given()
    found = feature_cells(reference, cells, ["hi", "lo"])
    assert found.images == ("a", "b") and found.points == ("hi", "lo")
    assert found.patches == 5 and found.dimensions == 6 and found.counts.tolist() == [2, 3]
    assert found.cells[1][0] is cells["b", "hi"]
    np.testing.assert_array_equal(found.originals(), np.concatenate([reference["a"], reference["b"]]))
    np.testing.assert_array_equal(found.mixture(np.array([1, 0])), np.concatenate([cells["a", "lo"], cells["b", "hi"]]))
    assert found.nbytes == sum(a.nbytes for a in (*reference.values(), *cells.values()))


def test_other_numbers_become_float32_and_points_not_asked_for_are_not_looked_at() -> None:
    reference, cells = given()
    cells["a", "broken"] = np.zeros((0, 0))
    reference["a"] = reference["a"].astype(np.float64)
    found = feature_cells(reference, cells, ["lo"])
    assert found.reference[0].dtype == np.float32 and len(found.cells[0]) == 1


def with_cell(value: Any) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        given[1]["b", "hi"] = value

    return change


def without_cell(given: Given) -> None:
    del given[1]["b", "lo"], given[1]["b", "hi"]


def with_empty_image(given: Given) -> None:
    given[0]["b"] = np.zeros((0, 6), np.float32)


def with_stranger(given: Given) -> None:
    given[1]["c", "hi"] = np.zeros((2, 6), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_cell, r"2 of 4 cells have no features; the first is image 'b' at point 'lo'"),
        (with_cell(np.zeros((2, 6))), r"image 'b' at point 'hi' has 2 patches where its original has 3"),
        (with_cell(np.zeros((3, 5))), r"image 'b' at point 'hi' has features of 5 dimensions .* has 6"),
        (with_cell(np.full((3, 6), np.nan)), r"image 'b' at point 'hi' has 18 of 18 numbers that are not finite"),
        (with_cell(np.full((3, 6), 1e39)), r"image 'b' at point 'hi' has 18 of 18 .* not finite in float32"),
        (with_cell(np.zeros((3, 6, 1))), r"image 'b' at point 'hi' has float64 of shape \(3, 6, 1\)"),
        (with_cell(np.full((3, 6), "x")), r"image 'b' at point 'hi' has <U1"),
        (with_empty_image, r"the original 'b' has no patch"),
        (with_stranger, r"image 'c' has features at points, but its original has none"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(change: Callable[[Given], None], message: str) -> None:
    made = given()
    change(made)
    with pytest.raises(MetricError, match=message):
        feature_cells(*made, ["lo", "hi"])


@pytest.mark.parametrize(("reference", "points"), [({}, ["lo"]), (given()[0], []), (given()[0], ["lo", "lo"])])
def test_no_images_no_points_and_points_twice_are_refused(reference: dict[str, Any], points: list[str]) -> None:
    with pytest.raises(MetricError, match="make no set|stand twice"):
        feature_cells(reference, given()[1] if reference else {}, points)


def test_projections_must_be_sorted_and_of_one_shape() -> None:
    rows = np.sort(np.random.default_rng(0).normal(size=(2, 4, 5)), axis=2).astype(np.float32)
    found = projection_cells({"a": rows}, {("a", "p"): rows}, ["p"])
    assert isinstance(found, ProjectionCells) and found.shape == (2, 4, 5) and found.nbytes == 2 * rows.nbytes
    with pytest.raises(MetricError, match=r"image 'a' at point 'p' has projections that are not sorted"):
        projection_cells({"a": rows}, {("a", "p"): rows[..., ::-1]}, ["p"])
    with pytest.raises(MetricError, match=r"image 'a' at point 'p' has projections of shape \(2, 4, 4\)"):
        projection_cells({"a": rows}, {("a", "p"): rows[..., :4]}, ["p"])
    with pytest.raises(MetricError, match="the original 'a' has no patch"):
        projection_cells({"a": rows[..., :0]}, {("a", "p"): rows}, ["p"])


def test_a_mixture_of_a_choice_that_is_none_is_refused(make_features: Callable[..., FeatureCells]) -> None:
    cells = make_features()
    for choice in (np.array([0, 1, 2]), np.array([0, 1, 2, 3]), np.array([0, 1, 2, -1]), np.zeros(4)):
        with pytest.raises(MetricError, match="choice is one whole number|there are points 0 to 2"):
            cells.mixture(choice)


def test_shares_are_put_right_by_rounding_and_refused_beyond() -> None:
    off = np.array([[0.25, 0.75 + 3e-8], [1.0, -2e-10]])
    right = checked_shares(off, 2, 2)
    np.testing.assert_allclose(right.sum(axis=1), 1, rtol=0, atol=1e-15)
    assert right.min() == 0
    np.testing.assert_array_equal(shares_of(checked_choice(np.array([1, 0]), 2, 2), 2), [[0, 1], [1, 0]])
    for wrong in ([[0.5, 0.6], [1, 0]], [[1, 0], [1.1, -0.1]], [[1, 0], [np.nan, 1]], [[1, 0]]):
        with pytest.raises(MetricError, match="shares"):
            checked_shares(np.array(wrong), 2, 2)
