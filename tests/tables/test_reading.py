"""Tables from elsewhere, and to elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rdp.errors import RunFolderError, TableError
from rdp.tables import CellTable, export_table, long_frame, read_table, wide_frame
from rdp.tables.summary import point_averages

CSV = "file,setting,rate,err\na.png,q1,0.5,10\na.png,q2,0.9,5\nb.png,q1,0.4,8\nb.png,q2,,4\n"
COLUMNS = {"image": "file", "point": "setting", "bpp": "rate", "mse": "err"}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(CSV)
    return path


def test_a_csv_is_read_with_a_column_map(csv: Path) -> None:
    table = read_table(csv, COLUMNS)
    assert table.numeric_columns == ("bpp", "mse")
    assert table.data.column("dataset").to_pylist() == ["table"] * 4
    assert table.numpy("mse").tolist() == [10, 5, 8, 4]
    assert table.data.column("bpp").null_count == 1  # an empty field is a missing value


def test_nan_and_infinity_in_a_csv_are_themselves(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,point,a\nx,p,nan\nx,q,inf\nx,r,\n")
    column = read_table(path).data.column("a")
    values = column.to_pylist()
    assert math.isnan(values[0]) and values[1] == math.inf and values[2] is None


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,point,a\n001,7,1\n002,7,2\n")
    table = read_table(path)
    assert table.data.column("image").to_pylist() == ["001", "002"]
    assert table.data.column("point").to_pylist() == ["7", "7"]


def test_parquet_json_frames_and_arrow_give_the_same_table(csv: Path, tmp_path: Path) -> None:
    table = read_table(csv, COLUMNS)
    frame = pd.read_csv(csv)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    (tmp_path / "t.json").write_text(frame.to_json(orient="records"))
    for source in (frame, pa.Table.from_pandas(frame), tmp_path / "t.parquet", tmp_path / "t.json", table):
        columns = {} if isinstance(source, CellTable) else COLUMNS
        again = read_table(source, columns)
        for name in ("image", "point", "bpp", "mse"):
            assert again.data.column(name).to_pylist() == table.data.column(name).to_pylist(), (source, name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,point,a\nx,p,1\nx,p,2\n", "'x' with point 'p' .* more than once, again in row 2"),
        ("image,a\nx,1\n", "no column 'point'.*--column point=THEIRS"),
        ("point,a\nx,1\n", "no column 'image'"),
        ("image,point,a\n,p,1\n", "row 1: 'image' is empty"),
        ("image,point,a\n", "no rows"),
        ("", "cannot read"),
        ("image,point,a\nx,p\n", "cannot read"),
    ],
)
def test_a_bad_csv_is_refused_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=words) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_a_column_map_that_does_not_fit_is_refused(csv: Path) -> None:
    with pytest.raises(TableError, match="no column 'rat'. Did you mean 'rate'"):
        read_table(csv, {**COLUMNS, "bpp": "rat"})
    with pytest.raises(TableError, match="has a column 'err' already"):
        read_table(csv, {"image": "file", "point": "setting", "err": "rate"})


@pytest.mark.parametrize("name", ["t.txt", "t.xlsx"])
def test_another_kind_of_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(TableError, match="no table that can be read"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.json", "t.parquet"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{]")
    with pytest.raises(TableError, match="cannot read"):
        read_table(tmp_path / name)


def test_what_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match="cannot read a table from a int"):
        read_table(5)  # type: ignore[arg-type]


def test_an_unknown_column_is_refused_with_the_known_ones(csv: Path) -> None:
    table = read_table(csv, COLUMNS)
    with pytest.raises(TableError, match="no column 'bp'. Did you mean 'bpp'.*bpp, mse"):
        table.require(["bp"])
    with pytest.raises(TableError, match="'point' .*holds text"):
        table.require(["point"])


def test_an_empty_column_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,point,a,b\nx,p,1,\n")
    with pytest.raises(TableError, match=r"column 'b' of .* is empty"):
        read_table(path).require(["a", "b"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
@pytest.mark.parametrize("layout", ["wide", "long"])
def test_an_exported_table_says_the_same(suffix: str, layout: str, csv: Path, tmp_path: Path) -> None:
    table = read_table(csv, COLUMNS)
    path = tmp_path / f"out{suffix}"
    export_table(table, path, layout)  # type: ignore[arg-type]
    if layout == "wide":
        again = read_table(path)
        assert wide_frame(again, ["bpp", "mse"]).equals(wide_frame(table, ["bpp", "mse"]))
    else:
        read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".json": pd.read_json}[suffix]
        frame = read(path)
        assert len(frame) == 7  # eight numbers, one missing
        assert frame.value.sum() == pytest.approx(28.8)


def test_an_infinite_number_survives_json(tmp_path: Path) -> None:
    table = read_table(pd.DataFrame({"image": ["a", "b"], "point": ["p", "p"], "psnr": [math.inf, 30.0]}))
    export_table(table, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())[0]["psnr"] == "inf"
    assert read_table(tmp_path / "t.json").numpy("psnr").tolist() == [math.inf, 30.0]


def test_an_export_elsewhere_is_refused(csv: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="suffix must be one of"):
        export_table(read_table(csv, COLUMNS), tmp_path / "t.xlsx")


def test_averages_of_points_count_their_images(csv: Path) -> None:
    table = read_table(csv, COLUMNS)
    means = point_averages(table).set_index("point")
    assert means.loc["q1", "bpp"] == pytest.approx(0.45) and means.loc["q2", "mse"] == pytest.approx(4.5)
    assert means["images"].tolist() == [2, 2]


def test_long_rows_are_the_wide_ones(csv: Path) -> None:
    table = read_table(csv, COLUMNS)
    long = long_frame(table, ["mse"])
    assert long.column.unique().tolist() == ["mse"] and long.value.tolist() == [10, 5, 8, 4]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"image,point,status,a\nx,p,OK,1\n", "row 1: status 'OK' is neither 'ok' nor 'failed'"),
        (b"image;point;a\nx;p;1\n", "not separated by commas"),
        ("image,point,a\nx,p,1\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_the_usual_slips_of_spreadsheets_are_named(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(TableError, match=words):
        read_table(tmp_path / "t.csv")


def test_a_column_that_one_cell_turns_into_text_says_which(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,point,a\nx,p,1\ny,p,NA\n")
    with pytest.raises(TableError, match="holds text, not numbers: 'NA' in row 2"):
        read_table(tmp_path / "t.csv").require(["a"])


def test_frames_are_sorted_with_numbers_by_size_and_whole_numbers_stay_whole() -> None:
    frame = pd.DataFrame(
        {"image": ["x"] * 3, "point": ["q=45", "q=5", "q=15"], "nbytes": pd.array([1, None, 3], dtype="Int64")}
    )
    sorted_frame = read_table(frame).to_pandas()
    assert sorted_frame.point.tolist() == ["q=5", "q=15", "q=45"]
    assert sorted_frame["nbytes"].tolist() == [pd.NA, 3, 1] and str(sorted_frame["nbytes"].dtype) == "Int64"
