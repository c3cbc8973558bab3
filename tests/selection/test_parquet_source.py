"""Files streamed as blocks: the same problem as the one in memory, however the rows lie, and the same refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import RdpError, SpecError, TableError
from rdp.selection.builder import state_problem
from rdp.selection.statement import Statement
from rdp.selection.streaming.join import Spill, put_in_order
from rdp.selection.streaming.layout import scan_tables
from rdp.selection.streaming.memory import Plan, parse_memory, size_text, used_memory
from rdp.selection.streaming.rows import open_tables
from rdp.selection.streaming.rules import NoPointLeftError
from rdp.selection.streaming.source import ParquetSource
from rdp.selection.streaming.text_hashes import Hashes, text_hashes
from rdp.selection.streaming.wide import WideReader
from rdp.tables import RunWriter, ScoreSet, read_table

MEMORY = 2_000_000_000
POINTS = ["webp:quality=10", "webp:quality=5", "png", "avif:quality=30,speed=6"]
STATEMENT = Statement.of(minimize="mse", at_most={"bpp": 1.0}, at_least={"psnr": 30.0})


def rows_of(rng: np.random.Generator, images: int, ragged: bool, datasets: int = 1) -> list[dict[str, Any]]:
    """Rows in order: images of one to several datasets at four points; ragged ones lack rows, values, or failed."""
    rows = []
    for number in range(images):
        kept = rng.random(len(POINTS)) < 0.8 if ragged else np.ones(len(POINTS), bool)
        whole = int(rng.integers(0, len(POINTS)))
        for k, point in enumerate(POINTS):
            if not (kept[k] or k == whole):
                continue
            broken = ragged and k != whole
            failed = bool(broken and rng.random() < 0.1)
            missing = bool(broken and rng.random() < 0.1)
            rows.append(
                {
                    "dataset": f"set{number % datasets}",
                    "image": f"folder/{number // datasets:03}" + "x" * (number // datasets % 11) + ".png",
                    "point": point,
                    "bpp": None if failed else float(rng.random() * 2),
                    "mse": None if failed or missing else float(np.exp(rng.normal(3, 1))),
                    "psnr": None if failed else float(rng.normal(32, 3)),
                    "width": 8 + number,
                    "height": 16,
                    "status": "failed" if failed else "ok",
                }
            )
    return rows


SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("dataset", "image", "point")]
    + [(name, pa.float64()) for name in ("bpp", "mse", "psnr")]
    + [("width", pa.int32()), ("height", pa.int64()), ("status", pa.string())]
)


def write(path: Path, rows: list[dict[str, Any]], group: int = 1_000, leave_out: tuple[str, ...] = ()) -> Path:
    table = pa.Table.from_pylist(rows, schema=SCHEMA).drop_columns(list(leave_out))
    pq.write_table(table, path, row_group_size=group)
    return path


def streamed(source: ParquetSource) -> dict[tuple[str, str], tuple[np.ndarray, ...]]:
    """Every image's allowed cells, values where allowed, and weights, by its name."""
    out: dict[tuple[str, str], tuple[np.ndarray, ...]] = {}
    following = 0
    for block, cells in source.blocks_with_names(True):
        assert block.first == following
        following += block.images
        assert cells.names is not None
        allowed = np.ones(block.columns[0].shape, bool) if block.allowed is None else block.allowed
        for k, key in enumerate(zip(cells.names[0].to_pylist(), cells.names[1].to_pylist(), strict=True)):
            values = [np.where(allowed[k], column[k], -1.0) for column in block.columns]
            assert key not in out
            out[key] = (allowed[k], *values, *(weights[k : k + 1] for weights in block.weights))
    assert following == source.images
    return out


def in_memory(path: Path, statement: Statement) -> tuple[dict[tuple[str, str], tuple[np.ndarray, ...]], Any]:
    """The same from the problem that is built of the whole table."""
    problem = state_problem(read_table(path), statement)
    columns = [problem.terms[name] for name in statement.used_columns]
    pixels = next((term.weights for term in columns if term.weighting == "pixels"), None)
    out = {}
    for k, key in enumerate(zip(problem.datasets, problem.images, strict=True)):
        values = [np.where(problem.allowed[k], term.values[k], -1.0) for term in columns]
        out[key] = (problem.allowed[k], *values, *([] if pixels is None else [pixels[k : k + 1]]))
    return out, problem


