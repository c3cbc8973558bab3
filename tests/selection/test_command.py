"""`rdp solve` as a process: exit codes, streams, and messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv as csv
import pytest

from rdp.tables import CellTable

MAIN = "from rdp.cli.app import main; main()"


@pytest.fixture
def study(table: CellTable, tmp_path: Path) -> Path:
    path = tmp_path / "study.csv"
    csv.write_csv(table.data, path)
    return path


def rdp_solve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, "solve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_selection_is_printed_and_written(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "selection.json"
    done = rdp_solve(study, "--minimize", "mse", "--at-most", "bpp=0.27", "--weights", "bpp=images", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "optimal selection for 3 images among 3 points" in done.stdout
    assert "one more 0.01 bpp lowers the average mse by" in done.stdout
    assert "     2  webp:quality=10" in done.stdout
    assert done.stderr == ""
    assert json.loads(out.read_text())["objective"]["average"] == pytest.approx(150 / 3)


def test_json_is_the_only_thing_on_stdout(study: Path) -> None:
    done = rdp_solve(study, "--minimize", "mse", "--at-most", "bpp=0.27", "--json")
    assert json.loads(done.stdout)["status"] == "optimal"


def test_all_words_reach_the_solver(study: Path) -> None:
    words = ["--maximize", "psnr", "--at-most", "bpp=0.5", "--at-least", "bpp=0.1", "--each-at-most", "mse=100"]
    words += ["--each-at-least", "psnr=30", "--points", "webp:*", "--points", "avif", "--cap", "psnr=60"]
    words += ["--solver", "cbc", "--gap", "1e-6", "--time-limit", "60", "--json"]
    done = rdp_solve(study, *words, "--fix", "a.png=webp:quality=10", "--forbid", "c*=avif:quality=50")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["solver"] == "cbc"
    assert document["problem"]["statement"] == {
        "maximize": "psnr",
        "at_most": {"bpp": 0.5},
        "at_least": {"bpp": 0.1},
        "each_at_most": {"mse": 100.0},
        "each_at_least": {"psnr": 30.0},
        "points": ["webp:*", "avif"],
        "fix": {"a.png": "webp:quality=10"},
        "forbid": [["c*", "avif:quality=50"]],
        "cap": {"psnr": 60.0},
    }


def test_a_users_own_column_names_are_mapped(table: CellTable, tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    csv.write_csv(table.data.rename_columns([{"bpp": "r=ate"}.get(n, n) for n in table.data.column_names]), path)
    done = rdp_solve(path, "--minimize", "mse", "--at-most", "bpp=0.27", "--column", "bpp=r=ate", "--json")
    assert done.returncode == 0, done.stderr


def test_an_infeasible_problem_ends_with_3_and_its_explanation(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.json"
    done = rdp_solve(study, "--minimize", "mse", "--at-most", "bpp=0.1", "--json", "--out", out)
    assert done.returncode == 3
    assert "the least attainable average is 0.133334" in done.stderr
    assert json.loads(done.stdout)["status"] == "infeasible"
    assert json.loads(out.read_text())["chosen"] is None


def _hard_table(path: Path, images: int = 1000, points: int = 10) -> Path:
    rng = np.random.default_rng(0)
    level = np.geomspace(0.05, 1.2, points)
    lines = ["image,point,bpp,mse,lpips_alex"]
    for i in range(images):
        scale, slope, steep = np.exp(rng.normal(0, 0.7)), rng.uniform(0.8, 1.4), rng.uniform(0.3, 0.8)
        noise = np.exp(rng.normal(0, 0.05, (3, points)))
        for j, rate in enumerate(level):
            bpp, mse = rate * scale**0.8 * noise[0, j], 60 * scale * (rate / 0.3) ** -slope * noise[1, j]
            lines.append(f"{i},q={j},{bpp},{mse},{0.12 * (rate / 0.3) ** -steep * noise[2, j]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_no_selection_within_the_limit_ends_with_4(tmp_path: Path) -> None:
    table = _hard_table(tmp_path / "hard.csv")
    done = rdp_solve(table, "--minimize", "mse", "--at-most", "bpp=0.3", "--time-limit", "1e-6")
    assert done.returncode == 4
    assert "found no selection within 1e-06 s" in done.stderr
    assert done.stdout == ""


def test_a_selection_that_is_not_proven_ends_with_0_and_its_gap_on_stderr(tmp_path: Path) -> None:
    table = _hard_table(tmp_path / "hard.csv")
    words = ["--minimize", "mse", "--at-most", "bpp=0.3", "--at-most", "lpips_alex=0.13", "--gap", "0"]
    done = rdp_solve(table, *words, "--time-limit", "4", "--solver", "cbc")
    assert done.returncode == 0, done.stderr
    assert "feasible selection" in done.stdout
    assert "not proven best: the distance from the best selection is at most" in done.stderr


INTERRUPTED = """
import os, signal, sys, threading, time

