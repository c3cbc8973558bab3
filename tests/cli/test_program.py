"""The program as its user meets it: a real process, its output, its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rdp


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "rdp", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sample photographs at six points."""
    folder = tmp_path_factory.mktemp("program")
    out = folder / "run"
    rdp.evaluate(rdp.sample_images()[1:3], ["webp:quality=5..45..10", "png"], ["mse", "psnr"], out, dataset="photos")
    return out


def test_version_and_help() -> None:
    assert program("--version").stdout.strip() == f"rdp {rdp.__version__}"
    done = program("--help")
    assert done.returncode == 0
    for command in ("evaluate", "solve", "report", "table", "weights", "codecs", "metrics", "samples"):
        assert command in done.stdout
        assert program(command, "--help").returncode == 0


def test_a_wrong_command_or_option_is_code_2() -> None:
    for words in (["evalute"], ["evaluate"], ["solve", "--minimise", "mse"], []):
        done = program(*words)
        assert done.returncode == 2 and "Traceback" not in done.stderr


def test_codecs_are_listed_and_specs_expanded() -> None:
    assert "webp" in program("codecs").stdout
    assert program("codecs", "webp:quality=1..2").stdout.split() == [f"webp:quality={q},method=4" for q in (1, 2)]
    families = json.loads(program("codecs", "--json").stdout)
    assert {family["family"] for family in families} >= {"jpeg", "jpeg2000", "webp", "avif", "png", "external"}
    done = program("codecs", "wepb")
    assert done.returncode == 2 and "Did you mean 'webp'" in done.stderr


def test_samples_are_copied(tmp_path: Path) -> None:
    done = program("samples", tmp_path / "photos")
    assert done.returncode == 0 and len(list((tmp_path / "photos").iterdir())) == 6


def test_evaluate_reports_as_json(tmp_path: Path) -> None:
    photo = rdp.sample_images()[1]
    done = program("evaluate", photo, "-c", "webp:quality=9", "-m", "mse,psnr", "-o", tmp_path / "run", "--json", "-q")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["encoded"] == 1 and document["failed"] == 0 and done.stderr.startswith("note: ICC profile ignored")


def test_the_table_is_shown_and_exported(run: Path, tmp_path: Path) -> None:
    assert "webp:quality=5,method=4" in program("table", "show", run).stdout
    rows = json.loads(program("table", "show", run, "--columns", "bpp,psnr", "--json").stdout)
    assert len(rows) == 12 and {row["psnr"] for row in rows if row["point"].startswith("png")} == {"inf"}
    means = json.loads(program("table", "show", run, "--points", "--json").stdout)
    assert len(means) == 6 and all(row["images"] == 2 for row in means)
    done = program("table", "export", run, tmp_path / "t.csv", "--long", "--columns", "bpp")
    assert done.returncode == 0 and len((tmp_path / "t.csv").read_text().splitlines()) == 13
    done = program("table", "show", run, "--columns", "bp")
    assert done.returncode == 2 and "Did you mean 'bpp'" in done.stderr


def test_a_selection_is_solved_saved_and_reported(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    done = program("solve", run, "--minimize", "mse", "--at-most", "bpp=0.4", "--out", path, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads(path.read_text())
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": 0.4})
    assert document["objective"]["average"] == selection.objective and document["status"] == selection.status.value
    done = program("report", run, "--selection", path, "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.md").exists()


def test_an_impossible_budget_is_code_3_with_an_explanation(run: Path) -> None:
    done = program("solve", run, "--minimize", "mse", "--at-most", "bpp=0.0001")
    assert done.returncode == 3 and "bpp" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--minimize", "mse", "--at-most", "bpp=much"], "bpp"),
        (["--minimize", "mse", "--at-most", "bpp=nan"], "bpp"),
        (["--minimize", "msee", "--at-most", "bpp=1"], "Did you mean 'mse'"),
        (["--at-most", "bpp=1"], "minimize"),
        (["--minimize", "psnr", "--at-most", "bpp=1"], "cap"),
    ],
)
def test_bad_words_are_code_2_and_say_what_to_do(words: list[str], expected: str, run: Path) -> None:
    done = program("solve", run, *words)
    assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_missing_and_empty_folders_are_code_2(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder
    if folder == "empty":
        path.mkdir()
    done = program("evaluate", path, "--codec", "png", "--out", tmp_path / "run")
    assert done.returncode == 2 and str(path) in done.stderr
    done = program("solve", path, "--minimize", "mse")
    assert done.returncode == 2 and str(path) in done.stderr


def test_a_reader_that_goes_away_is_no_error(run: Path) -> None:
    command = f"{sys.executable} -m rdp table show {run} --rows 0 | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