def same(path: Path, statement: Statement = STATEMENT, **options: Any) -> ParquetSource:
    """Hold the streamed cells against those in memory; the source, closed."""
    expected, problem = in_memory(path, statement)
    with ParquetSource(path, statement, MEMORY, **options) as source:
        found = streamed(source)
        assert source.point_names == problem.points
        assert source.warnings == problem.warnings
        assert found.keys() == expected.keys()
        for key, arrays in expected.items():
            for one, other in zip(arrays, found[key], strict=True):
                np.testing.assert_array_equal(one, other)
        again = streamed(source)
        assert all((a == b).all() for key in found for a, b in zip(found[key], again[key], strict=True))
    return source


@pytest.mark.parametrize("group", [3, 7, 1_000])
@pytest.mark.parametrize("datasets", [1, 2])
@pytest.mark.parametrize("ragged", [False, True])
def test_rows_in_order_are_read_as_they_lie(tmp_path: Path, ragged: bool, datasets: int, group: int) -> None:
    """Whole or ragged, row groups ending within images or not."""
    rows = rows_of(np.random.default_rng(5), 30, ragged, datasets)
    assert same(write(tmp_path / "t.parquet", rows, group)).ordered


def test_points_in_another_order_within_some_images_need_no_temporary_files(tmp_path: Path) -> None:
    """As long as the rows of an image stand together."""
    rng = np.random.default_rng(6)
    rows = rows_of(rng, 20, False)
    mixed = [rows[4 * image + k] for image in range(20) for k in (rng.permutation(4) if image > 7 else range(4))]
    assert same(write(tmp_path / "t.parquet", mixed)).ordered


@pytest.mark.parametrize("ragged", [False, True])
def test_scattered_rows_are_put_in_order(tmp_path: Path, ragged: bool) -> None:
    """Any order of rows gives the same cells, and nothing is left of the temporary files."""
    rng = np.random.default_rng(7)
    rows = rows_of(rng, 40, ragged, 2)
    path = write(tmp_path / "t.parquet", [rows[k] for k in rng.permutation(len(rows))], 9)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert not same(path, scratch=scratch).ordered
    assert list(scratch.iterdir()) == []


def test_scattered_rows_go_through_as_many_parts_as_memory_asks_for(tmp_path: Path) -> None:
    """The number of parts changes neither the cells nor the order of the images."""
    rng = np.random.default_rng(8)
    rows = rows_of(rng, 60, True, 2)
    path = write(tmp_path / "t.parquet", [rows[k] for k in rng.permutation(len(rows))], 50)
    expected = {
        (row["dataset"], row["image"], row["point"]): (row["bpp"], row["mse"])
        for row in read_table(path).data.to_pylist()
    }
    orders = []
    for spare in (5_000, 20_000, 10**9):
        found = wide_cells(path, spare)
        assert found == expected
        orders.append(list(found))
    assert orders[0] == orders[1] == orders[2]
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".rdp-")]


