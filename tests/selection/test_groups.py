"""Averages of groups of images: against exhaustive search, from columns and maps, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rdp.errors import SpecError, TableError
from rdp.selection import Problem, Selection, Status, build_problem, load_selection
from rdp.selection.fingerprint import fingerprint
from rdp.selection.solving import solve_problem
from rdp.selection.statement import Statement
from rdp.tables import CellTable

Make = Callable[..., CellTable]
Exhaustive = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]


def with_column(table: CellTable, name: str, by_image: dict[str, Any], kind: pa.DataType | None = None) -> CellTable:
    values = [by_image[image] for image in table.data.column("image").to_pylist()]
    return CellTable(table.data.append_column(name, pa.array(values, kind)), table.source)


@pytest.mark.parametrize("batch", range(6))
def test_selections_with_budgets_for_groups_agree_with_exhaustive_search(batch: int, exhaustive: Exhaustive) -> None:
    feasible = 0
    for seed in range(20 * batch, 20 * batch + 20):
        rng = np.random.default_rng([5, seed])
        images, points = int(rng.integers(2, 6)), int(rng.integers(2, 5))
        groups = [f"g{k}" for k in rng.integers(0, 3, images)]
        a, cost = rng.integers(0, 5, (images, points)).astype(float), rng.normal(0, 1, (images, points))
        problem = Problem.from_arrays(
            {"cost": cost, "a": a, "b": rng.random((images, points))},
            minimize="cost",
            group_at_most={"a": float(rng.uniform(0.5, 3))},
            group_at_least={"b": 0.3},
            at_most={"a": 2.0},
            weights={"a": "pixels"},
            pixels=rng.uniform(1, 9, images),
            groups=groups,
        )
        expected, _ = exhaustive(problem)
        selection = solve_problem(problem)
        if expected is None:
            assert selection.status is Status.INFEASIBLE, seed
            continue
        feasible += 1
        assert selection.status is Status.OPTIMAL
        assert selection.objective == pytest.approx(expected, rel=1e-9, abs=1e-12)
        for group in set(groups):
            rows = [k for k, name in enumerate(groups) if name == group]
            picked = problem.terms["b"].picked(selection.required_choice)[rows]
            assert picked.mean() >= 0.3 - 1e-9
    assert feasible > 5


def test_every_budget_becomes_one_constraint_a_group_in_natural_order(table: CellTable) -> None:
    grouped = with_column(table, "scene", {"a.png": "take 10", "b.png": "take 9", "c.png": "take 10"})
    problem = build_problem(
        grouped,
        minimize="mse",
        at_most={"bpp": 0.6},
        group_at_most={"bpp": 0.5},
        group_at_least={"psnr": 30},
        groups="scene",
    )
    assert [c.name for c in problem.constraints] == [
        "bpp <= 0.6",
        "bpp <= 0.5 in 'take 9'",
        "bpp <= 0.5 in 'take 10'",
        "psnr >= 30 in 'take 9'",
        "psnr >= 30 in 'take 10'",
    ]
    assert [c.term.weights.tolist() for c in problem.constraints] == [
        [1, 1, 1],
        [0, 1, 0],
        [1, 0, 1],
        [0, 1, 0],
        [1, 0, 1],
    ]
    assert problem.statement.groups == "scene"


def test_the_groups_share_one_array_of_values_and_keep_the_weights_of_their_column(table: CellTable) -> None:
    problem = build_problem(
        table,
        minimize="mse",
        group_at_most={"bpp": 0.5},
        groups={"a.png": "x", "b.png": "y", "c.png": "x"},
        weights={"bpp": "pixels"},
    )
    first, second = problem.constraints
    assert first.term.values is second.term.values is problem.terms["bpp"].values
    assert first.term.weights.tolist() == [768 * 512, 0, 10000]
    assert second.term.weights.tolist() == [0, 512 * 768, 0]


def test_the_average_of_a_column_stays_that_of_all_images(table: CellTable) -> None:
    problem = build_problem(
        table, minimize="mse", group_at_most={"bpp": 0.5}, groups={"a.png": "x", "b.png": "y", "c.png": "x"}
    )
    assert problem.terms["bpp"].weights.tolist() == [1, 1, 1]
    selection = solve_problem(problem)
    bpp = problem.terms["bpp"].picked(selection.required_choice)
    assert selection.averages["bpp"] == pytest.approx(bpp.mean(), rel=1e-15)
    assert [b.average for b in selection.budgets] == [pytest.approx((bpp[0] + bpp[2]) / 2), pytest.approx(bpp[1])]


def test_the_dataset_is_the_group_unless_another_is_named(table: CellTable) -> None:
    other = table.data.set_column(0, "dataset", pa.array(["kodak"] * len(table)))
    both = CellTable(pa.concat_tables([table.data, other]), "both.csv")
    problem = build_problem(both, minimize="mse", group_at_most={"bpp": 0.5})
    assert [c.group for c in problem.constraints] == ["kodak", "photos"]
    assert problem.constraints[0].term.weights.tolist() == [1, 1, 1, 0, 0, 0]
    assert problem.statement.to_dict()["groups"] == "dataset"


def test_whole_numbers_and_encoded_texts_name_groups_too(table: CellTable) -> None:
    by_image = {"a.png": 10, "b.png": 9, "c.png": 10}
    numbered = with_column(table, "take", by_image)
    problem = build_problem(numbered, minimize="mse", group_at_most={"bpp": 0.5}, groups="take")
    assert [c.group for c in problem.constraints] == ["9", "10"]
    encoded = CellTable(
        numbered.data.append_column("code", numbered.data.column("take").cast(pa.string()).dictionary_encode()), "t"
    )
    again = build_problem(encoded, minimize="mse", group_at_most={"bpp": 0.5}, groups="code")
    assert [c.term.weights.tolist() for c in again.constraints] == [
        c.term.weights.tolist() for c in problem.constraints
    ]


def test_empty_fields_of_a_group_column_are_passed_over(table: CellTable) -> None:
    values: list[str | None] = ["x", None, "x", None, "y", "y", "x", "x", "x"]
    holes = CellTable(table.data.append_column("scene", pa.array(values)), table.source)
    problem = build_problem(holes, minimize="mse", group_at_most={"bpp": 0.9}, groups="scene")
    assert problem.constraints[0].term.weights.tolist() == [1, 0, 1]
    assert problem.constraints[1].term.weights.tolist() == [0, 1, 0]


def test_a_column_that_is_no_grouping_is_refused(table: CellTable) -> None:
    def build(column: pa.ChunkedArray | list[Any]) -> None:
        data = table.data.append_column("scene", column if isinstance(column, pa.ChunkedArray) else pa.array(column))
        build_problem(CellTable(data, "study.csv"), minimize="mse", group_at_most={"bpp": 0.5}, groups="scene")

    with pytest.raises(
        TableError,
        match="groups: image 'b.png' of study.csv has different values in column 'scene', such as 'x' and 'y'",
    ):
        build(["x"] * 3 + ["x", "y", "x"] + ["y"] * 3)
    with pytest.raises(
        TableError, match=r"image 'b.png' \(and 1 more image\) of study.csv has no value in column 'scene'"
    ):
        build(["x"] * 3 + [None] * 6)
    with pytest.raises(TableError, match="column 'scene' of study.csv holds double values"):
        build([0.5] * 9)
    with pytest.raises(TableError, match="no column 'scenes'"):
        build_problem(table, minimize="mse", group_at_most={"bpp": 0.5}, groups="scenes")


def test_a_map_must_have_a_group_for_every_image(table: CellTable) -> None:
    with pytest.raises(SpecError, match=r"no group for image 'b.png' \(and 1 more image\)"):
        build_problem(table, minimize="mse", group_at_most={"bpp": 0.5}, groups={"a.png": "x"})
    everyone = {"a.png": "x", "b.png": "y", "c.png": "x", "d.png": "x"}
    problem = build_problem(table, minimize="mse", group_at_most={"bpp": 0.5}, groups=everyone)
    assert problem.warnings == ("groups: 1 image of the map, such as 'd.png', is not in the table",)


def test_a_bare_name_of_several_images_is_refused_in_a_map(table: CellTable) -> None:
    other = table.data.set_column(0, "dataset", pa.array(["kodak"] * len(table)))
    both = CellTable(pa.concat_tables([table.data, other]), "both.csv")
    names = dict.fromkeys(("a.png", "b.png", "c.png"), "x")
    with pytest.raises(
        SpecError, match="'a.png' is in several datasets; write it as dataset/name, such as 'kodak/a.png'"
    ):
        build_problem(both, minimize="mse", group_at_most={"bpp": 0.5}, groups=names)
    labels = {f"{dataset}/{name}": dataset[0] for dataset in ("kodak", "photos") for name in names}
    problem = build_problem(both, minimize="mse", group_at_most={"bpp": 0.5}, groups=labels)
    assert [c.group for c in problem.constraints] == ["k", "p"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"groups": "scene"}, "groups are given, but no budget for them: say group_at_most or group_at_least"),
        ({"groups": {"a.png": "x"}}, "groups are given, but no budget for them"),
        ({"group_at_most": {"bpp": 0.5}, "groups": 3}, "groups must be a column or a map"),
        ({"group_at_most": {"bpp": 0.5}, "groups": {}}, "maps no image to a group"),
        ({"group_at_most": {"bpp": 0.5}, "groups": {"a.png": 0.5}}, "'a.png': 0.5 is not the name of a group"),
        ({"group_at_most": {"bpp": 0.5}, "groups": {"a.png": ""}}, "'a.png': '' is not the name of a group"),
        ({"group_at_most": {"bpp": "much"}}, "group_at_most bpp: 'much' is not a finite number"),
        ({"group_at_least": {"bpp": True}}, "group_at_least bpp: True is not a finite number"),
        ({"max_points": 0}, "max_points must be a whole number, 1 or more, not 0"),
        ({"max_points": 2.0}, "max_points must be a whole number, 1 or more, not 2.0"),
        ({"max_points": True}, "max_points must be a whole number, 1 or more, not True"),
        ({"side_info": 1}, "side_info must be True or False, not 1"),
    ],
)
def test_words_about_groups_and_limits_that_make_no_sense_are_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Statement.of(minimize="mse", **words)


def test_a_column_of_group_budgets_must_be_there_and_finite(table_of: Make) -> None:
    table = table_of({"mse": [[1.0, 2.0]], "psnr": [[30.0, np.inf]]}, ["a.png"], ["q=1", "q=2"])
    with pytest.raises(TableError, match="no column 'bpp'"):
        build_problem(table, minimize="mse", group_at_most={"bpp": 0.5})
    with pytest.raises(TableError, match="psnr of image 'a.png' at 'q=2'"):
        build_problem(table, minimize="mse", group_at_least={"psnr": 30})


@pytest.mark.parametrize(
    "words",
    [
        {"group_at_most": {"bpp": 0.5}, "group_at_least": {"psnr": 30.0}, "groups": "scene"},
        {"group_at_most": {"bpp": 0.5}, "groups": {"a.png": "x", "b.png": "7"}},
        {"max_points": 3, "side_info": True},
        {"at_most": {"bpp": 0.5}},
    ],
)
def test_a_statement_survives_json(words: dict[str, Any]) -> None:
    statement = Statement.of(minimize="mse", **words)
    assert Statement.from_dict(json.loads(json.dumps(statement.to_dict()))) == statement
    assert statement.to_dict() == {"minimize": "mse", **words}


def test_a_selection_with_groups_is_saved_and_read_back_and_a_moved_image_is_noticed(
    table: CellTable, tmp_path: Path
) -> None:
    by_image = {"a.png": "x", "b.png": "y", "c.png": "x"}
    grouped = with_column(table, "scene", by_image)
    problem = build_problem(grouped, minimize="mse", group_at_most={"bpp": 0.5}, groups="scene")
    selection = solve_problem(problem)
    path = selection.save(tmp_path / "s.json")
    loaded: Selection = load_selection(path, grouped)
    assert loaded.chosen == selection.chosen
    assert [b.average for b in loaded.budgets] == [b.average for b in selection.budgets]
    moved = with_column(table, "scene", by_image | {"c.png": "y"})
    with pytest.raises(TableError, match="does not belong to study.csv"):
        load_selection(path, moved)
    assert fingerprint(build_problem(moved, minimize="mse", group_at_most={"bpp": 0.5}, groups="scene")) != fingerprint(
        problem
    )


def test_problems_without_groups_keep_their_fingerprint(table: CellTable) -> None:
    assert "groups" not in fingerprint(build_problem(table, minimize="mse", at_most={"bpp": 0.5}))


def test_groups_of_arrays_are_a_list_or_a_map() -> None:
    columns = {"mse": np.ones((2, 2)), "bpp": np.ones((2, 2))}
    listed = Problem.from_arrays(columns, minimize="mse", group_at_most={"bpp": 1}, groups=["x", "y"])
    mapped = Problem.from_arrays(
        columns, minimize="mse", group_at_most={"bpp": 1}, groups={"image 0": "x", "image 1": "y"}
    )
    assert (
        [c.name for c in listed.constraints]
        == [c.name for c in mapped.constraints]
        == ["bpp <= 1 in 'x'", "bpp <= 1 in 'y'"]
    )
    with pytest.raises(SpecError, match="need the argument groups"):
        Problem.from_arrays(columns, minimize="mse", group_at_most={"bpp": 1})
    with pytest.raises(SpecError, match="groups must name the group of each of 2 images; 1 are given"):
        Problem.from_arrays(columns, minimize="mse", group_at_most={"bpp": 1}, groups=["x"])
