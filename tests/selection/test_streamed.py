"""Streamed solves: the answers of memory, checked by plain loops, within the memory that was given."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from rdp.cli.streamed import run_streamed
from rdp.errors import RdpError, SpecError, TableError
from rdp.selection.large import LARGE
from rdp.selection.solving import solve
from rdp.selection.statement import Statement
from rdp.selection.status import Status
from rdp.selection.streaming.memory import program_memory
from rdp.selection.streaming.selection import StreamedSelection
from rdp.selection.streaming.verb import chosen_points, solve_streamed

ROOM = 10**9
"""What a solve here may take beyond what this process has already, which other tests may have made large."""
POINTS = ["jpeg:quality=5", "jpeg:quality=10", "jpeg:quality=20", "jpeg:quality=40", "jpeg:quality=80"]


def room() -> int:
    """The memory to give a solve in this process."""
    return program_memory() + ROOM


def arrays(images: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rate up, distortion and perceptual distance down, noise that makes some points dominated."""
    rng = np.random.default_rng([9, seed])
    shape = (images, len(POINTS))
    complexity = np.exp(rng.normal(0, 0.7, images))[:, None]
    rate = np.geomspace(0.05, 1.2, len(POINTS)) * complexity * np.exp(rng.normal(0, 0.05, shape))
    error = 20 * complexity * (rate / complexity) ** -rng.uniform(0.7, 1.3, images)[:, None]
    distance = 0.1 * (rate / complexity) ** -rng.uniform(0.3, 0.8, images)[:, None] * np.exp(rng.normal(0, 0.1, shape))
    return {"bpp": rate, "mse": error * np.exp(rng.normal(0, 0.05, shape)), "lpips_alex": distance}


def write(path: Path, values: dict[str, np.ndarray], order: np.ndarray | None = None, **more: Any) -> Path:
    images = len(values["bpp"])
    rows = images * len(POINTS)
    table = pa.table(
        {
            "dataset": ["photos"] * rows,
            "image": np.repeat([f"{k:06}.png" for k in range(images)], len(POINTS)),
            "point": np.tile(POINTS, images),
            "width": np.repeat(100 + np.arange(images), len(POINTS)),
            "height": np.full(rows, 100),
            **{name: array.ravel() for name, array in values.items()},
            **more,
        }
    )
    pq.write_table(table if order is None else table.take(pa.array(order)), path, row_group_size=4_000)
    return path


def hold_against_loops(selection: StreamedSelection, values: dict[str, np.ndarray]) -> None:
    """Averages, budgets and counts of the written points, by `math.fsum`."""
    assert selection.chosen_file is not None
    number = {point: k for k, point in enumerate(POINTS)}
    chosen = {image: number[point] for _, image, point in chosen_points(selection.chosen_file)}
    images = len(values["bpp"])
    assert sorted(chosen) == [f"{k:06}.png" for k in range(images)]
    choice = [chosen[f"{k:06}.png"] for k in range(images)]
    assert selection.counts == {point: choice.count(k) for point, k in number.items()}
    pixels = [100.0 * (100 + k) for k in range(images)]
    for column, average in selection.averages.items():
        weights = pixels if selection.statement.weights.get(column) == "pixels" else [1.0] * images
        total = math.fsum(w * values[column][k, j] for k, (w, j) in enumerate(zip(weights, choice, strict=True)))
        assert average == pytest.approx(total / math.fsum(weights), rel=1e-13)
    for budget in selection.budgets:
        assert budget.average == selection.averages[budget.column]
        sign = 1 if budget.sense == "at_most" else -1
        assert sign * budget.average <= sign * budget.budget + 1e-12 * abs(budget.budget)