def wide_cells(path: Path, spare: int) -> dict[tuple[str, str, str], tuple[float | None, ...]]:
    """All cells of a file whose rows are put in order with so many bytes to spare."""
    tables = open_tables(path, None, ("bpp", "mse"))
    scan = scan_tables(tables, (), 64)
    assert scan.scattered
    spill = Spill(path, path.parent)
    plan = Plan(memory=10**9, base=0, images=0, rows=64, spare=spare)
    wide = put_in_order(tables, scan, ("bpp", "mse"), (), spill, plan)
    found = {}
    for cells in WideReader(wide, np.arange(len(POINTS))).cells(("bpp", "mse"), names=True):
        assert cells.names is not None
        for k, key in enumerate(zip(cells.names[0].to_pylist(), cells.names[1].to_pylist(), strict=True)):
            for j, point in enumerate(scan.own_points):
                if cells.known is None or cells.known[k, j]:
                    masks = [cells.there[name] for name in ("bpp", "mse")]
                    found[(*key, point)] = tuple(
                        float(cells.values[name][k, j]) if mask is None or mask[k, j] else None
                        for name, mask in zip(("bpp", "mse"), masks, strict=True)
                    )
    spill.close()
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scattered=st.booleans(), group=st.integers(1, 40))
def test_random_tables_give_the_cells_of_memory(
    tmp_path_factory: pytest.TempPathFactory, seed: int, scattered: bool, group: int
) -> None:
    """Ragged tables with failed rows, nulls, several datasets, pixel weights, bounds, caps, patterns and forbidden
    points."""
    rng = np.random.default_rng([3, seed])
    rows = rows_of(rng, int(rng.integers(1, 25)), True, int(rng.integers(1, 4)))
    if scattered:
        rows = [rows[k] for k in rng.permutation(len(rows))]
    path = write(tmp_path_factory.mktemp("t") / "t.parquet", rows, group)
    statement = Statement.of(
        maximize="psnr",
        at_most={"bpp": 1.0, "mse": 50.0},
        weights={"bpp": "pixels"} if rng.random() < 0.5 else None,
        each_at_most={"mse": float(np.exp(rng.normal(5, 1)))} if rng.random() < 0.4 else None,
        points=["!png"] if rng.random() < 0.3 else None,
        forbid=[("*", "webp:*0")] if rng.random() < 0.3 else None,
        cap={"psnr": 33.0} if rng.random() < 0.3 else None,
    )
    try:
        _, problem = in_memory(path, statement)
    except RdpError as error:
        with pytest.raises(type(error)) as caught, ParquetSource(path, statement, MEMORY) as source:
            streamed(source)
        assert (
            str(caught.value).split(" of its ")[0].split(" has")[-1]
            == str(error).split(" of its ")[0].split(" has")[-1]
        )
        return
    if not problem.allowed.any(axis=1).all():
        with pytest.raises(NoPointLeftError, match="no point left"), ParquetSource(path, statement, MEMORY) as source:
            streamed(source)
        return
    same(path, statement)


def test_a_file_without_datasets_and_statuses_is_read_with_the_defaults(tmp_path: Path) -> None:
    """As `read_table` fills them."""
    rows = rows_of(np.random.default_rng(9), 10, False)
    same(write(tmp_path / "t.parquet", rows, leave_out=("dataset", "status")))


def test_names_may_be_categories_or_numbers(tmp_path: Path) -> None:
    """Pandas stores categories as dictionaries; images and points may be called by numbers."""
    count = 50
    table = pa.table(
        {
            "image": pa.array(np.repeat(np.arange(count), 3)),
            "point": pa.array(["a", "b", "c"] * count).dictionary_encode(),
            "bpp": pa.array(np.arange(3 * count, dtype=np.float32)),
            "mse": pa.array(np.arange(3 * count)),
            "psnr": pa.array(np.arange(3 * count) + 0.5),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=17)
    assert same(tmp_path / "t.parquet").ordered


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    """`--column bpp=rate`, and the refusals of `read_table` for maps that make no sense."""
    rows = rows_of(np.random.default_rng(9), 10, False)
    path = write(tmp_path / "t.parquet", rows)
    table = pq.read_table(path)
    theirs = {"bpp": "rate", "image": "file"}
    pq.write_table(
        table.rename_columns(["file" if n == "image" else "rate" if n == "bpp" else n for n in SCHEMA.names]), path
    )
    expected = state_problem(read_table(path, theirs), STATEMENT)
    with ParquetSource(path, STATEMENT, MEMORY, columns=theirs) as source:
        values = np.concatenate([block.columns[1] for block in source.blocks()])
    np.testing.assert_array_equal(values, expected.constraints[0].term.values)
    with pytest.raises(TableError, match="no column 'bits'"):
        ParquetSource(path, STATEMENT, MEMORY, columns={"bpp": "bits"})
    with pytest.raises(TableError, match="has no column 'image'"):
        ParquetSource(path, STATEMENT, MEMORY)


# ---- fixed and forbidden choices


def test_fixed_and_forbidden_choices_are_kept(tmp_path: Path) -> None:
    """By name, by label where there are several datasets, as text or as pairs; scattered rows too."""
    rng = np.random.default_rng(10)
    rows = rows_of(rng, 24, False, 2)
    name = rows[0]["image"]
    statement = Statement.of(
        minimize="mse",
        at_most={"bpp": 1.0},
        fix=[f"set1/{name}=webp:quality=10"],
        forbid=[("*", "png"), (rows[8]["image"], "avif:*"), f"set0/{name}=webp:quality=5"],
    )
    assert same(write(tmp_path / "t.parquet", rows), statement).ordered
    scattered = write(tmp_path / "s.parquet", [rows[k] for k in rng.permutation(len(rows))])
    assert not same(scattered, statement).ordered


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"forbid": [("folder/*", "png")]}, "is a pattern; in a streamed solve"),
        ({"forbid": [("nowhere.png", "png")]}, "means no image"),
        ({"fix": {"folder/000.png": "gif"}}, "means no point"),
        ({"group_at_most": {"bpp": 1.0}}, "streamed solve"),
        ({"max_points": 2}, "streamed solve"),
        ({"side_info": True}, "streamed solve"),
        ({"points": ["gif"]}, "means no point"),
    ],
)
def test_what_cannot_be_streamed_is_refused_by_name(tmp_path: Path, words: Mapping[str, Any], message: str) -> None:
    """Group budgets, few points, side information, patterns over images."""
    path = write(tmp_path / "t.parquet", rows_of(np.random.default_rng(1), 5, False))
    with pytest.raises(SpecError, match=message):
        ParquetSource(path, Statement.of(minimize="mse", at_most={"bpp": 1.0}, **words), MEMORY)