def interrupt():
    while not any(thread.name == "rdp solver" for thread in threading.enumerate()):
        time.sleep(0.05)
    time.sleep(0.5)  # into the search
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
from rdp.cli.app import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent as POSIX does")
@pytest.mark.parametrize("solver", ["cp-sat", "highs"])
def test_an_interrupted_solve_ends_with_130(tmp_path: Path, solver: str) -> None:
    table = _hard_table(tmp_path / "hard.csv")
    words = ["solve", table, "--minimize", "mse", "--at-most", "bpp=0.3", "--at-most", "lpips_alex=0.13"]
    words += ["--gap", "0", "--solver", solver, "--time-limit", "60"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minimize", "mse", "--at-most", "bpp=nan"], "--at-most bpp: 'nan' is not a finite number"),
        (["--minimize", "mse", "--at-most", "bpp=inf"], "--at-most bpp: 'inf' is not a finite number"),
        (["--minimize", "mse", "--at-most", "bpp=a lot"], "--at-most bpp: 'a lot' is not a finite number"),
        (["--minimize", "mse", "--at-most", "bpp"], "--at-most 'bpp': write it as NAME=VALUE"),
        (["--minimize", "mse", "--at-most", "bpp=1", "--at-most", "bpp=2"], "--at-most bpp is given twice: 1 and 2"),
        (["--minimize", "mse", "--gap", "small"], "--gap: 'small' is not a finite number"),
        (["--minimize", "mse", "--time-limit", "0"], "the time limit must be"),
        (["--minimize", "msee"], "no column 'msee'. Did you mean 'mse'"),
        (["--minimize", "mse", "--maximize", "psnr"], "either minimize or maximize"),
        (["--minimize", "mse", "--solver", "gurobi"], "no solver 'gurobi'"),
        (["--minimize", "mse", "--fix", "a.png"], "is not IMAGE=POINT"),
        (["--minimize", "mse", "--points", "jpeg:*"], "means no point of the table"),
        (["--minimize", "mse", "--out", "/dev/null/folder/s.json"], "/dev/null/folder/s.json"),
    ],
)
def test_input_that_cannot_be_used_ends_with_2(study: Path, words: list[str], message: str) -> None:
    done = rdp_solve(study, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_left_out_cells_are_warned_of(study: Path) -> None:
    study.write_text(study.read_text().replace("20.0", "").replace(",20,", ",,"))
    done = rdp_solve(study, "--minimize", "mse", "--at-most", "bpp=0.4")
    assert done.returncode == 0
    assert "are left out (2 without mse)" in done.stderr


def test_json_stays_clean_while_highs_repairs_solutions(tmp_path: Path) -> None:
    """HiGHS prints a line of its own to standard output on this table."""
    bpp = np.sort(np.random.default_rng(10).uniform(0.05, 3, (6, 17)), axis=1)
    lines = ["image,point,bpp", *(f"{i},q={j},{bpp[i, j]}" for i in range(6) for j in range(17))]
    table = tmp_path / "near.csv"
    table.write_text("\n".join(lines) + "\n")
    done = rdp_solve(table, "--maximize", "bpp", "--at-most", "bpp=0.5", "--solver", "highs", "--json")
    assert json.loads(done.stdout)["solver"] == "highs"


def test_a_missing_folder_of_out_is_made_and_a_bad_place_is_noticed_before_solving(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder" / "s.json"
    done = rdp_solve(study, "--minimize", "mse", "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["status"] == "optimal"
    assert [path.name for path in out.parent.iterdir()] == ["s.json"]
    # The column does not exist, but the place is looked at first.
    done = rdp_solve(study, "--minimize", "nothing", "--out", out.parent)
    assert done.returncode == 2
    assert f"--out {out.parent} is a folder; name a file in it" in done.stderr
    done = rdp_solve(study, "--minimize", "nothing", "--out", out / "s.json")
    assert done.returncode == 2
    assert f"cannot write {out / 's.json'}" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("json_words", [[], ["--json"]])
def test_a_selection_that_cannot_be_saved_is_still_shown(study: Path, tmp_path: Path, json_words: list[str]) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)); "
    words = ["solve", study, "--minimize", "mse", "--at-most", "bpp=0.27", "--out", tmp_path / "s.json", *json_words]
    done = subprocess.run(
        [sys.executable, "-c", full + MAIN, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error: cannot write" in done.stderr
    if json_words:
        assert json.loads(done.stdout)["objective"]["average"] == pytest.approx(50)
    else:
        assert "optimal selection for 3 images among 3 points" in done.stdout
        assert "written to" not in done.stdout


def test_what_is_missing_is_named_as_an_option(study: Path) -> None:
    assert "(--minimize COLUMN or --maximize COLUMN)" in rdp_solve(study).stderr


def test_one_image_and_one_point_are_counted_in_the_singular(tmp_path: Path) -> None:
    table = tmp_path / "one.csv"
    table.write_text("image,point,mse\na,q,1\n")
    assert "optimal selection for 1 image among 1 point (" in rdp_solve(table, "--minimize", "mse").stdout
