"""Charged decoders in documents, in sweeps, in streamed solves, and as the command tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rdp
from rdp.cli import solve as solve_cli
from rdp.errors import SpecError, TableError
from rdp.selection import load_selection
from rdp.selection.statement import Statement
from rdp.selection.streaming.source import ParquetSource

POINTS = ("low:d=0", "low:d=1", "low:d=2", "low:d=3", "high:d=0", "high:d=1", "jpeg")
ENCODERS = ("low", "low", "low", "low", "high", "high", "jpeg")
Frames = Callable[..., pd.DataFrame]


def test_a_selection_with_charged_decoders_comes_back(frame_of: Frames, tmp_path: Path) -> None:
    frame = frame_of()
    for on in (True, False):
        selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 1.6, "lpips": 0.6}, decoder_info=on)
        document = selection.to_dict()
        assert document["problem"]["statement"]["decoder_info"] is on
        path = selection.save(tmp_path / f"{on}.json")
        again = load_selection(path, frame)
        assert again.to_dict() == document
        assert (again.problem.naming is not None) is on
        assert ("decoder_info" in document) is on
    both = [json.loads((tmp_path / f"{on}.json").read_text())["problem"]["fingerprint"] for on in (True, False)]
    assert both[0]["statement"] != both[1]["statement"] and both[0]["values"]["bpp"] != both[1]["values"]["bpp"]


def test_the_document_has_both_rates(frame_of: Frames) -> None:
    selection = rdp.solve(frame_of(), minimize="lpips", points=["low:*"], at_most={"bpp": 1.125})
    document = selection.to_dict()
    averages = {entry["column"]: entry["average"] for entry in document["averages"]}
    said = document["decoder_info"]
    assert averages["bpp"] == pytest.approx(1.125) and averages["nbytes"] == pytest.approx(2.25)
    assert said["bits"] == 4
    assert {entry["column"]: entry["average"] for entry in said["averages"]} == pytest.approx(
        {"bpp": 1.0, "nbytes": 2.0}
    )
    assert document["total_bits"] == 36


def test_documents_from_before_the_charge_load_as_they_were(frame_of: Frames, tmp_path: Path) -> None:
    """They do not say anything of decoders, and were solved without their bits."""
    frame = frame_of()
    selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 1.6}, decoder_info=False)
    path = selection.save(tmp_path / "old.json")
    document = json.loads(path.read_text())
    del document["problem"]["statement"]["decoder_info"]
    path.write_text(json.dumps(document))
    loaded = load_selection(path, frame)
    assert loaded.averages["bpp"] == selection.averages["bpp"] and loaded.problem.naming is None
    assert loaded.to_dict() == document


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["problem"]["statement"].pop("decoder_info"), "the problem statement in it"),
        (lambda d: d["problem"]["statement"].update(decoder_info=False), "the problem statement in it"),
        (lambda d: d["problem"]["statement"].update(decoder_info=1), "decoder_info must be True or False"),
        (lambda d: d["decoder_info"].update(bits=1.0), "decoder_info: bits is 1"),
        (lambda d: d["decoder_info"]["averages"][0].update(average=0.1), "decoder_info: average"),
        (lambda d: d["decoder_info"]["averages"].pop(), "decoder_info is of"),
        (lambda d: d.pop("decoder_info"), "decoder_info is missing"),
    ],
)
def test_documents_that_contradict_their_decoders_are_refused(
    frame_of: Frames, tmp_path: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    frame = frame_of()
    path = rdp.solve(frame, minimize="mse", at_most={"bpp": 1.2}).save(tmp_path / "s.json")
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises((TableError, SpecError), match=message):
        load_selection(path, frame)


def test_a_table_that_lost_its_encoders_or_gained_a_decoder_is_another_one(frame_of: Frames, tmp_path: Path) -> None:
    frame = frame_of()
    path = rdp.solve(frame, minimize="mse", at_most={"bpp": 1.6}).save(tmp_path / "s.json")
    with pytest.raises(TableError, match="bits for the choice of a decoder were charged, and no points share a file"):
        load_selection(path, frame.drop(columns="encoder_id"))
    more = frame[frame["point"] == "low:d=3"].assign(point="low:d=4", decoder_id="d9", mse=1.0)
    with pytest.raises(TableError, match="1 new point"):
        load_selection(path, pd.concat([frame, more]))


# ---- sweeps, streams and the command


def test_a_frontier_has_rates_with_and_without_the_bits(frame_of: Frames) -> None:
    from rdp.report.frontier_curves import main_curve, single_curves

    words = {"minimize": "lpips", "points": ["low:*"], "sweep": {"bpp": "1.0|1.125|2.0"}}
    curve = rdp.frontier(frame_of(), **words)
    assert [point.found for point in curve.points] == [False, True, True]
    table = curve.to_pandas()
    assert table["average_bpp"].tolist()[1:] == pytest.approx([1.125, 1.125])
    assert table["average_bpp_of_files"].tolist()[1:] == pytest.approx([1.0, 1.0])
    assert curve.to_dict()["points"][1]["averages_of_files"] == pytest.approx({"bpp": 1.0, "nbytes": 2.0})
    singles, notes = single_curves(curve, main_curve(curve))
    assert [x for one in singles for x in one.xs] == pytest.approx([1.0] * 4)
    assert any("no bits that name a decoder" in note for note in notes)
    plain = rdp.frontier(frame_of(), decoder_info=False, **words)
    assert [point.found for point in plain.points] == [True] * 3
    assert "average_bpp_of_files" not in plain.to_pandas() and "averages_of_files" not in plain.to_dict()["points"][0]


def test_a_streamed_solve_refuses_shared_files_by_name(frame_of: Frames, tmp_path: Path) -> None:
    memory = 4 << 30

    def stream(frame: pd.DataFrame, **words: Any) -> dict[str, Any]:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
        statement = Statement.of(**({"minimize": "mse", "at_most": {"bpp": 1.5}} | words))
        with ParquetSource(path, statement, memory) as source:
            return source.statement.to_dict()

    plain = {"minimize": "mse", "at_most": {"bpp": 1.5}}
    with pytest.raises(SpecError, match=r"'low:d=0' and 'low:d=1', and a streamed solve cannot charge"):
        stream(frame_of())
    assert stream(frame_of(), decoder_info=False) == plain | {"decoder_info": False}
    apart = {"points": ["low:d=0", "high:d=1", "jpeg"]}
    assert stream(frame_of(), **apart) == plain | apart
    forbidden = stream(frame_of(), forbid=[("*", p) for p in (*POINTS[1:4], "high:d=1")])
    assert "decoder_info" not in forbidden
    assert "decoder_info" not in stream(frame_of(), at_most={"lpips": 0.5}), "no rate, nothing to charge"
    assert stream(frame_of(encoder_id=POINTS), decoder_info=True) == plain
    assert stream(frame_of(decoder_id=["d"] * 7), decoder_info=True) == plain
    hashes = frame_of(file_sha256=ENCODERS).drop(columns="encoder_id")
    with pytest.raises(SpecError, match="has no column encoder_id"):
        stream(hashes)


def test_the_command_says_both_rates(frame_of: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    frame_of().to_csv(path, index=False)

    def run(**words: Any) -> str:
        solve_cli.solve_command(str(path), minimize="lpips", points=["low:*"], at_most=["bpp=1.125"], **words)
        return capsys.readouterr().out

    out = run()
    rule = "bpp and nbytes include log2(4) = 2 bits an image for the choice among 4 decoders of a file;"
    assert rule in out
    assert "4 bits in all, the average of the files alone: bpp 1, nbytes 2" in out
    assert "files alone" not in run(no_decoder_info=True)
    document = json.loads(run(json=True))
    assert document["warnings"] == [rule[:-1]]
    assert document["decoder_info"]["bits"] == 4
