"""selection.json: what is saved comes back, and what does not belong to the table is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as csv
import pytest

from rdp.errors import InfeasibleError, RdpError, TableError
from rdp.selection import Selection, Status, load_selection, solve
from rdp.selection.document import number
from rdp.tables import CellTable

Make = Callable[..., CellTable]
WORDS = {
    "minimize": "mse",
    "at_most": {"bpp": 0.4},
    "at_least": {"psnr": 30.0},
    "weights": {"bpp": "pixels"},
    "points": ["!*quality=5"],
    "forbid": [("c.png", "avif")],
    "fix": {"b.png": "webp:quality=10"},
    "cap": {"psnr": 60.0},
}


@pytest.fixture
def study(table: CellTable, tmp_path: Path) -> Path:
    path = tmp_path / "study.csv"
    csv.write_csv(table.data, path)
    return path


def test_a_saved_selection_comes_back_from_its_table(study: Path, tmp_path: Path) -> None:
    selection = solve(study, **WORDS)
    path = selection.save(tmp_path / "selection.json")
    for loaded in (load_selection(path), Selection.load(path, study)):
        assert loaded.chosen == selection.chosen
        assert loaded.status is Status.OPTIMAL
        assert loaded.to_dict() == selection.to_dict()
        assert loaded.problem.allowed.tolist() == selection.problem.allowed.tolist()


def test_the_document_says_everything(study: Path) -> None:
    document = solve(study, **WORDS).to_dict()
    assert document["version"] == 2
    assert document["problem"]["source"] == str(study)
    assert document["problem"]["statement"] == {**WORDS, "forbid": [["c.png", "avif"]]}
    assert document["chosen"][1] == {"dataset": "photos", "image": "b.png", "point": "webp:quality=10"}
    assert document["budgets"][0]["sentence"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_column_map_is_kept_so_that_the_table_is_read_again(table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    csv.write_csv(table.data.rename_columns([{"bpp": "rate"}.get(n, n) for n in table.data.column_names]), path)
    selection = solve(path, minimize="mse", at_most={"bpp": 0.27}, columns={"bpp": "rate"})
    assert load_selection(selection.save(tmp_path / "s.json")).chosen == selection.chosen


def test_an_infeasible_result_is_saved_with_its_explanation(study: Path, tmp_path: Path) -> None:
    path = solve(study, minimize="mse", at_most={"bpp": 0.01}).save(tmp_path / "s.json")
    loaded = load_selection(path)
    assert loaded.status is Status.INFEASIBLE
    with pytest.raises(InfeasibleError, match="least attainable"):
        _ = loaded.chosen


def test_numbers_that_json_does_not_have_are_null_with_a_flag(table_of: Make) -> None:
    assert number("x", math.inf) == {"x": None, "x_is": "inf"}
    assert number("x", -math.inf) == {"x": None, "x_is": "-inf"}
    assert number("x", math.nan) == {"x": None, "x_is": "missing"}
    assert number("x", 1.5) == {"x": 1.5}
    table = table_of({"mse": [[1.0, 0.0]], "psnr": [[48.1, math.inf]], "ssim": [[1.0, None]]}, ["a"], ["webp", "png"])
    averages = solve(table, minimize="mse").to_dict()["averages"]
    assert {"column": "psnr", "weighting": "images", "average": None, "average_is": "inf"} in averages
    assert {"column": "ssim", "weighting": "images", "average": None, "average_is": "missing"} in averages


def test_a_table_that_changed_is_noticed(study: Path, tmp_path: Path) -> None:
    path = solve(study, minimize="mse", at_most={"bpp": 0.27}).save(tmp_path / "s.json")
    text = study.read_text()
    study.write_text(text.replace("120", "110").replace("60", "61"))
    with pytest.raises(TableError, match=r"the values of mse have changed; solve again"):
        load_selection(path)
    study.write_text("\n".join(line for line in text.splitlines() if "c.png" not in line))
    with pytest.raises(TableError, match="there is 1 missing image, such as 'c.png' of 'photos'; solve again"):
        load_selection(path)
    study.write_text(text.replace("quality=10", "quality=11"))
    with pytest.raises(TableError, match=r"1 new point, .*quality=11' and 1 point fewer, .*quality=10'"):
        load_selection(path)


def test_a_choice_that_its_own_statement_rules_out_is_noticed(study: Path, tmp_path: Path) -> None:
    path = solve(study, minimize="mse", at_most={"bpp": 0.27}).save(tmp_path / "s.json")
    document = json.loads(path.read_text())
    document["chosen"][0]["point"] = "avif:quality=50"
    path.write_text(json.dumps(document))
    with pytest.raises(TableError, match="rules out"):
        load_selection(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a selection"),
        ("[1, 2]", "is not a selection as rdp solve writes it"),
        ('{"version": 3, "chosen": null}', "has version 3; this rdp reads versions 1 and 2"),
        ('{"version": 1, "chosen": null}', "is damaged: KeyError 'problem'"),
    ],
)
def test_files_that_are_no_selection_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        load_selection(path)


def test_a_missing_file_and_a_folder_that_is_not_there_are_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot read"):
        load_selection(tmp_path / "none.json")
    with pytest.raises(RdpError):
        solve(study, minimize="mse").save(tmp_path / "none" / "s.json")


def test_writing_leaves_no_other_file_behind(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    solve(study, minimize="mse").save(folder / "s.json")
    solve(study, minimize="mse").save(folder / "s.json")
    assert [path.name for path in folder.iterdir()] == ["s.json"]


SELECTED = {"minimize": "mse", "at_most": {"bpp": 0.27}}


def with_rows(study: Path, rows: list[str]) -> None:
    """The table with more rows: dataset, image, point, status, message, then bpp, mse, psnr, width, height, nbytes."""
    study.write_text(study.read_text().rstrip("\n") + "\n" + "\n".join(rows) + "\n")


def point_rows(point: str, mse: float) -> list[str]:
    return [f'"photos","{name}.png","{point}","ok","",0.01,{mse},48.1,768,512,100' for name in "abc"]


def test_a_table_that_grew_by_a_better_point_makes_a_selection_stale(study: Path, tmp_path: Path) -> None:
    path = solve(study, **SELECTED).save(tmp_path / "s.json")
    with_rows(study, point_rows("webp:quality=7", 0.5))
    with pytest.raises(TableError, match="there is 1 new point, such as 'webp:quality=7'; solve again"):
        load_selection(path)


def test_a_table_that_grew_by_an_image_makes_a_selection_stale(study: Path, tmp_path: Path) -> None:
    path = solve(study, **SELECTED).save(tmp_path / "s.json")
    with_rows(study, ['"photos","d.png","webp:quality=5","ok","",0.1,20,35,768,512,100'])
    with pytest.raises(TableError, match="there is 1 new image, such as 'd.png' of 'photos'; solve again"):
        load_selection(path)


def test_a_value_of_a_cell_that_was_not_chosen_makes_a_selection_stale(study: Path, tmp_path: Path) -> None:
    selection = solve(study, **SELECTED)
    path = selection.save(tmp_path / "s.json")
    assert selection.chosen["a.png"] != "avif:quality=50"
    lines = study.read_text().splitlines()
    row = next(k for k, line in enumerate(lines) if "a.png" in line and "avif" in line)
    lines[row] = lines[row].replace(",0.4,10,", ",0.1,10,")
    assert ",0.1,10," in lines[row]
    study.write_text("\n".join(lines) + "\n")
    with pytest.raises(TableError, match="the values of bpp have changed; solve again"):
        load_selection(path)


def test_what_the_statement_excludes_or_does_not_use_may_be_added(study: Path, tmp_path: Path) -> None:
    """Points that are not admitted, points that are forbidden, and columns beside those of the problem."""
    words = {**SELECTED, "points": ["webp", "avif"], "forbid": [("*", "*quality=5*0")], "each_at_least": {"psnr": 20}}
    selection = solve(study, **words)
    path = selection.save(tmp_path / "s.json")
    with_rows(study, [*point_rows("jpeg:quality=7", 0.5), *point_rows("webp:quality=500", 0.5)])
    lines = study.read_text().splitlines()
    study.write_text("\n".join([lines[0] + ",other", *(line + ",1" for line in lines[1:])]) + "\n")
    loaded = load_selection(path)
    assert loaded.chosen == selection.chosen
    assert loaded.problem.points == selection.problem.points
    assert loaded.to_dict()["counts"] == selection.to_dict()["counts"]


def test_a_statement_that_was_edited_is_noticed(study: Path, tmp_path: Path) -> None:
    path = solve(study, **SELECTED).save(tmp_path / "s.json")
    document = json.loads(path.read_text())
    document["problem"]["statement"]["at_most"]["bpp"] = document["budgets"][0]["budget"] = 0.3
    path.write_text(json.dumps(document))
    with pytest.raises(TableError, match="the problem statement in it is not the one that was solved"):
        load_selection(path)


def test_a_document_without_a_fingerprint_is_refused(study: Path, tmp_path: Path) -> None:
    document = solve(study, **SELECTED).to_dict()
    del document["problem"]["fingerprint"]
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(TableError, match="does not say what its table was like .*: solve again"):
        load_selection(tmp_path / "s.json")


def _set(*keys: str | int, to: object) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("objective", "bound", to=1.0), "status optimal with gap 0.98"),
        (_set("objective", "bound", to=60.0), "wrong side"),
        (_set("objective", "bound", to=None), "status optimal with gap unknown"),
        (_set("objective", "gap", to=0.5), "objective: gap is 0.5, and recomputed it is 0"),
        (_set("objective", "average", to=49.0), "objective: average is 49"),
        (_set("objective", "allowed_gap", to="small"), "allowed_gap is 'small', not a number"),
        (_set("objective", "goal", to="maximize"), "not that of the problem statement"),
        (_set("status", to="infeasible"), "status infeasible beside chosen points"),
        (_set("status", to="unknown"), "status unknown beside chosen points"),
        (_set("status", to="feasible"), "status feasible where the bound proves"),
        (_set("status", to="best"), "is not a valid Status"),
        (_set("chosen", to=None), "status optimal without chosen points"),
        (_set("budgets", 0, "price", to=True), "price is True, not a number"),
        (_set("budgets", 0, "budget", to=0.3), "the budget of a budget is 0.3"),
        (_set("budgets", 0, "average", to=0.1), "average of bpp is 0.1"),
        (_set("budgets", to=[]), "0 budgets, and the statement has 1"),
        (_set("averages", 1, "average", to=0.1), "the average bpp is 0.233333333 there, and 0.1 in the selection"),
        (_set("elapsed_s", to=-1), "elapsed_s must be"),
        (_set("solver", to=5), "solver is 5, not a text"),
        (_set("warnings", to="none"), "warnings is 'none', not a list"),
        (_set("problem", "points", to=["png", 5]), "5, not a text"),
        (_set("problem", "images", to=7), "problem.images is 7"),
        (_set("version", to=True), "has version True"),
        (_set("budgets", 0, "group", to="photos"), "the group of a budget is 'photos', and in the statement not"),
        (_set("objective", "lp_bound", to=51.0), "lp_bound 51 is on the wrong side"),
        (_set("objective", "lp_bound", to="low"), "lp_bound is 'low', not a number"),
        (_set("split_images", to=4), "split_images is 4, no whole number from 0 to 3"),
        (_set("split_images", to=True), "split_images is True"),
        (_set("explanation_details", to={}), "explanation_details must be an object, and null beside chosen points"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(
    study: Path, tmp_path: Path, change: Callable[[dict], None], message: str
) -> None:
    path = solve(study, **SELECTED).save(tmp_path / "s.json")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(TableError, match=message):
        load_selection(path)


def test_a_selection_within_a_wide_gap_is_still_optimal_when_it_is_read(study: Path, tmp_path: Path) -> None:
    selection = solve(study, **SELECTED, gap=0.5)
    document = selection.to_dict()
    document["objective"] |= {"bound": 40.0, "gap": 0.2}
    (tmp_path / "s.json").write_text(json.dumps(document))
    assert load_selection(tmp_path / "s.json").status is Status.OPTIMAL


def test_the_stored_column_map_is_used_where_the_table_lacks_our_names(table: CellTable, tmp_path: Path) -> None:
    theirs = table.data.rename_columns([{"bpp": "rate"}.get(n, n) for n in table.data.column_names])
    path = tmp_path / "theirs.csv"
    csv.write_csv(theirs, path)
    selection = solve(path, **SELECTED, columns={"bpp": "rate"})
    saved = selection.save(tmp_path / "s.json")
    for source in (path, theirs, CellTable(theirs, "theirs"), table):
        assert load_selection(saved, source).chosen == selection.chosen
    assert load_selection(saved, path, {"bpp": "rate"}).chosen == selection.chosen
    with pytest.raises(TableError, match="no column 'bpp'"):
        load_selection(saved, path, {})


def test_a_selection_of_a_table_in_memory_asks_for_that_table(table: CellTable, tmp_path: Path) -> None:
    frame = table.to_pandas()
    selection = solve(frame, **SELECTED)
    path = selection.save(tmp_path / "s.json")
    with pytest.raises(TableError, match="was made from a table in memory: give that table, in Python with source="):
        load_selection(path)
    assert load_selection(path, frame).chosen == selection.chosen


GROUPED = {"a.png": "day", "b.png": "night", "c.png": "day"}
LIMITED: dict[str, dict[str, object]] = {
    "groups by dataset": {"group_at_most": {"bpp": 0.27}},
    "groups by a map": {"group_at_most": {"bpp": 0.41}, "group_at_least": {"psnr": 29}, "groups": GROUPED},
    "few points": {"at_most": {"bpp": 0.35}, "max_points": 2},
    "side information": {"at_most": {"bpp": 0.27}, "side_info": True},
    "all together": {
        "at_most": {"bpp": 0.5},
        "group_at_most": {"nbytes": 20000},
        "groups": GROUPED,
        "weights": {"bpp": "pixels"},
        "max_points": 2,
        "side_info": True,
    },
}


@pytest.mark.parametrize("kind", LIMITED)
def test_selections_with_groups_few_points_and_side_information_come_back(
    kind: str, study: Path, tmp_path: Path
) -> None:
    selection = solve(study, minimize="mse", **LIMITED[kind])
    loaded = load_selection(selection.save(tmp_path / "s.json"))
    assert loaded.found
    assert loaded.to_dict() == selection.to_dict()
    assert (loaded.lp_bound, loaded.split_images) == (selection.lp_bound, selection.split_images)
    assert [budget.group for budget in loaded.budgets] == [budget.group for budget in selection.budgets]


def test_every_budget_of_a_group_is_an_entry_of_its_own(study: Path) -> None:
    document = solve(study, minimize="mse", **LIMITED["groups by a map"]).to_dict()
    assert [(b["column"], b["group"]) for b in document["budgets"]] == [
        ("bpp", "day"),
        ("bpp", "night"),
        ("psnr", "day"),
        ("psnr", "night"),
    ]


def as_version_1(document: dict) -> None:
    document["version"] = 1
    del document["split_images"], document["explanation_details"], document["objective"]["lp_bound"]
    for entry in document["budgets"]:
        del entry["group"]


def test_a_document_of_version_1_is_still_read(study: Path, tmp_path: Path) -> None:
    selection = solve(study, **WORDS)
    assert selection.lp_bound is not None
    path = edited(selection.save(tmp_path / "s.json"), as_version_1)
    loaded = load_selection(path)
    assert loaded.chosen == selection.chosen
    assert loaded.budgets == selection.budgets
    assert (loaded.lp_bound, loaded.split_images) == (None, None)
    with pytest.raises(TableError, match="damaged: KeyError 'group'"):
        load_selection(edited(path, _set("version", to=2)))


def test_an_explanation_is_stored_as_numbers_too(study: Path, tmp_path: Path) -> None:
    selection = solve(study, minimize="mse", at_most={"bpp": 0.01})
    assert selection.details is not None
    path = selection.save(tmp_path / "s.json")
    assert json.loads(path.read_text())["explanation_details"] == selection.details.to_dict()
    loaded = load_selection(path)
    assert loaded.explanation == selection.explanation
    assert loaded.details is None


def edited(path: Path, change: Callable[[dict], None]) -> Path:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("groups by a map", _set("budgets", 1, "group", to="day"), "the group of a budget is 'day'"),
        ("groups by a map", _set("budgets", 1, "average", to=0.1), "average of bpp in 'night' is 0.1"),
        (
            "groups by a map",
            _set("problem", "statement", "groups", "a.png", to="night"),
            "the problem statement in it is not the one",
        ),
        ("groups by a map", _set("chosen", 1, "point", to="avif:quality=50"), "rules out"),
        ("few points", lambda d: [c.update(point=p) for c, p in zip(d["chosen"], POINTS, strict=True)], "rules out"),
        ("few points", _set("problem", "statement", "max_points", to=3), "the problem statement in it is not the one"),
        ("side information", lambda d: d["problem"]["statement"].pop("side_info"), "the problem statement in it"),
        ("side information", _set("budgets", 0, "average", to=0.2333), "average of bpp is 0.2333"),
    ],
)
def test_forged_limits_are_refused(
    kind: str, change: Callable[[dict], None], message: str, study: Path, tmp_path: Path
) -> None:
    path = edited(solve(study, minimize="mse", **LIMITED[kind]).save(tmp_path / "s.json"), change)
    with pytest.raises(TableError, match=message):
        load_selection(path)


POINTS = ["webp:quality=5", "webp:quality=10", "avif:quality=50"]


def test_images_that_changed_groups_make_a_selection_stale(table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "grouped.csv"

    def write(groups: dict[str, str]) -> None:
        scene = [groups[image] for image in table.data.column("image").to_pylist()]
        csv.write_csv(table.data.append_column("scene", [scene]), path)

    write(GROUPED)
    saved = solve(path, minimize="mse", group_at_most={"bpp": 0.5}, groups="scene").save(tmp_path / "s.json")
    assert load_selection(saved).found
    write(GROUPED | {"c.png": "night"})
    with pytest.raises(TableError, match="images are in other groups than then; solve again"):
        load_selection(saved)


def test_points_that_the_statement_rules_out_do_not_change_the_bits_that_were_charged(
    study: Path, tmp_path: Path
) -> None:
    """Three points take 2 bits; two more, which are forbidden, would take 3."""
    words = {"minimize": "mse", "at_most": {"bpp": 0.5}, "side_info": True, "forbid": [("*", "*quality=5*")]}
    selection = solve(study, **words)
    path = selection.save(tmp_path / "s.json")
    text = study.read_text()
    later = [*point_rows("webp:quality=500", 0.5), *point_rows("webp:quality=510", 0.5)]
    with_rows(study, [row.replace("768,512", "100,100") if "c.png" in row else row for row in later])
    loaded = load_selection(path)
    assert loaded.to_dict() == selection.to_dict()
    # A forbidden point fewer, and what is left takes a bit less to name.
    loaded.save(path)
    study.write_text("\n".join(line for line in text.splitlines() if 'quality=5"' not in line) + "\n")
    with pytest.raises(TableError, match="one of 3 points was named for each image, and now there are 2; solve again"):
        load_selection(path)
