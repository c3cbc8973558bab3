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
    assert document["version"] == 1
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
    with pytest.raises(TableError, match=r"the average mse is .* solve again"):
        load_selection(path)
    study.write_text("\n".join(line for line in text.splitlines() if "c.png" not in line))
    with pytest.raises(TableError, match="1 images are in only one of them, such as 'c.png'"):
        load_selection(path)
    study.write_text(text.replace("quality=10", "quality=11"))
    with pytest.raises(TableError, match="chooses 'webp:quality=10', which"):
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
        ('{"version": 2, "chosen": null}', "has version 2; this rdp reads version 1"),
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
