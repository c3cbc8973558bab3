"""`rdp report` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import rdp


def report(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rdp", "report", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def table(frame: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "cells.csv"
    frame.rename(columns={"bpp": "rate"}).to_csv(path, index=False)
    return path


def test_the_command_writes_the_report_and_says_where(table: Path, tmp_path: Path) -> None:
    rdp.solve(table, minimize="mse", at_most={"bpp": 0.3}, columns={"bpp": "rate"}).save(tmp_path / "rd.json")
    out = tmp_path / "report"
    done = report(table, "--selection", tmp_path / "rd.json", "--out", out, "--column", "bpp=rate", "--title", "T")
    assert done.returncode == 0, done.stderr
    assert str(out / "report.md") in done.stdout
    assert (out / "report.md").read_text().startswith("# T\n")


def test_json_is_one_document_without_literals_that_json_lacks(lossless: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "cells.parquet"
    lossless.to_parquet(table)
    rdp.solve(table, minimize="mse", at_most={"bpp": 0.3}).save(tmp_path / "a.json")
    rdp.solve(table, minimize="mse", at_most={"bpp": 0.001}).save(tmp_path / "b.json")
    words = ["--selection", tmp_path / "a.json", "--selection", tmp_path / "b.json", "--out", tmp_path / "o", "--json"]
    done = report(table, *words)
    assert done.returncode == 0, done.stderr

    def refuse(name: str) -> None:
        raise AssertionError(name)

    document = json.loads(done.stdout, parse_constant=refuse)
    assert document["selections"] == ["a", "b"]
    assert len(document["tables"]["points"]) == 8
    assert "**INFEASIBLE**" in (tmp_path / "o" / "report.md").read_text()


def test_bad_input_is_a_message_and_exit_code_2(table: Path, tmp_path: Path) -> None:
    done = report(table, "--selection", tmp_path / "none.json", "--out", tmp_path / "o")
    assert done.returncode == 2
    assert "none.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_with_other_column_names_is_reported_under_the_map_it_was_solved_with(tmp_path: Path) -> None:
    table, path = tmp_path / "u.csv", tmp_path / "u.json"
    table.write_text("file,setting,rate,err\na,q1,0.5,10\na,q2,0.9,5\nb,q1,0.4,8\nb,q2,0.7,4\n")
    columns = {"image": "file", "point": "setting", "bpp": "rate", "mse": "err"}
    rdp.solve(table, minimize="mse", at_most={"bpp": 0.7}, columns=columns).save(path)
    for given in (None, columns):
        report = rdp.write_report(table, path, tmp_path / "report", column_map=given, figures=())
        assert report.tables["points"]["bpp"].tolist()[:2] == [pytest.approx(0.45), pytest.approx(0.8)]