@pytest.mark.parametrize("images", [4_000, 40_000], ids=["collected", "passes"])
@pytest.mark.parametrize("scattered", [False, True], ids=["in order", "scattered"])
@pytest.mark.parametrize(
    "words",
    [
        {"minimize": "mse", "at_most": {"bpp": 0.3}},
        {"minimize": "mse", "at_most": {"bpp": 0.4, "lpips_alex": 0.203}},
        {"minimize": "mse", "at_most": {"bpp": 0.35}, "weights": {"bpp": "pixels"}},
        {"minimize": "bpp", "at_most": {"mse": 80.0, "lpips_alex": 0.188}, "weights": {"bpp": "pixels"}},
        {"minimize": "mse", "at_most": {"bpp": 0.3}, "each_at_most": {"bpp": 2.0}, "forbid": [("*", "*=10")]},
        {"minimize": "mse", "at_most": {"bpp": 100.0}},
        {"minimize": "lpips_alex"},
    ],
    ids=["one", "two", "pixels", "rate", "bounds", "slack", "none"],
)
def test_a_streamed_solve_is_as_good_as_one_in_memory(
    tmp_path: Path, words: dict[str, Any], scattered: bool, images: int
) -> None:
    """Both are within the gap of the best, by bounds that contradict neither; averages by plain loops."""
    values = arrays(images)
    order = np.random.default_rng(1).permutation(images * len(POINTS)) if scattered else None
    path = write(tmp_path / "t.parquet", values, order)
    largest = LARGE if images == 4_000 else 0
    out = tmp_path / "chosen.parquet"
    selection = solve_streamed(path, Statement.of(**words), memory=room(), out=out, largest=largest)
    assert selection.status is Status.OPTIMAL
    assert selection.in_order is not scattered
    assert selection.gap is not None
    assert selection.gap <= 1e-6
    hold_against_loops(selection, values)
    memory = solve(path, **words, gap=1e-6)
    assert selection.objective is not None
    assert selection.bound is not None
    assert memory.objective is not None
    assert memory.bound is not None
    assert selection.objective == pytest.approx(memory.objective, rel=1e-6)
    assert selection.bound <= memory.objective * (1 + 1e-12)
    assert memory.bound <= selection.objective * (1 + 1e-12)
    for one, other in zip(selection.budgets, memory.budgets, strict=True):
        assert one.price == pytest.approx(other.price, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("images", [500, 3_000])
def test_few_numbers_are_solved_exactly_as_in_memory(tmp_path: Path, images: int) -> None:
    """The same points, the same bound, to a gap of 1e-9, whatever the order of the rows."""
    values = arrays(images, 2)
    words: dict[str, Any] = {"minimize": "mse", "at_most": {"bpp": 0.4, "lpips_alex": 0.203}}
    memory = solve(write(tmp_path / "t.parquet", values), **words)
    for number, order in enumerate((None, np.random.default_rng(3).permutation(images * len(POINTS)))):
        path, out = write(tmp_path / f"{number}.parquet", values, order), tmp_path / f"c{number}.parquet"
        selection = solve_streamed(path, Statement.of(**words), memory=room(), gap=1e-9, out=out)
        assert {image: point for _, image, point in chosen_points(out)} == memory.chosen
        assert (selection.status, selection.bound) == (memory.status, memory.bound)


def test_the_answer_does_not_depend_on_threads_or_the_run(tmp_path: Path) -> None:
    """The same file of points, byte by byte."""
    path = write(tmp_path / "t.parquet", arrays(30_000, 3))
    statement = Statement.of(minimize="mse", at_most={"bpp": 0.4, "lpips_alex": 0.203})
    files = []
    for number, threads in enumerate((1, 2, 2)):
        out = tmp_path / f"{number}.parquet"
        solve_streamed(path, statement, memory=room(), out=out, threads=threads, largest=0)
        files.append(out.read_bytes())
    assert files[0] == files[1] == files[2]


def test_the_document_says_all_that_is_known(tmp_path: Path) -> None:
    """And stands beside the points, without numbers that JSON does not have."""
    values = arrays(2_000, 4)
    path = write(tmp_path / "t.parquet", values)
    statement = Statement.of(minimize="mse", at_most={"bpp": 0.3}, each_at_most={"lpips_alex": 5.0})
    selection = solve_streamed(path, statement, memory=room(), out=tmp_path / "deep" / "chosen.parquet")
    document = json.loads((tmp_path / "deep" / "chosen.json").read_text())
    assert document == json.loads(json.dumps(selection.to_dict(), allow_nan=False))
    assert document["status"] == "optimal"
    assert document["problem"]["images"] == 2_000
    assert Statement.from_dict(document["problem"]["statement"]) == statement
    assert document["chosen_file"] == "chosen.parquet"
    assert sum(document["counts"].values()) == 2_000
    assert {entry["column"] for entry in document["averages"]} == {"mse", "bpp", "lpips_alex"}
    assert "one more 0.01 bpp lowers the average mse" in document["budgets"][0]["sentence"]
    assert selection.nbytes_read > path.stat().st_size / 2
    assert selection.peak_memory > 0
    assert sorted(entry.name for entry in (tmp_path / "deep").iterdir()) == ["chosen.json", "chosen.parquet"]


@pytest.mark.parametrize("largest", [0, LARGE], ids=["passes", "collected"])
def test_impossible_budgets_are_explained_by_what_each_alone_can_reach(tmp_path: Path, largest: int) -> None:
    """The least attainable average is that of a plain loop, and nothing is written."""
    values = arrays(5_000, 5)
    path = write(tmp_path / "t.parquet", values)
    statement = Statement.of(minimize="mse", at_most={"bpp": 0.01, "lpips_alex": 0.3})
    out = tmp_path / "chosen.parquet"
    selection = solve_streamed(path, statement, memory=room(), out=out, largest=largest)
    assert selection.status is Status.INFEASIBLE
    assert not selection.found
    assert f"{float(values['bpp'].min(axis=1).mean()):.4g}"[:-1] in selection.explanation
    assert (selection.objective, selection.counts, selection.gap) == (None, None, None)
    assert json.loads(json.dumps(selection.to_dict(), allow_nan=False))["counts"] is None
    assert not out.exists()
    if not largest:
        assert "at most 0.01 is asked for: out of reach" in selection.explanation
        assert "at most 0.3 is asked for: within reach alone" in selection.explanation


@pytest.mark.parametrize("largest", [0, LARGE], ids=["passes", "collected"])
def test_budgets_that_exclude_each_other_are_not_called_possible(tmp_path: Path, largest: int) -> None:
    """Each alone can be met, both cannot: no selection, and no claim of one."""
    path = write(tmp_path / "t.parquet", arrays(5_000, 6))
    statement = Statement.of(minimize="mse", at_most={"bpp": 0.1, "lpips_alex": 0.12})
    selection = solve_streamed(path, statement, memory=room(), largest=largest)
    assert selection.status in (Status.INFEASIBLE, Status.UNKNOWN)
    assert not selection.found
    assert "alone" in selection.explanation


def test_images_whose_bounds_leave_nothing_are_named(tmp_path: Path) -> None:
    """How many, which, and what bound would do."""
    values = arrays(3_000, 7)
    values["bpp"][1_234] += 100.0
    path = write(tmp_path / "t.parquet", values)
    statement = Statement.of(minimize="mse", at_most={"bpp": 0.5}, each_at_most={"bpp": 60.0})
    selection = solve_streamed(path, statement, memory=room())
    assert selection.status is Status.INFEASIBLE
    assert "1 of 3000 images have no point left within the bounds on each image" in selection.explanation
    assert "001234.png: its least bpp is 100." in selection.explanation
    assert "--each-at-most bpp=100." in selection.explanation


def test_left_out_cells_are_counted_in_a_warning(tmp_path: Path) -> None:
    """As in memory."""
    values = arrays(2_000, 8)
    mse = [None if k == 7 else v for k, v in enumerate(values["mse"].ravel().tolist())]
    path = write(tmp_path / "t.parquet", {"bpp": values["bpp"]}, mse=mse)
    selection = solve_streamed(path, Statement.of(minimize="mse", at_most={"bpp": 0.3}), memory=room())
    assert selection.warnings == solve(path, minimize="mse", at_most={"bpp": 0.3}).warnings
    assert "1 of 10000 cells" in selection.warnings[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "lots"}, "500MB"),
        ({"memory": "50MB"}, "is the least"),
        ({"gap": -1.0}, "gap must be"),
        ({"time_limit": 0.0}, "time limit"),
        ({"out": "chosen.json"}, "name such a file"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    path = write(tmp_path / "t.parquet", arrays(10))
    with pytest.raises(SpecError, match=message):
        solve_streamed(path, Statement.of(minimize="mse"), **{"memory": room(), **options})


def test_a_failure_while_writing_leaves_no_file(tmp_path: Path) -> None:
    """A table that changes between the passes: fewer rows than when the keys were read."""
    path = write(tmp_path / "t.parquet", arrays(4_000))
    out = tmp_path / "out"
    (tmp_path / "readonly").mkdir()
    (tmp_path / "readonly" / "chosen.parquet").mkdir()
    with pytest.raises(RdpError):
        solve_streamed(path, Statement.of(minimize="mse"), memory=room(), out=tmp_path / "readonly" / "chosen.parquet")
    assert [entry.name for entry in (tmp_path / "readonly").iterdir()] == ["chosen.parquet"]
    broken = arrays(4_000)
    broken["mse"][3_999, 4] = np.nan
    with pytest.raises(TableError, match="mse of image '003999.png' at 'jpeg:quality=80' .* is nan"):
        solve_streamed(write(path, broken), Statement.of(minimize="mse"), memory=room(), out=out / "c.parquet")
    assert not out.exists() or not list(out.iterdir())


# ---- the command line


def command(path: Path, out: Path | None, json: bool = False, **words: Any) -> None:
    run_streamed(
        str(path),
        words,
        memory=str(room()),
        gap=None,
        time_limit=None,
        columns={},
        out=out,
        scratch=None,
        json=json,
        refused={"--bootstrap": False},
    )


def test_the_command_prints_what_a_person_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, averages, prices, counts, memory, and where the points are."""
    path = write(tmp_path / "t.parquet", arrays(2_000))
    command(path, tmp_path / "c.parquet", minimize="mse", at_most={"bpp": 0.3})
    printed = capsys.readouterr().out
    assert "optimal selection for 2000 images among 5 points" in printed
    assert "one more 0.01 bpp lowers the average mse" in printed
    assert f"written to {tmp_path / 'c.parquet'}, and c.json beside it" in printed
    command(path, None, json=True, minimize="mse", at_most={"bpp": 0.3})
    assert json.loads(capsys.readouterr().out)["status"] == "optimal"


def test_the_command_exits_as_rdp_solve_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """3 where it is impossible, with the explanation; options that cannot be streamed are named."""
    path = write(tmp_path / "t.parquet", arrays(500))
    with pytest.raises(typer.Exit) as caught:
        command(path, None, minimize="mse", at_most={"bpp": 0.001})
    assert caught.value.exit_code == 3
    assert "bpp" in capsys.readouterr().err
    with pytest.raises(SpecError, match="--bootstrap cannot be had in a streamed solve"):
        run_streamed(
            str(path),
            {"minimize": "mse"},
            memory=room(),
            gap=None,
            time_limit=None,
            columns={},
            out=None,
            scratch=None,
            json=False,
            refused={"--bootstrap": True},
        )


# ---- memory

PEAK = """
import sys
from rdp.selection.streaming.memory import parse_memory, peak_memory
from rdp.selection.statement import Statement
from rdp.selection.streaming.verb import solve_streamed
path, memory, out = sys.argv[1:4]
selection = solve_streamed(path, Statement.of(minimize="mse", at_most={"bpp": 0.4}), memory=memory, out=out)
print(selection.status, selection.gap, peak_memory(), selection.in_order)
"""


def write_large(path: Path, images: int, points: int, scattered: bool) -> int:
    """A table written group by group; the bytes that it takes in memory as pyarrow has it."""
    rng = np.random.default_rng(0)
    group = 20_000
    names = pa.array([f"codec:quality={k},{'option=value,' * 8}mode=1" for k in range(points)])
    point = names.take(pa.array(np.tile(np.arange(points), group)))
    owner = pa.array(np.repeat(np.arange(group), points))
    nbytes = 0
    writer = None
    for first in range(0, images, group):
        rate = np.geomspace(0.05, 1.2, points) * np.exp(rng.normal(0, 0.5, (group, 1)))
        error = 20 * rate ** -rng.uniform(0.7, 1.3, (group, 1)) * np.exp(rng.normal(0, 0.05, (group, points)))
        table = pa.table(
            {
                "image": pa.array([f"some/folder/of/images/{k:08}.png" for k in range(first, first + group)]).take(
                    owner
                ),
                "point": point,
                "bpp": rate.ravel(),
                "mse": error.ravel(),
            }
        )
        if scattered:
            table = table.take(pa.array(rng.permutation(table.num_rows)))
        nbytes += table.nbytes
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return nbytes


@pytest.mark.slow
@pytest.mark.parametrize("scattered", [False, True], ids=["in order", "scattered"])
def test_the_process_keeps_within_the_memory_given(tmp_path: Path, scattered: bool) -> None:
    """A table of several times the budget, in order and scattered; the peak of a fresh process."""
    budget = 400_000_000
    images = 500_000 if not scattered else 300_000
    table = tmp_path / "t.parquet"
    assert write_large(table, images, 20, scattered) > (2.5 if scattered else 4) * budget
    command = [sys.executable, "-c", PEAK, str(table), str(budget), str(tmp_path / "chosen.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, gap, peak, in_order = done.stdout.split()
    assert status == "optimal"
    assert float(gap) <= 1e-6
    assert in_order == str(not scattered)
    assert int(peak) <= budget
    assert pq.read_metadata(tmp_path / "chosen.parquet").num_rows == images