# ---- refusals of cells and keys


def changed(rows: list[dict[str, Any]], row: int, **values: Any) -> list[dict[str, Any]]:
    return [{**one, **values} if k == row else one for k, one in enumerate(rows)]


def swapped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that do not lie in order."""
    return [*rows[1:], rows[0]]


Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.mark.parametrize("order", [lambda rows: rows, swapped], ids=["in order", "scattered"])
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: changed(rows, 6, mse=float("nan")),
        lambda rows: changed(rows, 6, psnr=float("inf")),
        lambda rows: changed(changed(rows, 6, psnr=float("inf")), 13, psnr=float("inf")),
        lambda rows: [{**r, "status": "failed"} if r["image"] == rows[20]["image"] else r for r in rows],
        lambda rows: [{**r, "bpp": None} if r["image"] == rows[20]["image"] else r for r in rows],
        lambda rows: [*rows, dict(rows[5])],
        lambda rows: [*rows[:6], dict(rows[5]), *rows[6:]],
    ],
    ids=["nan", "infinite", "two infinite", "all failed", "no rate", "came back", "twice within"],
)
def test_cells_that_cannot_be_used_are_refused_as_in_memory(tmp_path: Path, change: Change, order: Change) -> None:
    """The same error with the same words, but for which of several rows it tells."""
    path = write(tmp_path / "t.parquet", order(change(rows_of(np.random.default_rng(3), 30, False))), 11)
    with pytest.raises(TableError) as expected:
        state_problem(read_table(path), STATEMENT)
    with pytest.raises(TableError) as found, ParquetSource(path, STATEMENT, MEMORY) as source:
        streamed(source)
    assert str(found.value).split(", again in row")[0] == str(expected.value).split(", again in row")[0]
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".rdp-")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": None}, "row 7: 'image' is empty"),
        ({"image": ""}, "row 7: 'image' is empty"),
        ({"point": ""}, "row 7: 'point' is empty"),
        ({"point": None}, "row 7: 'point' is empty"),
        ({"dataset": ""}, "row 7: 'dataset' is empty"),
        ({"status": "done"}, "row 7: status 'done' is neither"),
        ({"status": None}, "row 7: status None is neither"),
    ],
)
def test_empty_keys_and_unknown_statuses_are_refused_with_their_row(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    """Rows count from 1, as in memory."""
    path = write(tmp_path / "t.parquet", changed(rows_of(np.random.default_rng(3), 30, False), 6, **values), 4)
    with pytest.raises(TableError, match=message):
        read_table(path)
    with pytest.raises(TableError, match=message):
        ParquetSource(path, STATEMENT, MEMORY)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"minimize": "mes"}, "has no column 'mes'. Did you mean 'mse'"),
        ({"minimize": "status"}, "'status' of .* holds string values, not numbers"),
        ({"minimize": "mse", "cap": {"vmaf": 1.0}}, "no column 'vmaf'"),
    ],
)
def test_columns_that_are_not_there_or_no_numbers_are_refused(
    tmp_path: Path, words: dict[str, Any], message: str
) -> None:
    """By name, with a suggestion."""
    path = write(tmp_path / "t.parquet", rows_of(np.random.default_rng(3), 5, False))
    with pytest.raises(TableError, match=message):
        ParquetSource(path, Statement.of(**words), MEMORY)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """CSV, nothing, an empty table, and a damaged file."""
    (tmp_path / "t.csv").write_text("image,point\n")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(TableError, match="cannot be streamed"):
        ParquetSource(tmp_path / "t.csv", STATEMENT, MEMORY)
    with pytest.raises(RdpError, match="does not exist"):
        ParquetSource(tmp_path / "none.parquet", STATEMENT, MEMORY)
    with pytest.raises(TableError, match="cannot read"):
        ParquetSource(tmp_path / "d.parquet", STATEMENT, MEMORY)
    with pytest.raises(TableError, match="has no rows"):
        ParquetSource(write(tmp_path / "e.parquet", []), STATEMENT, MEMORY)


def test_times_of_busy_machines_are_refused(tmp_path: Path) -> None:
    """As in memory: contended times are no measurements."""
    rows = rows_of(np.random.default_rng(3), 6, False)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    table = table.append_column("decode_s", pa.array(np.ones(len(rows))))
    table = table.append_column("contended", pa.array([None, True, *[False] * (len(rows) - 2)]))
    pq.write_table(table, tmp_path / "t.parquet")
    statement = Statement.of(minimize="mse", at_most={"decode_s": 1.0})
    with pytest.raises(TableError, match="1 cell of .* were timed while other workers ran"):
        state_problem(read_table(tmp_path / "t.parquet"), statement)
    with (
        pytest.raises(TableError, match="1 cell of .* were timed while other workers ran"),
        ParquetSource(tmp_path / "t.parquet", statement, MEMORY) as source,
    ):
        streamed(source)


# ---- samples


@pytest.mark.parametrize("group", [50, 100_000])
@pytest.mark.parametrize("scattered", [False, True])
def test_a_sample_is_of_images_of_the_table_and_the_same_every_time(
    tmp_path: Path, group: int, scattered: bool
) -> None:
    """Different images, as many as asked for, from all over the file."""
    rng = np.random.default_rng(11)
    rows = rows_of(rng, 600, False)
    for number, row in enumerate(rows):
        row["mse"] = float(number // 4)
    rows = [rows[k] for k in rng.permutation(len(rows))] if scattered else rows
    with ParquetSource(write(tmp_path / "t.parquet", rows, group), STATEMENT, MEMORY) as source:
        first, second = ([block.columns[0] for block in source.sample(40)] for _ in range(2))
        drawn = np.concatenate(first)[:, 0]
        np.testing.assert_array_equal(drawn, np.concatenate(second)[:, 0])
        assert len(drawn) == len(set(drawn.tolist())) == 40
        assert drawn.min() < 100
        assert drawn.max() > 500
        assert sum(block.images for block in source.sample(10_000)) == 600


# ---- run folders


def key_of(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: row[name] for name in ("dataset", "image", "point")}


def write_run(path: Path, batches: list[list[dict[str, Any]]], metrics: tuple[str, ...] = ("mse", "psnr")) -> Path:
    """A run folder with the cells of some batches of rows, and beside them the scores that rows have."""
    with RunWriter(path, {"version": 1}) as writer:
        for name in metrics:
            writer.add_metric(ScoreSet(name, "0" * 12, (name,), {"name": name}))
        for rows in batches:
            for row in rows:
                cell = {**key_of(row), **{name: row[name] for name in ("bpp", "width", "height", "status")}}
                scores = {n: {**key_of(row), n: row[n], "message": None} for n in metrics if row["status"] == "ok"}
                writer.add({**cell, "contended": False, "session": 1}, scores, row.get("replaces", False))
            writer.flush()
    return path


@pytest.mark.parametrize("ragged", [False, True])
def test_a_run_whose_metrics_lie_like_its_cells_is_read_in_order(tmp_path: Path, ragged: bool) -> None:
    """Parts of several commits; failed cells have no scores."""
    rows = rows_of(np.random.default_rng(12), 40, ragged)
    cut = next(k for k in range(60, len(rows)) if rows[k]["image"] != rows[k - 1]["image"])
    assert same(write_run(tmp_path / "run", [rows[:cut], rows[cut:]])).ordered


def test_a_run_that_grew_by_points_is_put_in_order(tmp_path: Path) -> None:
    """The second call of evaluate visits all images again."""
    rows = rows_of(np.random.default_rng(13), 40, False)
    late = [row for row in rows if row["point"] == "png"]
    early = [row for row in rows if row["point"] != "png"]
    assert not same(write_run(tmp_path / "run", [early, late])).ordered


def test_metrics_in_another_order_are_joined_by_key(tmp_path: Path) -> None:
    """As when a metric was added later, by several workers."""
    rng = np.random.default_rng(14)
    rows = rows_of(rng, 30, False)
    run = write_run(tmp_path / "run", [rows], ("mse",))
    with RunWriter(run, {"version": 1}) as writer:
        writer.add_metric(ScoreSet("psnr", "0" * 12, ("psnr",), {"name": "psnr"}))
        for k in rng.permutation(len(rows)):
            writer.add(None, {"psnr": {**key_of(rows[k]), "psnr": rows[k]["psnr"], "message": None}})
    assert not same(run).ordered


def test_of_rows_that_replace_others_the_last_counts(tmp_path: Path) -> None:
    """In cells and in scores, before the run was compacted."""
    rows = rows_of(np.random.default_rng(15), 30, False)
    writer = RunWriter(tmp_path / "run", {"version": 1})
    with writer:
        for name in ("mse", "psnr"):
            writer.add_metric(ScoreSet(name, "0" * 12, (name,), {"name": name}))
        for turn, batch in enumerate((rows, [{**row, "bpp": 0.125, "mse": 7.0} for row in rows[17:40]])):
            for row in batch:
                scores = {n: {**key_of(row), n: row[n], "message": None} for n in ("mse", "psnr")}
                writer.add({**key_of(row), "bpp": row["bpp"], "status": "ok"}, scores, turn == 1)
            writer.flush()
        # Leaving the writer merges the parts; here they are read before.
        source = same(tmp_path / "run")
        assert not source.ordered
    assert same(tmp_path / "run").images == 30


# ---- memory and hashes


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("500MB", 500_000_000),
        ("2GB", 2_000_000_000),
        ("1.5GiB", 3 << 29),
        ("64k", 64_000),
        ("1000", 1000),
        ("2 g", 2 * 10**9),
    ],
)
def test_amounts_of_memory_are_understood(text: str, nbytes: int) -> None:
    """Decimal and binary units."""
    assert parse_memory(text) == nbytes


@pytest.mark.parametrize("text", ["", "much", "-1GB", "2 bananas", "nan", "1.5.2MB", "i"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(SpecError, match="500MB, 2GB or 1.5GiB"):
        parse_memory(text)


def test_too_little_memory_is_refused_with_the_least_that_works(tmp_path: Path) -> None:
    """And that much works indeed."""
    path = write(tmp_path / "t.parquet", rows_of(np.random.default_rng(3), 30, False))
    with pytest.raises(SpecError, match="too little") as caught:
        ParquetSource(path, STATEMENT, 10_000_000)
    least = str(caught.value).split(": ")[-1].split(" is the least")[0]
    assert used_memory() < parse_memory(least) < used_memory() + 300_000_000
    assert size_text(parse_memory(least)) == least
    with ParquetSource(path, STATEMENT, int(parse_memory(least) * 1.1)) as source:
        assert source.images == 30


@given(st.lists(st.text(max_size=40), max_size=60))
def test_equal_texts_have_equal_hashes_and_different_texts_different_ones(texts: list[str]) -> None:
    """Also of slices, and whatever stands beside them in memory."""
    array = pa.array(["before", *texts, *texts], pa.string())
    hashes = text_hashes(array.slice(1)).tolist()
    assert hashes[: len(texts)] == hashes[len(texts) :] == text_hashes(pa.array(texts, pa.string())).tolist()
    assert len(set(hashes)) == len(set(texts))


@pytest.mark.parametrize("count", [0, 1, 2, 70_000, 3_000_000])
def test_a_hash_that_comes_twice_is_found(count: int) -> None:
    """Among few and many."""
    values = np.random.default_rng(0).permutation(count).astype(np.uint64)
    different, twice = Hashes(), Hashes()
    for start in range(0, count, 65_536):
        different.add(values[start : start + 65_536])
        twice.add(values[start : start + 65_536])
    twice.add(values[:1])
    assert not different.repeated()
    assert twice.repeated() is (count > 0)
